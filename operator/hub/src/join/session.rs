//! One agent socket of the joining side: what the hub says goes to the connection it is about.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;
use uuid::Uuid;

use super::deadline::Deadline;
use super::peers::Peers;
use super::{JoinEnd, JoinEvent, Transport};
use crate::agent::{self, AgentError, Socket};
use crate::budget::{Budget, InboxTx};
use crate::budget::{Limits, Memory};
use crate::code_key::CodeKey;
use crate::data::Reaching;
use crate::links::Links;
use crate::links::link::Refuser;
use crate::protocol::{EndedReason, HALF_CLOSE, SHARE_EVENTS, Said, ShareChanged};
use crate::pump::JOINER;
use crate::socketio::{Emitter, Event, Events, Incoming, SocketError};
use crate::stats::RefusedDial;

/// A socket that connections can use.
pub(super) struct Live {
    pub(super) emitter: Emitter,
    pub(super) links: Links,
    pub(super) budget: Budget,
    pub(super) half_close: bool,
    pub(super) tells_ends: bool,
    pub(super) peers: Arc<Peers>,
    pub(super) code_key: Option<CodeKey>,
    /// The fast path, on a hub that has it.
    pub(super) data: Option<Reaching>,
    /// Cancelled when the socket is gone.
    pub(super) gone: CancellationToken,
}

/// The share that was joined.
pub(super) struct Share {
    /// On hubs that give one.
    pub(super) id: Option<Uuid>,
    /// What its code's secret gives.
    pub(super) code_key: Option<CodeKey>,
    pub(super) deadline: Deadline,
    /// The same by the word of the agent at the other end, which knows it where the hub knows whole hours only.
    pub(super) told_end: Deadline,
    pub(super) peers: Arc<Peers>,
    /// Session --a moved end--> the owner of this join.
    pub(super) events_tx: mpsc::Sender<JoinEvent>,
}

/// The socket of the moment, if there is one.
pub(super) type Current = watch::Sender<Option<Arc<Live>>>;

/// Serves connections until the hub says that the share is over, `leaving` is cancelled, or the socket ends.
pub(super) async fn run(
    socket: Socket,
    share: &Share,
    transport: Transport,
    current: &Current,
    leaving: &CancellationToken,
) -> Result<JoinEnd, AgentError> {
    let Socket { emitter, mut events, welcome, token_warning: _, data } = socket;
    let Limits { link_bytes, .. } = Limits::default();
    if let Some(ended) = welcome.ended.iter().find(|ended| share.id == Some(ended.id)) {
        return Ok(ended.reason.into()); // it ended while we were away
    }
    welcome.shares.into_iter().for_each(|changed| share.follow(changed));
    let gone = CancellationToken::new();
    let live = Arc::new(Live {
        emitter: emitter.clone(),
        links: Links::default(),
        budget: Budget::new(&Memory::default(), link_bytes),
        half_close: welcome.features.has(HALF_CLOSE),
        tells_ends: welcome.features.has(SHARE_EVENTS),
        peers: Arc::clone(&share.peers),
        code_key: share.code_key.clone(),
        data: data
            .filter(|_| transport.data_connections)
            .map(|connector| Reaching::new(connector, transport, share.code_key.clone())),
        gone: gone.clone(),
    });
    let _withdraw = Withdraw { current, _gone: gone.drop_guard() };
    current.send_replace(Some(Arc::clone(&live)));
    let ended = tokio::select! {
        biased;
        () = leaving.cancelled() => Ok(JoinEnd::LostAccess),
        error = agent::heartbeat(emitter) => Err(error),
        error = keep_ahead(&live) => match error {},
        ended = listen(&mut events, &live, share) => ended,
    };
    if ended.is_ok() {
        current.send_replace(None);
        let open = live.links.ids();
        live.gone.cancel();
        agent::leave(&live.emitter, events, JOINER.close, &open).await;
    }
    ended
}

/// Takes the socket away from connections when its session ends, however it ends.
struct Withdraw<'a> {
    current: &'a Current,
    _gone: DropGuard,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        self.current.send_replace(None);
    }
}

/// Opens connections of the fast path ahead of need; never returns.
async fn keep_ahead(live: &Live) -> Infallible {
    match &live.data {
        Some(data) => data.keep_ahead().await,
        None => std::future::pending().await,
    }
}

async fn listen(events: &mut Events, live: &Live, share: &Share) -> Result<JoinEnd, AgentError> {
    let (refuser, refusing) = Refuser::new(live.emitter.clone());
    let listening = async {
        loop {
            let Incoming::Event(event) = events.next().await.map_err(AgentError::Socket)? else { continue };
            if let Some(end) = hear(&event, live, share, &refuser).await? {
                return Ok(end);
            }
        }
    };
    tokio::select! {
        ended = listening => ended,
        () = refusing => Err(AgentError::Socket(SocketError::Closed)),
    }
}

/// Acts on one event. An event for a connection that is not ours, or one that cannot be read, changes nothing.
async fn hear(
    event: &Event,
    live: &Live,
    share: &Share,
    refuser: &Refuser,
) -> Result<Option<JoinEnd>, AgentError> {
    let Ok(said) = Said::read(event) else {
        debug!(event = event.name(), "unreadable event");
        return Ok(None);
    };
    let links = &live.links;
    let found = match said {
        Said::Data(data) => links.deliver(&live.budget, data).await,
        Said::Ready(id) => links.with(&id.connection_id, InboxTx::ready),
        Said::Fin(id) => links.with(&id.connection_id, InboxTx::finish),
        Said::Close(id) => links.with(&id.connection_id, InboxTx::close),
        Said::Failed(failed) => links.with(&failed.connection_id, |inbox| inbox.failed(&failed.error)),
        Said::Handshake(shake) => links.with(&shake.connection_id, |inbox| inbox.handshake(&shake.payload)),
        Said::Spoilt(id) => links.with(&id.connection_id, InboxTx::give_up),
        Said::ShareEnded(ended) if share.id.is_none_or(|id| id == ended.id) => {
            return Ok(Some(ended.reason.into()));
        }
        Said::ShareChanged(changed) => {
            share.follow(changed);
            Ok(())
        }
        Said::Error(rejected) => return Err(rejected.into()),
        Said::Dial(dial) => {
            // This side offers nothing, whatever the hub thinks.
            refuser.refuse(dial.connection_id.into_owned(), RefusedDial::UnknownService);
            Ok(())
        }
        Said::Connected(_)
        | Said::DataWanted
        | Said::TokenWarning(_)
        | Said::ShareJoined(_)
        | Said::SharePresence(_)
        | Said::ShareEnded(_)
        | Said::Other => Ok(()),
    };
    if found.is_err() {
        debug!(event = event.name(), "event for a connection that is not ours");
    }
    Ok(None)
}

// === impl Share ===

impl Share {
    /// Ends when the hub says, if it speaks of this share.
    fn follow(&self, changed: ShareChanged) {
        let ends_at = changed.expires_at;
        if self.id == Some(changed.id) && self.deadline.move_to(ends_at) {
            let _ = self.events_tx.try_send(JoinEvent::Moved { ends_at }); // an owner that never looks misses it
        }
    }
}

impl From<EndedReason> for JoinEnd {
    fn from(reason: EndedReason) -> Self {
        match reason {
            EndedReason::Expired => Self::Expired,
            EndedReason::Revoked => Self::Revoked,
            EndedReason::Deleted => Self::ClosedByOwner,
            EndedReason::Rotated => Self::Rotated,
        }
    }
}
