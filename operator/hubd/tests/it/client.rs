//! Our own client on both sides: what the operator and the plugin do, from a registration to the end of a share.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use connect_hub::{
    client::{Client, ClientOptions, NewRoute, NewService, NewShare, Revoked, ServiceReach, Share, ShareEnd},
    identity::Identity,
    join::{Join, JoinConfig, JoinEnd, JoinEvent, LocalRoute, Timing, Transport},
    tunnel::{Route, Routes, ShareKey, SystemClock, Tunnel, TunnelConfig, TunnelEvent},
    url::{HubUrl, InsecureHttp},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{KEY, PATIENCE, TestHub, eventually, http};

/// Bytes that go there and come back, more than all buffers on the way hold.
const BYTES: usize = 16 * 1024 * 1024;

/// A service that answers only after the client has said that it is done: without half-close it never answers.
async fn patient_echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).await.expect("reads");
                stream.write_all(&heard).await.expect("writes");
            });
        }
    });
    address
}

pub fn client(hub: &TestHub, key: Option<&str>) -> Client {
    let _ = http(); // installs the provider
    let url = HubUrl::parse(&hub.url, InsecureHttp::Refused).expect("a loopback URL");
    let options = ClientOptions { api_key: key.map(Into::into), tls: Arc::clone(&hub.trust) };
    Client::new(url, options).expect("a client")
}

/// A share with one route to `address`, exposed by a tunnel.
pub async fn expose(hub: &TestHub, address: SocketAddr) -> (Identity, Share, Tunnel) {
    let client = client(hub, Some(KEY));
    let maker = Identity::generate();
    client.register_agent(&maker, "cluster", None).await.expect("registers");
    let service = NewService {
        name: "ns/share/db".into(),
        target_host: "db.ns".into(),
        target_port: 5432,
        protocol: "tcp",
        is_public: false,
        reach: Some(ServiceReach::Shared),
    };
    let service = client.register_service(maker.agent_id, &service).await.expect("registers");
    let route = NewRoute {
        service_name: "db".into(),
        service_id: Some(service.id),
        target_host: "db.ns".into(),
        target_port: 5432,
        local_port: Some(5432),
        protocol: "tcp".into(),
    };
    let share = NewShare { name: None, end: ShareEnd::Hours(1), max_joins: None, routes: vec![route] };
    let share = client.create_share(maker.agent_id, &share, Some("uid-1")).await.expect("creates");

    let (routes, key) = (Routes::new(Arc::new(SystemClock)), ShareKey("share".into()));
    routes.set_end(&key, share.expires_at);
    let (name, protocol) = ("db".to_owned(), "tcp".to_owned());
    let route =
        Route { share: Some(key), name, tunnel_port: service.tunnel_port, protocol, targets: vec![address] };
    routes.set(service.id, route);
    let config = TunnelConfig {
        url: client.url().clone(),
        tls: Arc::clone(&hub.trust),
        limits: connect_hub::tunnel::Limits::default(),
        memory: connect_hub::tunnel::Memory::default(),
    };
    let (identity_tx, identity_rx) = watch::channel(maker.clone());
    let tunnel = Tunnel::start(config, identity_rx, routes);
    tokio::spawn(async move { identity_tx.closed().await }); // the identity stays for as long as the tunnel
    (maker, share, tunnel)
}

pub async fn join_without_an_account(hub: &TestHub, share: &Share) -> Join {
    join_over(hub, share, Transport::default()).await
}

pub async fn join_over(hub: &TestHub, share: &Share, transport: Transport) -> Join {
    let client = client(hub, None);
    let joined = client.join(&share.code, "laptop", None).await.expect("joins");
    let routes = joined.share.routes.iter().map(|route| LocalRoute {
        name: route.service_name.clone(),
        service_id: route.service_id.expect("an id"),
        wanted_port: 0,
        protocol: route.protocol.clone(),
    });
    let config = JoinConfig {
        url: client.url().clone(),
        tls: Arc::clone(&hub.trust),
        identity: joined.agent.expect("an identity").identity,
        share_id: joined.share.id,
        code_key: None,
        ends_at: joined.share.expires_at,
        routes: routes.collect(),
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        recheck: None,
    };
    Join::start_over(config, Timing::default(), transport).await.expect("joins")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_alone_leads_to_the_service_until_it_is_revoked() {
    let hub = TestHub::start().await;
    let owner = client(&hub, Some(KEY));
    let health = owner.health().await.expect("answers");
    assert_eq!(health.hub.as_deref(), Some("connect-hubd"));
    assert!(health.features.has("anonymous-join") && health.features.has("half-close"));

    let (maker, share, tunnel) = expose(&hub, patient_echo().await).await;
    let mut events = tunnel.events();
    let connected = tunnel.state();
    eventually("the tunnel is up", async || {
        matches!(*connected.borrow(), connect_hub::tunnel::TunnelState::Connected { .. })
    })
    .await;
    let mut join = join_without_an_account(&hub, &share).await;
    let told = tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time").expect("an event");
    assert!(matches!(told, TunnelEvent::ShareJoined { count: 1, .. }), "{told:?}");

    let port = join.routes()[0].port;
    let sent = (0..BYTES).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>();
    let (mut reader, mut writer) =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects").into_split();
    let sending = async {
        writer.write_all(&sent).await.expect("writes");
        writer.shutdown().await.expect("half-closes");
    };
    let mut received = Vec::new();
    let (read, ()) = tokio::join!(reader.read_to_end(&mut received), sending);
    assert_eq!(read.expect("reads"), BYTES);
    assert!(received == sent, "the bytes came back changed");

    let mut idle = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("connects");
    eventually("the bridge is open", async || hub.hub.open_bridges() == 1).await;
    let revoked = owner.revoke_share(maker.agent_id, &share.code).await.expect("revokes");
    assert!(matches!(revoked, Revoked::Done(Some(cut)) if cut.joiners == 1), "{revoked:?}");
    loop {
        let event = tokio::time::timeout(PATIENCE, join.next_event()).await.expect("in time");
        match event {
            JoinEvent::Ended { reason } => {
                assert_eq!(reason, JoinEnd::Revoked);
                break;
            }
            other => assert!(matches!(other, JoinEvent::RouteFailed { .. }), "{other:?}"),
        }
    }
    assert!(matches!(idle.read(&mut [0; 1]).await, Ok(0) | Err(_)), "cut");
    assert!(owner.preview(&share.code).await.is_err());
    assert_eq!(hub.hub.open_bridges(), 0);
    assert_eq!(hub.hub.foreign_events(), 0);
    tunnel.stop().await;
    join.stop().await;
}
