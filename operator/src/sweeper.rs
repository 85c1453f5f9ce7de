//! Closes at the hubs what no object owns: the net under crashes between a hub's answer and our memory of it.
//!
//! A share is swept only when the API server itself, asked for all EnvironmentShares and having answered completely, knows
//! no object with the share's marker, or knows it as ended. A list that fails or stops half-way sweeps nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use connect_crds::condition::{find, kind, reason};
use connect_crds::{EnvironmentShare, ShareMarker, Signature};
use connect_hub::client::{Closing, ShareRow};
use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::clock;
use crate::cluster::call;
use crate::error::{Error, chain};
use crate::faults::{point, quick};
use crate::lease::Leadership;
use crate::tunnels::{HubConnection, HubState, Hubs};

/// How often it is looked for orphans. The hub's lists are those that the connection reads once a minute anyway.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A share younger than this is left alone: its object may be on its way through a create that is being answered now.
const MIN_AGE: SignedDuration = SignedDuration::from_secs(120);

/// Objects asked for at once.
const PAGE: u32 = 500;

/// Sweeps every minute while this replica leads, for ever.
pub async fn run(hubs: Arc<Hubs>, client: Client, namespaces: Vec<String>, leadership: Leadership) {
    let mut every = tokio::time::interval(quick(SWEEP_EVERY));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        for hub in hubs.all() {
            if hub.state() == HubState::Ready
                && leadership.is_held()
                && let Err(error) = sweep(&hub, &client, &namespaces, clock::now()).await
            {
                tracing::warn!(hub = %hub.url(), error = chain(&error), "could not look for orphaned shares; looking again later");
            }
        }
    }
}

async fn sweep(
    hub: &HubConnection,
    client: &Client,
    namespaces: &[String],
    now: Timestamp,
) -> Result<(), Error> {
    let suspects = hub.with_directory(|directory| {
        let old = |rows: &[ShareRow]| rows.iter().all(|row| now.duration_since(row.created_at) > MIN_AGE);
        // What another operator has made is that one's to close, even if we are the same agent.
        let maker = hub.maker();
        let is_ours = |signature: &Signature| signature.maker.is_none() || signature.maker == maker;
        directory
            .all_shares()
            .filter(|(signature, rows)| is_ours(signature) && old(rows))
            .map(|(signature, rows)| (signature.marker.clone(), rows.to_vec()))
            .collect::<Vec<_>>()
    });
    if suspects.is_empty() {
        return Ok(());
    }
    let owned = owned_markers(client, namespaces).await?;
    let Some((api, agent)) = hub.entered() else { return Ok(()) };
    for (marker, rows) in suspects {
        if owned.get(&marker).copied().unwrap_or(false) {
            continue;
        }
        for row in &rows {
            point("closing an orphaned share", api.close_share(agent, &row.code, Closing::Removed))
                .await
                .map_err(|source| Error::Hub { doing: "closing an orphaned share", source })?;
            hub.with_directory(|directory| directory.forget(row));
        }
        tracing::info!(hub = %hub.url(), %marker, "closed a share that no object owns");
    }
    Ok(())
}

/// The markers of all EnvironmentShares, with whether each may have a share at a hub.
async fn owned_markers(client: &Client, namespaces: &[String]) -> Result<HashMap<ShareMarker, bool>, Error> {
    let apis: Vec<Api<EnvironmentShare>> = if namespaces.is_empty() {
        vec![Api::all(client.clone())]
    } else {
        namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
    };
    let mut owned = HashMap::new();
    for api in apis {
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = call("listing EnvironmentShares", api.list(&params)).await?;
            for share in &page.items {
                let Some(marker) = share.uid().map(|uid| ShareMarker::of(&uid)) else { continue };
                // Several objects may have one marker in its old form; it is owned while any of them lives.
                for marker in [marker.in_old_form(), marker] {
                    *owned.entry(marker).or_default() |= !has_ended(share);
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(owned)
}

/// Whether status says that the share has ended, and that the hub was told.
fn has_ended(share: &EnvironmentShare) -> bool {
    let Some(status) = &share.status else { return false };
    find(&status.conditions, kind::ACTIVE).is_some_and(|active| {
        active.status == "False" && matches!(active.reason.as_str(), reason::EXPIRED | reason::REVOKED)
    })
}
