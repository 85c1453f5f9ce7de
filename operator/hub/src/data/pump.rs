//! Moves the bytes of one stream between a TCP stream and a data connection, both ways at once, until both are done.
//!
//! Guarantees as in [`crate::pump`]: bytes arrive whole and in order, or the TCP stream is reset. Here every direction
//! holds at most one frame, and only while there is one; everything else waits in the kernel, where TCP bounds it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use connect_frames::buffers::Buffer;
use connect_frames::frame::{Kind, Malformed, PING};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep, timeout};

use super::connect::{Connection, PING_EVERY};
use super::keys::{Keys, MAX_TEXT_BYTES, Seal, TEXT_AT, Unseal};
use super::reader::{FrameReader, ReadError};
use crate::permission::{Guarded, Pass};
use crate::pump::{self, LINGER, Meter};

/// Frames after which a stream lets others have their turn, however much it has: a quarter of a megabyte.
const TURN: u32 = 4;

/// How a stream went.
#[derive(Debug)]
pub(super) enum RelayEnd {
    /// Both directions ended in order; the data connection can carry another stream.
    Done,
    /// The TCP stream broke.
    Broken(io::Error),
    /// The route may no longer be used.
    Forbidden,
    /// The data connection is over, or not what it should be.
    Lost(ReadError),
}

/// Why one direction did not end in order.
type Direction = Result<(), RelayEnd>;

// === impl RelayEnd ===

impl fmt::Display for RelayEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Broken(error) => write!(f, "broken: {error}"),
            Self::Forbidden => f.write_str("no longer allowed"),
            Self::Lost(error) => write!(f, "lost: {error}"),
        }
    }
}

/// Pumps until both directions ended, one broke, or the permission ran out. Unless it is done, the data connection must
/// be dropped, which tells the other side.
pub(super) async fn run(
    mut stream: TcpStream,
    connection: &mut Connection,
    keys: Keys,
    pass: &Pass,
    meter: Meter<'_>,
) -> RelayEnd {
    let Keys { seal, unseal } = keys;
    let Connection { reader, writer } = connection;
    let (read, write) = stream.split();
    let sent_all = AtomicBool::new(false);
    let both = async {
        tokio::try_join!(
            outward(read, Guarded::new(writer, pass), seal, pass, meter, &sent_all),
            inward(Guarded::new(write, pass), reader, unseal, pass, meter, &sent_all),
        )
    };
    let outcome = tokio::select! {
        biased;
        () = pass.token().cancelled() => RelayEnd::Forbidden,
        both = both => match both {
            Ok(_) => RelayEnd::Done,
            Err(_) if !pass.holds() => RelayEnd::Forbidden,
            Err(outcome) => outcome,
        },
    };
    if matches!(outcome, RelayEnd::Done) {
        pump::linger(stream).await;
    }
    outcome
}

async fn outward(
    mut read: ReadHalf<'_>,
    mut writer: impl AsyncWrite + Unpin,
    mut seal: Seal,
    pass: &Pass,
    meter: Meter<'_>,
    sent_all: &AtomicBool,
) -> Direction {
    let mut turn = 0;
    let mut quiet = std::pin::pin!(sleep(PING_EVERY));
    let mut spoke = Instant::now();
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = read_chunk(&mut read) => Some(chunk.map_err(RelayEnd::Broken)?),
            () = quiet.as_mut() => None,
        };
        if !pass.holds() {
            return Err(RelayEnd::Forbidden);
        }
        let Some((mut buffer, length)) = chunk else {
            // What was written meanwhile has put the ping off.
            if spoke.elapsed() >= PING_EVERY {
                writer.write_all(&PING).await.map_err(lost)?;
                writer.flush().await.map_err(lost)?;
                spoke = Instant::now();
            }
            quiet.as_mut().reset(spoke + PING_EVERY);
            continue;
        };
        let kind = if length == 0 { Kind::Fin } else { Kind::Data };
        writer.write_all(seal.frame(kind, &mut buffer, length)).await.map_err(lost)?;
        writer.flush().await.map_err(lost)?; // TLS may hold some back
        spoke = Instant::now();
        if length == 0 {
            sent_all.store(true, Ordering::Relaxed);
            return Ok(());
        }
        meter.sent(length);
        take_turns(&mut turn).await;
    }
}

/// Reads one chunk to where the text of a frame belongs; 0 at the end of the stream. No buffer is held before there
/// is something to read.
async fn read_chunk(read: &mut ReadHalf<'_>) -> io::Result<(Buffer, usize)> {
    std::future::poll_fn(|context| {
        let mut buffer = Buffer::take();
        let mut room = ReadBuf::new(&mut buffer[TEXT_AT..TEXT_AT + MAX_TEXT_BYTES]);
        let polled = Pin::new(&mut *read).poll_read(context, &mut room);
        let length = room.filled().len();
        match polled {
            Poll::Ready(Ok(())) => Poll::Ready(Ok((buffer, length))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn inward<R: AsyncRead + Unpin>(
    mut write: Guarded<WriteHalf<'_>>,
    reader: &mut FrameReader<R>,
    mut unseal: Unseal,
    pass: &Pass,
    meter: Meter<'_>,
    sent_all: &AtomicBool,
) -> Direction {
    let mut turn = 0;
    loop {
        let (kind, payload) = reader.next().await.map_err(RelayEnd::Lost)?;
        if !pass.holds() {
            return Err(RelayEnd::Forbidden);
        }
        match kind {
            Kind::Data => {
                let text = unseal.text(payload).map_err(malformed)?;
                meter.received(text.len());
                if let Err(error) = write.write_all(text).await {
                    return unwanted(error, reader, sent_all.load(Ordering::Relaxed)).await;
                }
            }
            Kind::Fin => {
                unseal.text(payload).map_err(malformed)?; // or somebody else would say where the stream ends
                let _ = write.shutdown().await; // a stream that is gone both ways has ended, too
                return Ok(());
            }
            Kind::Open | Kind::Ready | Kind::Refused | Kind::Ping => {
                return Err(malformed(Malformed("a frame out of turn")));
            }
        }
        take_turns(&mut turn).await;
    }
}

/// The TCP stream takes no more bytes. When it had ended its own direction before, that end shall still arrive, so the
/// other side gets some time to end, too; what it sends meanwhile is what nobody wanted.
async fn unwanted<R: AsyncRead + Unpin>(
    error: io::Error,
    reader: &mut FrameReader<R>,
    sent_all: bool,
) -> Direction {
    let ends = async { while !matches!(reader.next().await, Ok((Kind::Fin, _)) | Err(_)) {} };
    if sent_all {
        let _ = timeout(LINGER, ends).await; // whoever goes on sending is reset
    }
    Err(RelayEnd::Broken(error))
}

async fn take_turns(turn: &mut u32) {
    *turn += 1;
    if *turn >= TURN {
        *turn = 0;
        tokio::task::yield_now().await;
    }
}

fn malformed(error: Malformed) -> RelayEnd {
    RelayEnd::Lost(error.into())
}

fn lost(error: io::Error) -> RelayEnd {
    RelayEnd::Lost(ReadError::Broken(error))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::AtomicU64;

    use connect_frames::frame::HEADER_BYTES;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::e2e::Side;
    use crate::permission::tests::Taker;

    async fn tcp() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.expect("connects"), far.expect("connects").0)
    }

    /// With so little room on the way that a frame does not go through without a reader.
    async fn narrow_tcp() -> (TcpStream, TcpStream) {
        const ROOM_BYTES: u32 = 4096;
        let (listening, connecting) =
            (TcpSocket::new_v4().expect("a socket"), TcpSocket::new_v4().expect("a socket"));
        listening.set_recv_buffer_size(ROOM_BYTES).expect("a size");
        connecting.set_send_buffer_size(ROOM_BYTES).expect("a size");
        listening.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("binds");
        let listener = listening.listen(1).expect("listens");
        let address = listener.local_addr().expect("is bound");
        let (near, far) = tokio::join!(connecting.connect(address), listener.accept());
        (near.expect("connects"), far.expect("connects").0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_rests_is_pinged_and_ends_when_it_is_no_longer_allowed() {
        let (mut local, _there) = tcp().await;
        let (mut writer, mut hub) = tokio::io::duplex(64);
        let (counter, taker, sent_all) = (AtomicU64::new(0), Taker::default(), AtomicBool::new(false));
        let pass = taker.pass();
        let meter = Meter { from_hub: &counter, to_hub: &counter, route: None };
        let seal = Keys::agree(None, None, "c", Side::Joiner).expect("plain").seal;
        let (read, _write) = local.split();
        let outward = outward(read, &mut writer, seal, &pass, meter, &sent_all);
        let hears = async {
            let mut frame = [0; HEADER_BYTES];
            for _ in 0..3 {
                hub.read_exact(&mut frame).await.expect("a frame");
                assert_eq!(frame, PING);
            }
            taker.take_back();
        };
        let (ended, ()) = tokio::join!(outward, hears);
        assert!(matches!(ended, Err(RelayEnd::Forbidden)), "{ended:?}");
        assert_eq!(counter.load(Ordering::Relaxed), 0, "pings are no bytes of the stream");
    }

    #[tokio::test(start_paused = true)]
    async fn no_silence_is_longer_than_the_time_between_pings() {
        let (mut local, mut there) = tcp().await;
        let (mut writer, mut hub) = tokio::io::duplex(1024);
        let (counter, taker, sent_all) = (AtomicU64::new(0), Taker::default(), AtomicBool::new(false));
        let pass = taker.pass();
        let meter = Meter { from_hub: &counter, to_hub: &counter, route: None };
        let seal = Keys::agree(None, None, "c", Side::Joiner).expect("plain").seal;
        let (read, _write) = local.split();
        let outward = outward(read, &mut writer, seal, &pass, meter, &sent_all);
        let hears = async {
            let mut frame = [0; HEADER_BYTES];
            // Bytes in the midst of a quiet time put its end off, and only by that time.
            tokio::time::advance(PING_EVERY / 2).await;
            there.write_all(b"x").await.expect("written");
            hub.read_exact(&mut frame).await.expect("a frame");
            assert_eq!(frame[0], Kind::Data as u8);
            hub.read_u8().await.expect("its byte");
            let wrote = Instant::now();
            hub.read_exact(&mut frame).await.expect("a frame");
            assert_eq!(frame, PING);
            let silence = wrote.elapsed();
            assert!(silence <= PING_EVERY + std::time::Duration::from_millis(5), "{silence:?}");
            taker.take_back();
        };
        let (ended, ()) = tokio::join!(outward, hears);
        assert!(matches!(ended, Err(RelayEnd::Forbidden)), "{ended:?}");
    }

    #[tokio::test]
    async fn bytes_that_wait_for_a_slow_reader_do_not_pass_after_the_end() {
        let (mut local, mut there) = narrow_tcp().await;
        let (mut hub, near) = tokio::io::duplex(4 * MAX_TEXT_BYTES);
        let (counter, taker, sent_all) = (AtomicU64::new(0), Taker::default(), AtomicBool::new(false));
        let pass = taker.pass();
        let meter = Meter { from_hub: &counter, to_hub: &counter, route: None };
        let mut seal = Keys::agree(None, None, "c", Side::Exposer).expect("plain").seal;
        let unseal = Keys::agree(None, None, "c", Side::Joiner).expect("plain").unseal;
        let mut buffer = Buffer::take();
        hub.write_all(seal.frame(Kind::Data, &mut buffer, MAX_TEXT_BYTES)).await.expect("is taken");
        drop(hub);

        let mut reader = FrameReader::new(near, &[]).expect("a reader");
        let (_read, write) = local.split();
        let mut inward =
            std::pin::pin!(inward(Guarded::new(write, &pass), &mut reader, unseal, &pass, meter, &sent_all));
        tokio::select! {
            ended = &mut inward => panic!("ended with bytes waiting: {ended:?}"),
            first = there.read_u8() => assert!(first.is_ok(), "{first:?}"),
        }
        taker.take_back();
        let taken = async {
            let mut sink = tokio::io::sink();
            tokio::io::copy(&mut there, &mut sink).await
        };
        // Whoever would go on now had a reader for it.
        let ended = tokio::select! {
            ended = inward => ended,
            copied = taken => panic!("the stream is there and has ended: {copied:?}"),
        };
        assert!(
            matches!(&ended, Err(RelayEnd::Broken(error)) if error.kind() == io::ErrorKind::PermissionDenied),
            "{ended:?}"
        );
    }
}
