//! `/v1/env-shares/:code` for whoever has a code: look, join. Every refusal is the same answer, so that nobody learns
//! whether a code ever existed, and attempts are limited.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, extract::State, http::StatusCode};
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    auth::{Caller, From, MaybeCaller},
    body::{OpenBody, Segment},
    error::ApiError,
    shares,
    validation::Fields,
    views::{JoinedShare, Preview},
};
use crate::{
    core::{Carried, Core},
    rate_limiter::Try,
    secret::{SecretHash, ShareCode, generate_token},
    store::{JoinOutcome, Joined, Joiner, ShareRow, ShareState, StoreError},
    timestamp::Timestamp,
};

/// Recorded: a preview tells at most so many joins.
const PREVIEW_JOINS: i64 = 10;
/// The joins that their list tells.
const JOINS_LISTED: i64 = 200;
const LABEL_MAX: usize = 100;
/// What there were too many of.
const ATTEMPTS: &str = "attempts";
/// How long somebody without a try waits for a turn, at most: connections are few enough that one comes sooner.
const LONGEST_TURN: Duration = Duration::from_secs(8);
/// How a guest is called who does not say.
const GUEST_LABEL: &str = "guest";

pub async fn preview(
    State(core): State<Arc<Core>>,
    From(address): From,
    Segment(code): Segment,
) -> Result<Json<Value>, ApiError> {
    let asked = attempt(&core, address, &code).await?;
    let share = match find(&core, &asked.code).await {
        Ok(Some(share)) => share,
        Ok(None) => return Err(asked.refuse()),
        Err(error) => return Err(asked.failed(error)),
    };
    asked.attempt.forgive();
    let (_, newest) = core.store.joins(share.id, PREVIEW_JOINS).await?;
    Ok(Json(json!(Preview::new(&share, newest.len()))))
}

/// The live share of this code, unless nobody new may join it.
async fn find(core: &Core, code: &ShareCode) -> Result<Option<ShareRow>, StoreError> {
    let share = core.store.share(code).await?;
    let Some(share) = share.filter(|share| share.state(Timestamp::now()) == ShareState::Active) else {
        return Ok(None);
    };
    // `maxJoins` counts agents, not their calls.
    let full = match share.max_joins {
        Some(max) => core.store.count_granted(share.id).await? >= max,
        None => false,
    };
    Ok((!full).then_some(share))
}

pub async fn join(
    State(core): State<Arc<Core>>,
    caller: MaybeCaller,
    From(address): From,
    Segment(code): Segment,
    OpenBody(body): OpenBody,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let mut fields = Fields::of(&body);
    let label =
        fields.optional_string("agentLabel", LABEL_MAX).map(without_controls).filter(|text| !text.is_empty());
    fields.finish()?;
    let asked = attempt(&core, address, &code).await?;
    let (joined, guest) = match &caller {
        MaybeCaller::Agent(caller) => {
            let label = label.as_deref().unwrap_or(&caller.agent.label);
            (let_in(&core, &asked, address, Joiner::Agent(caller.agent.id), label).await, None)
        }
        MaybeCaller::Anybody => {
            let (id, token) = (Uuid::new_v4(), generate_token().map_err(StoreError::from)?);
            let joiner = Joiner::Guest { id, token: &SecretHash::of(&token) };
            let label = label.as_deref().unwrap_or(GUEST_LABEL);
            (let_in(&core, &asked, address, joiner, label).await, Some((id, token)))
        }
    };
    let joined = match joined {
        Ok(Entry::Joined(joined)) => joined,
        Ok(Entry::Refused) => return Err(asked.refuse()),
        Ok(Entry::TooMany(wait)) => {
            asked.attempt.forgive();
            return Err(ApiError::TooMany { what: "joins from this address", wait });
        }
        Err(error) => return Err(asked.failed(error)),
    };
    asked.attempt.forgive();
    tell_maker(&core, &joined);
    let mut answer = json!({"success": true, "share": JoinedShare::from(&joined.share)});
    if let Some((id, token)) = guest {
        answer["agent"] = json!({"agentId": id, "token": token, "expiresAt": joined.share.expires_at});
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

/// What became of somebody who wants to join.
enum Entry {
    Joined(Box<Joined>),
    Refused,
    /// The address has sent too many, and may send more after so long.
    TooMany(Duration),
}

/// Lets an agent in: one that has joined before whatever the counts say, a new one as far as they allow.
async fn let_in(
    core: &Core,
    asked: &Asked<'_>,
    address: IpAddr,
    joiner: Joiner<'_>,
    label: &str,
) -> Result<Entry, StoreError> {
    let Some(share) = core.store.share(&asked.code).await? else { return Ok(Entry::Refused) };
    let is_known = match joiner {
        Joiner::Agent(agent) => core.store.has_grant(share.id, agent).await?,
        Joiner::Guest { .. } => false,
    };
    if !is_known
        && share.state(Timestamp::now()) == ShareState::Active
        && let Err(wait) = core.rate_limiter.joins(address, Instant::now())
    {
        return Ok(Entry::TooMany(wait));
    }
    let mut joined = core.store.join(&asked.code, joiner, label).await?;
    if matches!(joined, JoinOutcome::Full) && core.dismiss_absent_guest(share.id).await? {
        joined = core.store.join(&asked.code, joiner, label).await?;
    }
    Ok(match joined {
        JoinOutcome::Joined(joined) => Entry::Joined(joined),
        JoinOutcome::Full | JoinOutcome::Refused => Entry::Refused,
    })
}

pub async fn list(
    State(core): State<Arc<Core>>,
    caller: Caller,
    Segment(code): Segment,
) -> Result<Json<Value>, ApiError> {
    let share = shares::own_share(&core, &caller, &code).await?;
    let (count, joins) = core.store.joins(share.id, JOINS_LISTED).await?;
    let present = Carried::now(&core).under(&core, share.id).await?;
    let rows = present.join_rows(&joins, true);
    Ok(Json(json!({"count": count, "joins": rows, "connected": present.sums()})))
}

/// A code that somebody tries.
struct Asked<'a> {
    code: ShareCode,
    attempt: Try<'a>,
    /// Counts what opens nothing.
    refused: &'a Counter,
}

/// Begins a try, if any code looks like that. Who has none left waits until the hub has time for such.
async fn attempt<'a>(core: &'a Core, address: IpAddr, code: &str) -> Result<Asked<'a>, ApiError> {
    let parsed = ShareCode::parse(code);
    let until = Instant::now() + LONGEST_TURN;
    let attempt = loop {
        let now = Instant::now();
        match core.rate_limiter.begin(address, parsed.as_ref(), now) {
            Ok(attempt) => break attempt,
            Err(wait) if now >= until => {
                core.counts.refused_codes.inc();
                return Err(ApiError::TooMany { what: ATTEMPTS, wait });
            }
            Err(wait) => tokio::time::sleep(wait).await,
        }
    };
    match parsed {
        Some(code) => Ok(Asked { code, attempt, refused: &core.counts.refused_codes }),
        None => {
            core.counts.refused_codes.inc();
            Err(refusal(&attempt))
        }
    }
}

impl Asked<'_> {
    /// The code opens nothing: it stays counted.
    fn refuse(self) -> ApiError {
        self.refused.inc();
        refusal(&self.attempt)
    }

    /// Nobody knows what the code opens.
    fn failed(self, error: StoreError) -> ApiError {
        self.attempt.forgive();
        error.into()
    }
}

fn refusal(attempt: &Try<'_>) -> ApiError {
    match attempt.beyond {
        None => ApiError::share_not_found(),
        Some(wait) => ApiError::TooMany { what: ATTEMPTS, wait },
    }
}

/// Whoever made the share hears who came, if its agent is connected and understands that.
fn tell_maker(core: &Core, joined: &Joined) {
    let Joined { share, join, count } = joined;
    tracing::info!(share = %share.id, agent = %join.agent, "share joined");
    core.counts.joins.inc();
    if let Some(maker) = core.agents.newest(share.agent).filter(|maker| maker.features.share_events) {
        let event = json!({"id": share.id, "count": count, "agentLabel": join.label, "joinedAt": join.at});
        let _ = maker.emit("share_joined", &event, 0);
    }
}

fn without_controls(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned()
}
