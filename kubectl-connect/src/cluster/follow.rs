//! Following shares as they change: what `--watch` shows.

use std::collections::BTreeMap;
use std::pin::pin;

use connect_crds::EnvironmentShare;
use futures::StreamExt;
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};

use super::failure::{Call, Kind};
use super::{Cluster, shares};
use crate::failure::Outcome;

/// Shows all shares of one namespace or of all, at first and after every change, until showing fails. The stream mends
/// itself; only a lack of rights ends it.
///
/// # Errors
/// The user may not watch, or `show` failed, which is also how a reader that has gone ends it.
pub async fn shares(
    cluster: &Cluster,
    namespace: Option<&str>,
    selector: Option<&str>,
    mut show: impl AsyncFnMut(Vec<EnvironmentShare>) -> Outcome<()>,
) -> Outcome<()> {
    let call = Call { verb: "watch", kind: Kind::EnvironmentShare, name: None, namespace };
    let mut config = watcher::Config::default();
    if let Some(labels) = selector {
        config = config.labels(labels);
    }
    let api = shares::api_of(cluster, namespace);
    let mut events = pin!(watch(api, config).default_backoff());
    let mut known: BTreeMap<(Option<String>, String), EnvironmentShare> = BTreeMap::new();
    let mut complete = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                known.clear();
                complete = false;
            }
            Ok(Event::InitApply(share) | Event::Apply(share)) => drop(known.insert(key(&share), share)),
            Ok(Event::Delete(share)) => drop(known.remove(&key(&share))),
            Ok(Event::InitDone) => complete = true,
            Err(error) => super::wait::refuse_if_forbidden(cluster, &error, &call)?,
        }
        if complete {
            show(known.values().cloned().collect()).await?;
        }
    }
    Ok(())
}

fn key(share: &EnvironmentShare) -> (Option<String>, String) {
    (share.namespace(), share.name_any())
}
