//! EnvironmentShare: one share at the hub for each object, from its creation to its end.
//!
//! | step | does | needs a client |
//! |---|---|---|
//! | [`dereference`] | fetches what the spec names | yes |
//! | [`validate`] | judges spec and what was fetched | no |
//! | [`plan`] | decides what the hub should have | no |
//! | [`apply`] | makes it so, at the data plane first | yes |
//! | [`report`] | says so in status and Events | no, and yes to write |
//! | [`cleanup`] | undoes it all when the object goes | yes |

mod apply;
mod cleanup;
mod code_secret;
mod dereference;
mod drain;
mod encryption;
mod plan;
mod report;
mod reuse;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use connect_crds::EnvironmentShare;
use kube::runtime::controller::Action;

pub use drain::let_go;

use crate::context::Context;
use crate::controllers::{RESYNC, Unwritten};
use crate::error::Error;
use crate::finalizer;
use crate::names::share_key;

/// Brings one EnvironmentShare and the hub into agreement.
///
/// # Errors
/// Whatever must be tried again; what a human should know is in status.
pub async fn reconcile(share: Arc<EnvironmentShare>, context: Arc<Context>) -> Result<Action, Error> {
    if share.metadata.deletion_timestamp.is_some() {
        return cleanup::cleanup(&share, &context).await;
    }
    // Client: the hub, the routes' Services, the code's Secret.
    let found = dereference::dereference(&share, &context).await?;
    // No client: what may be shared, until when.
    let valid = validate::validate(&share, &found, context.now());
    // No client: what the hub should have.
    let plan = plan::plan(&valid, &found);
    let done = match watch_over(&share, plan.touches_the_hub(), &context).await? {
        // Client: refuse and cut first, then the hub, then the Secret.
        None => apply::apply(&share, &valid, &found, plan, &context).await?,
        Some(unwritten) => apply::untold(&share, &found, unwritten, &context),
    };
    if context.is_gone(&share) {
        // It went while the hub was asked, and was forgotten before that was done.
        context.common.hubs.forget_share(&share_key(&share));
        return Ok(Action::await_change());
    }
    // No client, then one write if anything differs.
    report::report(&share, &valid, &found, &done, &context).await?;
    cleanup::delete_when_due(&share, &context).await?;
    Ok(Action::requeue(next_look(&share, &valid, &done, &context)))
}

/// Sees to it that the finalizer is there before the hub is told anything, and says why it cannot be.
async fn watch_over(
    share: &EnvironmentShare,
    watched_over: bool,
    context: &Context,
) -> Result<Option<Unwritten>, Error> {
    if !watched_over || finalizer::is_on(share) {
        return Ok(None);
    }
    match finalizer::add(share, context).await {
        Ok(()) => Ok(None),
        Err(error) => Unwritten::of_finalizer(error).map(Some),
    }
}

/// When to look again without being told.
fn next_look(
    share: &EnvironmentShare,
    valid: &validate::Validated,
    done: &apply::Done,
    context: &Context,
) -> Duration {
    let now = context.now();
    let until =
        |then: jiff::Timestamp| Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO);
    // Our timers stand still while the machine sleeps, so that one of days would come too late.
    let mut wait = done.look_again().unwrap_or(RESYNC).min(RESYNC);
    if valid.over.is_none() {
        if let Some(end) = valid.ends_at {
            // The end itself comes from the data plane's timer; this is the net under it.
            wait = wait.min(until(end) + Duration::from_millis(500));
        }
    } else if let Some(deletion) = report::deletion_due(share) {
        wait = wait.min(until(deletion) + Duration::from_millis(10));
    }
    wait
}
