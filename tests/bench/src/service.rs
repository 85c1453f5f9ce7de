//! The Service that every path leads to: the first nine bytes of a connection say what it shall do.
//!
//! Bytes are compared one by one with what they should be, on both sides, so a rate is a rate of correct bytes only.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval};

/// What is read or written at once; large, so that the ends cost little beside what is between them.
pub(super) const BLOCK: usize = 256 * 1024;

/// Bytes after which the transferred bytes repeat; no multiple of any buffer, so that a lost or repeated buffer shows.
const PERIOD: usize = 1_048_573;

/// The answer of a Service that was asked to be idle, to receive, or to stop reading: the connection is through.
pub(super) const HELLO: u8 = b'.';

/// What a paced Service sends at once.
const TICK_BYTES: usize = 64;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Send this many bytes and end.
    Send(u64),
    /// Receive this many bytes and say so.
    Receive(u64),
    /// Send back blocks of this many bytes.
    Echo(u64),
    /// Send a few bytes again and again, with this many microseconds between.
    Tick(u64),
    /// Say hello, then only wait for the end.
    Idle,
    /// Say hello and never read again.
    Stall,
}

/// The bytes of all transfers.
pub(super) struct Pattern {
    bytes: Vec<u8>,
}

// === impl Wish ===

impl Wish {
    /// Bytes of a wish.
    const LENGTH: usize = 9;

    fn encode(self) -> [u8; Self::LENGTH] {
        let (kind, number) = match self {
            Self::Send(bytes) => (b's', bytes),
            Self::Receive(bytes) => (b'r', bytes),
            Self::Echo(bytes) => (b'e', bytes),
            Self::Tick(micros) => (b't', micros),
            Self::Idle => (b'i', 0),
            Self::Stall => (b'x', 0),
        };
        let mut wish = [kind; Self::LENGTH];
        wish[1..].copy_from_slice(&number.to_be_bytes());
        wish
    }

    fn decode(wish: [u8; Self::LENGTH]) -> Result<Self> {
        let [kind, number @ ..] = wish;
        let number = u64::from_be_bytes(number);
        Ok(match kind {
            b's' => Self::Send(number),
            b'r' => Self::Receive(number),
            b'e' => Self::Echo(number),
            b't' => Self::Tick(number),
            b'i' => Self::Idle,
            b'x' => Self::Stall,
            other => bail!("a connection began with {other:#x}, which is no wish"),
        })
    }

    /// Connects to where the Service can be reached and says the wish.
    pub(super) async fn connect(self, address: SocketAddr) -> Result<TcpStream> {
        let mut stream =
            TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        self.say(&mut stream).await?;
        Ok(stream)
    }

    /// Says the wish on a new connection.
    pub(super) async fn say(self, stream: &mut TcpStream) -> Result<()> {
        stream.set_nodelay(true).context("a socket without options")?;
        stream.write_all(&self.encode()).await.context("cannot say what the connection is for")
    }
}

// === impl Pattern ===

impl Pattern {
    pub(super) fn new() -> Self {
        // Xorshift: no two places look alike, and every run sends the same.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        Self { bytes: std::iter::repeat_with(next).take(PERIOD).collect() }
    }

    /// What comes after `offset` bytes, as much as lies in one piece.
    fn after(&self, offset: u64) -> &[u8] {
        &self.bytes[(offset % PERIOD as u64) as usize..]
    }

    /// Sends the first `count` bytes.
    pub(super) async fn send(&self, stream: &mut TcpStream, count: u64) -> Result<()> {
        let mut sent = 0;
        while sent < count {
            let piece = self.after(sent);
            let length = piece.len().min(BLOCK).min(usize::try_from(count - sent).unwrap_or(BLOCK));
            stream.write_all(&piece[..length]).await.context("cannot send")?;
            tokio::task::yield_now().await; // other connections of this Service have their turn
            sent += length as u64;
        }
        Ok(())
    }

    /// Receives exactly the first `count` bytes.
    pub(super) async fn receive(&self, stream: &mut TcpStream, count: u64) -> Result<()> {
        let mut buffer = vec![0; BLOCK];
        let mut received = 0;
        while received < count {
            let room = buffer.len().min(usize::try_from(count - received).unwrap_or(BLOCK));
            let length = stream.read(&mut buffer[..room]).await.context("cannot receive")?;
            ensure!(length > 0, "the connection ended after {received} of {count} bytes");
            self.check(received, &buffer[..length])?;
            received += length as u64;
        }
        Ok(())
    }

    fn check(&self, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let piece = self.after(offset);
            let length = piece.len().min(bytes.len());
            ensure!(piece[..length] == bytes[..length], "wrong bytes after {offset}");
            (offset, bytes) = (offset + length as u64, &bytes[length..]);
        }
        Ok(())
    }
}

/// Serves until the process ends. `listening` hears the address.
pub(super) async fn serve(
    listen: Option<SocketAddr>,
    listening: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<()> {
    let address = listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    listening(listener.local_addr().context("a listener without address")?)?;
    let pattern: &'static Pattern = Box::leak(Box::new(Pattern::new()));
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        // A connection that breaks is the other end's business: it knows what it expected.
        tokio::spawn(async move { fulfil(stream, pattern).await.ok() });
    }
}

async fn fulfil(mut stream: TcpStream, pattern: &Pattern) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut wish = [0; Wish::LENGTH];
    stream.read_exact(&mut wish).await?;
    match Wish::decode(wish)? {
        Wish::Send(count) => {
            pattern.send(&mut stream, count).await?;
            stream.shutdown().await?;
            drain(&mut stream).await?;
        }
        Wish::Receive(count) => {
            pattern.receive(&mut stream, count).await?;
            stream.write_all(&[HELLO]).await?;
        }
        Wish::Echo(length) => echo(&mut stream, usize::try_from(length)?.min(BLOCK)).await?,
        Wish::Tick(micros) => tick(stream, Duration::from_micros(micros.max(1))).await?,
        Wish::Idle => {
            stream.write_all(&[HELLO]).await?;
            drain(&mut stream).await?;
        }
        Wish::Stall => {
            stream.write_all(&[HELLO]).await?;
            stream.writable().await?;
            // Held open, and never read again, until the other end has gone.
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

async fn echo(stream: &mut TcpStream, length: usize) -> Result<()> {
    let mut block = vec![0; length.max(1)];
    while stream.read_exact(&mut block).await.is_ok() {
        stream.write_all(&block).await?;
    }
    Ok(())
}

async fn tick(mut stream: TcpStream, pause: Duration) -> Result<()> {
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        stream.write_all(&[HELLO; TICK_BYTES]).await?;
    }
}

async fn drain(stream: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_understood_as_it_was_meant() {
        let wishes =
            [Wish::Send(1), Wish::Receive(u64::MAX), Wish::Echo(64), Wish::Tick(5), Wish::Idle, Wish::Stall];
        for wish in wishes {
            assert_eq!(Wish::decode(wish.encode()).expect("it is one"), wish);
        }
        assert!(Wish::decode([b'?'; Wish::LENGTH]).is_err());
    }

    #[test]
    fn a_wrong_a_lost_and_a_repeated_byte_are_seen() {
        let pattern = Pattern::new();
        let good = [pattern.after(0), &pattern.after(0)[..100]].concat();
        pattern.check(0, &good).expect("it is the pattern, across its period");
        let mut wrong = good.clone();
        wrong[4096] ^= 1;
        assert!(pattern.check(0, &wrong).is_err());
        let lost = [&good[..1000], &good[1001..]].concat();
        assert!(pattern.check(0, &lost).is_err());
        let repeated = [&good[..1000], &good[..1000]].concat();
        assert!(pattern.check(0, &repeated).is_err());
    }
}
