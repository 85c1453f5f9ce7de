//! Lets go of a share when the operator leaves the cluster, or the namespace ends: it ends at the hub, and the object stays, without
//! our finalizer.

use std::time::Duration;

use connect_crds::condition::{Verdict, kind, merge, reason};
use connect_crds::{EnvironmentShare, EnvironmentShareStatus, ShareMarker};
use connect_hub::client::Closing;
use connect_hub::tunnel::routes::EndReason;
use kube::ResourceExt;
use tokio::time::{Instant, timeout_at};

use super::apply::{close_at_hub, delete_secret};
use super::dereference::{code_of, dereference};
use super::validate::over;
use crate::context::{Context, Notice};
use crate::controllers::last_words;
use crate::controllers::letting_go::Leaving;
use crate::error::Error;
use crate::finalizer;
use crate::names::share_key;

/// Pause between two tries at a hub that does not answer.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// What the object says until an operator is there again.
const LEFT: &str =
    "the operator was uninstalled; the share begins anew, with another code, when there is one again";

/// Ends the share at its hub if the hub answers before `deadline`, then lets the object go. Without a deadline the hub is gone
/// itself. `false` when the hub is there and was not told.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn let_go(
    share: &EnvironmentShare,
    context: &Context,
    deadline: Option<Instant>,
    leaving: Leaving,
) -> Result<bool, Error> {
    context.common.hubs.end_share(&share_key(share), EndReason::Withdrawn);
    let told = match deadline {
        Some(deadline) => tell_the_hub(share, context, deadline).await?,
        None => true,
    };
    // Its code is void. One that the hub may still let in stays in its Secret, so that the next operator can end it.
    if told {
        let code = code_of(share, context).map(|(_, code)| code);
        delete_secret(share, code.as_ref(), context).await?;
    }
    finalizer::remove(share, context).await?;
    context.common.hubs.forget_share(&share_key(share));
    let now = context.now();
    if leaving == Leaving::Uninstalled && over(share, share.ends_at(now).ok(), now).is_none() {
        last_words(context, share, &left(share, now)).await;
    }
    Ok(told)
}

/// Tries until the hub knows of the end or `deadline` has passed; `false` then.
async fn tell_the_hub(share: &EnvironmentShare, context: &Context, deadline: Instant) -> Result<bool, Error> {
    loop {
        let found = dereference(share, context).await?;
        let why = match timeout_at(deadline, close_at_hub(share, &found, Closing::Removed)).await {
            Ok(Ok(_)) => return Ok(true),
            Ok(Err(problem)) => problem.message,
            Err(_) => "it did not answer in time".to_owned(),
        };
        if Instant::now() >= deadline {
            abandon(share, context, &why).await;
            return Ok(false);
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

async fn abandon(share: &EnvironmentShare, context: &Context, why: &str) {
    let marker = ShareMarker::of(&share.uid().unwrap_or_default());
    let note = format!(
        "uninstalled without telling the hub, so a share (its marker is {marker}) may be left there; nothing is carried for it any more: {why}"
    );
    context.tell(share, Notice { warning: true, reason: "HubCleanupAbandoned", action: "Drain", note }).await;
}

/// The status of a live share whose operator has left: whatever was true of the hub is so no longer.
fn left(share: &EnvironmentShare, now: jiff::Timestamp) -> EnvironmentShareStatus {
    let old = share.status.clone().unwrap_or_default();
    let verdicts = vec![
        Verdict::no(kind::ACTIVE, reason::PENDING, LEFT),
        Verdict::no(kind::READY, reason::PENDING, LEFT),
    ];
    let mut conditions = old.conditions.clone();
    conditions.retain(|condition| [kind::ACCEPTED, kind::RESOLVED_REFS].contains(&condition.type_.as_str()));
    conditions.extend(merge(&old.conditions, verdicts, share.metadata.generation, now));
    EnvironmentShareStatus {
        code_change_time: None,
        conditions,
        code_secret_name: None,
        ready_routes: None,
        routes: Vec::new(),
        ..old
    }
}
