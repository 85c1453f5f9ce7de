//! Data connections: by hand against the hub, and with our own client on both sides.

use std::net::{Ipv4Addr, SocketAddr};

use connect_hub::{
    client::Share,
    join::{Join, Transport},
    tunnel::Tunnel,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use uuid::Uuid;

use crate::{
    client::{client, expose, join_over, join_without_an_account},
    support::{Agent, Data, KEY, Socket, TestHub, eventually, within},
};

/// More than all buffers on the way hold.
const MUCH: usize = 32 * 1024 * 1024;
/// A public key that is one: RFC 7748's second test key, in DER.
const SOME_KEY: &str = "MCowBQYDK2VuAyEA3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

/// An exposing and a joining agent of one workspace, both by hand, and a service.
struct ByHand {
    hub: TestHub,
    maker: Agent,
    exposer: Socket,
    colleague: Agent,
    joiner: Socket,
    service: Uuid,
}

/// Our own client on both sides and a service whose connections a test plays.
struct Ours {
    hub: TestHub,
    share: Share,
    tunnel: Tunnel,
    join: Join,
    accepted: mpsc::Receiver<TcpStream>,
}

// === impl ByHand ===

impl ByHand {
    async fn start() -> Self {
        let hub = TestHub::start().await;
        let (maker, colleague) = (hub.agent(KEY).await, hub.agent(KEY).await);
        let service = hub.service(&maker, "db", "workspace").await;
        let (exposer, joiner) = (hub.connect(&maker).await, hub.connect(&colleague).await);
        Self { hub, maker, exposer, colleague, joiner, service }
    }

    async fn exposing(&self) -> Data {
        Data::of(&self.hub, &self.maker, &self.exposer, "expose").await
    }

    async fn joining(&self) -> Data {
        Data::of(&self.hub, &self.colleague, &self.joiner, "join").await
    }

    /// A path from one side to the other, in use.
    async fn pair(&self, service: Uuid) -> (Data, Data) {
        let (mut exposing, mut joining) = (self.exposing().await, self.joining().await);
        // The hub answers an upgrade before it has put the connection away.
        loop {
            let open = joining.open(service).await;
            let answer = async {
                tokio::select! {
                    heard = exposing.message(Data::OPEN) => Ok(heard),
                    refused = joining.message(Data::REFUSED) => Err(refused),
                }
            };
            match answer.await {
                Ok(heard) => {
                    assert_eq!(heard, open);
                    break;
                }
                Err(refused) => assert_eq!(refused["code"], "unavailable", "{refused}"),
            }
        }
        exposing.send(Data::READY, b"{}").await;
        assert_eq!(joining.message(Data::READY).await, json!({}));
        (joining, exposing)
    }
}

// === impl Ours ===

impl Ours {
    async fn start() -> Self {
        Self::over(Transport::default()).await
    }

    async fn over(transport: Transport) -> Self {
        Self::at(TestHub::start().await, transport).await
    }

    async fn at(hub: TestHub, transport: Transport) -> Self {
        let (address, accepted) = played().await;
        let (_, share, tunnel) = expose(&hub, address).await;
        let join = join_over(&hub, &share, transport).await;
        Self { hub, share, tunnel, join, accepted }
    }

    async fn dial(&self) -> TcpStream {
        let port = self.join.routes()[0].port;
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects")
    }

    /// Both ends of a connection through everything.
    async fn pair(&mut self) -> (TcpStream, TcpStream) {
        loop {
            let mut client = self.dial().await;
            tokio::select! {
                accepted = self.accepted.recv() => return (client, accepted.expect("a connection")),
                _ = client.read_u8() => {} // not exposed yet
            }
        }
    }
}

/// A service whose connections the test gets.
async fn played() -> (SocketAddr, mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    let (accepted_tx, accepted_rx) = mpsc::channel(1024);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if accepted_tx.send(stream).await.is_err() {
                return;
            }
        }
    });
    (address, accepted_rx)
}

fn bytes(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at + seed) * 31 % 251) as u8).collect()
}

async fn ends(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    within("the end of a connection", stream.read_to_end(&mut rest)).await.map(|_| rest)
}

/// Sends all of it one way, then ends that way.
async fn send_all(from: &mut TcpStream, to: &mut TcpStream, sent: &[u8]) {
    let sending = async {
        from.write_all(sent).await.expect("writes");
        from.shutdown().await.expect("ends");
    };
    let (received, ()) = tokio::join!(ends(to), sending);
    assert!(received.expect("an orderly end") == sent, "the bytes came changed");
}

#[tokio::test]
async fn an_upgrade_needs_the_ticket_of_a_live_socket() {
    let ByHand { hub, maker, exposer, colleague, .. } = ByHand::start().await;
    let ticket = exposer.welcome["dataTicket"].as_str().expect("a ticket").to_owned();
    let other = "0".repeat(ticket.len());
    for (agent, ticket, role, status) in [
        (maker.id, other.as_str(), "expose", 401),
        (colleague.id, ticket.as_str(), "expose", 401),
        (Uuid::new_v4(), ticket.as_str(), "expose", 401),
        (maker.id, ticket.as_str(), "both", 400),
    ] {
        assert_eq!(Data::ask(&hub, agent, ticket, role).await.err(), Some(status));
    }
    assert_eq!(hub.ask("GET", "/v1/data", &[], None).await.status, 426);
    let mut waiting = Data::ask(&hub, maker.id, &ticket, "expose").await.expect("an upgrade");
    exposer.close().await;
    assert_eq!(waiting.frame().await, None, "it ends with its socket");
    assert_eq!(Data::ask(&hub, maker.id, &ticket, "expose").await.err(), Some(401));
}

#[tokio::test]
async fn an_agent_does_not_get_a_ticket_unasked() {
    let hub = TestHub::start().await;
    let agent = hub.agent(KEY).await;
    let socket = hub.connect_with(&agent, &["half-close"]).await;
    assert_eq!(socket.welcome.get("dataTicket"), None);
}

#[tokio::test]
async fn nobody_parks_connections_without_end() {
    let lab = ByHand::start().await;
    let ticket = lab.joiner.welcome["dataTicket"].as_str().expect("a ticket");
    let mut parked = Vec::new();
    let refused = loop {
        match Data::ask(&lab.hub, lab.colleague.id, ticket, "join").await {
            Ok(data) => parked.push(data),
            Err(status) => break status,
        }
        assert!(parked.len() < 1000);
    };
    assert_eq!(refused, 503);
    parked.clear();
    eventually("there is room again", async || {
        Data::ask(&lab.hub, lab.colleague.id, ticket, "join").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn bytes_pass_both_ways_as_they_are() {
    let lab = ByHand::start().await;
    let (mut joining, mut exposing) = lab.pair(lab.service).await;
    assert_eq!(lab.hub.hub.open_bridges(), 1);
    joining.send(Data::DATA, b"question").await;
    assert_eq!(exposing.frame().await, Some((Data::DATA, b"question".to_vec())));
    exposing.send(Data::DATA, b"answer").await;
    exposing.send(Data::FIN, b"").await;
    assert_eq!(joining.frame().await, Some((Data::DATA, b"answer".to_vec())));
    assert_eq!(joining.frame().await, Some((Data::FIN, Vec::new())));
    // The pair stays together for the next stream, until one side leaves.
    let open = joining.open(lab.service).await;
    assert_eq!(exposing.message(Data::OPEN).await, open);
    drop(joining);
    assert_eq!(exposing.frame().await, None);
    eventually("the bridge is gone", async || lab.hub.hub.open_bridges() == 0).await;
}

#[tokio::test]
async fn what_may_not_be_reached_is_refused_in_order() {
    let lab = ByHand::start().await;
    let shared = lab.hub.service(&lab.maker, "shared", "shared").await;
    let mut joining = lab.joining().await;
    for service in [Uuid::new_v4(), shared] {
        joining.open(service).await;
        let refused = joining.message(Data::REFUSED).await;
        assert_eq!(refused, json!({"code": "refused", "message": "Service not found"}));
    }
    assert_eq!(lab.hub.hub.open_bridges(), 0);
}

#[tokio::test]
async fn what_is_no_open_ends_the_connection() {
    let lab = ByHand::start().await;
    for frame in
        [&[9, 0, 0, 1, 0][..], &[Data::OPEN, 255, 255, 255], &[Data::DATA, 0, 0, 1, 0], b"GET / HTTP"]
    {
        let mut joining = lab.joining().await;
        joining.0.write_all(frame).await.expect("writes");
        assert_eq!(joining.frame().await, None, "{frame:?}");
    }
}

#[tokio::test]
async fn an_exposer_is_asked_for_one_more() {
    let mut lab = ByHand::start().await;
    let (_busy, _exposing) = lab.pair(lab.service).await;
    let mut joining = lab.joining().await;
    let open = joining.open(lab.service).await;
    lab.exposer.event("data_wanted").await;
    assert_eq!(lab.exposing().await.message(Data::OPEN).await, open);
}

#[tokio::test]
async fn an_exposer_of_the_recorded_protocol_is_said_to_be_one() {
    let mut lab = ByHand::start().await;
    lab.exposer = lab.hub.connect_with(&lab.maker, &["half-close"]).await;
    let mut joining = lab.joining().await;
    joining.open(lab.service).await;
    assert_eq!(joining.message(Data::REFUSED).await["code"], "unsupported");
    assert_eq!(lab.hub.hub.open_bridges(), 0);
}

#[tokio::test]
async fn everything_that_cuts_a_bridge_cuts_a_pair_and_no_other() {
    let mut lab = ByHand::start().await;
    let doomed = lab.hub.service(&lab.maker, "doomed", "workspace").await;
    let (mut whole, mut whole_end) = lab.pair(lab.service).await;
    let (mut cut, mut cut_end) = lab.pair(doomed).await;
    let deleted = lab.hub.ask_as(&lab.maker, "DELETE", &format!("/v1/services/{doomed}"), None).await;
    assert_eq!(deleted.status, 200);
    assert_eq!((cut.frame().await, cut_end.frame().await), (None, None));

    // A share's end, told on the socket, and the same for a route that is taken away.
    for by_revoking in [true, false] {
        let service = lab.hub.service(&lab.maker, "shared", "shared").await;
        let share = lab.hub.share(&lab.maker, &[service], json!({"expiresInHours": 1})).await;
        let guest = lab.hub.join_as_guest(&share["code"]).await;
        let socket = lab.hub.connect(&guest).await;
        let (colleague, joiner) =
            (std::mem::replace(&mut lab.colleague, guest), std::mem::replace(&mut lab.joiner, socket));
        let (mut cut, mut cut_end) = lab.pair(service).await;
        let path = format!("/v1/env-shares/{}", share["code"].as_str().expect("a code"));
        let ended = if by_revoking {
            lab.hub.ask_as(&lab.maker, "DELETE", &path, None).await
        } else {
            let other = json!({"routes": [crate::support::route(lab.service)]});
            lab.hub.ask_as(&lab.maker, "PATCH", &path, Some(&other)).await
        };
        assert_eq!(ended.status, 200, "{ended:?}");
        assert_eq!((cut.frame().await, cut_end.frame().await), (None, None));
        (lab.colleague, lab.joiner) = (colleague, joiner);
    }

    whole.send(Data::DATA, b"still here").await;
    assert_eq!(whole_end.frame().await, Some((Data::DATA, b"still here".to_vec())));
    lab.joiner.close().await;
    assert_eq!((whole.frame().await, whole_end.frame().await), (None, None));
    assert_eq!(lab.hub.hub.open_bridges(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_halves_arrive_to_their_last_byte_encrypted_or_not() {
    for encryption in [true, false] {
        let mut lab = Ours::over(Transport { encryption, ..Transport::default() }).await;
        for round in 0..3 {
            let (mut client, mut service) = lab.pair().await;
            send_all(&mut client, &mut service, &bytes(round, MUCH)).await;
            send_all(&mut service, &mut client, &bytes(round + 1, MUCH)).await;
        }
        assert_eq!(lab.hub.hub.open_bridges(), 1, "one pair carried all of them");
        assert_eq!(lab.tunnel.stats().malformed_frames(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_they_are_the_same() {
    let mut lab = Ours::at(TestHub::with_tls().await, Transport::default()).await;
    for round in 0..2 {
        let (mut client, mut service) = lab.pair().await;
        // A few bytes must not wait inside TLS for more.
        client.write_all(b"ping").await.expect("writes");
        let mut heard = [0; 4];
        within("a few bytes", service.read_exact(&mut heard)).await.expect("reads");
        send_all(&mut client, &mut service, &bytes(round, MUCH)).await;
        send_all(&mut service, &mut client, &bytes(round + 1, MUCH)).await;
    }
    assert_eq!(lab.tunnel.stats().encrypted_connections(), 2, "none of them took another way");
    assert_eq!(lab.hub.hub.open_bridges(), 1, "one pair carried both");

    let (mut client, mut service) = lab.pair().await;
    lab.hub.hub.stop().await;
    assert!(ends(&mut client).await.is_err(), "a hub that goes resets the client");
    assert!(ends(&mut service).await.is_err(), "and the service");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_keep_their_bytes_apart() {
    let mut lab = Ours::start().await;
    let (mut first, mut first_service) = lab.pair().await; // it is exposed now
    let mut clients = Vec::new();
    for number in 0..200 {
        let mut client = lab.dial().await;
        client.write_all(&bytes(number, 10_000)).await.expect("writes");
        client.shutdown().await.expect("ends");
        clients.push(client);
    }
    for _ in 0..clients.len() {
        let mut service = within("a connection", lab.accepted.recv()).await.expect("a connection");
        tokio::spawn(async move {
            let heard = ends(&mut service).await.expect("an orderly end");
            service.write_all(&heard).await.expect("writes");
        });
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(ends(client).await.expect("an orderly end") == bytes(number, 10_000));
    }
    send_all(&mut first, &mut first_service, b"still here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_a_reset_on_the_other_side() {
    let mut lab = Ours::start().await;
    for by_client in [true, false] {
        let (mut client, mut service) = lab.pair().await;
        client.write_all(b"x").await.expect("writes");
        assert_eq!(within("a byte", service.read_u8()).await.expect("a byte"), b'x');
        let (gone, left) = if by_client { (client, &mut service) } else { (service, &mut client) };
        gone.set_zero_linger().expect("is open");
        drop(gone);
        let error = ends(left).await.expect_err("a reset and no orderly end");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_holds_nobody() {
    let mut lab = Ours::start().await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        let (client, mut service) = lab.pair().await;
        let flood = tokio::spawn(async move { service.write_all(&bytes(0, MUCH)).await.is_ok() });
        stalled.push((client, flood));
    }
    let (mut client, mut service) = lab.pair().await;
    send_all(&mut service, &mut client, &bytes(7, MUCH)).await;
    let (mut slow, flood) = stalled.pop().expect("one");
    assert!(ends(&mut slow).await.expect("an orderly end") == bytes(0, MUCH), "late, and whole");
    assert!(flood.await.expect("no panic"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_goes_in_the_midst_of_it_resets_both_ends() {
    let mut lab = Ours::start().await;
    let (mut client, mut service) = lab.pair().await;
    client.write_all(b"a part").await.expect("writes");
    let mut part = [0; 6];
    within("a part", service.read_exact(&mut part)).await.expect("reads");
    lab.hub.hub.stop().await;
    assert!(ends(&mut client).await.is_err(), "no orderly end");
    assert!(ends(&mut service).await.is_err(), "no orderly end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_of_the_recorded_protocol_reaches_an_exposer_of_both() {
    let mut lab = Ours::over(Transport { data_connections: false, ..Transport::default() }).await;
    let (mut client, mut service) = lab.pair().await;
    send_all(&mut client, &mut service, &bytes(1, MUCH)).await;
    send_all(&mut service, &mut client, &bytes(2, MUCH)).await;
    assert_eq!(lab.hub.hub.open_bridges(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_is_not_the_next_one_ends_the_stream() {
    let mut lab = Ours::start().await;
    let _exposed = lab.pair().await;
    let service = client(&lab.hub, Some(KEY)).services().await.expect("services")[0].id;
    let guest = lab.hub.join_as_guest(&json!(code(&lab.share))).await;
    let socket = lab.hub.connect(&guest).await;
    let mut joining = Data::of(&lab.hub, &guest, &socket, "join").await;
    let open = json!({"connectionId": Uuid::new_v4(), "serviceId": service, "publicKey": SOME_KEY});
    joining.send(Data::OPEN, open.to_string().as_bytes()).await;
    assert!(joining.message(Data::READY).await["publicKey"].is_string());
    let mut reached = within("a connection", lab.accepted.recv()).await.expect("a connection");
    joining.send(Data::DATA, &[0; 64]).await;
    assert!(ends(&mut reached).await.is_err(), "no byte and no orderly end");
    assert_eq!(joining.frame().await, None);
    assert_eq!(lab.tunnel.stats().malformed_frames(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_cannot_be_turned_to_another_service() {
    let mut lab = Ours::start().await;
    let _exposed = lab.pair().await;
    let service = client(&lab.hub, Some(KEY)).services().await.expect("services")[0].id;
    let guest = lab.hub.join_as_guest(&json!(code(&lab.share))).await;
    let socket = lab.hub.connect(&guest).await;
    let mut joining = Data::of(&lab.hub, &guest, &socket, "join").await;
    joining.open(service).await;
    assert_eq!(joining.message(Data::READY).await, json!({}));
    let mut reached = within("a connection", lab.accepted.recv()).await.expect("a connection");
    joining.send(Data::FIN, b"").await;
    assert_eq!(ends(&mut reached).await.expect("an orderly end"), b"");
    drop(reached);
    assert_eq!(joining.frame().await, Some((Data::FIN, Vec::new())));
    joining.open(Uuid::new_v4()).await;
    assert_eq!(joining.frame().await, None);
    assert_eq!(lab.tunnel.stats().foreign_events(), 1);
}

fn code(share: &Share) -> &str {
    use secrecy::ExposeSecret as _;
    share.code.expose_secret()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_refuses_is_told_to_the_joiner() {
    let hub = TestHub::start().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let nobody = listener.local_addr().expect("is bound");
    drop(listener);
    let (_, share, tunnel) = expose(&hub, nobody).await;
    let mut join = join_without_an_account(&hub, &share).await;
    eventually("the service's own refusal is told", async || {
        let port = join.routes()[0].port;
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects");
        assert!(ends(&mut client).await.is_err(), "no orderly end");
        let event = within("an event", join.next_event()).await;
        matches!(&event, connect_hub::join::JoinEvent::RouteFailed { reason, .. }
            if reason == "the service refused the connection")
    })
    .await;
    assert!(tunnel.stats().refused_dials(connect_hub::tunnel::RefusedDial::ConnectFailed) >= 1);
}

#[tokio::test]
async fn pings_keep_connections_and_disturb_nobody() {
    let lab = ByHand::start().await;
    let (mut exposing, mut joining) = (lab.exposing().await, lab.joining().await);
    for data in [&mut exposing, &mut joining] {
        data.send(Data::PING, b"").await;
        data.send(Data::PING, b"").await;
    }
    let open = loop {
        let open = joining.open(lab.service).await;
        tokio::select! {
            heard = exposing.message(Data::OPEN) => {
                assert_eq!(heard, open);
                break open;
            }
            refused = joining.message(Data::REFUSED) => assert_eq!(refused["code"], "unavailable", "{refused}"),
        }
    };
    assert_eq!(open["serviceId"], lab.service.to_string());
    for (from, to) in [(&mut exposing, &mut joining)] {
        from.send(Data::PING, b"").await;
        assert_eq!(to.frame().await, Some((Data::PING, Vec::new())), "a pair's pings reach the other end");
    }
}

/// Passes bytes on between whoever connects and `to`; data connections that are there when it is told fall silent, as behind a
/// gateway that has forgotten them.
async fn forgetful(to: SocketAddr) -> (SocketAddr, tokio::sync::watch::Sender<bool>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    let (forget_tx, forget_rx) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut forget = forget_rx.clone();
            let is_new = *forget.borrow_and_update();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.expect("the hub is there");
                let mut head = [0; 12];
                let is_data =
                    near.peek(&mut head).await.is_ok_and(|len| head[..len].starts_with(b"GET /v1/data"));
                let passing = tokio::io::copy_bidirectional(&mut near, &mut far);
                tokio::select! {
                    _ = passing => {}
                    _ = forget.changed(), if is_data && !is_new => std::future::pending().await,
                }
            });
        }
    });
    (address, forget_tx)
}

/// Both ends of one connection, which `mark` tells from those that were tried and given up.
async fn told_apart(port: u16, mark: u8, accepted: &mut mpsc::Receiver<TcpStream>) -> (TcpStream, TcpStream) {
    let both = async {
        loop {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects");
            client.write_all(&[mark]).await.expect("writes");
            let found = async {
                loop {
                    let mut at_service = accepted.recv().await.expect("a connection");
                    if at_service.read_u8().await.is_ok_and(|heard| heard == mark) {
                        return at_service;
                    }
                }
            };
            tokio::select! {
                at_service = found => return (client, at_service),
                _ = client.read_u8() => {} // not exposed yet, or given up
            }
        }
    };
    within("a connection", both).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_unnoticed_are_replaced() {
    let mut hub = TestHub::start().await;
    let (address, mut accepted) = played().await;
    let (_, share, _tunnel) = expose(&hub, address).await;
    let (relay, forget_tx) = forgetful(hub.hub.address()).await;
    hub.url = format!("http://{relay}");
    let join = join_over(&hub, &share, Transport::default()).await;
    let port = join.routes()[0].port;
    let mut first = told_apart(port, 1, &mut accepted).await;
    send_all(&mut first.0, &mut first.1, &bytes(1, 1000)).await;
    send_all(&mut first.1, &mut first.0, &bytes(2, 1000)).await;
    drop(first);

    // The pair that rests and those that wait are all dead now, and nothing says so.
    forget_tx.send(true).expect("the relay is there");
    let (mut client, mut at_service) = told_apart(port, 2, &mut accepted).await;
    send_all(&mut client, &mut at_service, &bytes(3, 100_000)).await;
    send_all(&mut at_service, &mut client, &bytes(4, 100_000)).await;
}
