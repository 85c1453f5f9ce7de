//! The end of a share: connections first, then the hub, then the Secret.

use connect_crds::condition::{find, is_true, kind};
use connect_crds::{EnvironmentShare, ShareMarker};
use connect_hub::client::{Client, Closing, People, Revoked, ShareRow};
use kube::ResourceExt;
use secrecy::SecretString;
use uuid::Uuid;

use super::Done;
use super::secret::delete_secret;
use super::services::{free_services, has_services_to_free};
use super::share::idempotency_key;
use crate::args::ShareIsolation;
use crate::context::Context;
use crate::controllers::environment_share::code_secret::{CodeSecret, wanted_rotation};
use crate::controllers::environment_share::dereference::Found;
use crate::controllers::environment_share::validate::Over;
use crate::error::Error;
use crate::faults::point;
use crate::finalizer;
use crate::names::share_key;
use crate::tunnels::{HubConnection, HubProblem, HubState};

/// Ends a share everywhere.
///
/// # Errors
/// The API server refused or did not answer. A hub that could not be told is in [`Done::problem()`].
pub async fn close(
    share: &EnvironmentShare,
    found: &Found,
    over: Over,
    context: &Context,
) -> Result<Done, Error> {
    if let Ok((hub, _)) = &found.hub {
        // First of all: no new connection, and the open ones are cut. Nothing below can delay this.
        hub.end_share(&share_key(share), over.end_reason());
    }
    let cut = match close_at_hub(share, found, Closing::Revoked).await {
        Ok(cut) => cut,
        Err(problem) => {
            // A hub that has not been heard yet will be, or will not: both are told.
            let undecided = matches!(&found.hub, Ok((_, HubState::Starting)));
            let look_again = context.hub_retry(share);
            return Ok(Done::NotClosed { problem, undecided, look_again });
        }
    };
    context.hub_answered(share);
    delete_secret(share, found.code.as_ref(), context).await?;
    // At a hub that keeps the rows of ended shares, their services are refused like unknown ones.
    if let Ok((hub, _)) = &found.hub
        && found.isolation == ShareIsolation::Route
    {
        for (_, known) in &found.services {
            hub.routes().remove(known.id);
        }
        hub.gives_back(&share_key(share));
    }
    Ok(Done::Closed { row: found.rows.first().cloned(), cut })
}

/// Tells the hub that the share has ended, if it knows of it. Whom that cut off, where the hub tells.
///
/// # Errors
/// Says why the hub could not be told.
pub async fn close_at_hub(
    share: &EnvironmentShare,
    found: &Found,
    closing: Closing,
) -> Result<Option<People>, HubProblem> {
    // A hub whose Secret is gone cannot be told; its share ends there by its own expiry.
    let Ok((hub, state)) = &found.hub else { return Ok(None) };
    let may_be_there = may_be_unknown(share) && !hub.with_directory(|directory| directory.is_listed());
    if found.code.is_none() && found.rows.is_empty() && !may_be_there && !has_services_to_free(found, hub) {
        return Ok(None);
    }
    let Some((client, agent)) = hub.entered().filter(|_| !may_be_there) else {
        return Err(state
            .problem()
            .unwrap_or_else(|| HubProblem::unreachable(hub.url(), "not connected yet")));
    };
    let told = async {
        let rows = rows_to_close(share, found, hub).await?;
        let cut = close_rows(&rows, hub, (client, agent), closing).await?;
        free_services(share, &[], found, hub).await?;
        Ok(cut)
    };
    told.await.map_err(|error| hub.problem(&error))
}

/// Whether the hub may have a share of which only its lists tell: our finalizer is there, so it may have been told of a
/// beginning, and status does not say that it was told of the end.
fn may_be_unknown(share: &EnvironmentShare) -> bool {
    let conditions = share.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is_over = find(conditions, kind::ACTIVE).is_some_and(|active| active.status == "False");
    finalizer::is_on(share) && !(is_over && is_true(conditions, kind::READY))
}

/// Makes the code in the Secret void and cuts whoever joined with it, while the share goes on with a new one. Can be repeated:
/// a share that was already made for the new code is left alone. Whom it cut off, where the hub tells.
///
/// # Errors
/// The hub refused or did not answer.
pub async fn retire_code(
    share: &EnvironmentShare,
    found: &Found,
    hub: &HubConnection,
    (client, agent): (&Client, Uuid),
) -> Result<Option<People>, connect_hub::Error> {
    let Some(old) = &found.code else { return Ok(None) };
    let mut rows = rows_to_close(share, found, hub).await?;
    let is_known = |row: &ShareRow| row.has_code(&old.code);
    let uid = share.uid().unwrap_or_default();
    let new_key = idempotency_key(found.maker.as_ref(), &uid, wanted_rotation(share));
    let is_new = |row: &ShareRow| row.idempotency_key.as_ref() == Some(&new_key);
    // A Secret that speaks of none of our shares has been written by somebody else, or by us before an answer was lost: then all
    // that were not made for the new code are old.
    let knows_one = rows.iter().any(is_known);
    rows.retain(|row| if knows_one { is_known(row) } else { !is_new(row) });
    let cut = close_rows(&rows, hub, (client, agent), Closing::Rotated).await?;
    // After the hub, which would let the old code in again; a hub that cuts nothing itself leaves that to us.
    for (_, known) in &found.services {
        hub.routes().remove(known.id);
    }
    Ok(cut)
}

/// What is to be closed at the hub: the shares that it has under this object's signature, and nothing else. The code in the
/// Secret alone closes nothing, because whoever may write the Secret could have written another's there; one that the hub does
/// not list only makes us read the list again, which is up to a minute old.
async fn rows_to_close(
    share: &EnvironmentShare,
    found: &Found,
    hub: &HubConnection,
) -> Result<Vec<ShareRow>, connect_hub::Error> {
    let is_listed = |code: &CodeSecret| found.rows.iter().any(|row| row.has_code(&code.code));
    let is_of_this_hub = |code: &&CodeSecret| code.hub_url.as_deref() == Some(hub.public_url().as_str());
    let Some(unlisted) = found.code.as_ref().filter(is_of_this_hub).filter(|code| !is_listed(code)) else {
        return Ok(found.rows.clone());
    };
    hub.read_lists().await?;
    let mut rows = found.rows.clone();
    if let Some(maker) = &found.maker {
        let marker = ShareMarker::of(&share.uid().unwrap_or_default());
        let listed = hub.with_directory(|directory| directory.shares(&marker, maker));
        rows.extend(listed.into_iter().filter(|row| row.has_code(&unlisted.code)));
    }
    Ok(rows)
}

/// Closes the shares of these rows. Whom that cut off, where the hub tells.
///
/// # Errors
/// The hub refused or did not answer.
pub async fn close_rows(
    rows: &[ShareRow],
    hub: &HubConnection,
    (client, agent): (&Client, Uuid),
    closing: Closing,
) -> Result<Option<People>, connect_hub::Error> {
    let mut cut = None;
    for row in rows {
        cut = together(cut, revoke(client, agent, &row.code, closing).await?);
        hub.with_directory(|directory| directory.forget(row));
    }
    Ok(cut)
}

/// Whom two ends have cut off.
fn together(one: Option<People>, other: Option<People>) -> Option<People> {
    match (one, other) {
        (Some(one), Some(other)) => Some(People {
            joiners: one.joiners + other.joiners,
            connections: one.connections + other.connections,
        }),
        (one, other) => one.or(other),
    }
}

/// Revokes a code; one that the hub does not know is as good as revoked.
async fn revoke(
    client: &Client,
    agent: Uuid,
    code: &SecretString,
    closing: Closing,
) -> Result<Option<People>, connect_hub::Error> {
    match point("closing a share", client.close_share(agent, code, closing)).await? {
        Revoked::Done(cut) => Ok(cut),
        Revoked::Absent => Ok(None),
    }
}
