//! The exposing side's data connections: some wait at the hub ahead of need, each then answers the streams of one pair.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use connect_frames::frame::{Kind, Open, Ready, Refused, RefusedCode};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::connect::{ConnectError, Connection, Connector, Role};
use super::keys::Keys;
use super::stream;
use crate::backoff::Backoff;
use crate::budget::Limits;
use crate::e2e::{Answer, E2eError};
use crate::error::chain;
use crate::links::Links;
use crate::links::link::{self, OpenConnection};
use crate::pump::PumpEnd;
use crate::routes::{ConnectionGuard, Dial, Routes};
use crate::stats::{RefusedDial, Stats, count};

/// Connections that wait at the hub: a browser's burst of streams begins without a round trip for each.
const MIN_IDLE: usize = 4;

/// The most that wait, however many the hub asks for at once.
const MAX_IDLE: usize = 32;

/// Delays between attempts while the hub opens none.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));

/// When a service that has not answered by then is still being reached, the joiner is told that somebody is at it.
const SIGN_AFTER: Duration = Duration::from_secs(1);

/// What the streams of one agent socket work with.
#[derive(Clone)]
pub(crate) struct Offering {
    pub(crate) connector: Connector,
    pub(crate) routes: Routes,
    pub(crate) limits: Limits,
    pub(crate) stats: Arc<Stats>,
    /// The recorded protocol's connections, which count for the same limit.
    pub(crate) links: Links,
    pub(crate) wanted: Wanted,
}

/// How many connections should wait, and how many do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Asked for by the hub beyond [`MIN_IDLE`], and not used since.
    asked: AtomicUsize,
    /// Waiting at the hub, or being opened to.
    idle: AtomicUsize,
    /// Streams being opened or open.
    streams: AtomicUsize,
    changed: Notify,
}

/// Counts a stream while it is being opened or open.
struct Counted<'a>(&'a Counts);

/// Whether a data connection can go on after a stream.
enum Answered {
    GoOn,
    Stop,
}

// === impl Wanted ===

impl Wanted {
    /// The hub asks for one more.
    pub(crate) fn one_more(&self) {
        if self.0.asked.fetch_add(1, Ordering::AcqRel) >= MAX_IDLE {
            self.0.asked.fetch_sub(1, Ordering::AcqRel);
        }
        self.0.changed.notify_one();
    }

    fn missing(&self) -> usize {
        let target = (MIN_IDLE + self.0.asked.load(Ordering::Acquire)).min(MAX_IDLE);
        target.saturating_sub(self.0.idle.load(Ordering::Acquire))
    }

    fn opening(&self) {
        self.0.idle.fetch_add(1, Ordering::AcqRel);
    }

    /// One that waited, or was to wait, does not any more. One that was not used ends its task, which tells of it.
    fn gone(&self, used: bool) {
        self.0.idle.fetch_sub(1, Ordering::AcqRel);
        if used {
            let less = |asked: usize| asked.checked_sub(1);
            let _ = self.0.asked.fetch_update(Ordering::AcqRel, Ordering::Acquire, less); // nothing was asked for
            self.0.changed.notify_one();
        }
    }
}

// === impl Offering ===

impl Offering {
    /// Keeps connections waiting and answers what comes over them. Returns when the hub will have none.
    pub(crate) async fn run(self) {
        let mut connections = JoinSet::new();
        let mut failures = 0;
        let mut again = Instant::now();
        loop {
            let waits = Instant::now() < again;
            for _ in 0..if waits { 0 } else { self.wanted.missing() } {
                self.wanted.opening();
                connections.spawn(self.clone().connect_and_serve());
            }
            tokio::select! {
                () = sleep_until(again), if waits => {}
                () = self.wanted.0.changed.notified() => {}
                Some(ended) = connections.join_next() => match ended {
                    Ok(Ok(())) => failures = 0,
                    Ok(Err(error)) if error.is_verdict() => {
                        warn!(error = chain(&error), "the hub opens no data connections");
                        // Those that are open carry on.
                        while connections.join_next().await.is_some() {}
                        return;
                    }
                    Ok(Err(ConnectError::Waiting(error))) => {
                        debug!(%error, "a data connection ended unused");
                        failures = 0; // it had been opened
                    }
                    Ok(Err(error)) => {
                        debug!(error = chain(&error), "opening a data connection");
                        failures += 1;
                        again = Instant::now() + RETRY.delay(failures);
                    }
                    Err(_) => {} // a task that panicked has lost its own connection only
                },
            }
        }
    }

    async fn connect_and_serve(self) -> Result<(), ConnectError> {
        let mut connection = match self.connector.connect(Role::Expose).await {
            Ok(connection) => connection,
            Err(error) => {
                self.wanted.gone(false);
                return Err(error);
            }
        };
        let first = connection.expect::<Open>(Kind::Open).await;
        self.wanted.gone(first.is_ok());
        self.serve(connection, first?).await;
        Ok(())
    }

    /// Answers one stream after the other, all of the service that the hub allowed at the first.
    async fn serve(&self, mut connection: Connection, first: Open) {
        let service_id = first.service_id;
        let mut open = first;
        loop {
            if open.service_id != service_id {
                count(&self.stats.foreign, 1);
                return;
            }
            match self.answer(&mut connection, open).await {
                Answered::GoOn => {}
                Answered::Stop => return,
            }
            open = match connection.expect(Kind::Open).await {
                Ok(open) => open,
                Err(error) => {
                    debug!(%error, "a data connection ended");
                    return;
                }
            };
        }
    }

    async fn answer(&self, connection: &mut Connection, open: Open) -> Answered {
        let Open { connection_id, service_id, .. } = &open;
        let counted = Counted::new(&self.wanted.0);
        let admitted = if counted.streams() + self.links.len() > self.limits.connections {
            Err(RefusedDial::Limit)
        } else {
            self.routes.admit(*service_id).map_err(RefusedDial::from)
        };
        let (dial, guard) = match admitted {
            Ok(admitted) => admitted,
            Err(why) => return self.refuse(connection, connection_id, why).await,
        };
        // Before the service hears of it.
        let (keys, ready) = match agree(&open, &guard) {
            Ok(agreed) => agreed,
            Err(error) => return self.refuse_keys(connection, connection_id, error, &guard).await,
        };
        let service = match reach(connection, &dial, &guard).await {
            Ok(service) => service,
            Err(why) => return self.refuse(connection, connection_id, why).await,
        };
        if connection.send(Kind::Ready, &ready).await.is_err() {
            return Answered::Stop;
        }
        let open = OpenConnection::new(&self.stats, &guard);
        count(&self.stats.encrypted, u64::from(ready.public_key.is_some()));
        let outcome = stream::run(service, connection, keys, guard.pass(), open.meter()).await;
        debug!(link = connection_id, service = dial.name, %outcome, "stream ended");
        outcome.count(&self.stats);
        if let Some(error) = outcome.of_encryption() {
            guard.judge(error, &self.stats);
        }
        if matches!(outcome, PumpEnd::Done) { Answered::GoOn } else { Answered::Stop }
    }

    async fn refuse_keys(
        &self,
        connection: &mut Connection,
        link: &str,
        error: E2eError,
        guard: &ConnectionGuard,
    ) -> Answered {
        guard.judge(error, &self.stats);
        let why = match error {
            E2eError::Unverified => RefusedDial::Unverified,
            E2eError::Mismatch => RefusedDial::SecretMismatch,
            _ => {
                count(&self.stats.malformed, 1);
                return Answered::Stop;
            }
        };
        self.say_no(connection, link, why).await
    }

    async fn refuse(&self, connection: &mut Connection, link: &str, why: RefusedDial) -> Answered {
        self.stats.count_refused(why);
        self.say_no(connection, link, why).await
    }

    async fn say_no(&self, connection: &mut Connection, link: &str, why: RefusedDial) -> Answered {
        debug!(link, reason = why.reason(), "stream refused");
        let refused = Refused { code: RefusedCode::Refused, message: why.message().to_owned() };
        match connection.send(Kind::Refused, &refused).await {
            Ok(()) => Answered::GoOn,
            Err(_) => Answered::Stop,
        }
    }
}

/// Our half of the key agreement, when the joiner sent its own. Who sent none is served in plain, unless it must prove something.
fn agree(open: &Open, guard: &ConnectionGuard) -> Result<(Keys, Ready), E2eError> {
    let Open { connection_id, service_id, public_key, proof } = open;
    let Some(public_key) = public_key else {
        let is_free = !guard.verification().required && proof.is_none();
        return is_free.then(|| (Keys::new(None), Ready::default())).ok_or(E2eError::Unverified);
    };
    let answer =
        Answer::to(guard.verification(), (*service_id, connection_id), public_key, proof.as_deref())?;
    let Answer { keys, public_key, proof } = answer;
    Ok((Keys::new(Some(keys)), Ready { public_key: Some(public_key), proof }))
}

/// Connects to the service; when that takes long, the joiner hears that somebody is at it.
async fn reach(
    connection: &mut Connection,
    dial: &Dial,
    guard: &ConnectionGuard,
) -> Result<TcpStream, RefusedDial> {
    let mut reaching = std::pin::pin!(link::connect(dial, guard));
    if let Ok(reached) = timeout(SIGN_AFTER, reaching.as_mut()).await {
        return reached;
    }
    connection.ping_now();
    reaching.await
}

// === impl Counted ===

impl<'a> Counted<'a> {
    fn new(counts: &'a Counts) -> Self {
        counts.streams.fetch_add(1, Ordering::AcqRel);
        Self(counts)
    }

    fn streams(&self) -> usize {
        self.0.streams.load(Ordering::Acquire)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}
