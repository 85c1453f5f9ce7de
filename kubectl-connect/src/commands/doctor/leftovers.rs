//! What is known to have been left behind: deletions that the operator gave up, and objects that wait to be let go. What a
//! hub itself says it holds is in [`super::orphans`].

use jiff::SignedDuration;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::Check;
use crate::cluster::failure::{Call, Kind};
use crate::cluster::{Cluster, shares};

/// Reason of the Events by which the operator says that a hub was not told of an end.
const ABANDONED: &str = "HubCleanupAbandoned";

/// How long a deletion may take before it is news: the operator gives a hub up sooner.
const DELETION: SignedDuration = SignedDuration::from_mins(3);

pub(super) async fn look(cluster: &Cluster) -> Vec<Check> {
    let mut checks = abandoned(cluster).await;
    checks.extend(stuck(cluster).await);
    if checks.is_empty() {
        checks.push(Check::ok("no deletion waits, and none was given up"));
    }
    checks
}

async fn abandoned(cluster: &Cluster) -> Vec<Check> {
    let api: Api<Event> = Api::namespaced(cluster.client(), cluster.namespace());
    let call = Call { verb: "list", kind: Kind::Event, name: None, namespace: Some(cluster.namespace()) };
    let params = ListParams::default().fields(&format!("reason={ABANDONED}"));
    let Ok(events) = cluster.ask(&call, api.list(&params)).await else {
        return vec![Check::warning(
            "whether the operator has given up on a hub cannot be checked: you have no permission to list Events",
            "Ask for the verb list on events.events.k8s.io.",
        )];
    };
    let said = |event: Event| {
        let object = event.regarding.and_then(|object| object.name).unwrap_or_default();
        let hint = "It ends there by its own expiry; nothing is carried for it any more.";
        Check::warning(format!("{object}: {}", event.note.unwrap_or_default()), hint)
    };
    events.items.into_iter().map(said).collect()
}

async fn stuck(cluster: &Cluster) -> Vec<Check> {
    let found = match shares::list(cluster, Some(cluster.namespace()), None).await {
        Ok(found) => found,
        Err(failure) => return vec![Check::of(&failure)],
    };
    let now = cluster.now();
    let since = |share: &connect_crds::EnvironmentShare| {
        share.metadata.deletion_timestamp.as_ref().map(|time| now.duration_since(time.0))
    };
    let is_stuck = |share: &&connect_crds::EnvironmentShare| since(share).is_some_and(|age| age > DELETION);
    let said = |share: &connect_crds::EnvironmentShare| {
        Check::failed(
            format!("share {} has been waiting to be deleted for minutes", share.name_any()),
            "Is an operator at work? It lets go of a share within a minute, also when its hub is down.",
        )
    };
    found.iter().filter(is_stuck).map(said).collect()
}
