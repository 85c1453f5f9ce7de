//! `/v1/env-shares/:code` for whoever has a code: look, join. Every refusal is the same answer, so that nobody learns
//! whether a code ever existed, and attempts are limited.

use std::{net::IpAddr, sync::Arc, time::Instant};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    auth::{Caller, From, MaybeCaller},
    body::{Body, Segment},
    error::ApiError,
    routes, shares,
    validation::Fields,
};
use crate::{
    core::Core,
    moment::Moment,
    secret::{SecretHash, ShareCode, generate_token},
    store::{Joined, Joiner, ShareRow, ShareState, StoreError},
};

/// Recorded: a preview tells at most so many joins.
const PREVIEW_JOINS: i64 = 10;
/// The joins that their list tells.
const JOINS_LISTED: i64 = 200;
const LABEL_MAX: usize = 100;
/// How a guest is called who does not say.
const GUEST_LABEL: &str = "guest";

pub async fn preview(
    State(core): State<Arc<Core>>,
    From(address): From,
    Segment(code): Segment,
) -> Result<Json<Value>, ApiError> {
    let code = attempt(&core, address, &code)?;
    let share = core.store.share(&code).await?;
    let Some(share) = share.filter(|share| share.state(Moment::now()) == ShareState::Active) else {
        return Err(refuse(&core, address, &code));
    };
    let (joins, newest) = core.store.joins(share.id, PREVIEW_JOINS).await?;
    let full = share.max_joins.is_some_and(|max| joins >= max) && is_full(&core, &share).await?;
    if full {
        return Err(refuse(&core, address, &code));
    }
    let routes = share
        .routes
        .iter()
        .map(|route| json!({"serviceName": route.service_name, "protocol": route.protocol}));
    Ok(Json(json!({
        "code": share.code.reveal(),
        "name": share.name,
        "expiresAt": share.expires_at,
        "routeCount": share.routes.len(),
        "joinCount": newest.len(),
        "routes": routes.collect::<Vec<_>>(),
    })))
}

/// Whether nobody new may join: `maxJoins` counts agents, not their calls.
async fn is_full(core: &Core, share: &ShareRow) -> Result<bool, ApiError> {
    let agents = core.store.granted_agents(share.id).await?.len();
    Ok(share.max_joins.is_some_and(|max| i64::try_from(agents).unwrap_or(i64::MAX) >= max))
}

pub async fn join(
    State(core): State<Arc<Core>>,
    caller: MaybeCaller,
    From(address): From,
    Segment(code): Segment,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let mut fields = Fields::of(&body);
    let label =
        fields.optional_string("agentLabel", LABEL_MAX).map(without_controls).filter(|text| !text.is_empty());
    fields.finish()?;
    let code = attempt(&core, address, &code)?;
    let (joined, guest) = match &caller {
        MaybeCaller::Agent(caller) => {
            let label = label.as_deref().unwrap_or(&caller.agent.label);
            (core.store.join(&code, Joiner::Agent(caller.agent.id), label).await?, None)
        }
        MaybeCaller::Anybody => {
            let (id, token) = (Uuid::new_v4(), generate_token().map_err(StoreError::from)?);
            let joiner = Joiner::Guest { id, token: &SecretHash::of(&token) };
            let joined = core.store.join(&code, joiner, label.as_deref().unwrap_or(GUEST_LABEL)).await?;
            (joined, Some((id, token)))
        }
    };
    let Some(joined) = joined else { return Err(refuse(&core, address, &code)) };
    tell_maker(&core, &joined);
    let mut answer = json!({"success": true, "share": told(&joined.share)});
    if let Some((id, token)) = guest {
        answer["agent"] = json!({"agentId": id, "token": token, "expiresAt": joined.share.expires_at});
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

pub async fn list(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Segment(code): Segment,
) -> Result<Json<Value>, ApiError> {
    let share = shares::own_share(&core, &caller, &code).await?;
    let (count, joins) = core.store.joins(share.id, JOINS_LISTED).await?;
    let joins = joins
        .iter()
        .map(|join| json!({"agentId": join.agent, "agentLabel": join.label, "joinedAt": join.at}));
    Ok(Json(json!({"count": count, "joins": joins.collect::<Vec<_>>()})))
}

/// The code, if another attempt may be made and any code looks like that.
fn attempt(core: &Core, address: IpAddr, code: &str) -> Result<ShareCode, ApiError> {
    let (now, parsed) = (Instant::now(), ShareCode::parse(code));
    core.attempts.check(address, parsed.as_ref(), now).map_err(|wait| ApiError::TooManyAttempts { wait })?;
    parsed.ok_or_else(|| {
        core.attempts.failed(address, None, now);
        ApiError::share_not_found()
    })
}

fn refuse(core: &Core, address: IpAddr, code: &ShareCode) -> ApiError {
    core.attempts.failed(address, Some(code), Instant::now());
    ApiError::share_not_found()
}

/// Whoever made the share hears who came, if its agent is connected and understands that.
fn tell_maker(core: &Core, joined: &Joined) {
    let Joined { share, join, count } = joined;
    tracing::info!(share = %share.id, agent = %join.agent, "share joined");
    if let Some(maker) = core.agents.newest(share.agent).filter(|maker| maker.features.share_events) {
        let event = json!({"id": share.id, "count": count, "agentLabel": join.label, "joinedAt": join.at});
        let _ = maker.emit("share_joined", &event, 0);
    }
}

/// A share as whoever joined it hears of it.
fn told(share: &ShareRow) -> Value {
    json!({
        "code": share.code.reveal(),
        "name": share.name,
        "expiresAt": share.expires_at,
        "routes": share.routes.iter().map(routes::for_joiner).collect::<Vec<_>>(),
        "id": share.id,
    })
}

fn without_controls(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}
