//! Keeps a join alive and ends it: sockets one after the other, the clock, and a hub that must be asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::connection::Connections;
use super::listening::Bound;
use super::session::{self, Current, Share};
use super::traffic::Counters;
use super::{ASK_AGAIN, JoinEnd, JoinEvent, LocalRoute, Recheck, Transport};
use crate::agent::{self, AgentError, Socket};
use crate::backoff::{HEALTHY, RECONNECT};
use crate::error::Error;
use crate::error::chain;
use crate::identity::Identity;
use crate::url::HubUrl;

/// How long the socket may take to close its connections and leave.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(3);

/// Local connections at once; more wait to be accepted. As many as a hub of ours lets one joiner have.
const MAX_CONNECTIONS: usize = 12_288;

/// How long the other end may take to close the share at the hub when its time has come.
const AFTER_THE_END: Duration = Duration::from_secs(1);

/// Delay after the system refused to accept, as it does without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Whom to connect to, and as whom.
pub(super) struct Hub {
    pub(super) url: HubUrl,
    pub(super) tls: Arc<rustls::ClientConfig>,
    pub(super) identity: Identity,
    pub(super) transport: Transport,
}

/// Everything behind a [`super::Join`].
pub(super) struct Runner {
    hub: Hub,
    share: Share,
    recheck: Option<(Recheck, Duration)>,
    events_tx: mpsc::Sender<JoinEvent>,
    /// Connections --one was refused--> whoever asks the hub.
    refused: Arc<Notify>,
    current: Current,
    /// Cancelled when connections must end and the hub be told.
    leaving: CancellationToken,
    /// Cancelled when the join is over.
    over: CancellationToken,
    /// Cancelled when the owner wants no more.
    stop: CancellationToken,
    tasks: TaskTracker,
}

// === impl Runner ===

impl Runner {
    pub(super) fn new(
        hub: Hub,
        share: Share,
        recheck: Option<(Recheck, Duration)>,
        events_tx: mpsc::Sender<JoinEvent>,
        stop: CancellationToken,
    ) -> Self {
        let (current, _) = watch::channel(None);
        let (leaving, over) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        Self { hub, share, recheck, events_tx, refused: Arc::default(), current, leaving, over, stop, tasks }
    }

    /// Accepts connections on all listeners until the join is over. Gives what will count each route's traffic.
    pub(super) fn listen(&self, routes: &[LocalRoute], listeners: Vec<Bound>) -> Vec<Arc<Counters>> {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut all = Vec::with_capacity(routes.len());
        for (route, (_, listeners)) in routes.iter().zip(listeners) {
            let route = Arc::new(route.clone());
            let counters = Arc::<Counters>::default();
            for listener in listeners {
                let accepting = accept(
                    listener,
                    Arc::clone(&route),
                    self.connections(&counters),
                    self.tasks.clone(),
                    Arc::clone(&places),
                );
                self.tasks.spawn(until(self.over.clone(), accepting));
            }
            all.push(counters);
        }
        all
    }

    /// Runs until the share is over, closes everything, and then says why.
    pub(super) async fn run(self, socket: Socket, ended_tx: watch::Sender<Option<JoinEnd>>) {
        let mut staying = std::pin::pin!(self.stay_connected(socket));
        let end = tokio::select! {
            biased;
            end = self.told_elsewhere() => {
                self.leaving.cancel();
                let _ = timeout(GOODBYE_TIMEOUT, &mut staying).await; // the hub may be away
                end
            }
            end = &mut staying => end,
        };
        self.over.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        ended_tx.send_replace(Some(end));
    }

    /// Returns when the join is over for a reason that its socket does not tell.
    async fn told_elsewhere(&self) -> JoinEnd {
        tokio::select! {
            biased;
            () = self.share.deadline.passed() => JoinEnd::Expired,
            () = self.stop.cancelled() => JoinEnd::LostAccess,
            end = self.ask_again() => end,
        }
    }

    fn connections(&self, counters: &Arc<Counters>) -> Connections {
        Connections {
            counters: Arc::clone(counters),
            live_rx: self.current.subscribe(),
            deadline: self.share.deadline.clone(),
            told_end: self.share.told_end.clone(),
            over: self.over.clone(),
            refused: Arc::clone(&self.refused),
            events_tx: self.events_tx.downgrade(),
        }
    }

    /// One socket after the other; returns when the share is over for us.
    async fn stay_connected(&self, first: Socket) -> JoinEnd {
        let mut socket = first;
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let transport = self.hub.transport;
            let running = session::run(socket, &self.share, transport, &self.current, &self.leaving);
            let error = match running.await {
                Ok(end) => return end,
                Err(error) => error,
            };
            failures = if began.elapsed() >= HEALTHY { 0 } else { failures };
            if is_verdict(&error) {
                return self.verdict(&error);
            }
            let reason = chain(&error);
            warn!(hub = %self.hub.url, error = reason, "lost the hub");
            self.tell(JoinEvent::Reconnecting { reason });
            socket = match self.reconnect(&mut failures).await {
                Ok(socket) => socket,
                Err(end) => return end,
            };
            self.tell(JoinEvent::Reconnected);
        }
    }

    async fn reconnect(&self, failures: &mut u32) -> Result<Socket, JoinEnd> {
        let Hub { url, tls, identity, .. } = &self.hub;
        loop {
            *failures = failures.saturating_add(1);
            sleep(RECONNECT.delay(*failures)).await;
            match agent::open(url, Arc::clone(tls), identity).await {
                Ok(socket) => return Ok(socket),
                Err(error) if is_verdict(&error) => return Err(self.verdict(&error)),
                Err(error) => warn!(hub = %url, error = chain(&error), "the hub is still away"),
            }
        }
    }

    /// Asks a hub that tells nobody about ends whether the share still lives; returns when it does not.
    async fn ask_again(&self) -> JoinEnd {
        let Some((Recheck { client, code }, interval)) = &self.recheck else {
            return std::future::pending().await;
        };
        let mut pause = *interval;
        loop {
            let is_patient = pause >= *interval;
            let was_refused = tokio::select! {
                () = sleep(pause) => false,
                () = self.refused.notified(), if is_patient => true,
                () = self.told_end(), if is_patient => true,
            };
            pause = if was_refused { ASK_AGAIN } else { pause.saturating_mul(2) }.min(*interval);
            if self.current.borrow().as_ref().is_none_or(|live| live.tells_ends) {
                continue;
            }
            match client.preview(code).await {
                Err(error) if error.status() == Some(404) => {
                    // It is closed at the hub when its time has come; but its creator may have moved the end.
                    return if self.share.told_end.has_passed() { JoinEnd::Expired } else { end_of(&error) };
                }
                Err(error) => pause = pause.max(error.retry_after().unwrap_or_default()),
                Ok(_) => {}
            }
        }
    }

    /// Returns when the other end will have told the hub that the share is over, if its time has not been moved.
    async fn told_end(&self) {
        self.share.told_end.passed().await;
        sleep(AFTER_THE_END).await;
    }

    /// What it means that the hub will not have us again: the end of the share, where it says so.
    fn verdict(&self, error: &AgentError) -> JoinEnd {
        let AgentError::InvalidToken { ended, .. } = error else { return JoinEnd::LostAccess };
        let ours = ended.iter().find(|ended| self.share.id == Some(ended.id));
        ours.map_or(JoinEnd::LostAccess, |ended| ended.reason.into())
    }

    fn tell(&self, event: JoinEvent) {
        let _ = self.events_tx.try_send(event); // an owner that never looks misses ups and downs, not the end
    }
}

/// What a hub's refusal of the code means. A share whose end lies between what the hub can express is revoked there when
/// its time has come, so that "revoked" may mean any end.
fn end_of(error: &Error) -> JoinEnd {
    match error {
        Error::Rejected(refused) if refused.message.contains("expired") => JoinEnd::Expired,
        _ => JoinEnd::Over,
    }
}

/// Whether the hub has said that it will not have us again.
fn is_verdict(error: &AgentError) -> bool {
    matches!(error, AgentError::InvalidToken { .. } | AgentError::TokenExpired { .. })
}

async fn until(over: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = over.cancelled() => {}
        () = work => {}
    }
}

async fn accept(
    listener: TcpListener,
    route: Arc<LocalRoute>,
    connections: Connections,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(route = route.name, %error, "accepting a local connection");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (connections, route) = (connections.clone(), Arc::clone(&route));
        tasks.spawn(async move {
            connections.carry(stream, route).await;
            drop(place);
        });
    }
}
