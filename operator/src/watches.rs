//! The watches: each fills one cache and says which objects a change concerns.
//!
//! All triggers of both controllers come from here, over two bounded channels ([`crate::triggers`]), so that what wakes whom can be read in one
//! place. Nothing is triggered until every cache is filled; then, and after every re-list (which may hide deletions), all
//! objects are looked at once.

mod feed;
mod filling;

use std::fmt::Debug;
use std::sync::Arc;

use connect_crds::{
    EnvironmentShare, GROUP, HUB_SECRET_TYPE, SHARE_CODE_SECRET_TYPE, ServiceExpose, ShareMarker,
};
use futures::Stream;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

pub use filling::{FILL_DEADLINE, Filling, filled};

use self::feed::{Feed, endpoints_changed};
use crate::cluster::watch_config;
use crate::definitions::Definitions;
use crate::names::object_of;
use crate::state::{Endpoints, Stores};
use crate::triggers::{Trigger, Triggers};
use crate::tunnels::{HubChange, Hubs};

/// Annotation that `kubectl apply` writes; it repeats the whole object, so caches leave it out.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Starts every watch of one scope (`None`: the whole cluster) and returns the caches they fill.
pub fn start(
    client: &Client,
    namespace: Option<&str>,
    triggers: &Triggers,
    endpoints: Arc<Endpoints>,
    hubs: Arc<Hubs>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> Stores {
    let (exposes, exposes_writer) = reflector::store();
    let (shares, shares_writer) = reflector::store();
    let (services, services_writer) = reflector::store();
    let (codes, codes_writer) = reflector::store();
    let (hub_secrets, hub_secrets_writer) = reflector::store();
    let stores = Stores { exposes, shares, services, codes, hub_secrets };

    let scope = namespace.map(str::to_owned);
    let feed = Feed { triggers: triggers.clone(), stores: stores.clone(), hubs, scope };
    let secrets_of = |type_: &str| watch_config().fields(&format!("type={type_}"));
    let stream = watched::<ServiceExpose>(client, namespace, watch_config(), drop_bulk);
    tasks.spawn(feed.clone().run(stream.reflect(exposes_writer), Feed::expose_changed));
    let stream = watched::<EnvironmentShare>(client, namespace, watch_config(), drop_bulk);
    tasks.spawn(feed.clone().run(stream.reflect(shares_writer), Feed::share_changed));
    let stream = watched::<Service>(client, namespace, watch_config(), keep_what_is_dialled);
    tasks.spawn(feed.clone().run(stream.reflect(services_writer), Feed::service_changed));
    let stream = watched::<Secret>(client, namespace, secrets_of(SHARE_CODE_SECRET_TYPE), drop_bulk);
    tasks.spawn(feed.clone().run(stream.reflect(codes_writer), Feed::code_changed));
    let stream = watched::<Secret>(client, namespace, secrets_of(HUB_SECRET_TYPE), drop_bulk);
    tasks.spawn(feed.clone().run(stream.reflect(hub_secrets_writer), Feed::hub_secret_changed));
    let stream = watched::<PartialObjectMeta<EndpointSlice>>(client, namespace, watch_config(), drop_bulk);
    tasks.spawn(endpoints_changed(stream, feed, endpoints));
    stores
}

/// Turns changes at hubs into triggers, for ever.
pub async fn follow_hubs(hubs: Arc<Hubs>, triggers: Triggers, stores: Stores) {
    let mut changes = hubs.changes();
    loop {
        match changes.recv().await {
            Ok(HubChange::Share(marker)) => {
                // More than one may be meant by a marker of an earlier version.
                let is_it = |share: &EnvironmentShare| {
                    share.uid().is_some_and(|uid| marker.may_be(&ShareMarker::of(&uid)))
                };
                for share in stores.shares.state_filter(|share| is_it(share)) {
                    triggers.share(Trigger::One(ObjectRef::from_obj(&*share))).await;
                }
            }
            Ok(HubChange::Expired(key)) => {
                if let Some(share) = object_of(&key) {
                    triggers.share(Trigger::One(share)).await;
                }
            }
            Ok(HubChange::Mismatch(key)) => match object_of(&key) {
                Some(share) => triggers.share(Trigger::One(share)).await,
                // A service that shares have in common.
                None => triggers.share(Trigger::All).await,
            },
            Ok(HubChange::Replaced) => {}
            Ok(HubChange::Hub) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                triggers.all().await;
            }
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Looks at everything whenever the installed definitions turn out older than we are, or are no longer.
pub async fn follow_definitions(definitions: Arc<Definitions>, triggers: Triggers) {
    let mut changes = definitions.changes();
    while changes.changed().await.is_ok() {
        triggers.all().await;
    }
}

/// One watch of a kind in its scope, with backoff, every object cut down first.
fn watched<K>(
    client: &Client,
    namespace: Option<&str>,
    config: watcher::Config,
    cut: fn(&mut K),
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let api = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    watch(api, config).default_backoff().modify(cut)
}

/// Leaves out what takes space and is not used: managed fields and the annotation of `kubectl apply`.
fn drop_bulk<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}

/// Leaves of a Service what a dial needs, and our own annotations.
fn keep_what_is_dialled(service: &mut Service) {
    drop_bulk(service);
    service.annotations_mut().retain(|name, _| name.starts_with(GROUP));
    service.status = None;
}
