//! How many connections each route carries, counted now and then: status says it, and is not written for each of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::context::Context;
use crate::names::{old_service_name, own_common_name, own_service_name, without_maker};
use crate::state::{Counts, Stores};
use crate::triggers::{Trigger, Triggers};
use crate::tunnels::Hubs;

/// How often it is counted, and so how often a busy route's status may be written.
pub const COUNT_EVERY: Duration = Duration::from_secs(30);

/// Counts for ever, and triggers the routes whose count has changed.
pub async fn keep_counting(context: Arc<Context>, triggers: Triggers) {
    let mut every = tokio::time::interval(COUNT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        for route in context.connections.replace(count(&context.stores, &context.common.hubs)) {
            triggers.expose(Trigger::One(route)).await;
        }
    }
}

/// The open connections of every route that has any.
fn count(stores: &Stores, hubs: &Hubs) -> Counts {
    let mut open: HashMap<String, i64> = HashMap::new();
    for hub in hubs.all() {
        for route in hub.routes().carried() {
            let connections = i64::try_from(route.traffic.open()).unwrap_or(i64::MAX);
            if connections > 0 {
                *open.entry(without_maker(&route.service).to_owned()).or_default() += connections;
            }
        }
    }
    if open.is_empty() {
        return Counts::new();
    }
    let mut by_route: HashMap<(String, String), i64> = HashMap::new();
    for share in stores.shares.state() {
        let namespace = share.namespace().unwrap_or_default();
        for route in share.status.iter().flat_map(|status| &status.routes) {
            for name in [own_service_name(&share, &route.name), old_service_name(&share, &route.name)] {
                if let Some(connections) = open.remove(&name) {
                    *by_route.entry((namespace.clone(), route.name.clone())).or_default() += connections;
                }
            }
        }
    }
    let mut counts = Counts::new();
    for expose in stores.exposes.state() {
        let (namespace, route) = (expose.namespace().unwrap_or_default(), expose.route_name().to_owned());
        let in_common = open.get(&own_common_name(&namespace, &route)).copied().unwrap_or(0);
        let told = expose.status.as_ref().is_some_and(|status| status.service_id.is_some());
        let by_name = if told { open.get(&route).copied().unwrap_or(0) } else { 0 };
        let connections = by_route.remove(&(namespace, route)).unwrap_or(0) + in_common + by_name;
        if connections > 0 {
            counts.insert(ObjectRef::from_obj(&*expose), connections);
        }
    }
    counts
}
