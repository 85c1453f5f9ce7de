//! A tunnel and a join through one hub: services on one side, ports on the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use connect_hub::client::{Client, ClientOptions, NewService};
use connect_hub::identity::Identity;
use connect_hub::join::{Join, JoinConfig, LocalRoute, Timing, Transport};
use connect_hub::tunnel::{
    Clock, Limits, Memory, Route, Routes, ShareKey, SystemClock, Tunnel, TunnelConfig,
};
use connect_hub::url::HubUrl;
use jiff::{Timestamp, ToSpan};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::embedded::EmbeddedHub;
use super::node::NodeHub;
use super::oxide::OxideHub;
use super::{connected, fixed, tls, url, within};

/// A workspace's key as hubs make them.
pub const API_KEY: &str = "pc_000000000000000000000000000000000000000000000001";

/// The hub in the middle.
pub enum Hub {
    Oxide(OxideHub),
    Node(NodeHub),
    Embedded(EmbeddedHub),
}

/// An operator's side of the world.
pub struct Lab {
    pub hub: Hub,
    pub routes: Routes,
    pub tunnel: Tunnel,
    pub clock: Arc<TestClock>,
    pub exposer: Identity,
    url: HubUrl,
}

/// The machine's clock, moved or stopped by a test.
#[derive(Default)]
pub struct TestClock(Mutex<Hands>);

#[derive(Default)]
struct Hands {
    ahead: jiff::SignedDuration,
    stopped_at: Option<Timestamp>,
}

impl TestClock {
    pub fn step(&self, hours: i64) {
        self.0.lock().expect("lock").ahead += jiff::SignedDuration::from_hours(hours);
    }

    /// Shows this instant from now on.
    pub fn stop_at(&self, instant: Timestamp) {
        self.0.lock().expect("lock").stopped_at = Some(instant);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let Hands { ahead, stopped_at } = &*self.0.lock().expect("lock");
        stopped_at.unwrap_or_else(|| SystemClock.now() + *ahead)
    }
}

/// The same tests on every hub that carries bytes: one in this process that keeps no accounts, the vendor-like one and
/// our own.
macro_rules! on_every_hub {
    ($($name:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::lab::Hub::oxide(&[]).await).await;
            })+
        }
        mod vendor_like {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::lab::Hub::node().await).await;
            })+
        }
        mod our_own {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::support::lab::Hub::embedded().await).await;
            })+
        }
    };
}
pub(crate) use on_every_hub;

impl Hub {
    pub fn url(&self) -> HubUrl {
        match self {
            Self::Oxide(hub) => url(&hub.url),
            Self::Node(hub) => url(&hub.url),
            Self::Embedded(hub) => url(&hub.url),
        }
    }

    pub async fn oxide(features: &[&'static str]) -> Self {
        Self::Oxide(OxideHub::start(features).await)
    }

    pub async fn node() -> Self {
        Self::Node(NodeHub::start().await)
    }

    pub async fn embedded() -> Self {
        Self::Embedded(EmbeddedHub::start().await)
    }

    /// Whether it has accounts, so that agents and services must be registered.
    fn has_accounts(&self) -> bool {
        !matches!(self, Self::Oxide(_))
    }

    pub fn client(&self) -> Client {
        let options = ClientOptions { api_key: Some(API_KEY.into()), tls: tls() };
        Client::new(self.url(), options).expect("a client")
    }

    /// An identity this hub knows.
    pub async fn identity(&self) -> Identity {
        let identity = Identity::generate();
        if self.has_accounts() {
            within("registering", self.client().register_agent(&identity, "lab", None))
                .await
                .expect("registered");
        }
        identity
    }

    async fn service(&self, agent: Uuid, name: &str) -> Uuid {
        if !self.has_accounts() {
            return Uuid::new_v4();
        }
        let service = NewService {
            name: name.into(),
            target_host: name.into(),
            target_port: 1,
            protocol: "tcp",
            is_public: false,
            reach: None,
        };
        within("registering", self.client().register_service(agent, &service)).await.expect("registered").id
    }
}

impl Lab {
    pub async fn start(hub: Hub) -> Self {
        Self::with_limits(hub, Limits::default()).await
    }

    pub async fn with_limits(hub: Hub, limits: Limits) -> Self {
        let clock = Arc::new(TestClock::default());
        let routes = Routes::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let (exposer, url) = (hub.identity().await, hub.url());
        let config = TunnelConfig { url: url.clone(), tls: tls(), limits, memory: Memory::default() };
        let tunnel = Tunnel::start(config, fixed(exposer.clone()), routes.clone());
        connected(&tunnel).await;
        Self { hub, routes, tunnel, clock, exposer, url }
    }

    /// Exposes a Service as a route of a share that ends in an hour.
    pub async fn expose(&self, share: &str, name: &str, target: SocketAddr) -> LocalRoute {
        let share = ShareKey(share.into());
        self.routes.set_end(&share, self.clock.now() + 1.hour());
        let service_id = self.hub.service(self.exposer.agent_id, name).await;
        let route = Route {
            share: Some(share),
            name: name.into(),
            tunnel_port: Some(23_000),
            protocol: "tcp".into(),
            targets: vec![target],
        };
        self.routes.set(service_id, route);
        LocalRoute { name: name.into(), service_id, wanted_port: 0, protocol: "tcp".into() }
    }

    pub async fn join_config(&self, routes: Vec<LocalRoute>) -> JoinConfig {
        JoinConfig {
            url: self.url.clone(),
            tls: tls(),
            identity: self.hub.identity().await,
            share_id: None,
            code_key: None,
            ends_at: Timestamp::now() + 1.hour(),
            routes,
            bind: Vec::new(),
            recheck: None,
        }
    }

    pub async fn join(&self, routes: Vec<LocalRoute>) -> Join {
        let config = self.join_config(routes).await;
        within("a join", Join::start(config)).await.expect("joined")
    }

    /// A join whose connections all go over the agents' sockets, whatever the hub can do.
    pub async fn join_recorded(&self, routes: Vec<LocalRoute>) -> Join {
        let config = self.join_config(routes).await;
        let transport = Transport { data_connections: false, ..Transport::default() };
        within("a join", Join::start_over(config, Timing::default(), transport)).await.expect("joined")
    }
}

/// Connects to a route of a join.
pub async fn dial(join: &Join, index: usize) -> TcpStream {
    let port = join.routes()[index].port;
    within("a local connection", TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await.expect("connected")
}

/// Connects to a route and proves by one echo that the connection reaches it; for routes not yet exposed it tries again.
pub async fn dial_echo(join: &Join, index: usize) -> TcpStream {
    within("an echo through the hub", async {
        loop {
            let mut stream = dial(join, index).await;
            if echoes(&mut stream).await {
                return stream;
            }
        }
    })
    .await
}

async fn echoes(stream: &mut TcpStream) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut got = [0; 2];
    stream.write_all(b"hi").await.is_ok() && stream.read_exact(&mut got).await.is_ok() && &got == b"hi"
}
