//! Whether a connection is encrypted from end to end: settled when it is ready and before its first byte.
//!
//! The joiner offers, the exposer accepts. A hub of ours tells each end what the other can, so nobody waits for
//! nothing, and two ends that both can have an encrypted connection or none. Other hubs do not tell. There the joiner
//! waits for an answer and then goes on in plain, unless it has had one before, and the exposer finds out from what comes first: an offer, or bytes.
//!
//! Whose code has a secret goes on with an end that knows it, or not at all, whatever the hub tells.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::{ConnectionEvents, Keys};
use crate::budget::{InboxRx, Item};
use crate::code_key::{CodeKey, Verification};
use crate::e2e::{Answer, Bond, E2eError, Handshake, Offer, Refused, Side};
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
    /// The hub says that it cannot, and it must.
    #[error("the hub says that the other end does not encrypt, which this code demands")]
    Unable,
    /// It went away, and must encrypt.
    #[error("the other end closed the connection instead of agreeing on encryption")]
    Gone,
    /// It will not have us.
    #[error("the other end refused the connection")]
    Refused,
    /// It said something else, or proves that it is not who it should be.
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

/// The joiner's part. Nothing may have been sent before. With `key` there is an encrypted connection with an end that knows the
/// same secret, or none.
pub(crate) async fn offer(
    events: &ConnectionEvents,
    inbox: &mut InboxRx,
    peer: Peer,
    (service_id, key): (Uuid, Option<&CodeKey>),
) -> Result<Agreed, NotAgreed> {
    match (peer, key) {
        (Peer::Unable, None) => return Ok(Agreed::Plain),
        (Peer::Unable, Some(_)) => return Err(NotAgreed::Unable),
        _ => {}
    }
    let offer = Offer::generate();
    let bond = key.map(|key| Bond { key, service_id, connection_id: events.connection_id() });
    let proof = bond.map(|bond| bond.joiner_proof(&offer));
    events.shake_hands(&Handshake::Init { pubkey: offer.public_key(), proof }).await?;
    let may_be_plain = peer == Peer::Unknown && key.is_none();
    let patience = if may_be_plain { HANDSHAKE_TIMEOUT } else { ABLE_TIMEOUT };
    let is_bound = peer == Peer::Able || key.is_some();
    let answer = match timeout(patience, first_word(inbox, is_bound)).await {
        Ok(Some(answer)) => answer?,
        Ok(None) if key.is_some() => return Err(NotAgreed::Gone),
        Ok(None) => return Ok(Agreed::Plain),
        Err(_) if may_be_plain => return Ok(Agreed::FellBack),
        Err(_) => return Err(NotAgreed::Silent),
    };
    let (pubkey, proof, ends_at) = match answer {
        Handshake::Accept { pubkey, proof, ends_at } => (pubkey, proof, ends_at),
        Handshake::Refuse { reason: Refused::Mismatch } => return Err(E2eError::Mismatch.into()),
        Handshake::Refuse { reason: Refused::Unverified } => return Err(E2eError::Unverified.into()),
        Handshake::Refuse { reason: Refused::Other } => return Err(NotAgreed::Refused),
        Handshake::Init { .. } => return Err(E2eError::Handshake.into()),
    };
    let keys = match bond {
        Some(bond) => bond.conclude(&offer, &pubkey, proof.as_deref())?,
        None => offer.agree(&pubkey, events.connection_id(), Side::Joiner)?,
    };
    Ok(Agreed::Sealed(keys, ends_at))
}

/// The exposer's part: the keys, or none for a connection in plain. A joiner that encrypts is told
/// when the share ends; one that is not taken, why.
pub(crate) async fn answer(
    events: &ConnectionEvents,
    inbox: &mut InboxRx,
    stream: &TcpStream,
    peer: Peer,
    (service_id, verification, ends_at): (Uuid, &Verification, Option<Timestamp>),
) -> Result<Option<Keys>, NotAgreed> {
    let Some(word) = word_of_joiner(inbox, stream, peer, verification.required).await? else {
        if verification.required {
            return refuse(events, E2eError::Unverified).await;
        }
        return Ok(None);
    };
    let Handshake::Init { pubkey, proof } = word else { return Err(E2eError::Handshake.into()) };
    let connection = (service_id, events.connection_id());
    match Answer::to(verification, connection, &pubkey, proof.as_deref()) {
        Ok(Answer { keys, public_key: pubkey, proof }) => {
            events.shake_hands(&Handshake::Accept { pubkey, ends_at, proof }).await?;
            Ok(Some(keys))
        }
        Err(error) => refuse(events, error).await,
    }
}

/// Says why a joiner is not taken, where it can know what to do about it.
async fn refuse(events: &ConnectionEvents, error: E2eError) -> Result<Option<Keys>, NotAgreed> {
    if let Some(reason) = Refused::of(error) {
        events.shake_hands(&Handshake::Refuse { reason }).await?;
    }
    Err(error.into())
}

/// What a joiner says first; `None` when it goes on, or may go on, in plain.
async fn word_of_joiner(
    inbox: &mut InboxRx,
    stream: &TcpStream,
    peer: Peer,
    required: bool,
) -> Result<Option<Handshake>, NotAgreed> {
    let grace = Instant::now() + OFFER_GRACE;
    let word = match peer {
        Peer::Unable => return Ok(None),
        Peer::Able | Peer::Proven => {
            let word = first_word(inbox, peer == Peer::Able);
            timeout(ABLE_TIMEOUT, word).await.map_err(|_| NotAgreed::Silent)?
        }
        Peer::Unknown if required => {
            timeout(ABLE_TIMEOUT, first_word(inbox, false)).await.unwrap_or_default()
        }
        Peer::Unknown => tokio::select! {
            biased;
            word = first_word(inbox, false) => word,
            () = bytes_that_waited(stream, grace) => return Ok(None),
        },
    };
    word.transpose()
}

/// The other end's handshake, or `None` when what comes first is something else: that stays in the inbox. Bytes of an end that is
/// bound to encrypt are an error. Cancel safe.
async fn first_word(inbox: &mut InboxRx, is_bound: bool) -> Option<Result<Handshake, NotAgreed>> {
    loop {
        match inbox.next().await? {
            Item::Ready => {} // once more
            Item::Handshake(payload) => return Some(Handshake::read(&payload).map_err(NotAgreed::from)),
            Item::Chunk(..) if is_bound => return Some(Err(NotAgreed::Plain)),
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
