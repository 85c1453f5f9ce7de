//! What we decided against, so that the decision can be measured again: all streams of an agent on one connection, in
//! binary frames, with credits. The joiner's side, a hub and the exposer's side are a process each, as with us; there is
//! neither TLS nor encryption between the ends, and no question whether anybody may.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// Bytes before a payload: stream, kind, length.
const HEADER: usize = 8;

/// The longest payload, as on data connections.
const CHUNK: usize = 64 * 1024;

/// What one direction of a stream may have under way.
const WINDOW: usize = 4 * CHUNK;

/// Frames of one stream that wait to be taken; the window bounds their bytes.
const INBOX: usize = 4096;

/// Frames that wait for the connection.
const QUEUE: usize = 32;

/// What a read or write buffer of a connection holds.
const BUFFER: usize = 2 * CHUNK;

const OPEN: u8 = 1;
const DATA: u8 = 2;
const FIN: u8 = 3;
const CREDIT: u8 = 4;

/// A frame as it is on the wire.
type Frame = Vec<u8>;

/// One side of all streams.
#[derive(Clone)]
struct Side {
    frames_tx: mpsc::Sender<Frame>,
    streams: Arc<Mutex<HashMap<u32, Stream>>>,
}

/// What arrives for one stream goes here.
#[derive(Clone)]
struct Stream {
    /// An empty one is the end.
    inbox_tx: mpsc::Sender<Vec<u8>>,
    credits: Arc<Semaphore>,
}

/// Forwards frames between its first two connections.
pub(super) async fn hub(listening: impl FnOnce(SocketAddr) -> Result<()>) -> Result<()> {
    let listener = bind(listening).await?;
    let (exposer, _) = listener.accept().await.context("cannot accept")?;
    let (joiner, _) = listener.accept().await.context("cannot accept")?;
    exposer.set_nodelay(true)?;
    joiner.set_nodelay(true)?;
    let (from_exposer, to_exposer) = exposer.into_split();
    let (from_joiner, to_joiner) = joiner.into_split();
    tokio::try_join!(forward(from_exposer, to_joiner), forward(from_joiner, to_exposer))?;
    Ok(())
}

/// Reads each frame whole: a hub must know whose it is.
async fn forward(from: OwnedReadHalf, to: OwnedWriteHalf) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::with_capacity(BUFFER, from), BufWriter::with_capacity(BUFFER, to));
    let mut frame = Vec::with_capacity(HEADER + CHUNK);
    loop {
        read_frame(&mut from, &mut frame).await?;
        to.write_all(&frame).await?;
        if from.buffer().is_empty() {
            to.flush().await?;
        }
    }
}

/// Dials `to` for every stream.
pub(super) async fn exposer(
    hub: SocketAddr,
    to: SocketAddr,
    listening: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<()> {
    let (side, from_hub) = Side::connect(hub).await?;
    listening(hub)?;
    side.read(from_hub, async |id, stream, inbox_rx| {
        let dialled = TcpStream::connect(to);
        let side = side.clone();
        tokio::spawn(async move { side.carry(id, dialled.await?, stream, inbox_rx).await });
    })
    .await
}

/// Makes a stream of every connection.
pub(super) async fn joiner(hub: SocketAddr, listening: impl FnOnce(SocketAddr) -> Result<()>) -> Result<()> {
    let (side, from_hub) = Side::connect(hub).await?;
    let listener = bind(listening).await?;
    let accept = async {
        for id in 0.. {
            let (local, _) = listener.accept().await.context("cannot accept")?;
            let (stream, inbox_rx) = side.stream(id);
            side.frames_tx.send(frame(id, OPEN, &[])).await.context("the hub is gone")?;
            let side = side.clone();
            tokio::spawn(async move { side.carry(id, local, stream, inbox_rx).await });
        }
        Ok(())
    };
    tokio::try_join!(accept, side.read(from_hub, async |_, _, _| {}))?;
    Ok(())
}

async fn bind(listening: impl FnOnce(SocketAddr) -> Result<()>) -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
    listening(listener.local_addr().context("a listener without address")?)?;
    Ok(listener)
}

fn frame(id: u32, kind: u8, payload: &[u8]) -> Frame {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&id.to_be_bytes()[..], &[kind, a, b, c], payload].concat()
}

async fn read_frame(from: &mut BufReader<OwnedReadHalf>, frame: &mut Frame) -> io::Result<()> {
    frame.resize(HEADER, 0);
    from.read_exact(frame).await?;
    let length = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]) as usize;
    frame.resize(HEADER + length, 0);
    from.read_exact(&mut frame[HEADER..]).await.map(drop)
}

// === impl Side ===

impl Side {
    async fn connect(hub: SocketAddr) -> Result<(Self, OwnedReadHalf)> {
        let connection = TcpStream::connect(hub).await.context("cannot reach the hub")?;
        connection.set_nodelay(true)?;
        let (read, write) = connection.into_split();
        let (frames_tx, frames_rx) = mpsc::channel(QUEUE);
        tokio::spawn(write_frames(write, frames_rx));
        Ok((Self { frames_tx, streams: Arc::default() }, read))
    }

    fn stream(&self, id: u32) -> (Stream, mpsc::Receiver<Vec<u8>>) {
        let (inbox_tx, inbox_rx) = mpsc::channel(INBOX);
        let stream = Stream { inbox_tx, credits: Arc::new(Semaphore::new(WINDOW)) };
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).insert(id, stream.clone());
        (stream, inbox_rx)
    }

    /// Hands what arrives to its stream; `opened` hears of new ones.
    async fn read(
        &self,
        from: OwnedReadHalf,
        opened: impl AsyncFn(u32, Stream, mpsc::Receiver<Vec<u8>>),
    ) -> Result<()> {
        let mut from = BufReader::with_capacity(BUFFER, from);
        let mut frame = Vec::with_capacity(HEADER + CHUNK);
        loop {
            read_frame(&mut from, &mut frame).await.context("the hub is gone")?;
            let (header, payload) = frame.split_at(HEADER);
            let id = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            if header[4] == OPEN {
                let (stream, inbox_rx) = self.stream(id);
                opened(id, stream, inbox_rx).await;
                continue;
            }
            let known = self.streams.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
            let Some(stream) = known else { continue }; // it has ended meanwhile
            match header[4] {
                DATA => drop(stream.inbox_tx.send(payload.to_vec()).await), // one that has ended needs no bytes
                FIN => drop(stream.inbox_tx.send(Vec::new()).await),
                CREDIT => {
                    let bytes = payload.try_into().context("a credit is four bytes")?;
                    stream.credits.add_permits(u32::from_be_bytes(bytes) as usize);
                }
                kind => bail!("a frame of kind {kind}"),
            }
        }
    }

    /// Carries one stream to the end of both directions.
    async fn carry(
        self,
        id: u32,
        mut local: TcpStream,
        stream: Stream,
        mut inbox_rx: mpsc::Receiver<Vec<u8>>,
    ) -> io::Result<()> {
        local.set_nodelay(true)?;
        let (mut read, mut write) = local.split();
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        let outward = async {
            let mut buffer = vec![0; CHUNK];
            loop {
                let length = read.read(&mut buffer).await?;
                if length == 0 {
                    return self.frames_tx.send(frame(id, FIN, &[])).await.map_err(gone);
                }
                let bytes = u32::try_from(length).unwrap_or(u32::MAX);
                stream.credits.acquire_many(bytes).await.map_err(io::Error::other)?.forget();
                self.frames_tx.send(frame(id, DATA, &buffer[..length])).await.map_err(gone)?;
            }
        };
        let inward = async {
            let mut taken = 0_usize;
            while let Some(bytes) = inbox_rx.recv().await.filter(|bytes| !bytes.is_empty()) {
                write.write_all(&bytes).await?;
                taken += bytes.len();
                if taken >= WINDOW / 2 {
                    let credit = u32::try_from(taken).unwrap_or(u32::MAX).to_be_bytes();
                    self.frames_tx.send(frame(id, CREDIT, &credit)).await.map_err(gone)?;
                    taken = 0;
                }
            }
            write.shutdown().await
        };
        let ended = tokio::try_join!(outward, inward).map(drop);
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        ended
    }
}

async fn write_frames(to: OwnedWriteHalf, mut frames_rx: mpsc::Receiver<Frame>) -> io::Result<()> {
    let mut to = BufWriter::with_capacity(BUFFER, to);
    while let Some(frame) = frames_rx.recv().await {
        to.write_all(&frame).await?;
        if frames_rx.is_empty() {
            to.flush().await?;
        }
    }
    Ok(())
}
