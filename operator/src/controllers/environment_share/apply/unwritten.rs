//! What is done when something has to be written in the cluster and the API server does not let us: nothing stays open at the hub
//! under a code that nobody has, and what is said is what still works.

use std::time::Duration;

use connect_crds::{EnvironmentShare, Maker, ShareMarker};
use connect_hub::client::{Closing, ShareRow};
use jiff::Timestamp;
use kube::ResourceExt;

use super::end::{close_rows, retire_code};
use super::secret::delete_secret;
use super::share::ShareSettlement;
use super::{Done, Failed, failed};
use crate::clock;
use crate::context::Context;
use crate::controllers::Unwritten;
use crate::controllers::environment_share::dereference::Found;
use crate::error::chain;

/// How long after a code's end status is written anew: timers may fire a little early.
const AFTER_THE_END: Duration = Duration::from_millis(500);

/// The hub is told nothing, because our finalizer is refused.
pub fn untold(share: &EnvironmentShare, found: &Found, unwritten: Unwritten, context: &Context) -> Done {
    Done::Unwritten {
        unwritten,
        shared: found.code.is_some(),
        good_until: None,
        rotated: false,
        row: found.rows.first().cloned(),
        look_again: context.hub_retry(share),
    }
}

/// The Secret cannot be written. Shares at the hub whose code is not in it are closed; when a new code was asked for, the old one
/// is void all the same, and goes with its Secret.
pub async fn without_secret(keeper: &ShareSettlement<'_>, unwritten: Unwritten, context: &Context) -> Done {
    let ShareSettlement { share, valid, found, hub, client, agent, .. } = *keeper;
    tracing::warn!(
        namespace = share.namespace(),
        name = share.name_any(),
        why = unwritten.message,
        "the code's Secret cannot be written"
    );
    let closing = async {
        if valid.rotates {
            retire_code(share, found, hub, (client, agent)).await?;
        }
        close_rows(&strays(keeper), hub, (client, agent), Closing::Revoked).await?;
        Ok(())
    };
    if let Err(error) = closing.await {
        return Done::Failed(Failed { unwritten: Some(unwritten), ..failed(keeper, &error, context) });
    }
    if valid.rotates
        && let Err(error) = delete_secret(share, found.code.as_ref(), context).await
    {
        tracing::warn!(error = chain(&error), "cannot delete the Secret with a code that is void");
    }
    let good_until = good_until(keeper);
    Done::Unwritten {
        unwritten,
        shared: good_until.is_some(),
        good_until,
        rotated: valid.rotates,
        row: found.row_in_the_secret().filter(|_| !valid.rotates).cloned(),
        look_again: retry_by(context.hub_retry(share), good_until),
    }
}

/// When to try again: not later than the code's end, of which status has to tell.
pub fn retry_by(retry: Duration, good_until: Option<Timestamp>) -> Duration {
    let rest = good_until.and_then(|end| Duration::try_from(end.duration_since(clock::now())).ok());
    rest.map_or(retry, |rest| retry.min(rest + AFTER_THE_END))
}

/// Until when the code in the Secret lets teammates in, as far as the hub's list tells; nothing for one that is void.
pub fn good_until(keeper: &ShareSettlement<'_>) -> Option<Timestamp> {
    let ShareSettlement { valid, found, ends_at, .. } = *keeper;
    if valid.rotates || valid.limit_reached {
        return None;
    }
    let row = found.row_in_the_secret()?;
    Some(row.expires_at.min(ends_at)).filter(|end| *end > clock::now())
}

/// The shares at the hub whose code is not in the Secret: those that were listed and those made since.
fn strays(keeper: &ShareSettlement<'_>) -> Vec<ShareRow> {
    let ShareSettlement { share, found, hub, .. } = *keeper;
    let marker = ShareMarker::of(&share.uid().unwrap_or_default());
    let listed = |maker: &Maker| hub.with_directory(|directory| directory.shares(&marker, maker));
    let mut rows = found.maker.as_ref().map(listed).unwrap_or_default();
    let is_new = |rows: &[ShareRow], row: &ShareRow| !rows.iter().any(|known| known.has_code(&row.code));
    for row in &found.rows {
        if is_new(&rows, row) {
            rows.push(row.clone());
        }
    }
    rows.retain(|row| !found.is_in_the_secret(row));
    rows
}
