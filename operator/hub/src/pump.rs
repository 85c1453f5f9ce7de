//! Moves the bytes of one connection between a TCP stream and its other end, both ways at once, until both are done.
//!
//! Guarantees: bytes arrive whole and in order, or the TCP stream is reset. An end is passed on only after the bytes
//! before it. A stream that is dropped without an orderly end is reset, so that nobody takes a part for the whole.
//!
//! What is between the two is a [`Transport`]: the agent's socket ([`recorded`]), or a data connection (`data::stream`). It gives
//! a step for each direction; what holds for both is here: the cut, whose turn it is, what is counted, and how it ends.

mod agreement;
mod events;
mod recorded;

use std::fmt;
use std::io;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use connect_frames::buffers::Buffer;
use connect_frames::frame::Malformed;
use futures::future::OptionFuture;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use self::agreement::{Agreed, NotAgreed, Peer, answer, offer};
pub(crate) use self::events::{AtEnd, ConnectionEvents, EXPOSER, JOINER};
pub(crate) use self::recorded::Recorded;
use crate::e2e::{E2eError, Opener, Sealer};
use crate::error::Cause;
use crate::permission::{Guarded, Pass};
use crate::routes::Traffic;
use crate::socketio::EmitError;
use crate::stats::{Stats, count};

/// After one side has ended for good, how long the other may take to read its last bytes and end in turn.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// Steps after which a direction lets others have their turn, however much it has: a quarter of a megabyte.
const TURN: u32 = 4;

/// A packet was changed, repeated or left out on the way, or made with another key.
pub(crate) const NOT_NEXT: Malformed = Malformed("a packet that is not the next one");

/// How a connection went.
#[derive(Debug)]
pub(crate) enum PumpEnd {
    /// Both directions ended in order, or the other end closed both.
    Done,
    /// The TCP stream broke.
    Broken(io::Error),
    /// The route may no longer be used.
    Forbidden,
    /// It was given up because it did not take its bytes.
    GivenUp,
    /// The ends did not agree on encryption.
    NotAgreed(NotAgreed),
    /// What came from the other end is not what it should be.
    Malformed(Malformed),
    /// The way to the other end is gone.
    Lost(Cause),
}

/// The keys of a connection that is encrypted from end to end.
pub(crate) type Keys = (Sealer, Opener);

/// One direction of a connection.
pub(crate) trait Direction: Send {
    /// Waits for bytes, moves what there is in one piece, and says how many bytes of the connection it was; `None` when
    /// the direction has ended and its receiver was told.
    fn step(&mut self) -> impl Future<Output = Result<Option<usize>, PumpEnd>> + Send;
}

/// The way to the other end.
pub(crate) trait Transport {
    /// Both directions, first the one to the other end. Asked for once.
    fn directions<'a>(
        &'a mut self,
        read: ReadHalf<'a>,
        write: Guarded<WriteHalf<'a>>,
        pass: &'a Pass,
    ) -> (impl Direction, impl Direction);

    /// Cancelled when the connection must end because it does not take its bytes.
    fn given_up(&self) -> Option<CancellationToken>;
}

/// Where bytes are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter<'a> {
    pub(crate) from_hub: &'a AtomicU64,
    pub(crate) to_hub: &'a AtomicU64,
    /// The route's own, where there is one.
    pub(crate) route: Option<&'a Traffic>,
}

// === impl PumpEnd ===

impl PumpEnd {
    /// What was wrong with the encryption, if that ended the connection.
    pub(crate) fn of_encryption(&self) -> Option<E2eError> {
        match self {
            Self::NotAgreed(NotAgreed::Unusable(error)) => Some(*error),
            Self::Broken(error) => error.get_ref()?.downcast_ref::<E2eError>().copied(),
            Self::Malformed(NOT_NEXT) => Some(E2eError::Tampered),
            _ => None,
        }
    }

    /// Counts an end that says something about the service or the hub.
    pub(crate) fn count(&self, stats: &Stats) {
        match self {
            Self::GivenUp => count(&stats.stalled, 1),
            Self::Malformed(_) => count(&stats.malformed, 1),
            Self::Done | Self::Broken(_) | Self::Forbidden | Self::NotAgreed(_) | Self::Lost(_) => {}
        }
    }
}

impl fmt::Display for PumpEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Forbidden => f.write_str("no longer allowed"),
            Self::GivenUp => f.write_str("given up, bytes were not taken"),
            Self::NotAgreed(error) => error.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::Lost(error) => write!(f, "lost: {error}"),
        }
    }
}

impl From<EmitError> for PumpEnd {
    fn from(error: EmitError) -> Self {
        Self::Lost(error.into())
    }
}

impl From<Malformed> for PumpEnd {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

// === impl Meter ===

impl Meter<'_> {
    /// Bytes have arrived from the hub's side.
    fn received(self, bytes: usize) {
        count(self.from_hub, bytes as u64);
        if let Some(route) = self.route {
            count(&route.bytes_in, bytes as u64);
        }
    }

    /// Bytes have gone to the hub's side.
    fn sent(self, bytes: usize) {
        count(self.to_hub, bytes as u64);
        if let Some(route) = self.route {
            count(&route.bytes_out, bytes as u64);
        }
    }
}

/// Makes a stream that is dropped before its orderly end reset the connection.
pub(crate) fn reset_on_drop(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_zero_linger()
}

/// Pumps until both directions ended, one broke, or the permission ran out. The TCP stream is gone then; unless the
/// connection is done, the other end has not been told.
pub(crate) async fn run(
    mut stream: TcpStream,
    mut transport: impl Transport,
    pass: &Pass,
    meter: Meter<'_>,
) -> PumpEnd {
    let given_up = transport.given_up();
    let given_up: OptionFuture<_> = given_up.as_ref().map(CancellationToken::cancelled).into();
    let (read, write) = stream.split();
    let (outward, inward) = transport.directions(read, Guarded::new(write, pass), pass);
    let both = async move {
        tokio::try_join!(
            biased;
            carry(inward, |bytes| meter.received(bytes)),
            carry(outward, |bytes| meter.sent(bytes)),
        )
    };
    let outcome = tokio::select! {
        biased;
        () = pass.token().cancelled() => PumpEnd::Forbidden,
        Some(()) = given_up => PumpEnd::GivenUp,
        both = both => match both {
            Ok(_) | Err(PumpEnd::Done) => PumpEnd::Done,
            Err(_) if !pass.holds() => PumpEnd::Forbidden,
            Err(outcome) => outcome,
        },
    };
    if matches!(outcome, PumpEnd::Done) {
        linger(stream).await;
    }
    outcome
}

/// Goes on until the direction has ended.
pub(crate) async fn carry(mut direction: impl Direction, count: impl Fn(usize)) -> Result<(), PumpEnd> {
    let mut turn = 0;
    while let Some(bytes) = direction.step().await? {
        count(bytes);
        turn += 1;
        if turn >= TURN {
            turn = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Lets the other end read its last bytes: closing a stream with unread bytes in it would reset it.
async fn linger(stream: TcpStream) {
    #[expect(
        deprecated,
        reason = "only the form that blocks on close is dangerous; None restores the orderly close"
    )]
    let orderly = stream.set_linger(None);
    if orderly.is_err() {
        return;
    }
    let drained = async {
        loop {
            stream.readable().await?;
            match stream.try_read(&mut Buffer::take()) {
                Ok(0) => return Ok::<(), io::Error>(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    let _ = timeout(LINGER, drained).await; // whoever does not close in time is reset
}
