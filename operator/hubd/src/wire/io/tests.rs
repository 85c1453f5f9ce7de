use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::*;
use crate::{
    limits::{
        EVENT_OVERHEAD, FEED_HIGH, FEED_UNDER_PRESSURE, HEAD_TIMEOUT, HUB_QUEUE, KEEP_ALIVE, UNPROVEN_SOCKET,
        WINDOW_BYTES, WRITE_STEP, WRITE_TIMEOUT,
    },
    wire::NoWindow,
};

impl Tcp for DuplexStream {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// A connection that has just been accepted, and its other end, which reads `room` bytes ahead.
fn accepted(room: usize) -> (WireIo<DuplexStream>, Arc<Wire>, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(room);
    let (peer, place) = ("127.0.0.1:1".parse().expect("an address"), Place::for_test());
    let wire = Arc::new(Wire::new(peer, &place, Arc::default()));
    (WireIo::new(ours, wire.clone(), place, Instant::now()), wire, theirs)
}

/// A connection on which frames flow, and its other end.
async fn upgraded() -> (WireIo<DuplexStream>, Arc<Wire>, DuplexStream) {
    let (mut io, wire, mut theirs) = accepted(1024 * 1024);
    wire.sessions.store(1, Ordering::Release);
    // A body may say what it likes; the upgrade comes after it, in pieces.
    let head: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 x\r\n\r\n",
        b"HTTP/1.1 10",
        b"1 Switching\r\nA: b\r\n\r",
        b"\n",
    ];
    for (index, bytes) in head.iter().enumerate() {
        if index == 1 {
            wire.expect_frames();
        }
        io.write_all(bytes).await.expect("writes");
    }
    let mut seen = vec![0; head.iter().map(|bytes| bytes.len()).sum()];
    theirs.read_exact(&mut seen).await.expect("reads");
    assert!(matches!(io.phase, Phase::Frames));
    (io, wire, theirs)
}

fn masked(payload: &[u8]) -> Vec<u8> {
    [&[0x81, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

async fn reads_nothing(io: &mut WireIo<DuplexStream>) -> bool {
    let mut byte = [0];
    // One poll tells: whatever could be read is there already.
    futures::poll!(std::pin::pin!(io.read(&mut byte))).is_pending()
}

#[tokio::test]
async fn a_closed_gate_lets_the_current_frame_through_and_no_other() {
    let (mut io, wire, mut theirs) = upgraded().await;
    theirs.write_all(&[masked(b"first"), masked(b"second")].concat()).await.expect("writes");
    let mut bytes = [0; 64];
    io.read_exact(&mut bytes[..3]).await.expect("reads");
    let queued = wire.queue(FEED_HIGH + 1);
    assert!(wire.is_paused());
    let rest = masked(b"first").len() - 3;
    io.read_exact(&mut bytes[..rest]).await.expect("reads");
    assert!(reads_nothing(&mut io).await);
    drop(queued);
    let next = io.read(&mut bytes).await.expect("reads");
    assert_eq!(&bytes[..next], masked(b"second"));
}

#[tokio::test]
async fn a_ping_behind_a_closed_gate_is_answered_here() {
    let (mut io, wire, mut theirs) = upgraded().await;
    let _queued = wire.queue(FEED_HIGH + 1);
    theirs.write_all(&masked(b"data")).await.expect("writes");
    assert!(reads_nothing(&mut io).await);
    io.write_all(&[0x81, 1, b'2']).await.expect("writes");
    let mut bytes = [0; 64];
    let answer = io.read(&mut bytes).await.expect("reads");
    assert_eq!(&bytes[..answer], PONG_FRAME);
    assert!(reads_nothing(&mut io).await, "once");
    io.write_all(&[0x81, 2, b'2', b'x']).await.expect("writes");
    assert!(reads_nothing(&mut io).await, "that was no ping");
}

#[tokio::test]
async fn room_comes_back_when_an_event_has_been_taken() {
    let (mut io, wire, mut theirs) = upgraded().await;
    wire.reserve(WINDOW_BYTES, Duration::from_secs(60), || true).await.expect("there is room");
    wire.hand_over(WINDOW_BYTES, || Ok::<_, ()>(())).expect("handed over");
    assert!(!wire.try_reserve(EVENT_OVERHEAD));
    io.write_all(&[0x81, 3, b'4', b'3']).await.expect("writes");
    assert!(!wire.try_reserve(EVENT_OVERHEAD), "half of an acknowledgement");
    io.write_all(&[b'x', 0x81, 3, b'4', b'2', b'x']).await.expect("writes");
    assert!(wire.try_reserve(WINDOW_BYTES));
    let mut taken = [0; 10];
    theirs.read_exact(&mut taken).await.expect("reads");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_is_given_up_only_for_good_reason() {
    let (_io, wire, _theirs) = upgraded().await;
    assert!(wire.try_reserve(WINDOW_BYTES));
    let stalled = wire.reserve(1, Duration::from_secs(10), || true).await;
    assert_eq!(stalled, Err(NoWindow::Stalled));
    let mut patient = std::pin::pin!(wire.reserve(1, Duration::from_secs(10), || false));
    assert!(tokio::time::timeout(Duration::from_secs(100), &mut patient).await.is_err());
    wire.give_back(WINDOW_BYTES);
    assert_eq!(patient.await, Ok(()));
    wire.kill();
    assert_eq!(wire.reserve(1, Duration::from_secs(10), || true).await, Err(NoWindow::Closed));
}

#[tokio::test]
async fn under_pressure_everybody_is_held_up_early_and_let_go_again() {
    let (_io, wire, _theirs) = upgraded().await;
    let hog = Arc::new(Wire::new(wire.peer, &Place::for_test(), wire.budget.clone()));
    let modest = wire.queue(FEED_UNDER_PRESSURE);
    let hogged = hog.queue(HUB_QUEUE);
    assert!(!wire.is_paused() && hog.is_paused());
    let more = wire.queue(EVENT_OVERHEAD);
    assert!(wire.is_paused());
    drop(modest);
    assert!(!wire.is_paused(), "its own share is small again, whatever the others do");
    drop((hogged, more));
    assert!(!hog.is_paused());
    assert_eq!(wire.budget.0.load(Ordering::Acquire), 0);
}

#[tokio::test]
async fn connections_that_take_nothing_are_bounded_together_and_others_go_on_event_by_event() {
    const EVENT: usize = WINDOW_BYTES / 4;
    let (mut io, wire, mut theirs) = upgraded().await;
    let stalled = |_| Arc::new(Wire::new(wire.peer, &Place::for_test(), wire.budget.clone()));
    let stalled: Vec<_> = (0..2 * HUB_QUEUE / WINDOW_BYTES).map(stalled).collect();
    for wire in &stalled {
        while wire.try_reserve(EVENT) {}
    }
    let held = wire.budget.0.load(Ordering::Acquire);
    assert!(held > HUB_QUEUE && held <= HUB_QUEUE + EVENT, "{held}");

    // One that takes its events still gets them, the next when the last has left.
    wire.reserve(EVENT, Duration::from_secs(60), || true).await.expect("the first");
    wire.hand_over(EVENT, || Ok::<_, ()>(())).expect("handed over");
    let mut next = std::pin::pin!(wire.reserve(EVENT, Duration::from_secs(60), || true));
    assert!(futures::poll!(&mut next).is_pending());
    io.write_all(&[0x81, 3, b'4', b'2', b'x']).await.expect("writes");
    assert_eq!(next.await, Ok(()));
    wire.give_back(EVENT);
    let mut taken = [0; 5];
    theirs.read_exact(&mut taken).await.expect("reads");

    drop(stalled);
    assert_eq!(wire.budget.0.load(Ordering::Acquire), 0, "what was held has gone with its connections");
    assert!(wire.try_reserve(WINDOW_BYTES));
}

#[tokio::test]
async fn who_does_not_say_who_it_is_may_not_send_much() {
    let (mut io, wire, mut theirs) = upgraded().await;
    wire.sessions.store(0, Ordering::Release);
    theirs.write_all(&vec![0; UNPROVEN_BYTES + 1]).await.expect("writes");
    let mut bytes = Vec::new();
    let read = io.read_to_end(&mut bytes).await.expect("ends");
    assert!(read <= UNPROVEN_BYTES);
}

const SECOND: Duration = Duration::from_secs(1);

/// How long a read takes that brings nothing: how long the connection waits for its peer.
async fn patience(io: &mut WireIo<DuplexStream>) -> Duration {
    let began = Instant::now();
    assert_eq!(io.read(&mut [0; 8]).await.expect("ends"), 0);
    began.elapsed()
}

/// Lets the peer ask for something with a body of so many bytes, and answers.
async fn answer(
    io: &mut WireIo<DuplexStream>,
    wire: &Wire,
    theirs: &mut DuplexStream,
    body: u64,
    came: &[u8],
) {
    const ASKED: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    theirs.write_all(&[ASKED, came].concat()).await.expect("writes");
    io.read_exact(&mut vec![0; ASKED.len() + came.len()]).await.expect("reads");
    wire.asked(ASKED.len() as u64 + body, wire.peer.ip());
    tokio::time::advance(100 * SECOND).await; // whoever answers may take its time
    assert!(reads_nothing(io).await, "the answer is waited for");
    assert!(!wire.answered());
    io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("writes");
    io.flush().await.expect("flushes");
}

#[tokio::test(start_paused = true)]
async fn a_head_must_come_soon_and_the_next_request_may_take_longer() {
    // Nothing at all, and a head that never ends.
    for begun in [&b""[..], b"GET / HTTP"] {
        let (mut io, wire, mut theirs) = accepted(1024);
        tokio::time::advance(4 * SECOND).await;
        theirs.write_all(begun).await.expect("writes");
        io.read_exact(&mut vec![0; begun.len()]).await.expect("reads");
        assert!(patience(&mut io).await <= HEAD_TIMEOUT - 4 * SECOND, "counted from the beginning");
        assert!(wire.closed.is_cancelled());
    }
    // After an answer: nothing more, a body that was announced, and the beginning of the next head.
    for (body, came, allowed) in [
        (0, &b""[..], KEEP_ALIVE),
        (4, b"body", KEEP_ALIVE),
        (9, b"body", KEEP_ALIVE),
        (0, b"G", HEAD_TIMEOUT),
        (4, b"bodyGET", HEAD_TIMEOUT),
    ] {
        let (mut io, wire, mut theirs) = accepted(1024);
        answer(&mut io, &wire, &mut theirs, body, came).await;
        let waited = patience(&mut io).await;
        assert!((allowed..allowed + SECOND).contains(&waited), "{came:?}: {waited:?}");
    }
    // A head whose first byte comes late.
    let (mut io, wire, mut theirs) = accepted(1024);
    answer(&mut io, &wire, &mut theirs, 0, b"").await;
    assert!(reads_nothing(&mut io).await);
    tokio::time::advance(KEEP_ALIVE - SECOND).await;
    theirs.write_all(b"G").await.expect("writes");
    io.read_exact(&mut [0]).await.expect("reads");
    let waited = patience(&mut io).await;
    assert!((HEAD_TIMEOUT..HEAD_TIMEOUT + SECOND).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn who_reads_no_answer_is_dropped_and_who_reads_slowly_is_not() {
    let (mut io, wire, theirs) = accepted(64);
    wire.asked(0, wire.peer.ip());
    let began = Instant::now();
    let error = io.write_all(&[0; 65]).await.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!((WRITE_TIMEOUT..WRITE_TIMEOUT + SECOND).contains(&began.elapsed()));
    assert!(wire.closed.is_cancelled());
    drop(theirs);

    for (step, in_time) in [(WRITE_STEP, true), (WRITE_STEP / 8, false)] {
        let (mut io, wire, mut theirs) = accepted(64);
        wire.asked(0, wire.peer.ip());
        tokio::spawn(async move {
            let mut bytes = vec![0; step];
            while theirs.read_exact(&mut bytes).await.is_ok() {
                tokio::time::sleep(WRITE_TIMEOUT / 2).await;
            }
        });
        assert_eq!(io.write_all(&vec![0; 8 * WRITE_STEP]).await.is_ok(), in_time, "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_upgrades_must_prove_who_it_is() {
    let (mut io, wire, theirs) = upgraded().await;
    assert!(reads_nothing(&mut io).await);
    tokio::time::advance(100 * UNPROVEN_SOCKET).await;
    assert!(reads_nothing(&mut io).await, "who is known may rest");
    wire.sessions.store(0, Ordering::Release);
    wire.proofs.store(1, Ordering::Release);
    tokio::time::advance(100 * UNPROVEN_SOCKET).await;
    assert!(reads_nothing(&mut io).await, "its proof is being looked at");
    wire.proofs.store(0, Ordering::Release);
    let waited = patience(&mut io).await;
    assert!((UNPROVEN_SOCKET..UNPROVEN_SOCKET + SECOND).contains(&waited), "{waited:?}");
    drop(theirs);
}

#[tokio::test]
async fn a_killed_connection_ends_for_whoever_waits() {
    let (mut io, wire, _theirs) = upgraded().await;
    let _queued = wire.queue(FEED_HIGH + 1);
    assert!(reads_nothing(&mut io).await);
    wire.kill();
    assert_eq!(io.read(&mut [0; 8]).await.expect("ends"), 0);
    assert!(io.write_all(b"x").await.is_err());
}
