//! Makes it so: at the data plane first, then at the hub, then in the Secret.
//!
//! The order is the promise. An end is enforced here before anybody else is told; a beginning is told to people (by
//! status) only after everything else has happened. Every step can be repeated: a crash anywhere leaves what the next look finds
//! and completes.

use connect_crds::{EnvironmentShare, Membership};
use connect_hub::client::{
    Client, NewRoute, NewService, NewShare, Revoked, ServiceReach, ShareChange, ShareEnd, ShareRow,
    ShareState,
};
use connect_hub::tunnel::routes::Route as DialRoute;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use uuid::Uuid;

use super::code_secret;
use super::dereference::Found;
use super::names::{service_name, share_key};
use super::plan::{Plan, hub_problem};
use super::validate::{Over, Route, Validated};
use crate::cluster::{FIELD_MANAGER, call, call_opt};
use crate::context::Context;
use crate::controllers::HubProblem;
use crate::error::Error;
use crate::tunnels::{HubConnection, HubState, KnownService, Mark, hub_share_name, hub_verdict};

/// Longest life of a share at a hub that takes whole hours only, in hours (contract A.3). Longer ones are renewed.
const HOURS_CAP: i64 = 168;

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// The share is at the hub and its code in the Secret.
    pub shared: bool,
    /// What is wrong with the hub.
    pub problem: Option<HubProblem>,
    /// Nothing is known of the hub: status is left as it is.
    pub undecided: bool,
    /// The hub says that the share has ended, though the object does not.
    pub ended_at_hub: Option<Over>,
    /// The code in the Secret is another than before.
    pub code_changed: bool,
    /// The hub's row of the share: its joins.
    pub row: Option<ShareRow>,
    /// When to look again.
    pub look_again: Option<Duration>,
}

/// Carries the plan out.
///
/// # Errors
/// The API server refused or did not answer. What the hub refuses is in [`Done::problem`], to be said in status.
pub async fn apply(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    plan: Plan,
    context: &Context,
) -> Result<Done, Error> {
    match plan {
        Plan::Close(over) => close(share, found, over, context).await,
        Plan::Open => open(share, valid, found, context).await,
        Plan::Nothing => {
            let look_again = valid.not_yet.as_ref().map(|(_, wait)| *wait);
            Ok(Done { problem: hub_problem(found), look_again, ..Done::default() })
        }
        Plan::Leave => {
            if let Ok((hub, _)) = &found.hub {
                follow_services(share, valid, found, hub);
            }
            let undecided = matches!(&found.hub, Ok((_, HubState::Starting)));
            Ok(Done {
                shared: found.code.is_some(),
                problem: hub_problem(found),
                undecided,
                row: found.rows.first().cloned(),
                ..Done::default()
            })
        }
    }
}

// --- the beginning, and every look after it ---

async fn open(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    context: &Context,
) -> Result<Done, Error> {
    let (Ok((hub, _)), Some(ends_at)) = (&found.hub, valid.ends_at) else { return Ok(Done::default()) };
    follow_services(share, valid, found, hub);
    let at_hub = async {
        let services = register_services(share, &valid.routes, hub).await?;
        withdraw_services(share, &valid.routes, found, hub).await?;
        settle_share(share, valid, found, ends_at, &services, hub).await
    };
    let settled = match at_hub.await {
        Ok(settled) => settled,
        Err(error) => return Ok(failed(found, hub, &error)),
    };
    let row = match settled {
        Settled::Open(row) => row,
        Settled::Limit => {
            return Ok(Done { shared: true, row: found.rows.first().cloned(), ..Done::default() });
        }
        Settled::Ended(over) => {
            hub.routes().end(&share_key(share), over.end_reason());
            return Ok(Done { ended_at_hub: Some(over), ..Done::default() });
        }
    };
    let names: Vec<String> = valid.routes.iter().map(|route| route.name.clone()).collect();
    let wanted = code_secret::manifest(share, &row.code, hub.public_url(), ends_at, &names);
    if !found.stored_secret.as_deref().is_some_and(|stored| code_secret::is_current(stored, &wanted)) {
        write_secret(share, &wanted, context).await?;
    }
    let code_changed =
        found.code.as_ref().is_some_and(|had| had.code.expose_secret() != row.code.expose_secret());
    // At a hub that takes hours only the share ends there before it ends here; look when that is due.
    let renewal = row.expires_at.duration_since(context.now());
    let look_again = (row.expires_at < ends_at)
        .then(|| Duration::try_from(renewal).unwrap_or(Duration::ZERO) + Duration::from_secs(1));
    Ok(Done { shared: true, code_changed, row: Some(row), look_again, ..Done::default() })
}

/// Tells the data plane the share's end and where its known services lead now. Costs no call, so it is done whatever the hub's
/// state: a Service that was withdrawn is cut even while the hub is away.
fn follow_services(share: &EnvironmentShare, valid: &Validated, found: &Found, hub: &HubConnection) {
    let key = share_key(share);
    if let Some(end) = valid.ends_at {
        hub.routes().set_end(&key, end);
    }
    for (name, known) in &found.services {
        match valid.routes.iter().find(|route| service_name(share, &route.name) == *name) {
            Some(route) => hub.routes().set(known.id, dial_route(share, route, *known)),
            None => hub.routes().remove(known.id),
        }
    }
}

fn dial_route(share: &EnvironmentShare, route: &Route, known: KnownService) -> DialRoute {
    DialRoute {
        share: Some(share_key(share)),
        name: service_name(share, &route.name),
        tunnel_port: known.tunnel_port,
        protocol: route.protocol.as_hub_str().to_owned(),
        targets: route.target.as_ref().map(|target| target.addresses.clone()).unwrap_or_default(),
    }
}

/// Every route's own service at the hub; those that are known already cost nothing.
async fn register_services(
    share: &EnvironmentShare,
    routes: &[Route],
    hub: &HubConnection,
) -> Result<Vec<Uuid>, connect_hub::Error> {
    let (Some(client), Some(agent)) = (hub.client(), hub.agent()) else { return Ok(Vec::new()) };
    let mut ids = Vec::with_capacity(routes.len());
    for route in routes {
        let name = service_name(share, &route.name);
        let known = match hub.with_directory(|directory| directory.service(&name)) {
            Some(known) => known,
            None => {
                let service = NewService {
                    name: name.clone(),
                    target_host: route.name.clone(),
                    target_port: target_port(route),
                    protocol: route.protocol.as_hub_str(),
                    is_public: false,
                    reach: Some(ServiceReach::Shared),
                };
                let made = client.register_service(agent, &service).await?;
                let known = KnownService { id: made.id, tunnel_port: made.tunnel_port };
                hub.with_directory(|directory| directory.remember_service(&name, known));
                known
            }
        };
        hub.routes().set(known.id, dial_route(share, route, known));
        ids.push(known.id);
    }
    Ok(ids)
}

/// Frees the services of routes that are no longer shared, where the hub can.
async fn withdraw_services(
    share: &EnvironmentShare,
    routes: &[Route],
    found: &Found,
    hub: &HubConnection,
) -> Result<(), connect_hub::Error> {
    for (name, known) in &found.services {
        if !routes.iter().any(|route| service_name(share, &route.name) == *name) {
            hub.free_service(name, *known).await?;
        }
    }
    Ok(())
}

fn target_port(route: &Route) -> u16 {
    route.target.as_ref().map_or(route.port, |target| target.port)
}

/// How it stands with the share at the hub.
enum Settled {
    Open(ShareRow),
    Limit,
    Ended(Over),
}

/// Exactly one share with our mark at the hub, with the right end and routes.
async fn settle_share(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    ends_at: Timestamp,
    services: &[Uuid],
    hub: &HubConnection,
) -> Result<Settled, connect_hub::Error> {
    let (Some(client), Some(agent)) = (hub.client(), hub.agent()) else { return Ok(Settled::Limit) };
    let limit_is_ours = valid.limit_reached && !hub.has("grants");
    if limit_is_ours {
        close_rows(client, agent, &found.rows, share, hub).await?;
        return Ok(Settled::Limit);
    }
    let known = found.code.as_ref().map(|code| code.code.expose_secret());
    let keep = found
        .rows
        .iter()
        .position(|row| Some(row.code.expose_secret()) == known)
        .or((!found.rows.is_empty()).then_some(0));
    let Some(keep) = keep else {
        return create(share, valid, ends_at, services, client, agent, hub).await;
    };
    for (_, extra) in found.rows.iter().enumerate().filter(|(index, _)| *index != keep) {
        client.revoke_share(agent, &extra.code).await?;
    }
    let row = found.rows[keep].clone();
    let mark = Mark::of(&share.uid().unwrap_or_default());
    let row = if hub.has("update-share") {
        update(share, valid, found, ends_at, services, client, agent, row).await?
    } else {
        row
    };
    hub.with_directory(|directory| {
        directory.forget(&mark);
        directory.remember(row.clone());
    });
    Ok(Settled::Open(row))
}

async fn create(
    share: &EnvironmentShare,
    valid: &Validated,
    ends_at: Timestamp,
    services: &[Uuid],
    client: &Client,
    agent: Uuid,
    hub: &HubConnection,
) -> Result<Settled, connect_hub::Error> {
    let uid = share.uid().unwrap_or_default();
    let name =
        hub_share_name(share.spec.display_name.as_deref().unwrap_or(&share.name_any()), &Mark::of(&uid));
    let end = if hub.has("expires-at") {
        ShareEnd::At(ends_at)
    } else {
        ShareEnd::Hours(whole_hours(ends_at, Timestamp::now()))
    };
    let max_joins = share.spec.max_joins.and_then(|limit| u32::try_from(limit).ok());
    let new =
        NewShare { name: Some(name.clone()), end, max_joins, routes: new_routes(&valid.routes, services) };
    let key = hub.has("idempotency-key").then_some(uid.as_str());
    let made = client.create_share(agent, &new, key).await?;
    match made.state {
        ShareState::Expired => return Ok(Settled::Ended(Over::Expired)),
        ShareState::Revoked => return Ok(Settled::Ended(Over::Revoked)),
        ShareState::Active => {}
    }
    let row = ShareRow {
        code: made.code,
        id: made.id,
        name: Some(name),
        expires_at: made.expires_at,
        route_count: valid.routes.len() as u64,
        join_count: 0,
        created_at: Timestamp::now(),
        joins: Vec::new(),
    };
    hub.with_directory(|directory| directory.remember(row.clone()));
    Ok(Settled::Open(row))
}

/// The hours that a hub must be asked for so that its share does not end before ours, capped at what hubs take.
fn whole_hours(ends_at: Timestamp, now: Timestamp) -> u32 {
    let seconds = ends_at.duration_since(now).as_secs().max(1);
    let hours = (seconds + 3599) / 3600;
    u32::try_from(hours.clamp(1, HOURS_CAP)).unwrap_or(1)
}

fn new_routes(routes: &[Route], services: &[Uuid]) -> Vec<NewRoute> {
    routes
        .iter()
        .zip(services)
        .map(|(route, id)| NewRoute {
            service_name: route.name.clone(),
            service_id: Some(*id),
            target_host: route.name.clone(),
            target_port: target_port(route),
            local_port: Some(route.port),
            protocol: route.protocol.as_hub_str().to_owned(),
        })
        .collect()
}

/// Changes end and routes of an open share, when they differ.
#[expect(clippy::too_many_arguments, reason = "one step of settle_share, with all that it has")]
async fn update(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    ends_at: Timestamp,
    services: &[Uuid],
    client: &Client,
    agent: Uuid,
    mut row: ShareRow,
) -> Result<ShareRow, connect_hub::Error> {
    let differs = row.expires_at.duration_since(ends_at).abs() >= SignedDuration::from_secs(1);
    let had = found.code.as_ref().map(|code| code.routes.as_slice()).unwrap_or_default();
    let live = valid.membership == Membership::Live;
    let rerouted = live
        && (had.len() != valid.routes.len() || valid.routes.iter().any(|route| !had.contains(&route.name)));
    if !differs && !rerouted {
        return Ok(row);
    }
    let change = ShareChange {
        expires_at: differs.then_some(ends_at),
        max_joins: share.spec.max_joins.and_then(|limit| u32::try_from(limit).ok()),
        routes: rerouted.then(|| new_routes(&valid.routes, services)),
    };
    let changed = client.update_share(agent, &row.code, &change).await?;
    row.expires_at = changed.expires_at;
    Ok(row)
}

fn failed(found: &Found, hub: &HubConnection, error: &connect_hub::Error) -> Done {
    Done {
        shared: found.code.is_some(),
        problem: HubProblem::of(hub_verdict(hub.url(), error)),
        row: found.rows.first().cloned(),
        look_again: Some(error.retry_after().unwrap_or(HUB_RETRY)),
        ..Done::default()
    }
}

/// When a share is tried again at a hub that answered no or not at all; the hub's own task tells when it is back.
const HUB_RETRY: Duration = Duration::from_secs(15);

// --- the end ---

async fn close(
    share: &EnvironmentShare,
    found: &Found,
    over: Over,
    context: &Context,
) -> Result<Done, Error> {
    if let Ok((hub, _)) = &found.hub {
        // First of all: no new connection, and the open ones are cut. Nothing below can delay this.
        hub.routes().end(&share_key(share), over.end_reason());
    }
    if let Err(problem) = close_at_hub(share, found).await {
        return Ok(Done { problem: Some(problem), look_again: Some(HUB_RETRY), ..Done::default() });
    }
    delete_secret(share, found, context).await?;
    // At a hub that keeps the rows of ended shares, their services are refused like unknown ones.
    if let Ok((hub, _)) = &found.hub {
        for (_, known) in &found.services {
            hub.routes().remove(known.id);
        }
    }
    Ok(Done { row: found.rows.first().cloned(), ..Done::default() })
}

/// Tells the hub that the share has ended, if it knows of it.
///
/// # Errors
/// Says why the hub could not be told.
pub async fn close_at_hub(share: &EnvironmentShare, found: &Found) -> Result<(), HubProblem> {
    // A hub whose Secret is gone cannot be told; its share ends there by its own expiry.
    let Ok((hub, state)) = &found.hub else { return Ok(()) };
    let services = if hub.deletes_services() { found.services.as_slice() } else { &[] };
    if found.code.is_none() && found.rows.is_empty() && services.is_empty() {
        return Ok(());
    }
    let unknown = || HubProblem::of(state.clone()).unwrap_or_else(|| waiting(hub));
    let (Some(client), Some(agent)) = (hub.client(), hub.agent()) else { return Err(unknown()) };
    let told = async {
        if let Some(code) =
            found.code.as_ref().filter(|code| code.hub_url.as_deref() == Some(hub.public_url().as_str()))
        {
            revoke(client, agent, &code.code).await?;
        }
        close_rows(client, agent, &found.rows, share, hub).await?;
        for (name, known) in services {
            hub.free_service(name, *known).await?;
        }
        Ok::<(), connect_hub::Error>(())
    };
    told.await.map_err(|error| HubProblem::of(hub_verdict(hub.url(), &error)).unwrap_or_else(|| waiting(hub)))
}

fn waiting(hub: &HubConnection) -> HubProblem {
    HubProblem::of(HubState::Unreachable(format!("not connected to the hub at {} yet", hub.url()))).unwrap_or(
        HubProblem {
            reason: connect_crds::condition::reason::HUB_UNREACHABLE,
            message: String::new(),
            stalled: None,
        },
    )
}

async fn close_rows(
    client: &Client,
    agent: Uuid,
    rows: &[ShareRow],
    share: &EnvironmentShare,
    hub: &HubConnection,
) -> Result<(), connect_hub::Error> {
    for row in rows {
        revoke(client, agent, &row.code).await?;
    }
    let mark = Mark::of(&share.uid().unwrap_or_default());
    hub.with_directory(|directory| directory.forget(&mark));
    Ok(())
}

/// Revokes a code; one that the hub does not know is as good as revoked.
async fn revoke(client: &Client, agent: Uuid, code: &SecretString) -> Result<(), connect_hub::Error> {
    match client.revoke_share(agent, code).await? {
        Revoked::Done | Revoked::Absent => Ok(()),
    }
}

// --- the Secret ---

async fn write_secret(share: &EnvironmentShare, wanted: &Secret, context: &Context) -> Result<(), Error> {
    let api: Api<Secret> =
        Api::namespaced(context.client.clone(), &share.namespace().ok_or(Error::Incomplete("namespace"))?);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    call("writing the code's Secret", api.patch(&wanted.name_any(), &params, &Patch::Apply(wanted))).await?;
    Ok(())
}

/// Deletes the Secret, but only the very one that was read: its code is void.
async fn delete_secret(share: &EnvironmentShare, found: &Found, context: &Context) -> Result<(), Error> {
    let Some(code) = &found.code else { return Ok(()) };
    let api: Api<Secret> =
        Api::namespaced(context.client.clone(), &share.namespace().ok_or(Error::Incomplete("namespace"))?);
    let preconditions = Preconditions { uid: code.uid.clone(), resource_version: None };
    let params = DeleteParams::default().preconditions(preconditions);
    match call_opt("deleting the code's Secret", api.delete(&share.code_secret_name(), &params)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_share_never_ends_before_ours_unless_the_hub_forbids_it() {
        let now = Timestamp::from_second(1_800_000_000).expect("a date");
        let after = |seconds: i64| whole_hours(now + SignedDuration::from_secs(seconds), now);
        assert_eq!(after(1), 1);
        assert_eq!(after(3600), 1);
        assert_eq!(after(3601), 2);
        assert_eq!(after(14 * 24 * 3600), 168);
        assert_eq!(after(-5), 1);
    }
}
