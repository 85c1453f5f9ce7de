//! Whether a connection is encrypted from end to end: settled when it is ready and before its first byte.
//!
//! The joiner offers, the exposer accepts. A hub of ours tells each end what the other can, so nobody waits for
//! nothing, and two ends that both can have an encrypted connection or none. Other hubs do not tell. There the joiner
//! waits for an answer and then goes on in plain, unless it has had one before, and the exposer finds out from what comes first: an offer, or bytes.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::{ConnectionEvents, Keys};
use crate::budget::{InboxRx, Item};
use crate::e2e::{E2eError, Handshake, Offer, Side};
use crate::socketio::EmitError;

/// How long an end that may not encrypt at all can take to say its word: what all agents of these hubs wait.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an end that encrypts may take: behind a full queue of other connections' bytes it may be late.
const ABLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long the first bytes of a service that speaks first are held back for a joiner that may or may not encrypt. One
/// that does says so with its first event, so this is two trips through the hub; one that does not waits this long.
const OFFER_GRACE: Duration = Duration::from_millis(500);

/// What is known about the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// It encrypts, as the hub told.
    Able,
    /// It has encrypted before, at a hub that does not tell.
    Proven,
    /// It does not.
    Unable,
    /// The hub does not know.
    Unknown,
}

/// What the joiner has.
pub(crate) enum Agreed {
    /// An encrypted connection, and when the share ends by the other end's word.
    Sealed(Keys, Option<Timestamp>),
    /// A connection in plain, as was clear from the start or from bytes of the other end.
    Plain,
    /// A connection in plain, because the other end did not answer.
    FellBack,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum NotAgreed {
    /// It can, but does not say so.
    #[error("the other end did not agree on encryption in time")]
    Silent,
    /// It can, but does not.
    #[error("the other end sent bytes in plain")]
    Plain,
    /// We have gone on in plain; one end would encrypt and the other not.
    #[error("the other end agreed on encryption too late")]
    TooLate,
    /// It said something else.
    #[error(transparent)]
    Unusable(#[from] E2eError),
    /// The hub is gone.
    #[error(transparent)]
    HubGone(#[from] EmitError),
}

impl From<Option<bool>> for Peer {
    fn from(told: Option<bool>) -> Self {
        match told {
            Some(true) => Self::Able,
            Some(false) => Self::Unable,
            None => Self::Unknown,
        }
    }
}

/// The joiner's part. Nothing may have been sent before.
pub(crate) async fn offer(
    events: &ConnectionEvents,
    inbox: &mut InboxRx,
    peer: Peer,
) -> Result<Agreed, NotAgreed> {
    if peer == Peer::Unable {
        return Ok(Agreed::Plain);
    }
    let offer = Offer::generate();
    events.shake_hands(&Handshake::Init { pubkey: offer.public_key() }).await?;
    let patience = if peer == Peer::Unknown { HANDSHAKE_TIMEOUT } else { ABLE_TIMEOUT };
    let answer = match timeout(patience, first_word(inbox, peer)).await {
        Ok(Some(answer)) => answer?,
        Ok(None) => return Ok(Agreed::Plain),
        Err(_) if peer == Peer::Unknown => return Ok(Agreed::FellBack),
        Err(_) => return Err(NotAgreed::Silent),
    };
    let Handshake::Accept { pubkey, ends_at } = answer else { return Err(E2eError::Handshake.into()) };
    Ok(Agreed::Sealed(offer.agree(&pubkey, events.connection_id(), Side::Joiner)?, ends_at))
}

/// The exposer's part: the keys, or none for a connection in plain. A joiner that encrypts is told when the share ends.
pub(crate) async fn answer(
    events: &ConnectionEvents,
    inbox: &mut InboxRx,
    stream: &TcpStream,
    peer: Peer,
    ends_at: Option<Timestamp>,
) -> Result<Option<Keys>, NotAgreed> {
    let grace = Instant::now() + OFFER_GRACE;
    let word = match peer {
        Peer::Unable => return Ok(None),
        Peer::Able | Peer::Proven => {
            timeout(ABLE_TIMEOUT, first_word(inbox, peer)).await.map_err(|_| NotAgreed::Silent)?
        }
        Peer::Unknown => tokio::select! {
            biased;
            word = first_word(inbox, peer) => word,
            () = bytes_that_waited(stream, grace) => return Ok(None),
        },
    };
    let Some(word) = word else { return Ok(None) };
    let Handshake::Init { pubkey } = word? else { return Err(E2eError::Handshake.into()) };
    let offer = Offer::generate();
    let accept = Handshake::Accept { pubkey: offer.public_key(), ends_at };
    let keys = offer.agree(&pubkey, events.connection_id(), Side::Exposer)?;
    events.shake_hands(&accept).await?;
    Ok(Some(keys))
}

/// The other end's handshake, or `None` when what comes first is something else: that stays in the inbox. Cancel safe.
async fn first_word(inbox: &mut InboxRx, peer: Peer) -> Option<Result<Handshake, NotAgreed>> {
    loop {
        match inbox.next().await? {
            Item::Ready => {} // once more
            Item::Handshake(payload) => return Some(Handshake::read(&payload).map_err(NotAgreed::from)),
            Item::Chunk(..) if peer == Peer::Able => return Some(Err(NotAgreed::Plain)),
            other => {
                inbox.unread(other);
                return None;
            }
        }
    }
}

/// Resolves when the service has something to say and the joiner has had its time.
async fn bytes_that_waited(stream: &TcpStream, until: Instant) {
    let _ = stream.readable().await; // a stream that broke is noticed by whoever reads it
    sleep_until(until).await;
}
