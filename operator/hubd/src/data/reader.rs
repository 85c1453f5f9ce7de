//! Reads the one frame that the hub needs to know on a data connection: `open`. Pings, which say nothing, are passed over; all
//! other frames, and pings between a pair, pass unread.

use std::io;

use connect_frames::frame::{self, HEADER_BYTES, Header, Kind, Open, PING};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// An `open` as it came, and what it says.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenFrame {
    pub open: Open,
    /// All of it, for the exposing agent.
    pub bytes: Vec<u8>,
}

/// Reads single frames, and no byte beyond them.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// Bytes that came before anybody read frames.
    pub early: Vec<u8>,
}

// === impl FrameReader ===

impl FrameReader {
    /// The next frame, which must be an `open`. Not cancel safe.
    pub async fn open(&mut self, source: &mut (impl AsyncRead + Unpin)) -> io::Result<OpenFrame> {
        let mut header = PING;
        while header == PING {
            self.read(source, &mut header).await?;
        }
        let Header { kind: Kind::Open, length } = Header::decode(header).map_err(io::Error::other)? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut bytes = header.to_vec();
        bytes.resize(HEADER_BYTES + length, 0);
        self.read(source, &mut bytes[HEADER_BYTES..]).await?;
        let open = frame::parse(&bytes[HEADER_BYTES..]).map_err(io::Error::other)?;
        Ok(OpenFrame { open, bytes })
    }

    /// Whether there is nothing but pings and perhaps the beginning of one; whole ones are taken away.
    pub fn is_quiet(&mut self) -> bool {
        while self.early.starts_with(&PING) {
            self.early.drain(..HEADER_BYTES);
        }
        PING.starts_with(&self.early)
    }

    async fn read(&mut self, source: &mut (impl AsyncRead + Unpin), wanted: &mut [u8]) -> io::Result<()> {
        let here = wanted.len().min(self.early.len());
        wanted[..here].copy_from_slice(&self.early[..here]);
        self.early.drain(..here);
        source.read_exact(&mut wanted[here..]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use connect_frames::frame::MAX_MESSAGE_BYTES;
    use futures::FutureExt as _;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const OPEN: u8 = Kind::Open as u8;

    async fn read(bytes: &[u8], early: usize) -> io::Result<OpenFrame> {
        let (early, mut rest) = (bytes[..early].to_vec(), &bytes[early..]);
        FrameReader { early }.open(&mut rest).await
    }

    #[tokio::test]
    async fn an_open_is_read_whole_wherever_it_is_cut() {
        let json =
            br#"{"connectionId":"c","serviceId":"00000000-0000-0000-0000-000000000001","publicKey":"k"}"#;
        let frame = [&[OPEN, 0, 0, json.len() as u8], &json[..]].concat();
        for early in 0..=frame.len() {
            let OpenFrame { open, bytes } = read(&frame, early).await.expect("an open");
            assert_eq!((open.connection_id.as_str(), open.service_id), ("c", Uuid::from_u128(1)));
            assert_eq!(bytes, frame, "the exposing agent gets all of it");
        }
    }

    #[tokio::test]
    async fn pings_are_passed_over() {
        let json = br#"{"connectionId":"c","serviceId":"00000000-0000-0000-0000-000000000001"}"#;
        let open = [&[OPEN, 0, 0, json.len() as u8], &json[..]].concat();
        let frame = [&PING[..], &PING, &open].concat();
        for early in 0..=frame.len() {
            assert_eq!(read(&frame, early).await.expect("an open").bytes, open);
        }
        for (early, is_quiet, left) in [
            (&[][..], true, 0),
            (&PING, true, 0),
            (&[6, 0, 0, 0, 6, 0], true, 2),
            (&[6, 0, 0, 1], false, 4),
            (&open, false, open.len()),
        ] {
            let mut reader = FrameReader { early: early.to_vec() };
            assert_eq!((reader.is_quiet(), reader.early.len()), (is_quiet, left), "{early:?}");
        }
    }

    /// Runs what waits for nothing.
    fn run<T>(work: impl Future<Output = T>) -> T {
        work.now_or_never().expect("every byte is there")
    }

    /// The committed corpus of frames.
    fn corpus() -> Vec<Vec<u8>> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/frames");
        let files = std::fs::read_dir(folder).expect("is there");
        files.map(|file| std::fs::read(file.expect("readable").path()).expect("readable")).collect()
    }

    /// Reads `stream`, of which `early` bytes have come before; an open is the end of what was taken.
    fn check(stream: &[u8], early: usize) -> Result<(), TestCaseError> {
        let (early, mut later) = stream.split_at(early.min(stream.len()));
        let mut reader = FrameReader { early: early.to_vec() };
        let Some(read) = reader.open(&mut later).now_or_never() else {
            return Err(TestCaseError::fail("waits though the end has come"));
        };
        if let Ok(OpenFrame { open, bytes }) = read {
            let taken = stream.len() - reader.early.len() - later.len();
            prop_assert!(stream[..taken].ends_with(&bytes));
            prop_assert!(bytes.len() <= HEADER_BYTES + MAX_MESSAGE_BYTES);
            prop_assert_eq!(
                serde_json::from_slice::<Open>(&bytes[HEADER_BYTES..]).expect("read before"),
                open
            );
        }
        let mut idle = FrameReader { early: stream.to_vec() };
        let quiet = idle.is_quiet();
        prop_assert_eq!(quiet, idle.early.len() < HEADER_BYTES && PING.starts_with(&idle.early));
        Ok(())
    }

    #[test]
    fn the_corpus_is_read_or_refused_wherever_it_is_cut() {
        for frame in corpus() {
            for early in 0..=frame.len() {
                check(&frame, early).expect("as it should be");
            }
        }
    }

    proptest! {
        #[test]
        fn changes_of_the_corpus_are_read_or_refused(
            file in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            more in prop::collection::vec(any::<u8>(), 0..20),
            early in 0..120_usize,
        ) {
            let mut frame = file.get(&corpus()).clone();
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            frame.extend(more);
            check(&frame, early)?;
        }

        #[test]
        fn any_bytes_are_an_open_or_an_error_and_no_byte_beyond_is_taken(
            pings in 0..4_usize,
            kind in prop_oneof![4 => Just(OPEN), 1 => any::<u8>()],
            json in prop_oneof![
                Just(br#"{"connectionId":"c","serviceId":"00000000-0000-0000-0000-000000000001"}"#.to_vec()),
                prop::collection::vec(any::<u8>(), 0..80),
            ],
            rest in prop::collection::vec(any::<u8>(), 0..40),
            early in 0..100_usize,
        ) {
            let frame = [&PING.repeat(pings), &[kind, 0, 0, json.len() as u8][..], &json].concat();
            let stream = [&frame[..], &rest].concat();
            let (early, later) = stream.split_at(early.min(stream.len()));
            let (mut reader, mut source) = (FrameReader { early: early.to_vec() }, later);
            if let Ok(OpenFrame { bytes, .. }) = run(reader.open(&mut source)) {
                // A frame that looked like a ping may have been one, and the rest an open.
                let taken = stream.len() - reader.early.len() - source.len();
                prop_assert!(stream[..taken].ends_with(&bytes));
                if kind == OPEN {
                    prop_assert_eq!(taken, frame.len());
                }
            } else if kind == OPEN {
                prop_assert!(serde_json::from_slice::<Open>(&json).is_err());
            }
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused_without_reading_it() {
        for frame in
            [&[4, 0, 0, 1, 0][..], &[OPEN, 255, 255, 255], &[OPEN, 0, 0, 2, b'{', b'}'], &[], &[OPEN]]
        {
            assert!(read(frame, 0).await.is_err(), "{frame:?}");
        }
    }
}
