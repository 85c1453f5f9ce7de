//! The ways from a client to the Service: straight, over two plain relays (R2), over us, and over others.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::roles::{Answer, Controlled, Order, ROUTES_PER_CODE, Role, Running, StateChange};
use connect_tests::hub::Hub;
use connect_tests::process::Process;
use connect_tests::scratch::Scratch;
use connect_tests::teammate;
use connect_tests::toolchain::product;
use connect_tests::wait::PATIENTLY;

/// Straight to the Service.
pub(super) const RAW: &str = "raw";

/// Two plain relays.
pub(super) const R2: &str = "R2";

/// Ours, by the protocol that was recorded from the vendor's hub.
pub(super) const RECORDED: &str = "recorded";

/// Ours, by what our own hub and agents agree on.
pub(super) const FAST: &str = "ours";

/// How connections are carried between our own parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Whatever both sides agree on.
    Negotiated,
    /// The recorded one, as with a vendor's hub.
    Recorded,
}

/// A way to the Service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
}

/// The Service in a process of its own.
pub(super) struct Service {
    pub(super) running: Running,
}

/// Two relays, one behind the other.
pub(super) struct Relays {
    pub(super) address: SocketAddr,
    _processes: [Process; 2],
}

/// Our own parts: a hub, an exposing side and teammates, each a process.
pub(super) struct Ours {
    pub(super) joins: Vec<Joined>,
    pub(super) exposer: Exposer,
    pub(super) hub: Hub,
    /// Its logs and the hub's state.
    folder: Scratch,
}

/// The exposing side.
pub(super) struct Exposer {
    pub(super) process: Process,
    control: Controlled,
}

/// A teammate who has joined: the real plugin.
pub(super) struct Joined {
    pub(super) process: Process,
    /// Where each route is reached, in the order of their numbers.
    pub(super) routes: Vec<SocketAddr>,
    _home: Scratch,
}

// === impl Service ===

impl Service {
    pub(super) async fn start(logs: &Path) -> Result<Self> {
        Ok(Self { running: Role::Service { listen: None }.start(logs).await? })
    }

    /// One that listens on this address, such as that of a Kubernetes Service.
    pub(super) async fn start_at(address: SocketAddr, logs: &Path) -> Result<Self> {
        Ok(Self { running: Role::Service { listen: Some(address) }.start(logs).await? })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.running.address
    }

    pub(super) fn route(&self) -> Route {
        Route { name: RAW, address: self.address() }
    }
}

// === impl Relays ===

impl Relays {
    pub(super) async fn start(to: SocketAddr, logs: &Path) -> Result<Self> {
        let far = Role::Relay { to }.start(logs).await?;
        let near = Role::Relay { to: far.address }.start(logs).await?;
        Ok(Self { address: near.address, _processes: [near.process, far.process] })
    }

    pub(super) fn route(&self) -> Route {
        Route { name: R2, address: self.address }
    }
}

// === impl Ours ===

impl Ours {
    /// A hub and an exposing side that exposes this many services, all leading to `target`, and nobody joined yet.
    pub(super) async fn start(
        protocol: Protocol,
        services: usize,
        target: SocketAddr,
    ) -> Result<(Self, Vec<String>)> {
        let folder = Scratch::new("ours")?;
        let hub = Hub::start_with(folder.path(), folder.path(), flags(protocol)).await?;
        let mut exposer = Exposer::start(folder.path()).await?;
        exposer.connect(&hub).await?;
        let codes = exposer.expose(0, services, target).await?;
        Ok((Self { joins: Vec::new(), exposer, hub, folder }, codes))
    }

    /// The same with one teammate for each code.
    pub(super) async fn joined(protocol: Protocol, services: usize, target: SocketAddr) -> Result<Self> {
        let (mut ours, codes) = Self::start(protocol, services, target).await?;
        for (number, code) in codes.iter().enumerate() {
            let routes = ROUTES_PER_CODE.min(services - number * ROUTES_PER_CODE);
            ours.join(code, routes).await?;
        }
        Ok(ours)
    }

    /// One more teammate, who sees this many routes.
    pub(super) async fn join(&mut self, code: &str, routes: usize) -> Result<()> {
        let name = format!("teammate-{}", self.joins.len());
        self.joins.push(Joined::start(&name, code, self.hub.url(), routes, self.folder.path()).await?);
        Ok(())
    }

    /// The first teammate.
    pub(super) fn first(&self) -> Result<&Joined> {
        self.joins.first().context("nobody has joined")
    }

    /// The first route of the first teammate.
    pub(super) fn address(&self) -> Result<SocketAddr> {
        self.first()?.routes.first().copied().context("the share has no route")
    }

    /// All routes, in the order of their numbers.
    pub(super) fn routes(&self) -> Vec<SocketAddr> {
        self.joins.iter().flat_map(|joined| joined.routes.iter().copied()).collect()
    }

    /// Starts the hub again after its process has ended.
    pub(super) async fn restart_hub(self) -> Result<Self> {
        let Self { joins, exposer, hub, folder } = self;
        Ok(Self { joins, exposer, hub: hub.restart(folder.path()).await?, folder })
    }
}

/// What a hub is started with so that it carries connections in this way.
fn flags(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Negotiated => &[],
        Protocol::Recorded => &["--recorded-protocol-only"],
    }
}

// === impl Exposer ===

impl Exposer {
    pub(super) async fn start(logs: &Path) -> Result<Self> {
        let Running { process, address } = Role::Exposer.start(logs).await?;
        Ok(Self { process, control: Controlled::connect(address).await? })
    }

    /// Becomes an agent of a hub.
    pub(super) async fn connect(&mut self, hub: &Hub) -> Result<()> {
        let key = std::fs::read_to_string(hub.key_file()).context("cannot read the hub's key")?;
        let hub = hub.url().to_owned();
        self.obey(&Order::Connect { hub, key: key.trim().to_owned() }).await
    }

    /// Exposes services through one of its agents, each of a share of its own; gives codes to join them.
    pub(super) async fn expose(
        &mut self,
        agent: usize,
        count: usize,
        target: SocketAddr,
    ) -> Result<Vec<String>> {
        match self.control.order(&Order::Expose { agent, count, target }).await? {
            Answer::Codes(codes) => Ok(codes),
            other => bail!("the exposing side answers {other:?}"),
        }
    }

    /// What happened to its tunnels since the last time.
    pub(super) async fn states(&mut self) -> Result<Vec<StateChange>> {
        match self.control.order(&Order::States).await? {
            Answer::States(changes) => Ok(changes),
            other => bail!("the exposing side answers {other:?}"),
        }
    }

    /// Gives an order that has no answer but that it is done.
    pub(super) async fn obey(&mut self, order: &Order) -> Result<()> {
        match self.control.order(order).await? {
            Answer::Done => Ok(()),
            other => bail!("the exposing side answers {other:?}"),
        }
    }
}

// === impl Joined ===

impl Joined {
    /// Types the command of a teammate on a machine of their own, and waits until all routes are ports.
    pub(super) async fn start(name: &str, code: &str, hub: &str, routes: usize, logs: &Path) -> Result<Self> {
        let home = Scratch::new("teammate")?;
        let mut command = Command::new(product().await?.folder().join("kubectl-connect"));
        command.args(["join", code, "--hub", hub, "--label", name]).env_clear().env("HOME", home.path());
        let mut process = Process::start(name, command, logs)?;
        let found = process
            .printed("every route is a port of this machine", PATIENTLY, |said| {
                let found = teammate::routes_in(said);
                (found.len() >= routes).then_some(found)
            })
            .await?;
        // Ours are called route-0, route-1 and so on.
        let number = |name: &str| name.rsplit('-').next().and_then(|it| it.parse().ok()).unwrap_or(0_usize);
        let mut numbered: Vec<_> = found
            .iter()
            .map(|(name, port)| (number(name), SocketAddr::from(([127, 0, 0, 1], *port))))
            .collect();
        ensure!(numbered.len() == routes, "there are {} routes instead of {routes}", numbered.len());
        numbered.sort_unstable();
        Ok(Self { process, routes: numbered.into_iter().map(|(_, address)| address).collect(), _home: home })
    }
}
