//! The joining side's data connections: some opened ahead of need, and pairs that carried a stream kept for the next.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connect_frames::frame::{self, Kind, Malformed, Open, Ready, Refused, RefusedCode};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};
use uuid::Uuid;

use super::Transport;
use super::connect::{ConnectError, Connection, Connector, PING_EVERY, Role};
use super::keys::Keys;
use super::reader::ReadError;
use super::stream;
use crate::backoff::Backoff;
use crate::code_key::CodeKey;
use crate::e2e::{Bond, E2eError, Offer, Side};
use crate::error::chain;
use crate::permission::Pass;
use crate::pump::{Meter, PumpEnd};
use crate::sentences;

/// Connections opened ahead: the first local connections cost no more round trips than later ones.
const AHEAD: usize = 2;

/// Pairs without a stream that are kept for the next one, over all services: a browser's, several times over.
const MAX_RESTING: usize = 256;

/// How long a pair is kept without a stream: between two clicks, and not for the hub to hold over lunch.
const REST: Duration = Duration::from_secs(30);

/// How often pairs that have rested too long are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// How long a stream may take to be opened: the hub waits 5 s for a connection of the exposer, which waits 5 s for its
/// service.
const READY_TIMEOUT: Duration = Duration::from_secs(12);

/// How long after an `open` nothing may be heard: a hub or exposer that needs longer says after a second that it is at it.
/// What is silent has died unnoticed, and another will do; or something in between lets nothing pass.
const FIRST_SIGN: Duration = Duration::from_secs(3);

/// Delays between attempts while the hub opens none.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// The data connections of one agent socket. Clones share them.
#[derive(Clone)]
pub(crate) struct Reaching(Arc<Shared>);

struct Shared {
    connector: Connector,
    transport: Transport,
    /// What the code's secret gives; with it there are bound connections or none.
    code_key: Option<CodeKey>,
    state: Mutex<State>,
    /// `open` --one was taken--> `keep_ahead`.
    taken: Notify,
    /// Held by who opens the first connection: when that takes its time in vain, nobody shall wait for it twice.
    first: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Opened and never used, and since when nothing was said over it.
    fresh: Vec<(Connection, Instant)>,
    /// Used for the service, and since when not.
    resting: HashMap<Uuid, Vec<(Connection, Instant)>>,
    /// Services whose exposer knows the recorded protocol only.
    recorded: HashSet<Uuid>,
    /// The hub, or what stands before it, will have no data connections, or lets nothing pass over them.
    pointless: bool,
    /// None could be opened when last tried. Whoever comes then goes the other way at once; only [`Reaching::keep_ahead`]
    /// goes on trying.
    blocked: bool,
    /// One was opened, in this session.
    opened: bool,
    /// Something was heard over one, in this session.
    proven: bool,
}

/// A stream that can be used.
pub(crate) struct Opened {
    shared: Arc<Shared>,
    service_id: Uuid,
    connection: Connection,
    keys: Keys,
}

/// Why there is no stream.
#[derive(Debug)]
pub(crate) enum NotReached {
    /// The recorded protocol may reach the service.
    OtherWay,
    /// Nothing will; for people.
    Refused(String),
}

/// What came of asking for a stream.
enum Asked {
    Ready(Box<Keys>),
    /// The other end is there, and is not one to speak with.
    Unfit(E2eError),
    Refused(Refused),
}

// === impl Reaching ===

impl Reaching {
    pub(crate) fn new(connector: Connector, transport: Transport, code_key: Option<CodeKey>) -> Self {
        Self(Arc::new(Shared {
            connector,
            transport,
            code_key,
            state: Mutex::default(),
            taken: Notify::new(),
            first: tokio::sync::Mutex::default(),
        }))
    }

    /// Opens a stream to a service. Bounded in time.
    pub(crate) async fn open(&self, service_id: Uuid) -> Result<Opened, NotReached> {
        let shared = &self.0;
        loop {
            let kept = shared.take(service_id)?;
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => shared.connect().await?,
            };
            match timeout(READY_TIMEOUT, shared.ask(&mut connection, service_id)).await {
                Ok(Ok(Asked::Ready(keys))) => {
                    return Ok(Opened { shared: Arc::clone(shared), service_id, connection, keys: *keys });
                }
                Ok(Ok(Asked::Unfit(error))) => return Err(NotReached::Refused(error.to_string())),
                Ok(Ok(Asked::Refused(Refused { code, message }))) => {
                    return Err(shared.refused(connection, service_id, code, &message));
                }
                Ok(Err(ReadError::Silent)) if shared.lets_nothing_pass() => return Err(NotReached::OtherWay),
                // The other side had left it meanwhile; nothing was sent yet, so another will do.
                Ok(Err(error)) if is_kept => debug!(%error, "a data connection had ended"),
                Ok(Err(error)) => {
                    debug!(%error, "a data connection ended before its stream began");
                    return Err(NotReached::Refused("the other end refused the connection".to_owned()));
                }
                Err(_) => {
                    return Err(NotReached::Refused("the other end did not answer in time".to_owned()));
                }
            }
        }
    }

    /// Opens connections ahead and lets go of those that rest too long; never returns.
    pub(crate) async fn keep_ahead(&self) -> Infallible {
        let shared = &self.0;
        let mut failures = 0;
        loop {
            shared.lock().let_go(Instant::now());
            shared.lock().ping(Instant::now());
            if shared.lock().lacks_fresh() {
                match shared.try_to_open().await {
                    Ok(connection) => {
                        failures = 0;
                        shared.lock().fresh.push((connection, Instant::now()));
                    }
                    Err(_) => {
                        failures += 1;
                        sleep(RETRY.delay(failures)).await;
                    }
                }
                continue;
            }
            tokio::select! {
                () = shared.taken.notified() => {}
                () = sleep(SWEEP) => {}
            }
        }
    }
}

// === impl Opened ===

impl Opened {
    /// Carries a local connection to its end.
    pub(crate) async fn carry(self, local: TcpStream, pass: &Pass, meter: Meter<'_>) {
        let Self { shared, service_id, mut connection, keys } = self;
        let outcome = stream::run(local, &mut connection, keys, pass, meter).await;
        debug!(service = %service_id, %outcome, "stream ended");
        if matches!(outcome, PumpEnd::Done) {
            shared.lock().keep(service_id, connection);
        }
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that is there already.
    fn take(&self, service_id: Uuid) -> Result<Option<Connection>, NotReached> {
        let mut state = self.lock();
        if state.is_in_vain() || state.recorded.contains(&service_id) {
            return Err(NotReached::OtherWay);
        }
        let resting = state.resting.get_mut(&service_id);
        if let Some(resting) = resting {
            while let Some((mut connection, _)) = resting.pop() {
                if connection.is_quiet() {
                    return Ok(Some(connection));
                }
            }
        }
        let fresh = std::iter::from_fn(|| state.fresh.pop()).find_map(|(mut connection, _)| {
            let quiet = connection.is_quiet();
            quiet.then_some(connection)
        });
        self.taken.notify_one();
        Ok(fresh)
    }

    /// Opens one more, unless somebody has just found out that this is in vain.
    async fn connect(&self) -> Result<Connection, NotReached> {
        let first = if self.lock().opened { None } else { Some(self.first.lock().await) };
        if self.lock().is_in_vain() {
            return Err(NotReached::OtherWay);
        }
        let opened = self.open().await;
        drop(first);
        opened.map_err(|_| NotReached::OtherWay)
    }

    /// Opens one more, whatever was found out before.
    async fn try_to_open(&self) -> Result<Connection, ConnectError> {
        let first = if self.lock().opened { None } else { Some(self.first.lock().await) };
        let opened = self.open().await;
        drop(first);
        opened
    }

    async fn open(&self) -> Result<Connection, ConnectError> {
        let opened = self.connector.connect(Role::Join).await;
        let mut state = self.lock();
        match &opened {
            Ok(_) => {
                state.opened = true;
                state.blocked = false;
            }
            Err(error) => {
                let error_chain = chain(error);
                if state.blocked {
                    debug!(error = error_chain, "opening a data connection");
                } else {
                    warn!(
                        error = error_chain,
                        "no data connection gets through: going over the agent's socket"
                    );
                }
                state.pointless |= error.is_verdict();
                state.blocked = true;
            }
        }
        opened
    }

    /// Nothing came back over a connection that was opened. Where nothing ever did, in this session, something in between
    /// holds it back, and nobody shall wait for that again.
    fn lets_nothing_pass(&self) -> bool {
        let mut state = self.lock();
        if state.proven {
            return false;
        }
        if !state.pointless {
            warn!("data connections open and carry nothing: going over the agent's socket");
        }
        state.pointless = true;
        state.fresh.clear();
        true
    }

    async fn ask(&self, connection: &mut Connection, service_id: Uuid) -> Result<Asked, ReadError> {
        let encrypts = self.transport.encryption || self.code_key.is_some();
        let offer = encrypts.then(Offer::generate);
        let connection_id = Uuid::new_v4().to_string();
        let proof =
            offer.as_ref().and_then(|offer| Some(self.bond(service_id, &connection_id)?.joiner_proof(offer)));
        let public_key = offer.as_ref().map(Offer::public_key);
        let open = Open { connection_id, service_id, public_key, proof };
        connection.send(Kind::Open, &open).await.map_err(ReadError::Broken)?;
        connection.heard(FIRST_SIGN).await?;
        self.lock().proven = true;
        let (kind, payload) = connection.next().await?;
        match kind {
            Kind::Ready => {
                let agreed = self.agree(offer, &open, &frame::parse(payload)?);
                Ok(agreed.map_or_else(Asked::Unfit, |keys| Asked::Ready(Box::new(keys))))
            }
            Kind::Refused => Ok(Asked::Refused(frame::parse(payload)?)),
            Kind::Open | Kind::Data | Kind::Fin | Kind::Ping => Err(Malformed("a frame out of turn").into()),
        }
    }

    fn bond<'a>(&'a self, service_id: Uuid, connection_id: &'a str) -> Option<Bond<'a>> {
        self.code_key.as_ref().map(|key| Bond { key, service_id, connection_id })
    }

    /// The keys by both halves; without our own there are none. Whoever wanted encryption gets no plain text.
    fn agree(&self, offer: Option<Offer>, open: &Open, ready: &Ready) -> Result<Keys, E2eError> {
        let Some(offer) = offer else { return Ok(Keys::new(None)) };
        let public_key = ready.public_key.as_deref().ok_or(E2eError::Handshake)?;
        let keys = match self.bond(open.service_id, &open.connection_id) {
            Some(bond) => bond.conclude(&offer, public_key, ready.proof.as_deref())?,
            None => offer.agree(public_key, &open.connection_id, Side::Joiner)?,
        };
        Ok(Keys::new(Some(keys)))
    }

    /// A stream was refused in order, so its connection is as good as before.
    fn refused(
        &self,
        connection: Connection,
        service_id: Uuid,
        code: RefusedCode,
        message: &str,
    ) -> NotReached {
        let mut state = self.lock();
        match code {
            RefusedCode::Refused => {
                state.keep(service_id, connection);
                let said = sentences::known(message).unwrap_or("the other end refused the connection");
                return NotReached::Refused(said.to_owned());
            }
            RefusedCode::Unsupported => {
                state.recorded.insert(service_id);
            }
            RefusedCode::Unavailable => {}
        }
        if state.lacks_fresh() {
            state.fresh.push((connection, Instant::now()));
        }
        NotReached::OtherWay
    }
}

// === impl State ===

impl State {
    fn is_in_vain(&self) -> bool {
        self.pointless || self.blocked
    }

    fn lacks_fresh(&self) -> bool {
        !self.pointless && self.fresh.len() < AHEAD
    }

    fn keep(&mut self, service_id: Uuid, connection: Connection) {
        let resting: usize = self.resting.values().map(Vec::len).sum();
        if resting < MAX_RESTING {
            self.resting.entry(service_id).or_default().push((connection, Instant::now()));
        }
    }

    /// Says over those that were never used that they live; those that do not are let go.
    fn ping(&mut self, now: Instant) {
        self.fresh.retain_mut(|(connection, since)| {
            if now.duration_since(*since) >= PING_EVERY {
                connection.ping_now();
                *since = now;
            }
            connection.is_quiet()
        });
    }

    fn let_go(&mut self, now: Instant) {
        self.resting.retain(|_, resting| {
            resting.retain(|(_, since)| now.duration_since(*since) < REST);
            !resting.is_empty()
        });
    }
}
