//! What one share, one connection or one hub does to the others: nothing. And what an end does: everything, in order.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use connect_hub::client::{NewRoute, NewShare, ShareChange, ShareEnd};
use connect_hub::identity::Identity;
use connect_hub::join::{Join, JoinEnd, JoinEvent, Timing};
use connect_hub::tunnel::{
    Clock, EndReason, Limits, Memory, Refusal, Routes, ShareEnded, ShareKey, SystemClock, Tunnel,
    TunnelConfig, TunnelEvent,
};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use jiff::ToSpan;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::elsewhere;
use crate::support::lab::{Hub, Lab, TestClock, dial, dial_echo, on_every_hub};
use crate::support::raw::RawHub;
use crate::support::services::{Manual, bytes, echo, ended, exchange};
use crate::support::{connected, event, eventually, fixed, local_join, tls, url, within};

/// Connections opened at once: more would only queue at the hub.
const AT_ONCE: usize = 50;

on_every_hub!(
    an_end_refuses_and_cuts_and_only_then_is_told,
    a_cut_shares_neighbours_complete,
    a_thousand_connections_of_a_hundred_shares_go_together_and_none_before,
    a_hundred_stalled_readers_hold_up_nobody_else,
);

async fn an_end_refuses_and_cuts_and_only_then_is_told(hub: Hub) {
    let lab = Lab::start(hub).await;
    let route = lab.expose("one", "api", echo().await).await;
    let service_id = route.service_id;
    let join = lab.join(vec![route]).await;
    let mut clients = [dial_echo(&join, 0).await, dial_echo(&join, 0).await];
    let mut told = lab.routes.ended();

    lab.clock.step(2);
    let end = within("the end", told.recv()).await.expect("told");
    assert_eq!(end, ShareEnded { share: ShareKey("one".into()), why: EndReason::Expired });
    let refusal = lab.routes.authorize(service_id, lab.clock.now());
    assert_eq!(refusal.map(drop), Err(Refusal::ShareEnded(EndReason::Expired)), "dials are refused first");
    for client in &mut clients {
        ended(client).await;
    }
    eventually("nothing is left", || lab.routes.open_connections(service_id) == 0).await;
    if let Hub::Embedded(hub) = &lab.hub {
        eventually("the hub has closed its bridges, too", || hub.hub.open_bridges() == 0).await;
    }
    assert_eq!(lab.tunnel.stats().reconnects(), 0);
}

async fn a_cut_shares_neighbours_complete(hub: Hub) {
    let lab = Lab::start(hub).await;
    let address = echo().await;
    let routes = vec![lab.expose("cut", "cut", address).await, lab.expose("stays", "stays", address).await];
    let join = lab.join(routes).await;
    let cut = stream::iter(0..20).then(|_| dial_echo(&join, 0)).collect::<Vec<_>>().await;
    let stays = stream::iter(0..20).then(|_| dial_echo(&join, 1)).collect::<Vec<_>>().await;

    let doomed = cut.into_iter().enumerate().map(|(seed, mut client)| async move {
        let flood = bytes(seed as u64, 64 * 1024);
        let (mut read, mut write) = client.split();
        let writing = async { while write.write_all(&flood).await.is_ok() {} };
        let reading = async { while read.read(&mut [0; 8192]).await.is_ok_and(|len| len > 0) {} };
        tokio::select! { () = writing => {}, () = reading => {} }
    });
    let whole = stays.into_iter().enumerate().map(|(seed, mut client)| async move {
        for round in 0..8 {
            let sent = bytes((seed * 100 + round) as u64, 128 * 1024);
            assert!(exchange(&mut client, &sent).await == sent, "bytes of neighbour {seed} differ");
        }
    });
    let end = async {
        let stats = lab.tunnel.stats();
        eventually("bytes flow", || stats.bytes_in() > 1024 * 1024).await;
        lab.routes.end(&ShareKey("cut".into()), EndReason::Revoked);
    };
    within("all transfers", async { tokio::join!(join_all(doomed), join_all(whole), end) }).await;
    assert_eq!(lab.tunnel.stats().reconnects(), 0);
}

async fn a_thousand_connections_of_a_hundred_shares_go_together_and_none_before(hub: Hub) {
    let lab = Lab::start(hub).await;
    let address = echo().await;
    let end = lab.clock.now() + 1.hour();
    let mut routes = Vec::new();
    for number in 0..100 {
        let share = format!("share-{number:02}");
        routes.push(lab.expose(&share, &share, address).await);
        lab.routes.set_end(&ShareKey(share), end);
    }
    let join = lab.join(routes).await;
    let mut clients = stream::iter(0..1000)
        .map(|number| dial_echo(&join, number % 100))
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let mut told = lab.routes.ended();

    // The last instant before the end: the timer looks, and everything still carries bytes.
    lab.clock.stop_at(end - 1.microsecond());
    for client in &mut clients {
        assert_eq!(exchange(client, b"alive").await, b"alive", "cut early");
    }
    assert!(told.try_recv().is_err(), "told early");

    lab.clock.stop_at(end);
    let mut shares = Vec::new();
    while shares.len() < 100 {
        let ShareEnded { share, why } = within("all ends", told.recv()).await.expect("told");
        assert_eq!(why, EndReason::Expired);
        shares.push(share);
    }
    shares.sort();
    shares.dedup();
    assert_eq!(shares.len(), 100, "an end was told twice");
    for client in &mut clients {
        ended(client).await;
    }
    eventually("all are gone", || lab.tunnel.stats().open_connections() == 0).await;
    assert!(told.try_recv().is_err(), "told twice");
}

async fn a_hundred_stalled_readers_hold_up_nobody_else(hub: Hub) {
    let limits = Limits { link_bytes: 128 * 1024, ..Limits::default() };
    let lab = Lab::with_limits(hub, limits).await;
    let mut stalled = Manual::start().await;
    let routes = vec![
        lab.expose("share", "echo", echo().await).await,
        lab.expose("share", "stalled", stalled.address).await,
    ];
    let join = lab.join(routes).await;
    let neighbours = stream::iter(0..20).then(|_| dial_echo(&join, 0)).collect::<Vec<_>>().await;
    let (mut clients, mut at_service) = (Vec::new(), Vec::new());
    while at_service.len() < 100 {
        let mut client = dial(&join, 1).await;
        tokio::select! {
            accepted = stalled.accept() => {
                at_service.push(accepted);
                clients.push(client);
            }
            () = ended(&mut client) => {} // not exposed yet
        }
    }

    let floods = clients.into_iter().map(|mut client| async move {
        let flood = bytes(1, 256 * 1024);
        while client.write_all(&flood).await.is_ok() {}
    });
    let flooding = tokio::spawn(join_all(floods));
    let exchanges = neighbours.into_iter().enumerate().map(|(seed, mut client)| async move {
        let sent = bytes(seed as u64, 256 * 1024);
        assert!(exchange(&mut client, &sent).await == sent, "bytes of neighbour {seed} differ");
    });
    within("everyone else", join_all(exchanges)).await;
    assert!(lab.tunnel.waiting_bytes() <= Memory::default().bytes() / 2);
    assert_eq!(lab.tunnel.stats().reconnects(), 0);
    flooding.abort();
}

#[tokio::test]
async fn a_hub_that_floods_is_held_to_the_limits_of_memory() {
    let hub = RawHub::start().await;
    let limits = Limits { link_bytes: 256 * 1024, ..Limits::default() };
    let memory = Memory::new(2 * 1024 * 1024);
    let mut service = Manual::start().await;
    let routes = Routes::new(Arc::new(SystemClock));
    let service_id = Uuid::new_v4();
    let (name, protocol, targets) = ("api".into(), "tcp".into(), vec![service.address]);
    routes.set(
        service_id,
        connect_hub::tunnel::Route { share: None, name, tunnel_port: None, protocol, targets },
    );
    let config = TunnelConfig { url: url(&hub.url), tls: tls(), limits, memory: memory.clone() };
    let tunnel = Tunnel::start(config, fixed(Identity::generate()), routes);
    let mut agent = hub.accept(&[]).await;
    connected(&tunnel).await;
    agent.expect("expose").await;
    let mut unread = Vec::new();
    for number in 0..20 {
        agent.emit("dial", &json!({"connectionId": format!("c-{number}"), "serviceId": service_id})).await;
        agent.expect("dial_success").await;
        unread.push(service.accept().await);
    }

    let chunk = "A".repeat(64 * 1024);
    let mut most = 0;
    let flood = async {
        for _ in 0..200 {
            for number in 0..20 {
                agent.emit("data", &json!({"connectionId": format!("c-{number}"), "data": chunk})).await;
                most = most.max(tunnel.waiting_bytes());
            }
        }
    };
    within("the flood is taken in", flood).await;
    assert!(most > limits.link_bytes, "nothing waited: {most}");
    assert!(most <= memory.bytes() / 2, "more than the limit: {most}");
    eventually("those that do not read are given up", || tunnel.stats().open_connections() == 0).await;
    assert_eq!((tunnel.waiting_bytes(), memory.used()), (0, 0), "what waited is given back");
    assert_eq!(tunnel.stats().reconnects(), 0);
    drop(unread);
}

#[tokio::test]
async fn a_process_that_is_flooded_takes_little_more_memory_than_it_may() {
    /// What the process takes for everything else meanwhile: frames on their way, buffers of its runtime.
    const BESIDE: usize = 8 * 1024 * 1024;
    const CONNECTIONS: usize = 16;
    let memory = Memory::new(64 * 1024 * 1024);
    let may_take = memory.bytes() / 2;
    let (hub, mut service, service_id) = (RawHub::start().await, Manual::start().await, Uuid::new_v4());
    let process = elsewhere::start(&hub.url, service_id, service.address, &memory);
    let mut agent = hub.accept(&[]).await;
    agent.expect("expose").await;
    let mut unread = Vec::new();
    for number in 0..CONNECTIONS {
        agent.emit("dial", &json!({"connectionId": format!("c-{number}"), "serviceId": service_id})).await;
        agent.expect("dial_success").await;
        unread.push(service.accept().await);
    }
    let before = elsewhere::most_memory(&process);

    let chunk = "A".repeat(64 * 1024);
    let flood = async {
        // Four times what may wait for all of them.
        for number in 0..4 * may_take / chunk.len() {
            let number = number % CONNECTIONS;
            agent.emit("data", &json!({"connectionId": format!("c-{number}"), "data": chunk})).await;
        }
    };
    within("the flood is taken in", flood).await;
    let took = elsewhere::most_memory(&process) - before;
    assert!(took > may_take / 4, "nothing waited: {took}");
    assert!(took <= may_take + may_take / 8 + BESIDE, "{took} bytes for {may_take}");
    drop(unread);
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up_and_its_neighbour_goes_on() {
    let hub = RawHub::start().await;
    let starting = Join::start(local_join(&hub.url, Uuid::new_v4()));
    let (join, mut agent) = tokio::join!(starting, hub.accept(&[]));
    let join = join.expect("joined");
    let mut ids = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(dial(&join, 0).await);
        let id = agent.expect("reach_connect").await["connectionId"].clone();
        agent.emit("reach_ready", &json!({"connectionId": id})).await;
        ids.push(id);
    }
    let chunk = "A".repeat(64 * 1024);
    for _ in 0..400 {
        agent.emit("reach_data", &json!({"connectionId": ids[0], "data": chunk})).await;
    }
    assert_eq!(agent.expect("reach_close").await["connectionId"], ids[0]);
    agent.emit("reach_data", &json!({"connectionId": ids[1], "data": "cGluZw=="})).await;
    let mut got = [0; 4];
    within("the neighbour", clients[1].read_exact(&mut got)).await.expect("read");
    assert_eq!(&got, b"ping");
}

#[tokio::test]
async fn a_port_is_open_on_both_kinds_of_loopback() {
    let lab = Lab::start(Hub::embedded().await).await;
    let join = lab.join(vec![lab.expose("share", "api", echo().await).await]).await;
    drop(dial_echo(&join, 0).await);
    let port = join.routes()[0].port;
    let mut four = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connected");
    assert_eq!(exchange(&mut four, b"four").await, b"four");
    if tokio::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_err() {
        return; // a machine without IPv6
    }
    let mut six = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.expect("connected");
    assert_eq!(exchange(&mut six, b"six").await, b"six");
}

#[tokio::test]
async fn a_second_socket_of_our_agent_is_told() {
    let lab = Lab::start(Hub::embedded().await).await;
    let mut events = lab.tunnel.events();
    let config =
        TunnelConfig { url: lab.hub.url(), tls: tls(), limits: Limits::default(), memory: Memory::default() };
    let thief = Tunnel::start(config, fixed(lab.exposer.clone()), Routes::new(Arc::new(SystemClock)));
    connected(&thief).await;
    assert_eq!(within("the loss", events.recv()).await.expect("told"), TunnelEvent::Replaced);
}

#[tokio::test]
async fn a_joiner_follows_the_end_of_its_share() {
    let lab = Lab::start(Hub::embedded().await).await;
    let route = lab.expose("one", "api", echo().await).await;
    let client = lab.hub.client();
    let share = NewShare {
        name: None,
        end: ShareEnd::Hours(1),
        max_joins: None,
        routes: vec![NewRoute {
            service_name: "api".into(),
            service_id: Some(route.service_id),
            target_host: "api".into(),
            target_port: 1,
            local_port: None,
            protocol: "tcp".into(),
        }],
    };
    let maker = lab.exposer.agent_id;
    let share = client.create_share(maker, &share, Some("once")).await.expect("created");
    lab.routes.set_end(&ShareKey("one".into()), share.expires_at + 24.hours());

    let mut config = lab.join_config(vec![route]).await;
    let joined = client.join(&share.code, "laptop", Some(config.identity.agent_id)).await.expect("joined");
    (config.share_id, config.ends_at) = (joined.share.id, joined.share.expires_at);
    let clock = Arc::new(TestClock::default());
    let timing = Timing { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Timing::default() };
    let mut join = within("a join", Join::start_with(config.clone(), timing.clone())).await.expect("joined");
    let mut held = dial_echo(&join, 0).await;

    // Later: the old end passes and nothing happens.
    let extended = ShareChange { expires_at: Some(share.expires_at + 10.hours()), ..ShareChange::default() };
    client.update_share(maker, &share.code, &extended).await.expect("extended");
    assert_eq!(exchange(&mut held, b"told before this").await, b"told before this");
    // Whoever was away learns it from the welcome.
    let other = within("a join", Join::start_with(config, timing)).await.expect("joined");
    let mut held_elsewhere = dial_echo(&other, 0).await;
    clock.step(5);
    assert_eq!(exchange(&mut held, b"still here").await, b"still here");
    assert_eq!(exchange(&mut held_elsewhere, b"here, too").await, b"here, too");

    // Sooner: the new end has passed on this machine.
    let shortened = ShareChange { expires_at: Some(share.expires_at + 1.hour()), ..ShareChange::default() };
    client.update_share(maker, &share.code, &shortened).await.expect("shortened");
    let end = event(&mut join, "the end", |event| matches!(event, JoinEvent::Ended { .. })).await;
    assert_eq!(end, JoinEvent::Ended { reason: JoinEnd::Expired });
    ended(&mut held).await;
}
