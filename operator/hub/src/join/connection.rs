//! One local connection: ask the hub for the service, wait until it is there, pump.
//!
//! Nothing is read from the local client before the hub says that the connection is ready, so its first bytes wait in
//! the system's own buffer and cannot be lost on the way.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use super::deadline::Deadline;
use super::session::Live;
use super::traffic::Counters;
use super::{JoinEvent, LocalRoute};
use crate::budget::{InboxRx, Item, inbox};
use crate::data::NotReached;
use crate::permission::{Pass, Permission};
use crate::protocol::{ReachConnect, Reached};
use crate::pump::{self, Agreed, AtEnd, ConnectionEvents, JOINER, Keys, Peer, PumpEnd, Recorded};
use crate::sentences;

/// How long a new connection waits for the hub to be back.
const HUB_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the hub may take to accept the wish for a connection.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the other end may take to connect: hubs give up after ten seconds and say so.
const READY_TIMEOUT: Duration = Duration::from_secs(15);

/// A hub without half-close ends both directions at once, so after the client's end we wait for late bytes: until
/// there were none for this long.
const LATE_BYTES: Duration = Duration::from_secs(2);

/// From this difference on it is told that the share ends at another time than the hub said: what is shown is minutes.
const WORTH_A_WORD: Duration = Duration::from_secs(60);

/// Places in the event queue that what connections tell leaves free for the hub's own ups and downs.
const SPARE_EVENTS: usize = 16;

/// What every connection of a join needs.
#[derive(Clone)]
pub(super) struct Connections {
    /// What the connections' route has carried.
    pub(super) counters: Arc<Counters>,
    /// Session --the socket of the moment--> connections.
    pub(super) live_rx: watch::Receiver<Option<Arc<Live>>>,
    pub(super) deadline: Deadline,
    /// The end by the other end's word.
    pub(super) told_end: Deadline,
    /// Cancelled when the join is over.
    pub(super) over: CancellationToken,
    /// Told when a connection was refused, which may be the first sign of the share's end.
    pub(super) refused: Arc<Notify>,
    /// Connections --failures, warnings--> the owner of the join. Weak, so that the queue ends with the runner.
    pub(super) events_tx: mpsc::WeakSender<JoinEvent>,
}

/// Lets bytes pass until the share is over.
struct UntilTheEnd {
    deadline: Deadline,
    over: CancellationToken,
}

impl Permission for UntilTheEnd {
    fn holds(&self) -> bool {
        !self.over.is_cancelled() && !self.deadline.has_passed()
    }

    fn token(&self) -> &CancellationToken {
        &self.over
    }
}

// === impl Connections ===

impl Connections {
    /// Carries one connection to its end. A connection that cannot be had is reset and told.
    pub(super) async fn carry(self, stream: TcpStream, route: Arc<LocalRoute>) {
        let over = self.over.clone();
        let carried = async {
            pump::reset_on_drop(&stream).map_err(|error| error.to_string())?;
            let live = self.live().await?;
            tokio::select! {
                biased;
                () = live.gone.cancelled() => Ok(()),
                carried = self.carry_over(&live, stream, &route) => carried,
            }
        };
        tokio::select! {
            biased;
            () = over.cancelled() => {}
            carried = carried => if let Err(reason) = carried {
                self.refused.notify_one();
                self.tell(JoinEvent::RouteFailed { name: route.name.clone(), reason });
            },
        }
    }

    async fn carry_over(&self, live: &Live, stream: TcpStream, route: &LocalRoute) -> Result<(), String> {
        let pass = Pass::new(UntilTheEnd { deadline: self.deadline.clone(), over: self.over.clone() });
        if let Some(data) = &live.data {
            match data.open(route.service_id).await {
                Ok(opened) => {
                    let counted = self.counters.opened();
                    opened.carry(stream, &pass, counted.meter()).await;
                    return Ok(());
                }
                Err(NotReached::Refused(reason)) => return Err(reason),
                Err(NotReached::OtherWay) => {} // over the socket, then
            }
        }
        Box::pin(self.carry_recorded(live, stream, route, &pass)).await
    }

    /// Over the agent's socket, as every hub can.
    async fn carry_recorded(
        &self,
        live: &Live,
        stream: TcpStream,
        route: &LocalRoute,
        pass: &Pass,
    ) -> Result<(), String> {
        let connection_id = Uuid::new_v4().to_string();
        let (inbox_tx, mut inbox) = inbox(&live.budget);
        let registration = live.links.register(connection_id.clone(), inbox_tx);
        let peer = reach(live, &connection_id, route.service_id).await?;
        let at_end = if live.half_close { AtEnd::Finish } else { AtEnd::CloseAfter(LATE_BYTES) };
        let events = ConnectionEvents::new(live.emitter.clone(), JOINER, connection_id, at_end);
        let agreed = match ready(&mut inbox).await {
            Ok(()) => agree(live, &events, &mut inbox, route.service_id, peer).await,
            Err(reason) => Err(reason),
        };
        let keys = match agreed {
            Ok((keys, ends_at)) => {
                self.is_told(live, ends_at);
                keys
            }
            Err(reason) => {
                let _ = events.close().await; // a hub that gave up has forgotten it already
                return Err(reason);
            }
        };
        if keys.is_none() && live.peers.is_in_plain(route.service_id) {
            self.tell(JoinEvent::NotEncrypted { name: route.name.clone() });
        }
        let counted = self.counters.opened();
        let socket = Recorded { inbox, events: &events, keys, detach: Some(registration) };
        let outcome = pump::run(stream, socket, pass, counted.meter()).await;
        debug!(link = events.connection_id(), route = route.name, %outcome, "connection ended");
        if !matches!(outcome, PumpEnd::Done) {
            let _ = events.close().await; // a hub that is gone has closed it already
        }
        Ok(())
    }

    /// The socket of the moment, waited for while the hub is away.
    async fn live(&self) -> Result<Arc<Live>, String> {
        let mut live_rx = self.live_rx.clone();
        let live = timeout(HUB_TIMEOUT, live_rx.wait_for(Option::is_some)).await;
        let live = live.ok().and_then(Result::ok).and_then(|live| live.clone());
        live.ok_or_else(|| "the hub is away".to_owned())
    }

    /// Takes the other end's word on when the share ends, at a hub that tells nobody.
    fn is_told(&self, live: &Live, ends_at: Option<Timestamp>) {
        let Some(ends_at) = ends_at.filter(|_| !live.tells_ends) else { return };
        if self.told_end.is_moved_to(ends_at) >= WORTH_A_WORD {
            self.tell(JoinEvent::Moved { ends_at });
        }
    }

    fn tell(&self, event: JoinEvent) {
        let Some(events_tx) = self.events_tx.upgrade() else { return };
        if events_tx.capacity() > SPARE_EVENTS {
            let _ = events_tx.try_send(event); // see SPARE_EVENTS
        }
    }
}

/// Asks the hub for a connection to the service, and says what it tells about the other end.
async fn reach(live: &Live, connection_id: &str, service_id: Uuid) -> Result<Peer, String> {
    let wish = ReachConnect { connection_id, service_id };
    let Reached { success, error, e2e } = live
        .emitter
        .call("reach_connect", Some(&wish), ACK_TIMEOUT)
        .await
        .map_err(|error| error.to_string())?;
    if success {
        Ok(e2e.into())
    } else {
        let said = error.as_deref().and_then(sentences::known);
        Err(said.unwrap_or("the hub refused the connection").to_owned())
    }
}

/// Settles with the other end whether the connection is encrypted. Gives its word on when the share ends as well.
async fn agree(
    live: &Live,
    events: &ConnectionEvents,
    inbox: &mut InboxRx,
    service_id: Uuid,
    peer: Peer,
) -> Result<(Option<Keys>, Option<Timestamp>), String> {
    let peer = live.peers.known(service_id, peer);
    match pump::offer(events, inbox, peer, (service_id, live.code_key.as_ref())).await {
        Ok(Agreed::Sealed(keys, ends_at)) => {
            live.peers.encrypts(service_id);
            Ok((Some(keys), ends_at))
        }
        Ok(Agreed::Plain) => Ok((None, None)),
        Ok(Agreed::FellBack) => {
            live.peers.is_silent(service_id);
            Ok((None, None))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Waits until the other end is there.
async fn ready(inbox: &mut InboxRx) -> Result<(), String> {
    let item = timeout(READY_TIMEOUT, inbox.next()).await;
    match item.map_err(|_| "the other end did not answer in time".to_owned())? {
        Some(Item::Ready) => Ok(()),
        Some(Item::Failed(reason)) => Err(reason),
        _ => Err("the other end refused the connection".to_owned()),
    }
}
