//! The exposing side in a process of its own: the operator's data plane with our hand on its routes and its clock.
//!
//! It uses [`Tunnel`] and [`Routes`] exactly as the operator does. What the operator learns from Kubernetes, this process is
//! told by orders.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use connect_hub::client::{Client, ClientOptions, NewRoute, NewService, NewShare, ServiceReach, ShareEnd};
use connect_hub::identity::Identity;
use connect_hub::tls;
use connect_hub::tunnel::{
    Clock, Limits, Memory, Route, Routes, ShareKey, SystemClock, Tunnel, TunnelConfig, TunnelState,
};
use connect_hub::url::{HubUrl, InsecureHttp};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use super::control::Reply;

/// How long a tunnel may take to be connected.
const CONNECT: Duration = Duration::from_secs(20);

/// How long shares live that nobody ends: longer than any run.
const LONG: SignedDuration = SignedDuration::from_hours(2);

/// Services registered at a hub at once.
const AT_ONCE: usize = 8;

/// Routes under one code; hubs take 500, and one joining process binds two ports for each.
pub(crate) const ROUTES_PER_CODE: usize = 250;

/// What the exposing side shall do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Become an agent of this hub and wait until it is connected.
    Connect {
        /// The hub's URL.
        hub: String,
        /// A key of a workspace there.
        key: String,
    },
    /// Expose this many services through the agent of this number, each of a share of its own.
    Expose {
        /// Which agent, in the order of connecting.
        agent: usize,
        /// How many services.
        count: usize,
        /// Where each leads.
        target: SocketAddr,
    },
    /// Let shares end, `every` microseconds apart, the first of them at this instant.
    EndAt {
        /// The number of the first share, in the order of exposing.
        first: usize,
        /// How many.
        count: usize,
        /// When, in microseconds since 1970.
        at: i64,
        /// Microseconds between two ends.
        every: i64,
    },
    /// Let ended shares live again.
    Renew {
        /// The number of the first share.
        first: usize,
        /// How many.
        count: usize,
    },
    /// Step the wall clock of this process.
    StepClock {
        /// By this many seconds.
        seconds: i64,
    },
    /// Say what happened to the tunnels since the last time.
    States,
}

/// What it says then.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// Codes for the services exposed, and how many routes each has.
    Codes(Vec<String>),
    /// What happened.
    States(Vec<StateChange>),
}

/// A tunnel that was connected, or is no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateChange {
    /// Which agent.
    pub(crate) agent: usize,
    /// Whether it is connected since then.
    pub(crate) connected: bool,
    /// When, in microseconds since 1970 by the machine's clock.
    pub(crate) at: i64,
}

/// The machine's clock and what orders added to it.
#[derive(Default)]
struct SteppedClock {
    seconds: AtomicI64,
}

impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_secs(self.seconds.load(Ordering::Relaxed))
    }
}

struct Agent {
    client: Client,
    identity: Identity,
    _tunnel: Tunnel,
}

/// All agents of this process, which share one list of routes as the agents of an operator do.
struct Exposer {
    clock: Arc<SteppedClock>,
    routes: Routes,
    agents: Vec<Agent>,
    shares: usize,
    tls: Arc<rustls::ClientConfig>,
    changes: Arc<Mutex<Vec<StateChange>>>,
}

/// Takes orders from one connection until it ends.
pub(super) async fn serve(listening: impl FnOnce(SocketAddr) -> Result<()>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
    listening(listener.local_addr().context("a listener without address")?)?;
    let (stream, _) = listener.accept().await.context("cannot accept")?;
    stream.set_nodelay(true).context("a socket without options")?;
    obey(stream).await
}

async fn obey(stream: TcpStream) -> Result<()> {
    let mut exposer = Exposer::new()?;
    let (orders, mut replies) = stream.into_split();
    let mut orders = BufReader::new(orders).lines();
    while let Some(order) = orders.next_line().await.context("cannot read orders")? {
        let order = serde_json::from_str(&order).context("an order is JSON")?;
        let reply = match exposer.carry_out(order).await {
            Ok(answer) => Reply::Done(answer),
            Err(error) => Reply::Failed(format!("{error:#}")),
        };
        let mut line = serde_json::to_vec(&reply).context("a reply is JSON")?;
        line.push(b'\n');
        replies.write_all(&line).await.context("cannot reply")?;
    }
    Ok(())
}

// === impl Exposer ===

impl Exposer {
    fn new() -> Result<Self> {
        let clock = Arc::<SteppedClock>::default();
        let routes = Routes::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let tls = tls::client_config(None).context("cannot set up TLS")?;
        Ok(Self { clock, routes, agents: Vec::new(), shares: 0, tls, changes: Arc::default() })
    }

    async fn carry_out(&mut self, order: Order) -> Result<Answer> {
        match order {
            Order::Connect { hub, key } => self.connect(&hub, key.into()).await?,
            Order::Expose { agent, count, target } => {
                return Ok(Answer::Codes(self.expose(agent, count, target).await?));
            }
            Order::EndAt { first, count, at, every } => self.end_at(first, count, at, every)?,
            Order::Renew { first, count } => self.renew(first, count),
            Order::StepClock { seconds } => {
                self.clock.seconds.fetch_add(seconds, Ordering::Relaxed);
            }
            Order::States => {
                let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
                return Ok(Answer::States(std::mem::take(&mut changes)));
            }
        }
        Ok(Answer::Done)
    }

    async fn connect(&mut self, hub: &str, key: SecretString) -> Result<()> {
        let url = HubUrl::parse(hub, InsecureHttp::Refused).context("cannot use the hub")?;
        let options = ClientOptions { api_key: Some(key), tls: Arc::clone(&self.tls) };
        let client = Client::new(url.clone(), options).context("cannot use the hub")?;
        let identity = Identity::generate();
        let label = format!("bench-{}", self.agents.len());
        client.register_agent(&identity, &label, None).await.context("cannot register")?;
        let config = TunnelConfig {
            url,
            tls: Arc::clone(&self.tls),
            limits: Limits::default(),
            memory: Memory::default(),
        };
        let (_, watched) = watch::channel(identity.clone());
        let tunnel = Tunnel::start(config, watched, self.routes.clone());
        let mut state = tunnel.state();
        let connected = state.wait_for(|state| matches!(state, TunnelState::Connected { .. }));
        timeout(CONNECT, connected).await.context("the tunnel is not connected")?.context("it has ended")?;
        tokio::spawn(note_changes(self.agents.len(), tunnel.state(), Arc::clone(&self.changes)));
        self.agents.push(Agent { client, identity, _tunnel: tunnel });
        Ok(())
    }

    async fn expose(&mut self, agent: usize, count: usize, target: SocketAddr) -> Result<Vec<String>> {
        let Some(Agent { client, identity, .. }) = self.agents.get(agent) else { bail!("no agent {agent}") };
        let first = self.shares;
        let registered: Vec<(String, Uuid)> = stream::iter(first..first + count)
            .map(async |number| {
                let name = format!("route-{number}");
                let service = NewService {
                    name: name.clone(),
                    target_host: name.clone(),
                    target_port: target.port(),
                    protocol: "tcp",
                    is_public: false,
                    reach: Some(ServiceReach::Shared),
                };
                let service = client.register_service(identity.agent_id, &service).await;
                let service = service.with_context(|| format!("cannot register {name}"))?;
                let route = Route {
                    share: Some(key(number)),
                    name: name.clone(),
                    tunnel_port: service.tunnel_port,
                    protocol: "tcp".into(),
                    targets: vec![target],
                };
                self.routes.set_end(&key(number), self.clock.now() + LONG);
                self.routes.set(service.id, route);
                anyhow::Ok((name, service.id))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut codes = Vec::new();
        for services in registered.chunks(ROUTES_PER_CODE) {
            let share = NewShare {
                name: None,
                end: ShareEnd::At(Timestamp::now() + LONG),
                max_joins: None,
                routes: services.iter().map(|(name, id)| shared(name, *id, target.port())).collect(),
            };
            let share = client.create_share(identity.agent_id, &share, None).await.context("cannot share")?;
            codes.push(share.code.expose_secret().to_owned());
        }
        self.shares += count;
        Ok(codes)
    }

    fn end_at(&self, first: usize, count: usize, at: i64, every: i64) -> Result<()> {
        for (number, turn) in (first..first + count).zip(0..) {
            let at = Timestamp::from_microsecond(at + turn * every).context("a time of this century")?;
            self.routes.set_end(&key(number), at);
        }
        Ok(())
    }

    fn renew(&self, first: usize, count: usize) {
        let end = self.clock.now() + LONG;
        for number in first..first + count {
            self.routes.forget(&key(number));
            self.routes.set_end(&key(number), end);
        }
    }
}

fn key(number: usize) -> ShareKey {
    ShareKey(format!("share-{number}"))
}

fn shared(name: &str, id: Uuid, port: u16) -> NewRoute {
    NewRoute {
        service_name: name.to_owned(),
        service_id: Some(id),
        target_host: name.to_owned(),
        target_port: port,
        local_port: None,
        protocol: "tcp".into(),
    }
}

/// Writes down when a tunnel is connected and when it is not, until it has stopped.
async fn note_changes(
    agent: usize,
    mut state: watch::Receiver<TunnelState>,
    log: Arc<Mutex<Vec<StateChange>>>,
) {
    let mut before = true;
    while state.changed().await.is_ok() {
        let at = Timestamp::now().as_microsecond();
        let connected = matches!(*state.borrow_and_update(), TunnelState::Connected { .. });
        if connected != before {
            log.lock().unwrap_or_else(PoisonError::into_inner).push(StateChange { agent, connected, at });
        }
        before = connected;
    }
}
