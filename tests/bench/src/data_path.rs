//! The rows of the data path: how much, how soon, how many, at what cost, and what others do to a connection.

mod connections;
mod crowd;
mod idle;
mod outage;
mod round_trips;
mod stalled;
mod transfers;

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::net::TcpSocket;

use super::figure::{Measure, Row, Unit};
use super::paths::{FAST, Ours, Protocol, RECORDED, Relays, Route, Service};
use super::peers::{self, Peers};
use super::statistics::Rounds;
use super::{Bench, Group};

/// What is measured together.
pub(super) const GROUPS: &[Group] = &[
    Group { rows: &["D3", "D4"], what: "transfers" },
    Group { rows: &["D5"], what: "round trips" },
    Group { rows: &["D6"], what: "connections per second" },
    Group { rows: &["D1"], what: "round trips beside readers that have stopped" },
    Group { rows: &["D2"], what: "memory of connections whose reader has stopped" },
    Group { rows: &["D7"], what: "memory of idle connections" },
    Group { rows: &["D9"], what: "a hub that goes silent, and one that restarts" },
    Group { rows: &["D10"], what: "round trips beside a hundred transfers" },
];

/// The rows of one group.
pub(super) async fn measure(bench: &Bench, group: &Group) -> Result<Vec<Row>> {
    match group.rows.first().copied() {
        Some("D3") => transfers::measure(bench).await,
        Some("D5") => round_trips::measure(bench).await,
        Some("D6") => connections::measure(bench).await,
        Some("D1") => stalled::round_trips_rows(bench).await,
        Some("D2") => stalled::memory_rows(bench).await,
        Some("D7") => idle::measure(bench).await,
        Some("D9") => outage::measure(bench).await,
        _ => crowd::measure(bench).await,
    }
}

/// All paths that lead to one Service, running.
struct Paths {
    service: Service,
    relays: Relays,
    recorded: Ours,
    ours: Ours,
    peers: Peers,
}

impl Paths {
    async fn start(bench: &Bench, group: &str) -> Result<Self> {
        let logs = bench.logs(group)?;
        let service = Service::start(&logs).await?;
        let relays = Relays::start(service.address(), &logs).await?;
        let recorded = Ours::joined(Protocol::Recorded, 1, service.address()).await?;
        let ours = Ours::joined(Protocol::Negotiated, 1, service.address()).await?;
        let peers =
            if bench.plan.peers { peers::start(service.address(), &logs).await? } else { Peers::default() };
        Ok(Self { service, relays, recorded, ours, peers })
    }

    fn routes(&self) -> Result<Vec<Route>> {
        let Self { service, relays, recorded, ours, peers } = self;
        let mut routes = vec![
            service.route(),
            relays.route(),
            Route { name: RECORDED, address: recorded.address()? },
            Route { name: FAST, address: ours.address()? },
        ];
        routes.extend(peers.routes());
        Ok(routes)
    }
}

/// Of a peer that takes part only when it is asked to.
fn left_out(id: &'static str, what: &str, peer: &str) -> Row {
    Row::left_out(id, format!("{what}, beside {peer}"), format!("{peer} takes part with PEERS=1"))
}

/// What a path gave, in this unit.
fn taken(rounds: &Rounds, unit: Unit, path: &'static str, what: &'static str) -> Option<Measure> {
    rounds.spread(path, what).map(|spread| Measure::new(unit, spread, rounds.count()))
}

/// An address of this machine where nobody listens, for as long as the socket is held that occupies it.
fn nobody() -> Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4().context("no socket")?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("no free port on 127.0.0.1")?;
    let address = socket.local_addr().context("a socket without address")?;
    Ok((socket, address))
}
