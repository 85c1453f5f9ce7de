//! Takes frames out of a stream of bytes, in whatever pieces they come, holding a buffer only while it holds bytes.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use connect_frames::buffers::Buffer;
use connect_frames::frame::{HEADER_BYTES, Header, Kind, Malformed};
use thiserror::Error;
use tokio::io::{AsyncRead, ReadBuf};

use crate::pump::PumpEnd;

/// Why there is no next frame.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// The connection is over.
    #[error("the connection ended")]
    Ended,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// What came is no frame.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Not even a ping came.
    #[error("the other side is silent")]
    Silent,
}

impl From<ReadError> for PumpEnd {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Malformed(error) => Self::Malformed(error),
            error => Self::Lost(error.into()),
        }
    }
}

/// Frames of one stream.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    source: R,
    buffer: Option<Buffer>,
    /// The bytes that are there and were not given out.
    filled: Range<usize>,
}

// === impl FrameReader ===

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// `early` came before; it fits a buffer or is refused.
    pub(crate) fn new(source: R, early: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Self { source, buffer: None, filled: 0..0 };
        if !early.is_empty() {
            let mut buffer = Buffer::take();
            let place = buffer.get_mut(..early.len()).ok_or(Malformed("too much at once"))?;
            place.copy_from_slice(early);
            reader.buffer = Some(buffer);
            reader.filled = 0..early.len();
        }
        Ok(reader)
    }

    /// The next frame that is no ping, and its payload, in place. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<(Kind, &mut [u8]), ReadError> {
        let Header { kind, length } = loop {
            self.skip_pings()?;
            if let Some(header) = self.header()? {
                if self.filled.len() >= HEADER_BYTES + header.length {
                    break header;
                }
                self.make_room(HEADER_BYTES + header.length);
            } else {
                self.make_room(HEADER_BYTES);
            }
            self.fill().await?;
        };
        let start = self.filled.start + HEADER_BYTES;
        self.filled.start = start + length;
        // The buffer is there, for it holds the header.
        let buffer = self.buffer.as_deref_mut().unwrap_or_default();
        Ok((kind, &mut buffer[start..start + length]))
    }

    /// Waits until something has come, be it a ping. Cancel safe.
    pub(crate) async fn heard(&mut self) -> Result<(), ReadError> {
        if self.filled.is_empty() {
            self.make_room(HEADER_BYTES);
            self.fill().await?;
        }
        Ok(())
    }

    /// Waits until something has come that is no ping. Cancel safe.
    pub(crate) async fn arrives(&mut self) -> Result<(), ReadError> {
        loop {
            self.skip_pings()?;
            if self.filled.len() >= HEADER_BYTES {
                return Ok(());
            }
            self.make_room(HEADER_BYTES);
            self.fill().await?;
        }
    }

    /// Whether nothing came but pings, and the connection still stands.
    pub(crate) fn is_quiet(&mut self) -> bool {
        loop {
            if self.skip_pings().is_err() || !self.filled.is_empty() {
                return false;
            }
            self.make_room(HEADER_BYTES);
            match self.poll_fill(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return false,
                Poll::Pending => return true,
            }
        }
    }

    fn skip_pings(&mut self) -> Result<(), Malformed> {
        while self.header()?.is_some_and(|header| header.kind == Kind::Ping) {
            self.filled.start += HEADER_BYTES;
        }
        Ok(())
    }

    /// Reads on: at least one byte.
    async fn fill(&mut self) -> Result<(), ReadError> {
        match std::future::poll_fn(|context| self.poll_fill(context)).await {
            Ok(0) => Err(ReadError::Ended),
            Ok(_) => Ok(()),
            Err(error) => Err(ReadError::Broken(error)),
        }
    }

    fn header(&self) -> Result<Option<Header>, Malformed> {
        let there = self.buffer.as_deref().and_then(|buffer| buffer.get(self.filled.clone()));
        there.and_then(|bytes| bytes.first_chunk()).map(|bytes| Header::decode(*bytes)).transpose()
    }

    /// Lets `wanted` bytes fit behind the first that was not given out.
    fn make_room(&mut self, wanted: usize) {
        if self.filled.is_empty() {
            self.buffer = None;
            self.filled = 0..0;
        } else if let Some(buffer) = self.buffer.as_deref_mut()
            && self.filled.start + wanted > buffer.len()
        {
            buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = self.buffer.take().unwrap_or_else(Buffer::take);
        let mut room = ReadBuf::new(&mut buffer[self.filled.end..]);
        let polled = Pin::new(&mut self.source).poll_read(context, &mut room);
        let read = room.filled().len();
        self.filled.end += read;
        if !self.filled.is_empty() {
            self.buffer = Some(buffer); // otherwise it is free for others while this connection waits
        }
        ready!(polled)?;
        Poll::Ready(Ok(read))
    }
}

#[cfg(test)]
mod tests {
    use connect_frames::frame::{MAX_PAYLOAD_BYTES, PING};
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Gives its bytes in the given pieces.
    struct Pieces(Vec<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            room: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Some(first) = self.0.first_mut() else { return Poll::Ready(Ok(())) };
            let piece = first.drain(..room.remaining().min(first.len())).collect::<Vec<_>>();
            room.put_slice(&piece);
            if first.is_empty() {
                self.0.remove(0);
            }
            Poll::Ready(Ok(()))
        }
    }

    fn cut(bytes: &[u8], sizes: &[usize]) -> Pieces {
        let (mut pieces, mut rest) = (Vec::new(), bytes);
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece.to_vec());
            rest = after;
        }
        Pieces(pieces)
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(
            lengths in prop::collection::vec(prop_oneof![1..64usize, 1..=MAX_PAYLOAD_BYTES], 1..8),
            sizes in prop::collection::vec(prop_oneof![1..8usize, 1..70_000usize], 1..6),
        ) {
            let payload = |index: usize, length| vec![index as u8; length];
            let mut bytes = Vec::new();
            for (index, length) in lengths.iter().enumerate() {
                bytes.extend(Header { kind: Kind::Data, length: *length }.encode());
                bytes.extend(payload(index, *length));
            }
            run(async {
                let mut reader = FrameReader::new(cut(&bytes, &sizes), &[]).expect("nothing early");
                for (index, length) in lengths.iter().enumerate() {
                    let (kind, got) = reader.next().await.expect("a frame");
                    assert_eq!(kind, Kind::Data);
                    assert!(got == payload(index, *length));
                }
                assert!(matches!(reader.next().await, Err(ReadError::Ended)));
                assert!(reader.buffer.is_none(), "a buffer is kept for nothing");
            });
        }

        #[test]
        fn any_bytes_end_in_frames_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..4096),
            sizes in prop::collection::vec(1..64usize, 1..6),
        ) {
            run(async {
                let mut reader = FrameReader::new(cut(&bytes, &sizes), &[]).expect("nothing early");
                while let Ok((_, payload)) = reader.next().await {
                    assert!(payload.len() <= MAX_PAYLOAD_BYTES);
                }
            });
        }
    }

    #[tokio::test]
    async fn pings_are_heard_and_are_nothing_else() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(ours, &[]).expect("nothing early");
        theirs.write_all(&[PING, PING].concat()).await.expect("written");
        reader.heard().await.expect("a ping was");
        assert!(reader.is_quiet(), "pings only");
        assert!(reader.buffer.is_none(), "a buffer is kept for nothing");
        let fin = Header { kind: Kind::Fin, length: 0 }.encode();
        theirs.write_all(&[PING, fin, PING].concat()).await.expect("written");
        reader.arrives().await.expect("something else does");
        assert!(!reader.is_quiet(), "an end came");
        assert_eq!(reader.next().await.expect("a frame").0, Kind::Fin);
        assert!(reader.is_quiet(), "a ping again");
        theirs.write_all(&[6, 0, 0, 1, 0]).await.expect("written");
        assert!(matches!(reader.next().await, Err(ReadError::Malformed(_))), "a ping says nothing");
    }

    #[tokio::test]
    async fn a_part_of_a_frame_is_no_frame() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(ours, &[4, 0]).expect("fits");
        theirs.write_all(&[0, 2, 7]).await.expect("written");
        assert!(!reader.is_quiet(), "something came before");
        drop(theirs);
        assert!(matches!(reader.next().await, Err(ReadError::Ended)));
    }

    #[tokio::test]
    async fn a_connection_that_rests_is_quiet_and_holds_no_buffer() {
        let (ours, theirs) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(ours, &[]).expect("nothing early");
        assert!(reader.is_quiet());
        assert!(reader.buffer.is_none());
        drop(theirs);
        assert!(!reader.is_quiet(), "gone");
    }
}
