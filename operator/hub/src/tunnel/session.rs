//! One agent socket of the exposing side, from the hub's welcome to its end.
//!
//! The loop here reads and decides; it never waits for the writer. Each connection, the heartbeat and the exposing are
//! tasks of the session: they end with it.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use super::{TunnelEvent, exposing};
use crate::agent::{self, AgentError, Socket};
use crate::budget::{Budget, InboxTx, Limits, inbox};
use crate::data::{Connector, Offering, Wanted};
use crate::links::link::{Link, Refuser};
use crate::links::{Foreign, Links};
use crate::protocol::{self, HALF_CLOSE, Said};
use crate::pump::EXPOSER;
use crate::routes::{Refusal, Routes};
use crate::socketio::{Emitter, Event, Incoming, SocketError};
use crate::stats::{RefusedDial, Stats, count};

/// What outlives a session.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) routes: Routes,
    pub(super) limits: Limits,
    pub(super) budget: Budget,
    pub(super) stats: Arc<Stats>,
    pub(super) events_tx: broadcast::Sender<TunnelEvent>,
}

/// A session in progress.
struct Session {
    around: Surroundings,
    emitter: Emitter,
    half_close: bool,
    links: Links,
    refuser: Refuser,
    tasks: JoinSet<Result<(), AgentError>>,
    /// Session --everything must be exposed again--> exposing task.
    welcomed: Arc<Notify>,
    /// Session --the hub wants more data connections--> offering task.
    wanted: Wanted,
}

/// Carries connections until the socket ends or `stop` is cancelled, then says which error ended it.
pub(super) async fn run(
    socket: Socket,
    around: Surroundings,
    stop: &CancellationToken,
) -> Option<AgentError> {
    let Socket { emitter, mut events, welcome, token_warning: _, data } = socket;
    let mut session = Session::start(emitter, around, welcome.features.has(HALF_CLOSE), data);
    let ended = loop {
        let said = tokio::select! {
            biased;
            () = stop.cancelled() => break None,
            Some(task) = session.tasks.join_next() => match task {
                Ok(Err(error)) => break Some(error),
                _ => continue,
            },
            said = events.next() => said,
        };
        match said {
            Ok(Incoming::Event(event)) => tokio::select! {
                biased;
                () = stop.cancelled() => break None,
                heard = session.hear(&event) => if let Err(error) = heard { break Some(error) },
            },
            Ok(Incoming::Unreadable) => count(&session.around.stats.malformed, 1),
            Err(error) => {
                let too_large = matches!(error, SocketError::TooLarge { .. });
                count(&session.around.stats.malformed, u64::from(too_large));
                break Some(AgentError::Socket(error));
            }
        }
    };
    let open = session.links.ids();
    session.tasks.shutdown().await;
    if ended.is_none() {
        agent::leave(&session.emitter, events, EXPOSER.close, &open).await;
    }
    ended
}

// === impl Session ===

impl Session {
    fn start(emitter: Emitter, around: Surroundings, half_close: bool, data: Option<Connector>) -> Self {
        let (refuser, refusing) = Refuser::new(emitter.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            refusing.await;
            Ok(())
        });
        let (links, welcomed, wanted) = (Links::default(), Arc::default(), Wanted::default());
        let mut session = Self { around, emitter, half_close, links, refuser, tasks, welcomed, wanted };
        session.start_tasks(data, !half_close);
        session
    }

    fn start_tasks(&mut self, data: Option<Connector>, probes: bool) {
        let emitter = self.emitter.clone();
        self.tasks.spawn(async { Err(agent::heartbeat(emitter).await) });
        let (emitter, routes) = (self.emitter.clone(), self.around.routes.clone());
        let welcomed = Arc::clone(&self.welcomed);
        self.tasks.spawn(async move { Err(exposing::run(emitter, routes, &welcomed, probes).await) });
        if let Some(connector) = data {
            let Surroundings { routes, limits, stats, events_tx: _, budget: _ } = self.around.clone();
            let (links, wanted) = (self.links.clone(), self.wanted.clone());
            let offering = Offering { connector, routes, limits, stats, links, wanted };
            self.tasks.spawn(async move {
                offering.run().await;
                Ok(())
            });
        }
    }

    async fn hear(&mut self, event: &Event) -> Result<(), AgentError> {
        let stats = Arc::clone(&self.around.stats);
        let Ok(said) = Said::read(event) else {
            count(&stats.malformed, 1);
            debug!(event = event.name(), "unreadable event");
            return Ok(());
        };
        match said {
            Said::Data(data) => self.count_foreign(self.links.deliver(&self.around.budget, data).await),
            Said::Dial(dial) => self.answer(dial),
            Said::Fin(id) => self.count_foreign(self.links.with(&id.connection_id, InboxTx::finish)),
            Said::Close(id) => self.count_foreign(self.links.with(&id.connection_id, InboxTx::close)),
            Said::Spoilt(id) => {
                count(&stats.malformed, 1);
                self.count_foreign(self.links.with(&id.connection_id, InboxTx::give_up));
            }
            Said::Handshake(shake) => {
                self.count_foreign(
                    self.links.with(&shake.connection_id, |inbox| inbox.handshake(&shake.payload)),
                );
            }
            Said::Error(rejected) => return Err(rejected.into()),
            Said::TokenWarning(token) => {
                self.tell(TunnelEvent::TokenExpiring { expires_at: token.expires_at });
            }
            Said::ShareJoined(joined) => self.tell(joined.into()),
            Said::SharePresence(presence) => self.tell(presence.into()),
            Said::Connected(_) => self.welcomed.notify_one(),
            Said::DataWanted => self.wanted.one_more(),
            Said::Ready(_) | Said::Failed(_) | Said::ShareChanged(_) | Said::ShareEnded(_) | Said::Other => {}
        }
        Ok(())
    }

    fn count_foreign(&self, found: Result<(), Foreign>) {
        if found.is_err() {
            count(&self.around.stats.foreign, 1);
        }
    }

    fn answer(&mut self, dial: protocol::Dial<'_>) {
        let connection_id = dial.connection_id.into_owned();
        let peer = dial.e2e.into();
        let stats = Arc::clone(&self.around.stats);
        let admitted = if dial.pty {
            Err(RefusedDial::Terminal)
        } else if self.links.len() >= self.around.limits.connections || self.links.has(&connection_id) {
            Err(RefusedDial::Limit)
        } else {
            let service_id = Uuid::parse_str(&dial.service_id).map_err(|_| RefusedDial::UnknownService);
            service_id.and_then(|id| self.around.routes.admit(id).map_err(RefusedDial::from))
        };
        let (dial, guard) = match admitted {
            Ok(admitted) => admitted,
            Err(why) => {
                self.around.stats.count_refused(why);
                return self.refuser.refuse(connection_id, why);
            }
        };
        let (inbox_tx, inbox) = inbox(&self.around.budget);
        let registration = self.links.register(connection_id.clone(), inbox_tx);
        let (half_close, emitter) = (self.half_close, self.emitter.clone());
        let link = Link { dial, guard, connection_id, emitter, inbox, half_close, peer, stats };
        self.tasks.spawn(async move {
            link.run(registration).await;
            Ok(())
        });
    }

    fn tell(&self, event: TunnelEvent) {
        let _ = self.around.events_tx.send(event); // nobody listening is fine
    }
}

impl From<Refusal> for RefusedDial {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownService => Self::UnknownService,
            Refusal::ShareEnded(_) | Refusal::EndNotSet => Self::ShareEnded,
            Refusal::NoTarget => Self::NoTarget,
        }
    }
}

impl From<protocol::SharePresence> for TunnelEvent {
    fn from(presence: protocol::SharePresence) -> Self {
        let protocol::SharePresence { id, count, connected, joins } = presence;
        Self::SharePresence { id, count, connected, joins }
    }
}

impl From<protocol::ShareJoined> for TunnelEvent {
    fn from(joined: protocol::ShareJoined) -> Self {
        let protocol::ShareJoined { id, count, agent_label, joined_at } = joined;
        Self::ShareJoined { id, count, agent_label, joined_at }
    }
}
