//! The end of a share: it cuts what belongs to it, at once, and nothing else.

use std::sync::Arc;

use connect_hub::client::{Client, ClientOptions, NewRoute, NewShare, ShareEnd};
use connect_hub::identity::Identity;
use connect_hub::join::{Join, JoinEnd, JoinError, JoinEvent, Timing};
use connect_hub::tunnel::{Clock, EndReason, Refusal, Route, Routes, ShareEnded, ShareKey, SystemClock};
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::lab::{API_KEY, Hub, Lab, TestClock, dial, dial_echo};
use crate::support::services::{Manual, echo, ended, exchange, reset};
use crate::support::{event, eventually, tls, within};

fn key(name: &str) -> ShareKey {
    ShareKey(name.into())
}

fn route(share: &str, target: &str) -> Route {
    Route {
        share: Some(key(share)),
        name: "api".into(),
        tunnel_port: None,
        protocol: "tcp".into(),
        targets: vec![target.parse().expect("an address")],
    }
}

#[tokio::test]
async fn the_end_of_a_share_cuts_its_connections_and_no_others() {
    let lab = Lab::start(Hub::oxide(&[]).await).await;
    let address = echo().await;
    let routes = vec![
        lab.expose("one", "first", address).await,
        lab.expose("one", "second", address).await,
        lab.expose("two", "third", address).await,
    ];
    let join = lab.join(routes).await;
    let (mut first, mut second, mut third) =
        (dial_echo(&join, 0).await, dial_echo(&join, 1).await, dial_echo(&join, 2).await);
    let mut told = lab.routes.ended();

    lab.routes.end(&key("one"), EndReason::Revoked);
    lab.routes.end(&key("one"), EndReason::Expired);
    ended(&mut first).await;
    ended(&mut second).await;
    let end = within("the end is told", told.recv()).await.expect("told");
    assert_eq!(end, ShareEnded { share: key("one"), why: EndReason::Revoked });
    assert!(told.try_recv().is_err(), "told twice");
    assert_eq!(lab.routes.ended_reason(&key("one")), Some(EndReason::Revoked));

    assert_eq!(exchange(&mut third, b"alive").await, b"alive");
    ended(&mut dial(&join, 0).await).await;
    drop(dial_echo(&join, 2).await);
}

#[tokio::test]
async fn a_service_sees_a_cut_as_a_reset() {
    let lab = Lab::start(Hub::oxide(&["half-close"]).await).await;
    let mut service = Manual::start().await;
    let join = lab.join(vec![lab.expose("one", "api", service.address).await]).await;
    let (mut at_service, _client) = loop {
        let mut client = dial(&join, 0).await;
        tokio::select! {
            at_service = service.accept() => break (at_service, client),
            () = ended(&mut client) => {} // not exposed yet
        }
    };
    lab.routes.end(&key("one"), EndReason::Withdrawn);
    reset(&mut at_service).await;
}

#[tokio::test]
async fn a_step_of_the_clock_over_the_end_cuts_too() {
    let lab = Lab::start(Hub::oxide(&[]).await).await;
    let join = lab.join(vec![lab.expose("one", "api", echo().await).await]).await;
    let mut client = dial_echo(&join, 0).await;
    let mut told = lab.routes.ended();

    lab.clock.step(2);
    ended(&mut client).await;
    let end = within("the end is told", told.recv()).await.expect("told");
    assert_eq!(end, ShareEnded { share: key("one"), why: EndReason::Expired });

    // Back again: what has ended stays ended.
    lab.clock.step(-2);
    assert_eq!(lab.routes.ended_reason(&key("one")), Some(EndReason::Expired));
    ended(&mut dial(&join, 0).await).await;
}

#[tokio::test]
async fn an_end_can_be_moved_and_a_forgotten_share_starts_anew() {
    let clock = Arc::new(TestClock::default());
    let routes = Routes::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let (id, share) = (Uuid::new_v4(), key("one"));
    let allowed = || routes.authorize(id, clock.now()).map(|dial| dial.targets);
    assert_eq!(allowed(), Err(Refusal::UnknownService));
    routes.set(id, route("one", "127.0.0.1:1"));
    assert_eq!(allowed(), Err(Refusal::EndNotSet));

    routes.set_end(&share, clock.now() + 1.hour());
    let open = Ok(vec!["127.0.0.1:1".parse().expect("an address")]);
    assert_eq!(allowed(), open);
    routes.set_end(&share, clock.now() + 10.hours());
    clock.step(5);
    assert_eq!(allowed(), open);
    assert_eq!(
        routes.authorize(id, clock.now() + 6.hours()),
        Err(Refusal::ShareEnded(EndReason::Expired)),
        "the clock decides, not the timer"
    );

    routes.end(&share, EndReason::Withdrawn);
    routes.set_end(&share, clock.now() + 1.hour());
    assert_eq!(allowed(), Err(Refusal::ShareEnded(EndReason::Withdrawn)));
    routes.forget(&share);
    assert_eq!(allowed(), Err(Refusal::EndNotSet));
    routes.set_end(&share, clock.now() + 1.hour());
    assert_eq!(allowed(), open);

    routes.set(id, Route { targets: Vec::new(), ..route("one", "127.0.0.1:1") });
    assert_eq!(allowed(), Err(Refusal::NoTarget));
    routes.remove(id);
    assert_eq!(allowed(), Err(Refusal::UnknownService));
}

#[tokio::test]
async fn an_end_in_the_past_is_told_at_once_and_a_thousand_together() {
    let routes = Routes::new(Arc::new(SystemClock));
    let mut told = routes.ended();
    let shares: Vec<ShareKey> = (0..1000).map(|number| key(&format!("share-{number:04}"))).collect();
    for share in &shares {
        routes.set_end(share, Timestamp::now() - 1.second());
    }
    let mut ended = Vec::new();
    while ended.len() < shares.len() {
        let end = within("all ends", told.recv()).await.expect("told");
        assert_eq!(end.why, EndReason::Expired);
        ended.push(end.share);
    }
    ended.sort();
    assert_eq!(ended, shares);
}

#[tokio::test]
async fn changed_targets_cut_and_an_equal_route_does_not() {
    let lab = Lab::start(Hub::oxide(&[]).await).await;
    let address = echo().await;
    let local = lab.expose("one", "api", address).await;
    let join = lab.join(vec![local.clone()]).await;
    let mut client = dial_echo(&join, 0).await;

    let equal = Route { tunnel_port: Some(23_000), ..route("one", &address.to_string()) };
    lab.routes.set(local.service_id, equal.clone());
    assert_eq!(exchange(&mut client, b"kept").await, b"kept");
    lab.routes.set(local.service_id, Route { tunnel_port: Some(23_001), ..equal.clone() });
    assert_eq!(exchange(&mut client, b"kept").await, b"kept");

    lab.routes.set(local.service_id, Route { targets: vec![echo().await], ..equal });
    ended(&mut client).await;
    drop(dial_echo(&join, 0).await);
}

#[tokio::test]
async fn the_hubs_word_ends_a_join_with_ports_and_connections() {
    let hub = Hub::oxide(&["share-events", "half-close"]).await;
    let lab = Lab::start(hub).await;
    let local = lab.expose("one", "api", echo().await).await;
    let share = Uuid::new_v4();
    for (reason, expected) in [
        ("revoked", JoinEnd::Revoked),
        ("expired", JoinEnd::Expired),
        ("deleted", JoinEnd::ClosedByOwner),
        ("rotated", JoinEnd::Rotated),
        ("a reason of tomorrow", JoinEnd::ClosedByOwner),
    ] {
        let mut config = lab.join_config(vec![local.clone()]).await;
        config.share_id = Some(share);
        let mut join = within("a join", Join::start(config)).await.expect("joined");
        let mut client = dial_echo(&join, 0).await;
        let Hub::Oxide(hub) = &lab.hub else { panic!("in process") };

        hub.tell_all("share_ended", &json!({"id": Uuid::new_v4(), "reason": reason}));
        assert_eq!(exchange(&mut client, b"another share").await, b"another share");
        hub.tell_all("share_ended", &json!({"id": share, "reason": reason}));
        is_over(&mut join, &mut client, expected).await;
    }
}

#[tokio::test]
async fn the_joiners_own_clock_ends_a_join() {
    let lab = Lab::start(Hub::oxide(&[]).await).await;
    let config = lab.join_config(vec![lab.expose("one", "api", echo().await).await]).await;
    let clock = Arc::new(TestClock::default());
    let timing = || Timing { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Timing::default() };
    let starting = Join::start_with(config.clone(), timing());
    let mut join = within("a join", starting).await.expect("joined");
    let mut client = dial_echo(&join, 0).await;
    clock.step(2);
    is_over(&mut join, &mut client, JoinEnd::Expired).await;

    let too_late = Join::start_with(config, timing()).await;
    assert!(matches!(too_late, Err(JoinError::Ended)), "{too_late:?}");
}

/// Everything is closed by the time the end is told, and it is told for good.
async fn is_over(join: &mut Join, client: &mut TcpStream, expected: JoinEnd) {
    let end = event(join, "the end of the join", |event| matches!(event, JoinEvent::Ended { .. })).await;
    assert_eq!(end, JoinEvent::Ended { reason: expected });
    assert_eq!(join.next_event().await, end);
    let port = join.routes()[0].port;
    let refused = TcpStream::connect(("127.0.0.1", port)).await;
    assert!(refused.is_err(), "the port is still open");
    ended(client).await;
}

#[tokio::test]
async fn a_stopped_join_leaves_no_port_behind() {
    let lab = Lab::start(Hub::node().await).await;
    let join = lab.join(vec![lab.expose("one", "api", echo().await).await]).await;
    let mut client = dial_echo(&join, 0).await;
    let port = join.routes()[0].port;
    within("the join stops", join.stop()).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "the port is still open");
    ended(&mut client).await;
    eventually("the service is left", || lab.tunnel.stats().open_connections() == 0).await;
}

#[tokio::test]
async fn a_stopped_tunnel_leaves_no_connection_behind() {
    let lab = Lab::start(Hub::node().await).await;
    let join = lab.join(vec![lab.expose("one", "api", echo().await).await]).await;
    let mut client = dial_echo(&join, 0).await;
    within("the tunnel stops", lab.tunnel.stop()).await;
    assert_eq!(lab.tunnel.stats().open_connections(), 0);
    ended(&mut client).await;
}

/// The whole way that a teammate goes at a vendor's hub, which itself cuts nothing.
#[tokio::test]
async fn a_share_of_a_vendor_like_hub_is_made_joined_and_revoked() {
    let hub = Hub::node().await;
    let options = ClientOptions { api_key: Some(API_KEY.into()), tls: tls() };
    let client = Client::new(hub.url(), options).expect("a client");
    let creator = hub.identity().await;
    let route = NewRoute {
        service_name: "api".into(),
        service_id: Some(Uuid::new_v4()),
        target_host: "api".into(),
        target_port: 80,
        local_port: Some(8080),
        protocol: "tcp".into(),
    };
    let new =
        NewShare { name: Some("demo".into()), end: ShareEnd::Hours(1), max_joins: None, routes: vec![route] };
    let share = client.create_share(creator.agent_id, &new, Some("once")).await.expect("created");

    let joiner: Identity = hub.identity().await;
    let joined = client.join(&share.code, "laptop", Some(joiner.agent_id)).await.expect("joined");
    assert_eq!(joined.share.routes[0].local_port, Some(8080));
    assert!(joined.agent.is_none());
    let rows = client.shares(creator.agent_id).await.expect("listed");
    assert_eq!((rows.len(), rows[0].join_count, rows[0].joins.len()), (1, 1, 0));

    client.revoke_share(creator.agent_id, &share.code).await.expect("revoked");
    let refused = client.preview(&share.code).await.expect_err("revoked");
    assert_eq!((refused.reason(), refused.status()), ("NotFound", Some(404)));
}
