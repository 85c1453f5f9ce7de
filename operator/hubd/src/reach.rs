//! A bridge begins: rights are asked for, the exposing agent dials, both sides are told.
//!
//! The id is taken before anything is asked, so that bytes which a joining agent sends at once find their queue.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    agents::Session,
    bridges::{Bridge, Bridges, Dialled, Refusal, Terms, Toward},
    core::Core,
    limits::{CHECK_TIMEOUT, CONNECTION_ID_BYTES, DIAL_TIMEOUT, EVENT_OVERHEAD},
    store::{Access, ServiceRow, StoreError},
};

/// Rights may change while they are asked for; by the last of these tries somebody is playing with us.
const TERMS_TRIES: usize = 8;

/// What the joining agent may know about why not. Everything it may not know about is `NOT_FOUND`.
const NOT_FOUND: &str = "Service not found";
const NO_AGENT: &str = "Service has no associated agent";
const OFFLINE: &str = "Exposing agent is not connected";
const CLOSED: &str = "Connection was closed";
const BUSY: &str = "Exposing agent has too many connections";
const BAD_ID: &str = "Connection id must be 1 to 64 visible ASCII characters";
const ID_TAKEN: &str = "Connection id is in use";
const TOO_MANY: &str = "Too many connections";
const FAILED: &str = "Internal server error";

/// What a check of a service found.
#[derive(Debug)]
pub enum CheckOutcome {
    /// The agent reached it within this time.
    Reached(Duration),
    /// The agent said why not.
    Refused(String),
    /// Nobody serves it.
    Offline,
    /// The agent did not answer in time.
    TimedOut,
}

/// What the joining agent is told about the exposing one.
#[derive(Debug, Clone, Copy)]
pub struct Reached {
    /// Whether it encrypts from end to end, if that is known.
    pub e2e: Option<bool>,
}

/// A bridge over data connections, forgotten when this goes, however its task ends.
pub struct DataBridge {
    bridges: Bridges,
    pub bridge: Arc<Bridge>,
}

/// Begins a bridge for `joiner`. `reply` hears whether it was allowed, once; what came of the dial is told by events.
pub fn reach(
    core: &Arc<Core>,
    joiner: &Arc<Session>,
    id: &str,
    service: Uuid,
    reply: impl FnOnce(Result<Reached, &str>) + Send + 'static,
) {
    let (dialled_tx, dialled_rx) = oneshot::channel();
    let bridge = Bridge::new(id, Some(joiner.clone()), service, dialled_tx);
    if let Err(why) = begin(core, joiner, &bridge) {
        return reply(Err(why));
    }
    let (core, joiner) = (core.clone(), joiner.clone());
    tokio::spawn(async move {
        // A flood of requests waits for its own turn, not before everybody else's at the database.
        let turn = joiner.calls.acquire().await;
        let agreed = agree_on_terms(&core, &bridge, &joiner).await;
        drop(turn);
        match agreed {
            Ok(service) => {
                let exposer = bridge.receiver(Toward::Exposer);
                reply(Ok(Reached { e2e: exposer.and_then(|exposer| exposer.encrypts()) }));
                if dial(&bridge, &service, dialled_rx, DIAL_TIMEOUT).await.is_none() {
                    core.bridges.time_out(&bridge);
                }
            }
            Err(why) => {
                core.bridges.remove(&bridge);
                reply(Err(why));
            }
        }
    });
}

/// Begins a bridge for `joiner` over data connections, by the same rights; with whom, or why not.
pub async fn reach_by_data(
    core: &Arc<Core>,
    joiner: &Arc<Session>,
    id: &str,
    service: Uuid,
) -> Result<(DataBridge, Arc<Session>), &'static str> {
    let bridge = Bridge::over_data(id, joiner.clone(), service);
    begin(core, joiner, &bridge)?;
    let held = DataBridge { bridges: core.bridges.clone(), bridge };
    let turn = joiner.calls.acquire().await;
    agree_on_terms(core, &held.bridge, joiner).await?;
    drop(turn);
    let exposer = held.bridge.receiver(Toward::Exposer).ok_or(CLOSED)?;
    Ok((held, exposer))
}

/// Takes the bridge's id, before anybody's rights are known.
fn begin(core: &Core, joiner: &Session, bridge: &Arc<Bridge>) -> Result<(), &'static str> {
    let id = &*bridge.id;
    if id.is_empty() || id.len() > CONNECTION_ID_BYTES || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BAD_ID);
    }
    match core.bridges.insert(bridge) {
        Ok(()) => {}
        Err(Refusal::IdTaken) => return Err(ID_TAKEN),
        Err(Refusal::TooMany) => return Err(TOO_MANY),
    }
    if joiner.is_closed() {
        core.bridges.remove(bridge); // nobody else will: its bridges were ended before this one began
        return Err(CLOSED);
    }
    Ok(())
}

/// Dials a service for the hub itself and hangs up.
pub async fn check(core: &Core, service: &ServiceRow) -> CheckOutcome {
    let Some(exposer) = service.agent.and_then(|agent| core.agents.exposing(agent, service.id)) else {
        return CheckOutcome::Offline;
    };
    let (dialled_tx, dialled_rx) = oneshot::channel();
    let bridge = Bridge::new(&Uuid::new_v4().to_string(), None, service.id, dialled_tx);
    let began = core.bridges.insert(&bridge).is_ok()
        && core.bridges.agree(&bridge, Terms { exposer: exposer.clone(), share: None });
    if !began || exposer.is_closed() {
        core.bridges.remove(&bridge);
        return CheckOutcome::Offline;
    }
    let started = Instant::now();
    let dialled = dial(&bridge, service, dialled_rx, CHECK_TIMEOUT).await;
    let latency = started.elapsed();
    core.bridges.hang_up(&bridge);
    match dialled {
        Some(Ok(())) => CheckOutcome::Reached(latency),
        Some(Err(why)) => CheckOutcome::Refused(why),
        None => CheckOutcome::TimedOut,
    }
}

/// Finds who serves the bridge and what allows it, and binds the bridge to that; or says why not.
async fn agree_on_terms(
    core: &Core,
    bridge: &Arc<Bridge>,
    joiner: &Session,
) -> Result<ServiceRow, &'static str> {
    for _ in 0..TERMS_TRIES {
        let generation = core.bridges.generation();
        let access = core.store.access(joiner.agent, joiner.workspace.as_deref(), bridge.service).await;
        let Access { service, share } = allowed(access)?;
        let agent = service.agent.ok_or(NO_AGENT)?;
        let exposer = core.agents.exposing(agent, service.id).ok_or(OFFLINE)?;
        if !core.bridges.agree(bridge, Terms { exposer: exposer.clone(), share }) {
            return Err(if bridge.is_closed() { CLOSED } else { BUSY });
        }
        // Both a change of rights and a leaving agent look for bridges to cut after they have left these marks.
        if core.bridges.generation() == generation && !exposer.is_closed() {
            return Ok(service);
        }
    }
    Err(OFFLINE)
}

fn allowed(access: Result<Option<Access>, StoreError>) -> Result<Access, &'static str> {
    match access {
        Ok(access) => access.ok_or(NOT_FOUND),
        Err(error) => {
            tracing::error!(error = crate::error_chain(&error), "cannot tell who may reach a service");
            Err(FAILED)
        }
    }
}

/// Asks the exposing agent to dial. `None`: no answer in time.
async fn dial(
    bridge: &Arc<Bridge>,
    service: &ServiceRow,
    dialled: oneshot::Receiver<Dialled>,
    within: Duration,
) -> Option<Dialled> {
    let exposer = bridge.receiver(Toward::Exposer)?;
    let mut dial = json!({
        "connectionId": &*bridge.id,
        "targetHost": service.target_host,
        "targetPort": service.target_port,
        "serviceId": service.id,
    });
    // A check of the hub itself has no joining agent, and nothing to encrypt. A joining agent that names no features is not
    // spoken for: it begins, with an offer or with bytes, so that the exposing one knows at once and loses nothing by asking.
    if let Some(e2e) = bridge.joiner.as_ref().map_or(Some(false), |joiner| joiner.features.e2e) {
        dial["e2e"] = e2e.into();
    }
    let answer = async {
        exposer.wire.reserve(EVENT_OVERHEAD, within, || false).await.ok()?;
        exposer.emit("dial", &dial, EVENT_OVERHEAD).ok()?;
        dialled.await.ok()
    };
    tokio::time::timeout(within, answer).await.ok().flatten()
}

// === impl DataBridge ===

impl DataBridge {
    /// The clock passed the end of the bridge's share before the timer did.
    pub fn expire(&self) {
        self.bridges.expire(&self.bridge);
    }
}

impl Drop for DataBridge {
    fn drop(&mut self) {
        self.bridges.remove(&self.bridge);
    }
}
