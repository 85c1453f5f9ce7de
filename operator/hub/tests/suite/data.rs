//! Bytes through a hub: whole, in order, both ways, to the last one.

use connect_hub::join::JoinEvent;
use connect_hub::tunnel::{Limits, RefusedDial};
use futures::future::join_all;
use tokio::io::AsyncWriteExt;

use crate::support::lab::{Hub, Lab, dial, dial_echo, on_every_hub};
use crate::support::services::{Manual, bytes, echo, ended, exchange, nobody, reset, rest};
use crate::support::{event, eventually, within};

const MIB: usize = 1024 * 1024;

on_every_hub!(
    a_client_that_speaks_first_loses_no_byte,
    the_last_bytes_before_a_close_arrive,
    a_reply_after_the_clients_end_arrives,
    many_connections_at_once_keep_their_bytes_apart,
    a_service_that_does_not_read_loses_only_its_own_connection,
    a_service_that_is_not_there_is_told_to_the_joiner,
    a_service_can_be_taken_away_and_added,
);

async fn a_client_that_speaks_first_loses_no_byte(hub: Hub) {
    let lab = Lab::start(hub).await;
    let mut service = Manual::start().await;
    let route = lab.expose("share", "api", service.address).await;
    let join = lab.join(vec![route]).await;
    let sent = bytes(1, MIB);

    let (mut at_service, mut client) = loop {
        let mut client = dial(&join, 0).await;
        client.write_all(&sent[..100]).await.expect("written");
        tokio::select! {
            at_service = service.accept() => break (at_service, client),
            _ = rest(&mut client) => {} // not exposed yet
        }
    };
    client.write_all(&sent[100..]).await.expect("written");
    client.shutdown().await.expect("ended");
    assert!(rest(&mut at_service).await.expect("read") == sent, "bytes differ");
}

async fn the_last_bytes_before_a_close_arrive(hub: Hub) {
    let lab = Lab::start(hub).await;
    let mut service = Manual::start().await;
    let route = lab.expose("share", "api", service.address).await;
    let join = lab.join(vec![route]).await;
    let (mut at_service, mut client) = pair(&mut service, &join).await;

    let sent = bytes(2, 4 * MIB);
    let sending = async {
        at_service.write_all(&sent).await.expect("written");
        drop(at_service);
    };
    let (got, ()) = tokio::join!(rest(&mut client), sending);
    assert!(got.expect("an orderly end") == sent, "bytes differ");
}

async fn a_reply_after_the_clients_end_arrives(hub: Hub) {
    let lab = Lab::start(hub).await;
    let mut service = Manual::start().await;
    let route = lab.expose("share", "api", service.address).await;
    let join = lab.join(vec![route]).await;
    let (mut at_service, mut client) = pair(&mut service, &join).await;

    client.write_all(b"question").await.expect("written");
    client.shutdown().await.expect("ended");
    let mut question = [0; 8];
    let read = tokio::io::AsyncReadExt::read_exact(&mut at_service, &mut question);
    within("the question", read).await.expect("read");
    at_service.write_all(b"answer").await.expect("written");
    drop(at_service);
    assert_eq!(rest(&mut client).await.expect("an orderly end"), b"answer");
}

#[tokio::test]
async fn a_join_counts_what_its_routes_carry() {
    let lab = Lab::start(Hub::oxide(&[]).await).await;
    let quiet = lab.expose("share", "quiet", echo().await).await;
    let busy = lab.expose("share", "busy", echo().await).await;
    let join = lab.join(vec![quiet, busy]).await;
    let mut client = dial_echo(&join, 1).await;
    let before = join.traffic()[1];
    let sent = bytes(3, MIB);
    assert!(exchange(&mut client, &sent).await == sent, "bytes differ");

    let carried = sent.len() as u64;
    eventually("every byte is counted", || {
        let now = join.traffic()[1];
        (now.sent - before.sent, now.received - before.received) == (carried, carried)
    })
    .await;
    assert_eq!(join.traffic()[1].open, 1);
    assert_eq!(join.traffic()[0].total, 0, "nobody used the other route");
    drop(client);
    eventually("the connection counts as closed", || join.traffic()[1].open == 0).await;
}

async fn many_connections_at_once_keep_their_bytes_apart(hub: Hub) {
    let lab = Lab::start(hub).await;
    let route = lab.expose("share", "api", echo().await).await;
    let join = lab.join(vec![route]).await;
    drop(dial_echo(&join, 0).await);

    let exchanges = (0..100u64).map(|seed| {
        let join = &join;
        async move {
            let mut client = dial(join, 0).await;
            let sent = bytes(seed, 64 * 1024 + usize::try_from(seed).expect("small") * 997);
            assert!(exchange(&mut client, &sent).await == sent, "bytes of connection {seed} differ");
        }
    });
    join_all(exchanges).await;
    eventually("all connections closed", || lab.tunnel.stats().open_connections() == 0).await;
    assert_eq!(lab.tunnel.stats().foreign_events(), 0);
    assert_eq!(lab.tunnel.stats().malformed_frames(), 0);
}

async fn a_service_that_does_not_read_loses_only_its_own_connection(hub: Hub) {
    let limits = Limits { link_bytes: 256 * 1024, ..Limits::default() };
    let lab = Lab::with_limits(hub, limits).await;
    let mut stalled = Manual::start().await;
    let routes = vec![
        lab.expose("share", "stalled", stalled.address).await,
        lab.expose("share", "echo", echo().await).await,
    ];
    // On a data connection TCP slows the sender down, and nothing need be given up.
    let join = lab.join_recorded(routes).await;
    let mut neighbour = dial_echo(&join, 1).await;
    let (_at_service, mut client) = pair(&mut stalled, &join).await;

    let flood = bytes(3, MIB);
    within("the stalled connection ends", async { while client.write_all(&flood).await.is_ok() {} }).await;
    eventually("the connection is given up", || lab.tunnel.stats().stalled_connections() == 1).await;
    let sent = bytes(4, MIB);
    assert!(exchange(&mut neighbour, &sent).await == sent, "bytes of the neighbour differ");
    assert_eq!(lab.tunnel.stats().reconnects(), 0);
}

async fn a_service_that_is_not_there_is_told_to_the_joiner(hub: Hub) {
    let lab = Lab::start(hub).await;
    let routes = vec![
        lab.expose("share", "gone", nobody().await).await,
        lab.expose("share", "echo", echo().await).await,
    ];
    let mut join = lab.join(routes).await;
    drop(dial_echo(&join, 1).await);
    eventually("both are exposed", || lab.tunnel.stats().total_connections() > 0).await;

    let mut client = dial(&join, 0).await;
    reset(&mut client).await;
    let failed =
        event(&mut join, "a failed route", |event| matches!(event, JoinEvent::RouteFailed { .. })).await;
    let JoinEvent::RouteFailed { name, .. } = failed else { panic!("{failed:?}") };
    assert!(name == "gone" || name == "echo", "{name}"); // an early try of the echo may have failed, too
    eventually("the refusal is counted", || lab.tunnel.stats().refused_dials(RefusedDial::ConnectFailed) > 0)
        .await;
}

async fn a_service_can_be_taken_away_and_added(hub: Hub) {
    let lab = Lab::start(hub).await;
    let first = lab.expose("share", "first", echo().await).await;
    let join = lab.join(vec![first.clone()]).await;
    let mut client = dial_echo(&join, 0).await;

    lab.routes.remove(first.service_id);
    ended(&mut client).await;
    assert_eq!(lab.routes.open_connections(first.service_id), 0);

    let second = lab.expose("share", "second", echo().await).await;
    let join = lab.join(vec![second]).await;
    let mut client = dial_echo(&join, 0).await;
    assert_eq!(exchange(&mut client, b"still here").await, b"still here");
    eventually("the connection is counted", || lab.tunnel.stats().open_connections() == 1).await;
}

#[tokio::test]
async fn either_side_can_end_first_and_go_on_listening() {
    let lab = Lab::start(Hub::oxide(&["half-close"]).await).await;
    let mut service = Manual::start().await;
    let route = lab.expose("share", "api", service.address).await;
    let join = lab.join(vec![route]).await;

    let (mut at_service, mut client) = pair(&mut service, &join).await;
    ends_first(&mut client, &mut at_service).await;
    let (mut at_service, mut client) = pair(&mut service, &join).await;
    ends_first(&mut at_service, &mut client).await;
    eventually("both are gone", || lab.tunnel.stats().open_connections() == 0).await;
}

/// `one` says all it has and ends; `other` reads that to its end and only then answers.
async fn ends_first(one: &mut tokio::net::TcpStream, other: &mut tokio::net::TcpStream) {
    let (question, answer) = (bytes(5, MIB), bytes(6, 2 * MIB));
    let asking = async {
        one.write_all(&question).await.expect("written");
        one.shutdown().await.expect("ended");
        rest(one).await.expect("an orderly end")
    };
    let answering = async {
        let got = rest(other).await.expect("an orderly end");
        other.write_all(&answer).await.expect("written");
        other.shutdown().await.expect("ended");
        got
    };
    let (got_answer, got_question) = tokio::join!(asking, answering);
    assert!(got_question == question, "the question differs");
    assert!(got_answer == answer, "the answer differs");
}

/// A client and the Service's end of its connection.
async fn pair(
    service: &mut Manual,
    join: &connect_hub::join::Join,
) -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    loop {
        let mut client = dial(join, 0).await;
        tokio::select! {
            at_service = service.accept() => return (at_service, client),
            _ = rest(&mut client) => {} // not exposed yet
        }
    }
}
