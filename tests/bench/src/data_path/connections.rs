//! D6: connections per second, and how soon a dial that leads nowhere is answered.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Paths, left_out, nobody, taken};
use crate::Bench;
use crate::figure::{Goal, Measure, Row, Unit};
use crate::load::connections;
use crate::paths::{FAST, Ours, R2};
use crate::peers::RATHOLE;
use crate::statistics::Spread;
use connect_tests::wait::{SOON, eventually};

/// Connections of one path in one round.
const CONNECTIONS: usize = 400;

/// Dials that are refused.
const REFUSED: usize = 50;

/// A refused dial that was not answered by then is not answered at all.
const NO_ANSWER: Duration = Duration::from_secs(10);

const RATE: &str = "rate";

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut paths = Paths::start(bench, "connections").await?;
    let rounds = bench
        .interleaved(&paths.routes()?, RATE, async |route| {
            Ok(vec![(RATE, connections(route.address, CONNECTIONS).await?)])
        })
        .await?;
    let compared = [(RATHOLE, Goal::AtLeast(0.9)), (R2, Goal::None)];
    let mut rows: Vec<Row> = compared
        .into_iter()
        .map(|(peer, goal)| {
            const WHAT: &str = "open, one round trip, close";
            let Some(ratio) = rounds.ratio((FAST, RATE), (peer, RATE)) else {
                return left_out("D6", WHAT, peer);
            };
            let figure = Measure::new(Unit::Ratio, ratio, rounds.count());
            Row::new("D6", format!("{WHAT}, beside {peer}"), figure, goal)
                .ours(taken(&rounds, Unit::PerSecond, FAST, RATE))
                .beside(peer, taken(&rounds, Unit::PerSecond, peer, RATE))
                .void_if(rounds.is_void(), rounds.variation())
        })
        .collect();
    rows.push(refused(&mut paths.ours).await?.void_if(rounds.is_void(), rounds.variation()));
    Ok(rows)
}

/// Dials a route behind which nobody listens.
async fn refused(ours: &mut Ours) -> Result<Row> {
    let (_occupied, nobody) = nobody()?;
    let codes = ours.exposer.expose(0, 1, nobody).await?;
    ours.join(codes.first().context("a code")?, 1).await?;
    let joined = ours.joins.last_mut().context("it has just joined")?;
    let address = *joined.routes.first().context("it has one route")?;
    let mut millis = Vec::with_capacity(REFUSED);
    for _ in 0..REFUSED {
        millis.push(until_refused(address).await?);
    }
    let spread = Spread::of(&millis).context("some dials")?;
    let figure = Measure::new(Unit::Milliseconds, spread, REFUSED);
    let row = Row::new("D6", "a dial that leads nowhere is answered", figure, Goal::AtMost(5.0));
    let said = eventually("the teammate is told why", SOON, || {
        let said = joined.process.stdout() + &joined.process.stderr();
        async move {
            ensure!(said.contains("refused the connection"), "it says {said}");
            Ok(())
        }
    });
    Ok(match said.await {
        Ok(()) => row,
        Err(_) => row.missed_because("without a reason"),
    })
}

/// Milliseconds from connecting to the end of the connection.
async fn until_refused(address: SocketAddr) -> Result<f64> {
    let begun = Instant::now();
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.read(&mut [0]).await
    };
    match timeout(NO_ANSWER, answer).await.context("a dial that leads nowhere has no answer")? {
        Ok(1..) => bail!("somebody answered"),
        Ok(0) => {}
        // It may come so soon that connecting itself reports it.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => return Err(error).context("cannot connect"),
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
