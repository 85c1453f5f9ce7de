//! Whatever comes over the wire ends in an answer, or in the end of that connection and no other. `corpus` has what was
//! thought of and what was found; every run tries all of it and a few changes of each.

use std::sync::{
    Once,
    atomic::{AtomicUsize, Ordering},
};

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{KEY, TestHub, within};

/// Changed inputs for each file.
const CHANGES: usize = 8;
/// What changes are made of: where parsers look.
const PIECES: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b" ",
    b":",
    b",",
    b"/",
    b"\"",
    b"{",
    b"[",
    b"]",
    b"}",
    b"0",
    b"-1",
    b"\x80\x00\x00\x00",
];

/// Panics of all threads, the hub's among them.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics from now on.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            usual(panic);
        }));
    });
}

/// A change: at which part of the input, whether that part goes, and what comes there.
fn change() -> impl Strategy<Value = (f64, usize, usize, usize)> {
    (0.0..1.0, 0..12_usize, 0..PIECES.len(), prop_oneof![8 => 0..4_usize, 1 => Just(3000_usize)])
}

/// Every file of a folder of the corpus, and changes of it.
fn inputs(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/tests/corpus/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut runner = TestRunner::new(Config::default());
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder).expect("is there") {
        let path = entry.expect("readable").path();
        let (name, whole) = (path.display().to_string(), std::fs::read(&path).expect("readable"));
        for number in 0..CHANGES {
            let changes =
                prop::collection::vec(change(), 1..4).new_tree(&mut runner).expect("a value").current();
            let changed = changes.into_iter().fold(whole.clone(), |mut bytes, (at, gone, piece, times)| {
                let at = (at * bytes.len() as f64) as usize;
                let end = (at + gone).min(bytes.len());
                bytes.splice(at..end, PIECES[piece].repeat(times));
                bytes
            });
            inputs.push((format!("{name}, change {number}"), changed));
        }
        inputs.push((name, whole));
    }
    assert!(!inputs.is_empty());
    inputs
}

/// The hub still answers, and nothing of it has panicked.
async fn is_well(hub: &TestHub, after: &str, input: &[u8]) {
    let health = hub.ask("GET", "/health", &[], None).await;
    let input = String::from_utf8_lossy(input);
    assert_eq!((health.status, PANICS.load(Ordering::SeqCst)), (200, 0), "{after}: {input}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_head_and_any_upgrade_is_answered_or_ends_its_connection() {
    count_panics();
    let hub = TestHub::start().await;
    for (name, bytes) in inputs("heads") {
        let mut stream = TcpStream::connect(hub.hub.address()).await.expect("connects");
        // The hub may close before it has everything.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut heard = Vec::new();
        let _ = within(&name, stream.read_to_end(&mut heard)).await;
        assert!(
            heard.is_empty() || heard.starts_with(b"HTTP/1."),
            "{name}: {}",
            String::from_utf8_lossy(&heard)
        );
        is_well(&hub, &name, &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_packet_is_answered_or_ends_its_socket_and_no_other() {
    count_panics();
    let hub = TestHub::start().await;
    let (rude, calm) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let mut calm = hub.connect(&calm).await;
    for (name, bytes) in inputs("packets") {
        let text = String::from_utf8_lossy(&bytes);
        let mut socket = hub.connect(&rude).await;
        let _ = socket.try_send(&text).await;
        let _ = socket.try_send(&text).await;
        // What comes back is a frame of the protocol; the answer to this, or the end, is the last of it.
        let _ = socket.try_send("42/agent,123456[\"heartbeat\"]").await;
        let _ = socket.try_send("1").await;
        while let Some(frame) = socket.frame().await {
            assert!(frame.starts_with(['0', '1', '2', '3', '4', '6']), "{name}: {frame}");
        }
        assert_eq!(calm.call("heartbeat", Value::Null).await, json!({"success": true}), "{name}");
        is_well(&hub, &name, &bytes).await;
    }
}
