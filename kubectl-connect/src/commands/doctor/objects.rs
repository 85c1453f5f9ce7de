//! How it stands with the shares and routes of the namespace. What has one cause is one line, however many objects say it.

use std::collections::{BTreeMap, BTreeSet};

use connect_crds::condition::{kind, reason};
use connect_crds::{EnvironmentShare, ServiceExpose};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::Check;
use crate::cluster::codes::Access;
use crate::cluster::failure::{Call, Kind};
use crate::cluster::{Cluster, shares};
use crate::failure::Outcome;
use crate::output::counted;
use crate::views::standing::{DELETING, Standing};
use crate::views::verdict::Blocking;

/// How old an object may be before it is news that no operator has looked at it.
const FIRST_LOOK: SignedDuration = SignedDuration::from_secs(30);

/// Names of objects that are told one by one; more of them say nothing new.
const NAMED: usize = 5;

/// What the objects of the namespace say.
#[derive(Default)]
pub(super) struct Objects {
    /// What stands in the way of which objects.
    troubles: BTreeMap<Trouble, Vec<String>>,
    /// Hubs that do not answer the operator, and the shares that wait for them.
    pub waiting_for_hubs: BTreeMap<String, Vec<String>>,
    /// Old enough that an operator should have looked at them.
    unseen: Vec<String>,
    shares: i64,
    routes: i64,
    /// What could not be looked at.
    unknown: Vec<Check>,
}

/// One cause, as several objects may name it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Trouble {
    result: Severity,
    words: String,
    hint: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Failed,
    Warning,
}

/// Looks at every share and route of the namespace.
pub(super) async fn look(cluster: &Cluster) -> Objects {
    let mut objects = Objects::default();
    match shares::list(cluster, Some(cluster.namespace()), None).await {
        Ok(found) => {
            let now = cluster.now();
            found.iter().for_each(|share| objects.add_share(share, now));
        }
        Err(failure) => objects.unknown.push(Check::of(&failure)),
    }
    match exposes(cluster).await {
        Ok(found) => found.iter().for_each(|expose| objects.add_route(expose, cluster.now())),
        Err(failure) => objects.unknown.push(Check::of(&failure)),
    }
    objects
}

async fn exposes(cluster: &Cluster) -> Outcome<Vec<ServiceExpose>> {
    let api: Api<ServiceExpose> = Api::namespaced(cluster.client(), cluster.namespace());
    let call =
        Call { verb: "list", kind: Kind::ServiceExpose, name: None, namespace: Some(cluster.namespace()) };
    Ok(cluster.ask(&call, api.list(&ListParams::default())).await?.items)
}

// === impl Objects ===

impl Objects {
    fn add_share(&mut self, share: &EnvironmentShare, now: Timestamp) {
        let name = format!("share {}", share.name_any());
        let standing = Standing::of(share, &Access::Forbidden, now);
        self.shares += i64::from(!standing.is_over);
        if shares::is_unseen(share) || !shares::is_current(share) {
            self.add_unseen(name, share.creation_timestamp(), now);
            return;
        }
        for note in standing.notes {
            let result =
                if note.condition == kind::ROUTES_CURRENT { Severity::Warning } else { Severity::Failed };
            self.add(result, &note, name.clone());
        }
        let Some(obstacle) = standing.obstacle.filter(|obstacle| obstacle.reason != DELETING) else { return };
        if let Some(hub) = obstacle.hub_down() {
            self.waiting_for_hubs.entry(hub.to_owned()).or_default().push(name);
            return;
        }
        let is_as_asked = obstacle.reason == reason::JOIN_LIMIT_REACHED;
        self.add(if is_as_asked { Severity::Warning } else { Severity::Failed }, &obstacle, name);
    }

    fn add_route(&mut self, expose: &ServiceExpose, now: Timestamp) {
        let name = format!("route {}", expose.route_name());
        self.routes += 1;
        let conditions =
            expose.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        if expose.metadata.deletion_timestamp.is_some() {
            return;
        }
        if conditions.is_empty() {
            self.add_unseen(name, expose.creation_timestamp(), now);
        } else if let Some(obstacle) = Blocking::first(conditions) {
            match obstacle.hub_down() {
                Some(hub) => self.waiting_for_hubs.entry(hub.to_owned()).or_default().push(name),
                None => self.add(Severity::Failed, &obstacle, name),
            }
        }
    }

    fn add_unseen(&mut self, name: String, made: Option<Time>, now: Timestamp) {
        if made.is_some_and(|Time(made)| now.duration_since(made) > FIRST_LOOK) {
            self.unseen.push(name);
        }
    }

    fn add(&mut self, result: Severity, obstacle: &Blocking, name: String) {
        // Said where definitions are looked at.
        if obstacle.reason == reason::CRD_OUTDATED {
            return;
        }
        let words = format!("{}: {}", obstacle.reason, obstacle.message);
        let trouble = Trouble { result, words, hint: obstacle.advice() };
        self.troubles.entry(trouble).or_default().push(name);
    }

    /// What is wrong. Hubs in `down` have been said to be down already, and `is_served` is false where it has been said
    /// already that no operator looks at the namespace.
    pub(super) fn checks(self, down: &BTreeSet<String>, is_served: bool) -> Vec<Check> {
        let mut checks = self.unknown;
        for (Trouble { result, words, hint }, names) in &self.troubles {
            let said = format!("{}: {words}", list(names));
            checks.push(match result {
                Severity::Failed => Check::failed(said, hint),
                Severity::Warning => Check::warning(said, hint),
            });
        }
        for (hub, names) in self.waiting_for_hubs.iter().filter(|(hub, _)| !down.contains(*hub)) {
            let said = format!("the operator cannot reach the hub at {hub}, for which {} wait", list(names));
            checks.push(Check::failed(said, "Make sure the hub is running and accessible from the cluster."));
        }
        if is_served && !self.unseen.is_empty() {
            let said = format!("no operator has acted on {}", list(&self.unseen));
            checks.push(Check::failed(said, "See whether it serves this namespace, and what its log says."));
        }
        let is_silent = checks.is_empty() && self.waiting_for_hubs.is_empty();
        if is_silent && (is_served || self.unseen.is_empty()) {
            let (shares, routes) = (counted(self.shares, "share"), counted(self.routes, "route"));
            checks.push(Check::ok(format!("{shares} and {routes}, none of them in trouble")));
        }
        checks
    }
}

/// `share a, share b and 3 more`.
pub(super) fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2024-01-14T10:30:00Z";

    fn share(name: &str, conditions: &serde_json::Value) -> EnvironmentShare {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "staging", "creationTimestamp": "2024-01-14T10:00:00Z"},
            "spec": {"expires": "4h"}, "status": {"conditions": conditions}}))
        .expect("a share")
    }

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> serde_json::Value {
        serde_json::json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": NOW})
    }

    fn said(shares: &[EnvironmentShare], down: &[&str], is_served: bool) -> Vec<String> {
        let mut objects = Objects::default();
        let now = NOW.parse().expect("a time");
        shares.iter().for_each(|share| objects.add_share(share, now));
        let down = down.iter().map(|hub| (*hub).to_owned()).collect();
        objects
            .checks(&down, is_served)
            .iter()
            .map(|check| check.render().lines().next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn one_cause_is_one_line() {
        let well = share("well", &serde_json::json!([condition("Active", "True", "Joinable", "")]));
        let ended = share(
            "ended",
            &serde_json::json!([
                condition("Active", "False", "Revoked", ""),
                condition("Ready", "True", "Revoked", "")
            ]),
        );
        let away = |name| {
            share(
                name,
                &serde_json::json!([condition(
                    "Active",
                    "Unknown",
                    "HubUnreachable",
                    "cannot reach the hub at https://h: timed out"
                )]),
            )
        };
        let key = |name| {
            share(
                name,
                &serde_json::json!([
                    condition("Active", "False", "Pending", "x"),
                    condition("Stalled", "True", "InvalidCredentials", "the hub does not take the key")
                ]),
            )
        };
        let unseen = share("new", &serde_json::json!([]));
        assert_eq!(
            said(&[well.clone(), ended], &[], true),
            ["[ok] 1 share and 0 routes, none of them in trouble"]
        );
        assert_eq!(
            said(&[well, key("a"), key("b")], &[], true),
            ["[x] share a, share b: InvalidCredentials: the hub does not take the key"]
        );
        assert_eq!(
            said(&[away("a"), away("b")], &[], true),
            ["[x] the operator cannot reach the hub at https://h, for which share a, share b wait"]
        );
        let none: [String; 0] = [];
        assert_eq!(said(&[away("a")], &["https://h"], true), none, "it was said where hubs are looked at");
        assert_eq!(
            said(std::slice::from_ref(&unseen), &[], true),
            ["[x] no operator has acted on share new"]
        );
        assert_eq!(said(&[unseen], &[], false), none);
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..7).map(|index| format!("share {index}")).collect();
        assert_eq!(list(&names), "share 0, share 1, share 2, share 3, share 4 and 2 more");
    }
}
