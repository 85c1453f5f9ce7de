//! One stream over a data connection: a chunk of the TCP stream is a frame, and the other way round.
//!
//! Every direction holds at most one frame, and only while there is one; everything else waits in the kernel, where TCP
//! bounds it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use connect_frames::buffers::Buffer;
use connect_frames::frame::{Kind, Malformed, PING};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connect::{Connection, PING_EVERY};
use super::keys::{Keys, MAX_TEXT_BYTES, Seal, TEXT_AT, Unseal};
use super::reader::{FrameReader, ReadError};
use crate::permission::{Guarded, Pass};
use crate::pump::{self, Direction, LINGER, Meter, PumpEnd, Transport};

/// A data connection while it carries a stream.
struct Stream<'s> {
    connection: &'s mut Connection,
    keys: &'s mut Keys,
    quiet: Pin<&'s mut Sleep>,
    /// Whether our own end was said.
    sent_all: AtomicBool,
}

/// From the TCP stream to the other end.
struct Outward<'a, W> {
    read: ReadHalf<'a>,
    writer: Guarded<W>,
    seal: &'a mut Seal,
    pass: &'a Pass,
    /// Ends when it may be time for a ping.
    quiet: Pin<&'a mut Sleep>,
    spoke: Instant,
    sent_all: &'a AtomicBool,
}

/// From the other end to the TCP stream.
struct Inward<'a, R> {
    write: Guarded<WriteHalf<'a>>,
    reader: &'a mut FrameReader<R>,
    unseal: &'a mut Unseal,
    sent_all: &'a AtomicBool,
}

/// Carries a stream to its end. Unless it is done, the data connection must be dropped, which tells the other side.
pub(super) async fn run(
    stream: TcpStream,
    connection: &mut Connection,
    mut keys: Keys,
    pass: &Pass,
    meter: Meter<'_>,
) -> PumpEnd {
    let quiet = std::pin::pin!(sleep(PING_EVERY));
    let over = Stream { connection, keys: &mut keys, quiet, sent_all: AtomicBool::new(false) };
    pump::run(stream, over, pass, meter).await
}

// === impl Stream ===

impl Transport for Stream<'_> {
    fn directions<'a>(
        &'a mut self,
        read: ReadHalf<'a>,
        write: Guarded<WriteHalf<'a>>,
        pass: &'a Pass,
    ) -> (impl Direction, impl Direction) {
        let Self { connection: Connection { reader, writer }, keys: Keys { seal, unseal }, quiet, sent_all } =
            self;
        let (writer, quiet, spoke) = (Guarded::new(writer, pass), quiet.as_mut(), Instant::now());
        let outward = Outward { read, writer, seal, pass, quiet, spoke, sent_all };
        (outward, Inward { write, reader, unseal, sent_all })
    }

    fn given_up(&self) -> Option<CancellationToken> {
        None // whoever does not read holds up itself only
    }
}

// === impl Outward ===

impl<W: AsyncWrite + Send + Unpin> Direction for Outward<'_, W> {
    async fn step(&mut self) -> Result<Option<usize>, PumpEnd> {
        let (mut buffer, length) = loop {
            let chunk = tokio::select! {
                biased;
                chunk = read_chunk(&mut self.read) => Some(chunk.map_err(PumpEnd::Broken)?),
                () = self.quiet.as_mut() => None,
            };
            if !self.pass.holds() {
                return Err(PumpEnd::Forbidden);
            }
            match chunk {
                Some(chunk) => break chunk,
                None => self.ping().await?,
            }
        };
        let kind = if length == 0 { Kind::Fin } else { Kind::Data };
        self.writer.write_all(self.seal.frame(kind, &mut buffer, length)).await.map_err(lost)?;
        self.writer.flush().await.map_err(lost)?; // TLS may hold some back
        self.spoke = Instant::now();
        if length == 0 {
            self.sent_all.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        Ok(Some(length))
    }
}

impl<W: AsyncWrite + Send + Unpin> Outward<'_, W> {
    /// Says that the connection lives, unless what was written meanwhile has said so.
    async fn ping(&mut self) -> Result<(), PumpEnd> {
        if self.spoke.elapsed() >= PING_EVERY {
            self.writer.write_all(&PING).await.map_err(lost)?;
            self.writer.flush().await.map_err(lost)?;
            self.spoke = Instant::now();
        }
        self.quiet.as_mut().reset(self.spoke + PING_EVERY);
        Ok(())
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

// === impl Inward ===

impl<R: AsyncRead + Send + Unpin> Direction for Inward<'_, R> {
    async fn step(&mut self) -> Result<Option<usize>, PumpEnd> {
        let (kind, payload) = self.reader.next().await?;
        match kind {
            Kind::Data => {
                let text = self.unseal.text(payload)?;
                match self.write.write_all(text).await {
                    Ok(()) => Ok(Some(text.len())),
                    Err(error) => Err(self.unwanted(error).await),
                }
            }
            Kind::Fin => {
                self.unseal.text(payload)?; // or somebody else would say where the stream ends
                let _ = self.write.shutdown().await; // a stream that is gone both ways has ended, too
                Ok(None)
            }
            Kind::Open | Kind::Ready | Kind::Refused | Kind::Ping => {
                Err(Malformed("a frame out of turn").into())
            }
        }
    }
}

impl<R: AsyncRead + Send + Unpin> Inward<'_, R> {
    /// The TCP stream takes no more bytes. When it had ended its own direction before, that end shall still arrive, so
    /// the other side gets some time to end, too; what it sends meanwhile is what nobody wanted.
    async fn unwanted(&mut self, error: io::Error) -> PumpEnd {
        let ends = async { while !matches!(self.reader.next().await, Ok((Kind::Fin, _)) | Err(_)) {} };
        if self.sent_all.load(Ordering::Relaxed) {
            let _ = timeout(LINGER, ends).await; // whoever goes on sending is reset
        }
        PumpEnd::Broken(error)
    }
}

fn lost(error: io::Error) -> PumpEnd {
    ReadError::Broken(error).into()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::AtomicUsize;

    use connect_frames::frame::HEADER_BYTES;
    use tokio::io::{AsyncReadExt, DuplexStream};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
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

    /// What a joiner sends, and what it counts; the clock is paused.
    async fn carry_out(local: &mut TcpStream, hub: DuplexStream, pass: &Pass, sent: &AtomicUsize) -> PumpEnd {
        let (mut seal, sent_all) = (Keys::new(None).seal, AtomicBool::new(false));
        let (quiet, spoke) = (std::pin::pin!(sleep(PING_EVERY)), Instant::now());
        let (read, writer) = (local.split().0, Guarded::new(hub, pass));
        let outward = Outward { read, writer, seal: &mut seal, pass, quiet, spoke, sent_all: &sent_all };
        let carried = pump::carry(outward, |bytes| _ = sent.fetch_add(bytes, Ordering::Relaxed)).await;
        carried.expect_err("it goes on until it may not")
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_rests_is_pinged_and_ends_when_it_is_no_longer_allowed() {
        let (mut local, _there) = tcp().await;
        let (writer, mut hub) = tokio::io::duplex(64);
        let (sent, taker) = (AtomicUsize::new(0), Taker::default());
        let pass = taker.pass();
        let hears = async {
            let mut frame = [0; HEADER_BYTES];
            for _ in 0..3 {
                hub.read_exact(&mut frame).await.expect("a frame");
                assert_eq!(frame, PING);
            }
            taker.take_back();
        };
        let (ended, ()) = tokio::join!(carry_out(&mut local, writer, &pass, &sent), hears);
        assert!(matches!(ended, PumpEnd::Forbidden), "{ended:?}");
        assert_eq!(sent.load(Ordering::Relaxed), 0, "pings are no bytes of the stream");
    }

    #[tokio::test(start_paused = true)]
    async fn no_silence_is_longer_than_the_time_between_pings() {
        let (mut local, mut there) = tcp().await;
        let (writer, mut hub) = tokio::io::duplex(1024);
        let (sent, taker) = (AtomicUsize::new(0), Taker::default());
        let pass = taker.pass();
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
        let (ended, ()) = tokio::join!(carry_out(&mut local, writer, &pass, &sent), hears);
        assert!(matches!(ended, PumpEnd::Forbidden), "{ended:?}");
        assert_eq!(sent.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn bytes_that_wait_for_a_slow_reader_do_not_pass_after_the_end() {
        let (mut local, mut there) = narrow_tcp().await;
        let (mut hub, near) = tokio::io::duplex(4 * MAX_TEXT_BYTES);
        let (taker, sent_all) = (Taker::default(), AtomicBool::new(false));
        let pass = taker.pass();
        let (mut seal, mut unseal) = (Keys::new(None).seal, Keys::new(None).unseal);
        let mut buffer = Buffer::take();
        hub.write_all(seal.frame(Kind::Data, &mut buffer, MAX_TEXT_BYTES)).await.expect("is taken");
        drop(hub);

        let mut reader = FrameReader::new(near, &[]).expect("a reader");
        let write = Guarded::new(local.split().1, &pass);
        let inward = Inward { write, reader: &mut reader, unseal: &mut unseal, sent_all: &sent_all };
        let mut inward = std::pin::pin!(pump::carry(inward, |bytes| panic!("{bytes} have passed")));
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
            ended = inward => ended.expect_err("the stream has no end"),
            copied = taken => panic!("the stream is there and has ended: {copied:?}"),
        };
        assert!(
            matches!(&ended, PumpEnd::Broken(error) if error.kind() == io::ErrorKind::PermissionDenied),
            "{ended:?}"
        );
    }
}
