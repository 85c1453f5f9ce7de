//! Makes it so: at the data plane first, then at the hub, then in the Secret.
//!
//! The order is the promise. An end is enforced here before anybody else is told; a beginning is told to people (by
//! status) only after everything else has happened. Every step can be repeated: a crash anywhere leaves what the next look finds
//! and completes.

mod done;
mod end;
mod secret;
mod services;
mod share;
mod unwritten;

use std::time::Duration;

use connect_crds::condition::reason;
use connect_crds::{EnvironmentShare, HeldEncryption};
use connect_hub::client::{People, ShareRow};
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use self::secret::{Write, write_secret};
use self::services::{ask_for, follow_services, free_services, hold_services, register_services};
use self::share::{Settled, ShareSettlement};
use self::unwritten::{good_until, retry_by, without_secret};
use super::code_secret;
use super::dereference::Found;
use super::encryption::{asked, held, secret_for};
use super::plan::{Plan, hub_problem};
use super::validate::{Over, Validated};
use crate::context::Context;
use crate::controllers::ROOM_RETRY;
use crate::error::Error;
use crate::names::share_key;
use crate::tunnels::{HubConnection, HubState};

pub use self::done::{Done, Failed};
pub use self::end::close_at_hub;
pub use self::secret::delete_secret;
pub use self::share::renewal_due;
pub use self::unwritten::untold;

/// A timer may fire a little early; a look that comes before a renewal is due would be for nothing.
const RENEWAL_SLACK: Duration = Duration::from_millis(10);

/// Carries the plan out.
///
/// # Errors
/// The API server refused or did not answer. What the hub refuses is in [`Done::problem()`], to be said in status.
pub async fn apply(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    plan: Plan,
    context: &Context,
) -> Result<Done, Error> {
    match plan {
        Plan::Close(over) => end::close(share, found, over, context).await,
        Plan::Open => open(share, valid, found, context).await,
        Plan::Nothing => {
            if let Ok((hub, _)) = &found.hub {
                let kept = if found.code.is_some() { valid.routes.as_slice() } else { &[] };
                hold_services(share, kept, None, found, hub);
            }
            let look_again = valid.not_yet.as_ref().map(|(_, wait)| *wait);
            Ok(Done::Nothing { problem: hub_problem(found), look_again })
        }
        Plan::Leave => {
            if let Ok((hub, _)) = &found.hub {
                follow_services(share, valid, found, hub);
            }
            let (shared, row) = (found.code.is_some(), found.rows.first().cloned());
            Ok(match &found.hub {
                Ok((_, HubState::Starting)) => Done::Undecided { shared, row },
                _ => Done::Left { problem: hub_problem(found), shared, row },
            })
        }
    }
}

/// Stands for the code in a Secret that is only tried out. As long as codes are; no hub makes one of these letters.
const NO_CODE: &str = "----------";

/// Stands for its secret, and is as long.
const NO_SECRET: &str = "----------------";

/// The beginning, and every look after it.
async fn open(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    context: &Context,
) -> Result<Done, Error> {
    let (Ok((hub, _)), Some(ends_at)) = (&found.hub, valid.ends_at) else {
        return Ok(Done::Nothing { problem: None, look_again: None });
    };
    follow_services(share, valid, found, hub);
    // A hub that is ready has been entered.
    let Some((client, agent)) = hub.entered() else {
        return Ok(Done::Undecided { shared: false, row: None });
    };
    let stored = found.stored_secret.as_deref();
    let keeper =
        || ShareSettlement { share, valid, found, ends_at, services: &[], hub, context, client, agent };
    if keeper().makes_a_code() {
        // Before the hub is told: a code that cannot be kept is not made.
        let trial = manifest(
            &keeper(),
            (&NO_CODE.into(), Some(&NO_SECRET.into())),
            &vec![Uuid::nil(); valid.routes.len()],
        );
        if let Err(unwritten) = write_secret(share, stored, &trial, Write::Trial, context).await? {
            return Ok(without_secret(&keeper(), unwritten, context).await);
        }
    }
    let at_hub = async {
        let cut = match valid.rotates {
            true => end::retire_code(share, found, hub, (client, agent)).await?,
            false => None,
        };
        let services = register_services(share, &valid.routes, found, hub, (client, agent), context).await?;
        free_services(share, &valid.routes, found, hub).await?;
        let settled = ShareSettlement { services: &services, ..keeper() }.settle().await?;
        Ok((settled, services, cut))
    };
    let (settled, services, cut) = match at_hub.await {
        Ok(settled) => settled,
        Err(error) => return Ok(Done::Failed(failed(&keeper(), &error, context))),
    };
    context.hub_answered(share);
    let row = match settled {
        Settled::Open(row) => row,
        Settled::Limit => return Ok(Done::Kept { row: found.rows.first().cloned() }),
        Settled::Ended(over) => return Ok(ended_at_hub(share, hub, over)),
    };
    let secret = secret_for(share, found, hub, &row.code, valid.rotates);
    let wanted = manifest(&keeper(), (&row.code, secret.as_ref()), &services);
    if !stored.is_some_and(|stored| code_secret::is_current(stored, &wanted))
        && let Err(unwritten) = write_secret(share, stored, &wanted, Write::Real, context).await?
    {
        return Ok(without_secret(&keeper(), unwritten, context).await);
    }
    Ok(opened(&keeper(), row, secret.as_ref(), cut, context))
}

/// The Secret for this code, whose routes lead to these services.
fn manifest(
    keeper: &ShareSettlement<'_>,
    code: (&SecretString, Option<&SecretString>),
    services: &[Uuid],
) -> Secret {
    let ShareSettlement { share, valid, found, ends_at, hub, .. } = *keeper;
    let names = valid.routes.iter().map(|route| route.name.clone());
    let routes: Vec<_> = names.zip(services.iter().copied()).collect();
    code_secret::manifest(share, code, hub.public_url(), ends_at, &routes, found.isolation)
}

/// The hub says that the share is over; what is open is cut.
fn ended_at_hub(share: &EnvironmentShare, hub: &HubConnection, over: Over) -> Done {
    hub.end_share(&share_key(share), over.end_reason());
    Done::EndedAtHub(over)
}

/// The share is at the hub and its code in the Secret.
fn opened(
    keeper: &ShareSettlement<'_>,
    row: ShareRow,
    secret: Option<&SecretString>,
    cut: Option<People>,
    context: &Context,
) -> Done {
    let ShareSettlement { share, valid, found, ends_at, hub, .. } = *keeper;
    // From here on people may have the code.
    let code = secret.map(|secret| (row.code.expose_secret(), secret));
    ask_for(share, valid, found, hub, asked(share, hub, code));
    let encryption = held(share, hub, secret.is_some());
    let code_changed = found.code.as_ref().is_some_and(|had| {
        let demands_more = encryption == HeldEncryption::Verified && had.secret.is_none();
        !row.has_code(&had.code) || demands_more
    });
    let look_again = renewal_due(&row, ends_at, hub).map(|due| {
        Duration::try_from(due.duration_since(context.now())).unwrap_or(Duration::ZERO) + RENEWAL_SLACK
    });
    Done::Open { row, encryption, code_changed, rotated: valid.rotates, cut, look_again }
}

fn failed(keeper: &ShareSettlement<'_>, error: &connect_hub::Error, context: &Context) -> Failed {
    let ShareSettlement { share, valid, found, hub, .. } = *keeper;
    let problem = hub.problem(error);
    let retry = if problem.is_no_room() { ROOM_RETRY } else { context.hub_retry(share) };
    // A hub that refuses a change still has what it had.
    let good_until = good_until(keeper).filter(|_| problem.reason == reason::HUB_REJECTED);
    Failed {
        problem,
        unwritten: None,
        // The old code of a rotation is void.
        shared: found.code.is_some() && !valid.rotates,
        good_until,
        row: found.rows.first().cloned(),
        look_again: retry_by(error.retry_after().unwrap_or(retry), good_until),
    }
}
