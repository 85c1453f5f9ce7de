//! `/v1/env-shares` for whoever makes shares: create, list, change, revoke.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    auth::Caller,
    body::{Body, Segment},
    error::ApiError,
    routes,
    validation::Fields,
    views::{ListedShare, ShareView},
};
use crate::{
    bridges::Cut,
    core::{Carried, Connected, Core},
    limits::{MAX_JOINS, SHARE_HOURS, SHARES_PER_WORKSPACE},
    secret::ShareCode,
    store::{Change, Changed, EndReason, NewRoute, NewShare, ShareCreation, ShareRow, ShareState, Workspace},
    timestamp::Timestamp,
};

/// Recorded.
const NAME_MAX: usize = 100;
const DEFAULT_LIFE: Duration = Duration::from_secs(24 * 3600);
const IDEMPOTENCY_HEADER: &str = "idempotency-key";
const IDEMPOTENCY_MAX: usize = 128;
/// Why a share is closed, for those who have joined; without it, it is revoked.
const END_REASON_HEADER: &str = "end-reason";
/// A date in any sensible form.
const DATE_MAX: usize = 64;
/// The newest joins that the list tells of each share.
const JOINS_LISTED: i64 = 20;

pub async fn create(
    State(core): State<Arc<Core>>,
    Caller { workspace, agent }: Caller,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let now = Timestamp::now();
    let idempotency_key = idempotency_key(&headers)?;
    let mut fields = Fields::of(&body);
    let name = fields.optional_string("name", NAME_MAX);
    let hours = fields.optional_number("expiresInHours", 1, SHARE_HOURS);
    let expires_at = future(&mut fields, now);
    let max_joins = fields.optional_integer("maxJoins", 1, MAX_JOINS);
    let asked = routes::read(&mut fields);
    refuse_unkept(&mut fields);
    // A program that names an end or can repeat itself means what it says, also when that is nothing.
    let means_it = fields.has("expiresAt") || idempotency_key.is_some();
    fields.finish()?;
    // Recorded: parts of an hour do not count.
    let hours = hours.map(|hours| Duration::from_secs(hours as u64 * 3600));
    let new = NewShare {
        workspace: &workspace.id,
        agent: agent.id,
        name,
        expires_at: expires_at.unwrap_or_else(|| now.after(hours.unwrap_or(DEFAULT_LIFE))),
        max_joins,
        idempotency_key,
        routes: routes_or_snapshot(&core, &workspace, agent.id, asked, means_it).await?,
    };
    match core.store.create_share(new).await? {
        ShareCreation::Done(share) => {
            if share.state(Timestamp::now()) == ShareState::Active {
                core.expirations.set(share.id, share.expires_at);
            }
            Ok((StatusCode::CREATED, Json(made(&share))))
        }
        ShareCreation::OtherAgent => {
            Err(ApiError::text(409, "Idempotency key belongs to another agent of the workspace"))
        }
        ShareCreation::UnknownService { route } => Err(unknown_service(&route)),
        ShareCreation::TooMany => {
            Err(ApiError::text(400, format!("A workspace has at most {SHARES_PER_WORKSPACE} active shares")))
        }
    }
}

/// Promises that some client may ask for and this hub does not keep: to drop them, as recorded hubs do, would leave a share
/// open that its maker believes to be guarded, or end one that is believed to go on.
fn refuse_unkept(fields: &mut Fields<'_>) {
    if fields.optional_bool("requireDeviceApproval") == Some(true) {
        let why =
            "This hub does not hold joins back for approval. Share without it, or limit the joins: maxJoins";
        fields.refuse("requireDeviceApproval", why);
    }
    if fields.optional_bool("neverExpires") == Some(true) {
        fields.refuse("neverExpires", "Every share of this hub ends. Say when: expiresInHours, or expiresAt");
    }
}

/// The routes that were asked for; without any, everything that the calling agent has exposed. That may be nothing: such a
/// share can be made, too. What others of the workspace have exposed, a cluster's operator for one, they have not asked to be
/// handed out.
async fn routes_or_snapshot(
    core: &Core,
    workspace: &Workspace,
    agent: Uuid,
    asked: Option<Vec<NewRoute>>,
    means_it: bool,
) -> Result<Vec<NewRoute>, ApiError> {
    match asked {
        Some(routes) if means_it || !routes.is_empty() => return Ok(routes),
        None if means_it => return Ok(Vec::new()),
        _ => {}
    }
    let services = core.store.services(&workspace.id).await?;
    let exposed =
        services.into_iter().filter(|service| service.agent == Some(agent) && service.tunnel_port.is_some());
    Ok(exposed.map(routes::snapshot).collect())
}

pub async fn list(State(core): State<Arc<Core>>, caller: Caller) -> Result<Json<Value>, ApiError> {
    let (mut rows, carried) = (Vec::new(), Carried::now(&core));
    for share in core.store.live_shares(caller.agent.id, JOINS_LISTED).await? {
        let present = carried.of(&core, share.id, share.granted);
        rows.push(json!(ListedShare {
            code: share.code.reveal(),
            name: share.name.as_deref(),
            expires_at: share.expires_at,
            route_count: share.route_count,
            join_count: share.join_count,
            created_at: share.created_at,
            id: share.id,
            idempotency_key: share.idempotency_key.as_deref(),
            joins: present.join_rows(&share.joins, false),
            connected: present.sums(),
            last_joined_at: share.joins.first().map(|join| join.at),
        }));
    }
    Ok(Json(json!({ "shares": rows })))
}

pub async fn change(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Segment(code): Segment,
    Body(body): Body,
) -> Result<Json<Value>, ApiError> {
    let share = own_share(&core, &caller, &code).await?;
    let mut fields = Fields::of(&body);
    let expires_at = future(&mut fields, Timestamp::now());
    let max_joins = fields.optional_integer("maxJoins", 1, MAX_JOINS);
    let routes = routes::read(&mut fields);
    fields.finish()?;
    let routes_change = routes.is_some();
    match core.store.change_share(&share, Change { expires_at, max_joins, routes }).await? {
        Changed::Done(share) => {
            if expires_at.is_some() {
                core.move_end(share.id, share.expires_at).await;
            }
            let mut answer = made(&share);
            if routes_change {
                let services = share.routes.iter().filter_map(|route| route.service).collect::<HashSet<_>>();
                answer["cut"] = json!(cut_off(&core.bridges.keep_routes(share.id, &services)));
            }
            Ok(Json(answer))
        }
        Changed::UnknownService { route } => Err(unknown_service(&route)),
        Changed::Ended => Err(ApiError::guard(409, "Share has ended")),
    }
}

pub async fn revoke(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Segment(code): Segment,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let not_found = || ApiError::text(403, "Share not found"); // recorded: not a 404
    let code = ShareCode::parse(&code).ok_or_else(not_found)?;
    let share = core.store.share(&code).await?.ok_or_else(not_found)?;
    if share.workspace != caller.workspace.id {
        return Err(not_found());
    }
    if share.agent != caller.agent.id {
        return Err(ApiError::text(403, "Not authorized to revoke this share"));
    }
    let named = |reason: &EndReason| {
        headers.get(END_REASON_HEADER).is_some_and(|why| why.as_bytes() == reason.as_str().as_bytes())
    };
    let why = [EndReason::Deleted, EndReason::Rotated].into_iter().find(named).unwrap_or(EndReason::Revoked);
    let cut = core.close(share.id, why).await?;
    Ok(Json(json!({"success": true, "cut": cut_off(&cut)})))
}

/// Whom an end has cut off, for its author.
pub(super) fn cut_off(cut: &Cut) -> Connected {
    Connected { joiners: cut.joiners.len(), connections: cut.connections }
}

/// The share of this code, if the caller made it.
pub(super) async fn own_share(core: &Core, caller: &Caller, code: &str) -> Result<ShareRow, ApiError> {
    let code = ShareCode::parse(code).ok_or_else(ApiError::share_not_found)?;
    let share = core.store.share(&code).await?.filter(|share| share.agent == caller.agent.id);
    share.ok_or_else(ApiError::share_not_found)
}

/// The field `expiresAt`, which must lie ahead.
fn future(fields: &mut Fields<'_>, now: Timestamp) -> Option<Timestamp> {
    let text = fields.optional_string("expiresAt", DATE_MAX)?;
    let Some(timestamp) = Timestamp::parse(text) else {
        fields.refuse("expiresAt", "expiresAt must be a date such as 2026-12-01T18:00:00Z");
        return None;
    };
    if timestamp <= now {
        fields.refuse("expiresAt", "expiresAt must be in the future");
        return None;
    }
    Some(timestamp)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_HEADER) else { return Ok(None) };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > IDEMPOTENCY_MAX || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::text(400, "Idempotency-Key must be 1 to 128 visible ASCII characters"));
    }
    Ok(Some(key))
}

fn unknown_service(route: &str) -> ApiError {
    ApiError::text(
        400,
        format!(
            "Route {route} names a service that this workspace does not have. Register the service first."
        ),
    )
}

/// The answer to its maker.
fn made(share: &ShareRow) -> Value {
    json!({"success": true, "share": ShareView::from(share)})
}
