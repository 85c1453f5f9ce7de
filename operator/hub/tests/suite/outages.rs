//! Hubs that go away, fall silent, or will not have us.

use std::sync::Arc;

use connect_hub::identity::Identity;
use connect_hub::join::{Join, JoinEnd, JoinError, JoinEvent};
use connect_hub::tunnel::{
    Limits, Memory, Routes, SystemClock, Tunnel, TunnelConfig, TunnelEvent, TunnelState,
};
use serde_json::json;
use tokio::sync::watch;

use crate::support::lab::{Hub, Lab, dial_echo};
use crate::support::raw::{OPEN, RawHub};
use crate::support::services::{echo, ended};
use crate::support::{connected, event, fixed, tls, url, within};

fn tunnel(hub: &str, identity: watch::Receiver<Identity>) -> Tunnel {
    let config =
        TunnelConfig { url: url(hub), tls: tls(), limits: Limits::default(), memory: Memory::default() };
    Tunnel::start(config, identity, Routes::new(Arc::new(SystemClock)))
}

/// Waits for the state that `wanted` accepts and gives it.
async fn state(tunnel: &Tunnel, what: &str, wanted: impl Fn(&TunnelState) -> bool) -> TunnelState {
    let mut state = tunnel.state();
    within(what, async { state.wait_for(|state| wanted(state)).await.expect("tunnel lives").clone() }).await
}

/// What the vendor's hub does with credentials it does not know, from the recording.
async fn refuse(hub: &RawHub, code: &str) {
    let mut agent = hub.accept_silently().await;
    agent.send(OPEN).await;
    agent.receive().await.expect("the agent joins");
    agent.send(r#"40/agent,{"sid":"n"}"#).await;
    agent.emit("error", &json!({"code": code, "message": "Invalid credentials"})).await;
    agent.send("41/agent,").await;
    assert_eq!(agent.receive().await, None, "the agent leaves");
}

#[tokio::test]
async fn refused_credentials_are_a_verdict_until_there_are_others() {
    let hub = RawHub::start().await;
    let (identity_tx, identity) = watch::channel(Identity::generate());
    let tunnel = tunnel(&hub.url, identity);
    refuse(&hub, "INVALID_TOKEN").await;
    let refused = state(&tunnel, "the verdict", |state| matches!(state, TunnelState::Refused { .. })).await;
    assert_eq!(refused, TunnelState::Refused { message: "Invalid credentials".into() });

    let other = Identity::generate();
    identity_tx.send(other.clone()).expect("tunnel lives");
    let mut agent = hub.accept_silently().await;
    agent.send(OPEN).await;
    let join = agent.receive().await.expect("the agent joins");
    assert!(join.contains(&other.agent_id.to_string()), "another identity: {join}");
}

#[tokio::test]
async fn a_hub_that_forgot_us_when_another_socket_of_our_agent_left_is_told_and_offered_all_again() {
    let lab = Lab::start(Hub::node().await).await;
    let join = lab.join_recorded(vec![lab.expose("one", "api", echo().await).await]).await;
    drop(dial_echo(&join, 0).await);
    let mut events = lab.tunnel.events();
    let (url, identity) = (lab.hub.url().to_string(), fixed(lab.exposer.clone()));
    let other = tunnel(&url, identity);
    connected(&other).await;
    other.stop().await;
    // Its answers to heartbeats do not tell, so this takes as long as the next probe.
    assert_eq!(within("the loss", events.recv()).await.expect("told"), TunnelEvent::Replaced);
    connected(&lab.tunnel).await;
    dial_echo(&join, 0).await;
}

#[tokio::test]
async fn an_expired_token_is_told_and_a_rotated_one_is_used_at_once() {
    let hub = RawHub::start().await;
    let identity = Identity::generate();
    let (identity_tx, identity_rx) = watch::channel(identity.clone());
    let tunnel = tunnel(&hub.url, identity_rx);
    let mut events = tunnel.events();
    refuse(&hub, "TOKEN_EXPIRED").await;
    assert_eq!(within("the expiry", events.recv()).await.expect("told"), TunnelEvent::TokenExpired);
    identity_tx.send(Identity { token: "f".repeat(64).into(), ..identity }).expect("tunnel lives");
    let _agent = hub.accept(&[]).await;
    connected(&tunnel).await;
}

#[tokio::test]
async fn a_new_token_keeps_the_socket_and_another_agent_opens_its_own() {
    let hub = RawHub::start().await;
    let identity = Identity::generate();
    let (identity_tx, identity_rx) = watch::channel(identity.clone());
    let tunnel = tunnel(&hub.url, identity_rx);
    let mut first = hub.accept(&[]).await;
    connected(&tunnel).await;
    first.expect("heartbeat").await;
    identity_tx.send(Identity { token: "e".repeat(64).into(), ..identity }).expect("tunnel lives");
    first.expect("heartbeat").await;
    assert_eq!(tunnel.stats().reconnects(), 0);
    identity_tx.send(Identity::generate()).expect("tunnel lives");
    let _second = hub.accept(&[]).await;
    assert_eq!(first.receive().await, None, "the first socket is left");
    assert_eq!(tunnel.stats().reconnects(), 1);
}

#[tokio::test]
async fn a_bare_disconnect_and_a_forgotten_socket_lead_to_another() {
    let hub = RawHub::start().await;
    let tunnel = tunnel(&hub.url, fixed(Identity::generate()));
    let mut events = tunnel.events();
    let mut agent = hub.accept(&[]).await;
    connected(&tunnel).await;
    agent.send("41/agent,").await;

    let mut agent = hub.accept(&[]).await;
    connected(&tunnel).await;
    let heartbeat = agent.receive().await.expect("a heartbeat");
    let id: String = heartbeat.chars().skip("42/agent,".len()).take_while(char::is_ascii_digit).collect();
    assert!(heartbeat.ends_with(r#"["heartbeat"]"#), "{heartbeat}");
    agent.send(&format!("43/agent,{id}[{{\"success\":false}}]")).await;
    assert_eq!(within("the loss", events.recv()).await.expect("told"), TunnelEvent::Replaced);

    let _agent = hub.accept(&[]).await;
    connected(&tunnel).await;
    assert_eq!(tunnel.stats().reconnects(), 2);
}

#[tokio::test]
async fn a_silent_hub_is_left() {
    let hub = RawHub::start().await;
    let tunnel = tunnel(&hub.url, fixed(Identity::generate()));
    let mut silent = hub.accept(&[]).await;
    connected(&tunnel).await;
    let lost = state(&tunnel, "the silence is noticed", |state| {
        matches!(state, TunnelState::Connecting { last_error: Some(_), .. })
    });
    let listening = async { while silent.receive().await.is_some() {} };
    let (lost, ()) = tokio::join!(lost, listening);
    let TunnelState::Connecting { last_error: Some(error), reason } = lost else { panic!("{lost:?}") };
    assert!(error.contains("silent"), "{error}");
    assert_eq!(reason, "HubUnreachable");
}

#[tokio::test]
async fn a_hub_that_pings_gets_its_pongs() {
    let hub = RawHub::start().await;
    let tunnel = tunnel(&hub.url, fixed(Identity::generate()));
    let mut agent = hub.accept(&[]).await;
    connected(&tunnel).await;
    for _ in 0..3 {
        agent.send("2").await;
        within("a pong", async { while agent.receive().await.expect("the agent stays") != "3" {} }).await;
    }
}

#[tokio::test]
async fn what_is_no_hub_is_said_in_one_sentence() {
    let nobody = crate::support::services::nobody().await;
    let tunnel = tunnel(&format!("http://{nobody}"), fixed(Identity::generate()));
    let lost = state(&tunnel, "a refused connection", |state| {
        matches!(state, TunnelState::Connecting { last_error: Some(_), .. })
    })
    .await;
    let TunnelState::Connecting { last_error: Some(error), .. } = lost else { panic!("{lost:?}") };
    assert!(error.contains("connecting") && error.contains("refused"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[tokio::test]
async fn a_join_outlives_its_hubs_restart_with_one_event_per_outage() {
    let lab = Lab::start(Hub::oxide(&[]).await).await;
    let mut join = lab.join(vec![lab.expose("one", "api", echo().await).await]).await;
    let port = join.routes()[0].port;
    for _ in 0..2 {
        let mut client = dial_echo(&join, 0).await;
        let Hub::Oxide(hub) = &lab.hub else { panic!("in process") };
        hub.drop_sockets().await;
        ended(&mut client).await;
        let first =
            event(&mut join, "the outage", |event| !matches!(event, JoinEvent::RouteFailed { .. })).await;
        assert!(matches!(first, JoinEvent::Reconnecting { .. }), "{first:?}");
        let second =
            event(&mut join, "the return", |event| !matches!(event, JoinEvent::RouteFailed { .. })).await;
        assert_eq!(second, JoinEvent::Reconnected);
        assert_eq!(join.routes()[0].port, port);
    }
    drop(dial_echo(&join, 0).await);
}

#[tokio::test]
async fn a_join_with_unknown_credentials_is_refused_and_one_that_loses_them_ends() {
    let hub = RawHub::start().await;
    let lab_config = |url_text: &str| connect_hub::join::JoinConfig {
        url: url(url_text),
        tls: tls(),
        identity: Identity::generate(),
        share_id: None,
        code_key: None,
        ends_at: jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1),
        routes: Vec::new(),
        bind: Vec::new(),
        recheck: None,
    };
    let (refused, ()) = tokio::join!(Join::start(lab_config(&hub.url)), refuse(&hub, "INVALID_TOKEN"));
    assert!(matches!(refused, Err(JoinError::Refused { .. })), "{refused:?}");

    let (join, agent) = tokio::join!(Join::start(lab_config(&hub.url)), hub.accept(&[]));
    let mut join = join.expect("joined");
    drop(agent);
    let lost = async { event(&mut join, "the end", |event| matches!(event, JoinEvent::Ended { .. })).await };
    let (end, ()) = tokio::join!(lost, refuse(&hub, "INVALID_TOKEN"));
    assert_eq!(end, JoinEvent::Ended { reason: JoinEnd::LostAccess });

    let nobody = crate::support::services::nobody().await;
    let unreachable = Join::start(lab_config(&format!("http://{nobody}"))).await;
    assert!(matches!(unreachable, Err(JoinError::Unreachable { .. })), "{unreachable:?}");
}
