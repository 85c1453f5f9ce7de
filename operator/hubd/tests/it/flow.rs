//! Many bytes: a slow reader slows its sender down and loses nothing; one that never reads loses itself alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use connect_hubd::Limits;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::support::{KEY, PATIENCE, Socket, TestHub, bridge};

/// The text of one event: 32 KiB of bytes in base64.
const CHUNK: usize = 44_000;

/// A chunk that tells its place.
fn chunk(number: usize) -> String {
    format!("{number:08}").repeat(CHUNK / 8)
}

/// How far a sender may be ahead of its reader: the hub's budget for one sender, twice, and what the kernel's buffers
/// of two connections hold. A hub that takes all it gets would be ahead by a quarter of a gigabyte.
const AHEAD: usize = 64 * 1024 * 1024 / CHUNK;

/// Sends `count` chunks and then a close, as fast as the hub takes them, counting in `sent`.
async fn flood(exposer: Socket, id: String, count: usize, sent: Arc<AtomicUsize>) {
    let (mut writer, mut reader) = exposer.into_stream().split();
    // Its pings are answered by nobody else.
    let (pong_tx, mut pong_rx) = tokio::sync::mpsc::channel::<()>(8);
    let reading = tokio::spawn(async move {
        while let Some(Ok(message)) = reader.next().await {
            if matches!(&message, Message::Text(text) if text.as_str() == "2") {
                let _ = pong_tx.send(()).await;
            }
        }
    });
    for number in 0..count {
        if pong_rx.try_recv().is_ok() {
            writer.send(Message::text("3")).await.expect("sends");
        }
        let event = format!(r#"42/agent,["data",{{"connectionId":"{id}","data":"{}"}}]"#, chunk(number));
        writer.send(Message::text(event)).await.expect("sends");
        sent.store(number, Ordering::Release);
    }
    let close = format!("42/agent,{}", json!(["close", {"connectionId": id}]));
    writer.send(Message::text(close)).await.expect("sends");
    reading.await.expect("reads to the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_of_a_gigabyte_reaches_a_slow_reader_whole() {
    let hub = TestHub::start().await;
    let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let service = hub.service(&maker, "db", "workspace").await;
    let (mut exposer, mut joiner) = (hub.connect(&maker).await, hub.connect(&colleague).await);
    let id = bridge(&mut joiner, &mut exposer, service).await;

    let count = 256 * 1024 * 1024 / 32_768;
    let sent = Arc::new(AtomicUsize::new(0));
    let sending = tokio::spawn(flood(exposer, id, count, sent.clone()));
    // The reader is busy elsewhere while a sender that is not held up would send everything.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut hash, mut received) = (Sha256::new(), 0);
    loop {
        let (event, payload) = joiner.any_event().await;
        if event == "reach_close" {
            break;
        }
        hash.update(payload["data"].as_str().expect("data"));
        received += 1;
        let ahead = sent.load(Ordering::Acquire).saturating_sub(received);
        assert!(ahead < AHEAD, "the sender is {ahead} chunks ahead after {received}");
        if received % 1024 == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await; // busy again
        }
    }
    drop(hub);
    joiner.close().await;
    sending.abort();
    let mut expected = Sha256::new();
    (0..count).for_each(|number| expected.update(chunk(number)));
    assert_eq!((received, hash.finalize()), (count, expected.finalize()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_never_reads_loses_itself_alone() {
    let limits = Limits { stall: Duration::from_secs(2), ..Limits::default() };
    let hub = TestHub::with_limits(limits).await;
    let (maker, stuck, lively) = (hub.agent(KEY).await, hub.agent(KEY).await, hub.agent(KEY).await);
    let service = hub.service(&maker, "db", "workspace").await;
    let mut exposer = hub.connect(&maker).await;
    let (mut stuck, mut lively) = (hub.connect(&stuck).await, hub.connect(&lively).await);
    let lost = bridge(&mut stuck, &mut exposer, service).await;
    let whole = bridge(&mut lively, &mut exposer, service).await;

    // Both get the same, in turn; the stuck one reads none of it.
    let count = 1000;
    let (mut writer, mut reader) = exposer.into_stream().split();
    let sending = tokio::spawn(async move {
        for number in 0..count {
            for id in [&lost, &whole] {
                let event =
                    format!(r#"42/agent,["data",{{"connectionId":"{id}","data":"{}"}}]"#, chunk(number));
                writer.send(Message::text(event)).await.expect("sends");
            }
        }
        (writer, lost)
    });
    for number in 0..count {
        let (event, payload) = lively.any_event().await;
        assert_eq!((event.as_str(), payload["data"].as_str().map(str::len)), ("reach_data", Some(CHUNK)));
        assert!(
            payload["data"].as_str().is_some_and(|text| text.starts_with(&format!("{number:08}"))),
            "in order"
        );
    }
    let (mut writer, lost) = sending.await.expect("sends all");
    // The exposing side heard that the stuck one is lost, and its socket lives.
    let close = format!("42/agent,{}", json!(["close", {"connectionId": lost}]));
    let heard = async {
        while let Some(Ok(message)) = reader.next().await {
            if matches!(&message, Message::Text(text) if text.as_str() == close) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, heard).await.expect("in time"));
    writer.send(Message::text("42/agent,7[\"heartbeat\"]")).await.expect("sends");
    let alive = async {
        while let Some(Ok(message)) = reader.next().await {
            if matches!(&message, Message::Text(text) if text.as_str() == r#"43/agent,7[{"success":true}]"#) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, alive).await.expect("in time"));
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bridges_over_one_socket_keep_their_bytes_apart() {
    let hub = TestHub::start().await;
    let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
    let service = hub.service(&maker, "db", "workspace").await;
    let (mut exposer, mut joiner) = (hub.connect(&maker).await, hub.connect(&colleague).await);
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(bridge(&mut joiner, &mut exposer, service).await);
    }
    for round in 0..5 {
        for id in &ids {
            joiner.emit("reach_data", json!({"connectionId": id, "data": format!("{round}{id}")})).await;
        }
    }
    let mut next = std::collections::HashMap::<Uuid, usize>::new();
    for _ in 0..1000 {
        let payload = exposer.event("data").await;
        let id = payload["connectionId"].as_str().expect("an id");
        let round = next.entry(id.parse().expect("a UUID")).or_default();
        assert_eq!(payload["data"], json!(format!("{round}{id}")));
        *round += 1;
    }
    assert_eq!(hub.hub.open_bridges(), 200);
    joiner.close().await;
    for _ in 0..200 {
        exposer.event("close").await;
    }
    assert_eq!(hub.hub.open_bridges(), 0);
}
