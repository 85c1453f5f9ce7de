//! How a data connection ([`crate::data`]) comes about, and what it is used for.
//!
//! An agent opens one by an HTTP/1.1 upgrade, with the ticket that its socket's welcome gave; it belongs to that socket
//! and ends with it. Exposing agents leave some waiting ([`crate::data::pool`]). A joining agent says `open` on one of its own
//! ([`serve`]): what may be reached is decided where the recorded protocol decides it, and as soon as the pair is
//! allowed, bytes go from one to the other unread ([`relay`]). The pair stays one bridge until it is cut or either side
//! leaves, so that a joiner may open the same service over it again without another question: every cut that ends a
//! bridge ends it too.

mod relay;
mod serve;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    agents::Session,
    api::ApiError,
    core::Core,
    data::stream,
    limits::{DATA_SWEEP, UPGRADE_TIMEOUT},
    wire::Wire,
};

/// What an upgrade asks for.
const PROTOCOL: &str = "private-connect-data";
const AGENT_HEADER: &str = "x-agent-id";
const TICKET_HEADER: &str = "x-data-ticket";
const ROLE_HEADER: &str = "x-data-role";

/// How long an agent that has enough connections waiting shall not open another.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Which side of streams a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Join,
    Expose,
}

/// `GET /v1/data`: the connection stops being HTTP.
pub async fn upgrade(
    State(core): State<Arc<Core>>,
    Extension(wire): Extension<Arc<Wire>>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let (role, session) = admitted(&core, request.headers())?;
    wire.prove();
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().ok_or_else(must_upgrade)?;
    let waiting = session.data.wait_here().ok_or(ApiError::Busy { wait: RETRY_AFTER })?;
    tokio::spawn(async move {
        let upgraded = tokio::time::timeout(UPGRADE_TIMEOUT, upgrade).await;
        let Ok(Ok(upgraded)) = upgraded else { return };
        let Some(connection) = stream::after(upgraded, &wire) else { return };
        drop(wire);
        match role {
            Role::Expose => session.data.put(connection, waiting),
            Role::Join => serve::run(&core, &session, connection, waiting).await,
        }
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, PROTOCOL)];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// Looks after connections that wait, until cancelled.
pub async fn keep(core: Arc<Core>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(DATA_SWEEP) => {}
            () = stop.cancelled() => return,
        }
        core.agents.all().iter().for_each(|session| session.data.sweep());
    }
}

/// Whose connection this is to be. Asks no database: a ticket lives in its socket's session only.
fn admitted(core: &Core, headers: &HeaderMap) -> Result<(Role, Arc<Session>), ApiError> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if !text(header::UPGRADE.as_str()).is_some_and(|text| text.eq_ignore_ascii_case(PROTOCOL)) {
        return Err(must_upgrade());
    }
    let role = match text(ROLE_HEADER) {
        Some("join") => Role::Join,
        Some("expose") => Role::Expose,
        _ => return Err(ApiError::text(400, "x-data-role must be join or expose")),
    };
    let agent = text(AGENT_HEADER).and_then(|id| Uuid::parse_str(id).ok());
    let (Some(agent), Some(ticket)) = (agent, text(TICKET_HEADER)) else {
        return Err(ApiError::unauthorized());
    };
    let sockets = core.agents.all_of(agent);
    let session = sockets.into_iter().find(|session| session.data.opens_with(ticket));
    session.map(|session| (role, session)).ok_or_else(ApiError::unauthorized)
}

fn must_upgrade() -> ApiError {
    ApiError::text(426, format!("Only an upgrade to {PROTOCOL} is answered here"))
}
