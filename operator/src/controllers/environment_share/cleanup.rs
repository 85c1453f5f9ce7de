//! Undoes it all when the object goes, and never holds it for long.
//!
//! Needs as little as possible: no route, no Service, no valid spec. Connections are refused and cut first. A hub that
//! does not answer is given up after [`GIVE_UP`]; an Event then names what may be left there.

use connect_crds::{EnvironmentShare, ShareMarker};
use connect_hub::client::Closing;
use connect_hub::tunnel::routes::EndReason;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};

use super::apply::close_at_hub;
use super::dereference::dereference;
use super::report::deletion_due;
use crate::cluster::call_opt;
use crate::context::{Context, Notice};
use crate::controllers::{GIVE_UP, TRY_EVERY};
use crate::error::Error;
use crate::finalizer;
use crate::names::share_key;

/// Closes the share and lets the object go.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn cleanup(share: &EnvironmentShare, context: &Context) -> Result<Action, Error> {
    let key = share_key(share);
    context.common.hubs.end_share(&key, EndReason::Withdrawn);
    if !finalizer::is_on(share) {
        return Ok(Action::await_change());
    }
    let found = dereference(share, context).await?;
    if let Err(problem) = close_at_hub(share, &found, Closing::Removed).await {
        let asked = share.metadata.deletion_timestamp.as_ref().map_or(context.now(), |time| time.0);
        if context.now().duration_since(asked) < GIVE_UP {
            return Ok(Action::requeue(TRY_EVERY));
        }
        let marker = ShareMarker::of(&share.uid().unwrap_or_default());
        let note = format!(
            "gave up telling the hub that the share has ended, so a share (its marker is {marker}) may be left there; nothing is carried for it any more: {}",
            problem.message
        );
        context
            .tell(share, Notice { warning: true, reason: "HubCleanupAbandoned", action: "Delete", note })
            .await;
    }
    finalizer::remove(share, context).await?;
    Ok(Action::await_change())
}

/// Deletes an ended share whose time to live is over.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn delete_when_due(share: &EnvironmentShare, context: &Context) -> Result<(), Error> {
    if deletion_due(share).is_none_or(|due| due > context.now()) {
        return Ok(());
    }
    let api: Api<EnvironmentShare> = Api::namespaced(
        context.common.client.clone(),
        &share.namespace().ok_or(Error::Incomplete("namespace"))?,
    );
    let params =
        DeleteParams::default().preconditions(Preconditions { uid: share.uid(), resource_version: None });
    match call_opt("deleting an ended share", api.delete(&share.name_any(), &params)).await {
        Err(error) if error.is_conflict() => Ok(()),
        other => other.map(|_| ()),
    }
}
