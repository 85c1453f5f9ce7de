//! One dialled connection of the exposing side: connect where the route allows, answer the hub, pump.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::debug;
use uuid::Uuid;

use crate::budget::InboxRx;
use crate::protocol::{About, DialError};
use crate::pump::{self, AtEnd, ConnectionEvents, EXPOSER, Keys, Meter, Peer, PumpEnd, Recorded};
use crate::routes::{ConnectionGuard, Dial, Traffic};
use crate::socketio::Emitter;
use crate::stats::{RefusedDial, Stats, count};

/// How long connecting may take over all targets; half of what hubs wait, so that they hear our reason.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything one connection needs.
pub(crate) struct Link {
    pub(crate) dial: Dial,
    pub(crate) guard: ConnectionGuard,
    pub(crate) connection_id: String,
    pub(crate) emitter: Emitter,
    pub(crate) inbox: InboxRx,
    pub(crate) half_close: bool,
    pub(crate) peer: Peer,
    pub(crate) stats: Arc<Stats>,
}

/// Counts a connection as open, and what it carries.
pub(crate) struct OpenConnection<'a> {
    stats: &'a Stats,
    route: &'a Traffic,
}

// === impl Link ===

impl Link {
    /// Runs from dial to end. `detach` is dropped when nothing more is expected from the hub.
    pub(crate) async fn run<D: Send>(self, detach: D) {
        let Self { dial, guard, connection_id, emitter, mut inbox, half_close, peer, stats } = self;
        let stream = match connect(&dial, &guard).await {
            Ok(stream) => stream,
            Err(why) => {
                stats.count_refused(why);
                return refuse(&emitter, &connection_id, why).await;
            }
        };
        if emitter.emit("dial_success", &About { connection_id: &connection_id }).await.is_err() {
            return;
        }
        let open = OpenConnection::new(&stats, &guard);
        let at_end = if half_close { AtEnd::Finish } else { AtEnd::Close };
        let events = ConnectionEvents::new(emitter, EXPOSER, connection_id, at_end);
        let outcome = match agree(&events, &mut inbox, &stream, (&guard, dial.service_id), peer).await {
            Ok(keys) => {
                count(&stats.encrypted, u64::from(keys.is_some()));
                let socket = Recorded { inbox, events: &events, keys, detach: Some(detach) };
                pump::run(stream, socket, guard.pass(), open.meter()).await
            }
            Err(outcome) => outcome,
        };
        debug!(link = events.connection_id(), service = dial.name, %outcome, "connection ended");
        outcome.count(&stats);
        if let Some(error) = outcome.of_encryption() {
            guard.judge(error, &stats);
        }
        drop(open);
        drop(guard);
        if !matches!(outcome, PumpEnd::Done) {
            let _ = events.close().await; // a hub that is gone has closed it already
        }
    }
}

/// Settles whether the connection is encrypted, for as long as it may be open at all.
async fn agree(
    events: &ConnectionEvents,
    inbox: &mut InboxRx,
    stream: &TcpStream,
    (guard, service_id): (&ConnectionGuard, Uuid),
    peer: Peer,
) -> Result<Option<Keys>, PumpEnd> {
    let given_up = inbox.given_up();
    let asked = (service_id, guard.verification(), guard.ends_at());
    tokio::select! {
        biased;
        () = guard.cut() => Err(PumpEnd::Forbidden),
        () = given_up.cancelled() => Err(PumpEnd::GivenUp),
        agreed = pump::answer(events, inbox, stream, peer, asked) => agreed.map_err(PumpEnd::NotAgreed),
    }
}

/// Refusals that wait to be said: a hub that dials what is refused and reads nothing gets no more answers.
const REFUSALS: usize = 256;

/// Refuses dials, one after the other, so that whoever hears them need not wait for the hub.
pub(crate) struct Refuser {
    /// Session --what is refused and why--> the task that says it.
    refusals_tx: mpsc::Sender<(String, RefusedDial)>,
}

impl Refuser {
    /// The way in, and what says it for as long as it is polled.
    pub(crate) fn new(emitter: Emitter) -> (Self, impl Future<Output = ()>) {
        let (refusals_tx, mut refusals_rx) = mpsc::channel::<(String, RefusedDial)>(REFUSALS);
        let saying = async move {
            while let Some((connection_id, why)) = refusals_rx.recv().await {
                refuse(&emitter, &connection_id, why).await;
            }
        };
        (Self { refusals_tx }, saying)
    }

    /// Refuses a dial. One too many is not answered; the hub gives it up by itself.
    pub(crate) fn refuse(&self, connection_id: String, why: RefusedDial) {
        if self.refusals_tx.try_send((connection_id, why)).is_err() {
            debug!(reason = why.reason(), "dial refused without a word");
        }
    }
}

/// Answers a dial with a refusal.
async fn refuse(emitter: &Emitter, connection_id: &str, why: RefusedDial) {
    debug!(link = connection_id, reason = why.reason(), "dial refused");
    let _ = emitter.emit("dial_error", &DialError { connection_id, error: why.message() }).await;
}

/// Connects to the service for as long as that is allowed.
pub(crate) async fn connect(dial: &Dial, guard: &ConnectionGuard) -> Result<TcpStream, RefusedDial> {
    tokio::select! {
        biased;
        () = guard.cut() => Err(RefusedDial::ShareEnded),
        connected = connect_in_turn(&dial.targets) => connected,
    }
}

/// Tries the targets in order; each gets an equal part of the time that is left.
async fn connect_in_turn(targets: &[SocketAddr]) -> Result<TcpStream, RefusedDial> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut why = RefusedDial::ConnectFailed;
    for (tried, target) in targets.iter().enumerate() {
        let left = u32::try_from(targets.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout_at(Instant::now() + share, TcpStream::connect(target)).await {
            Ok(Ok(stream)) if is_expected(&stream, targets) => return Ok(stream),
            Ok(Ok(_) | Err(_)) => why = RefusedDial::ConnectFailed,
            Err(_) => why = RefusedDial::ConnectTimedOut,
        }
    }
    Err(why)
}

/// Whether the connection leads where it may, checked on the connection itself, and is set up.
fn is_expected(stream: &TcpStream, targets: &[SocketAddr]) -> bool {
    let peer: io::Result<SocketAddr> = stream.peer_addr();
    peer.is_ok_and(|peer| targets.contains(&peer)) && pump::reset_on_drop(stream).is_ok()
}

// === impl OpenConnection ===

impl<'a> OpenConnection<'a> {
    pub(crate) fn new(stats: &'a Stats, guard: &'a ConnectionGuard) -> Self {
        count(&stats.open, 1);
        count(&stats.opened, 1);
        count(&guard.traffic().opened, 1);
        Self { stats, route: guard.traffic() }
    }

    /// Where its bytes are counted.
    pub(crate) fn meter(&self) -> Meter<'a> {
        Meter { from_hub: &self.stats.bytes_in, to_hub: &self.stats.bytes_out, route: Some(self.route) }
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.stats.open.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}
