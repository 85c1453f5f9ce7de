//! Teammates of a soak, with traffic all the time: their bytes come back as they were sent, whoever is cut off by a fault
//! connects again, and once the share is over nobody is answered.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use connect_hub::join::Join;
use k8s_openapi::api::core::v1::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

use super::scenario::{Fixture, ROUTE};
use super::test_user::{self, PORT};
use crate::wait::{PATIENTLY, SOON, eventually};

/// Test clients at once: traffic all the time, and still a machine that has time for faults.
const TEST_CLIENTS: usize = 4;

/// Between two blocks of a test client.
const PAUSE: Duration = Duration::from_millis(50);

/// An answer that has not come by then does not come: whatever is silent is silent for less.
const NO_ANSWER: Duration = Duration::from_secs(40);

/// Bytes that are sent and come back at a time.
const BLOCK: usize = 1024;

/// All of them, and the Service that answers.
#[derive(Default)]
pub(super) struct TestClients {
    /// Where the Service is, and who answers there.
    service: Option<(String, Aborted<Result<()>>)>,
    /// By the name of the share.
    visiting: BTreeMap<String, TestClient>,
    /// Blocks that came back, over all who have left.
    blocks: u64,
    /// How many have come.
    come: usize,
}

struct TestClient {
    _join: Join,
    route: SocketAddr,
    seen: Arc<Seen>,
    traffic: Aborted<Result<()>>,
}

/// What a test client has seen.
#[derive(Default)]
struct Seen {
    /// Whether there is a connection that was answered.
    connected: AtomicBool,
    /// Blocks that came back.
    blocks: AtomicU64,
}

/// A task that ends when nobody waits for it any more.
struct Aborted<T>(JoinHandle<T>);

impl TestClients {
    /// Who visits a share that is not live must have been cut; some more come to those that last, and must be answered.
    ///
    /// # Errors
    /// A share outlives its end, bytes are not what they were, or a live share leads nowhere.
    pub(super) async fn change(&mut self, fixture: &Fixture, live: &BTreeMap<String, bool>) -> Result<()> {
        self.serve(fixture).await?;
        for (share, mut test_client) in std::mem::take(&mut self.visiting) {
            if test_client.traffic.0.is_finished() {
                (&mut test_client.traffic.0)
                    .await?
                    .with_context(|| format!("I9: a connection of {share}"))?;
            }
            if live.contains_key(&share) {
                self.visiting.insert(share, test_client);
                continue;
            }
            test_client.is_over().await.with_context(|| format!("I1: {share} is over"))?;
            self.blocks += test_client.seen.blocks.load(Ordering::Relaxed);
        }
        for (share, _) in live.iter().filter(|(_, lasts)| **lasts) {
            if self.visiting.len() < TEST_CLIENTS && !self.visiting.contains_key(share) {
                let test_client = TestClient::come(fixture, share);
                let test_client =
                    test_client.await.with_context(|| format!("I3: {share} is live and leads nowhere"))?;
                self.visiting.insert(share.clone(), test_client);
                self.come += 1;
            }
        }
        Ok(())
    }

    /// How many came, and how many blocks came back to them.
    pub(super) fn told(&self) -> (usize, u64) {
        let here: u64 =
            self.visiting.values().map(|test_client| test_client.seen.blocks.load(Ordering::Relaxed)).sum();
        (self.come, self.blocks + here)
    }

    /// Answers where the Service is now: it may have been made again meanwhile.
    async fn serve(&mut self, fixture: &Fixture) -> Result<()> {
        let spec = fixture.api::<Service>().get(ROUTE).await?.spec;
        let address = spec.and_then(|spec| spec.cluster_ip).context("the Service has an address")?;
        if self.service.as_ref().is_none_or(|(known, _)| *known != address) {
            let listener = TcpListener::bind((address.as_str(), PORT)).await?;
            self.service = Some((address, Aborted(tokio::spawn(echo(listener)))));
        }
        Ok(())
    }
}

impl TestClient {
    async fn come(fixture: &Fixture, share: &str) -> Result<Self> {
        let join = test_user::join(fixture, share).await?;
        let port = join.routes().first().context("it has a route")?.port;
        let route = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        eventually("a block comes back", PATIENTLY, || answered(route)).await?;
        let seen = Arc::<Seen>::default();
        let traffic = Aborted(tokio::spawn(traffic(route, Arc::clone(&seen))));
        Ok(Self { _join: join, route, seen, traffic })
    }

    /// Waits until the connection is cut; another must not be answered.
    async fn is_over(&self) -> Result<()> {
        eventually("its connection is cut", SOON, || async {
            ensure!(!self.seen.connected.load(Ordering::Acquire), "it goes on");
            Ok(())
        })
        .await?;
        ensure!(answered(self.route).await.is_err(), "a new connection is answered");
        Ok(())
    }
}

/// One block, on a connection of its own.
async fn answered(route: SocketAddr) -> Result<()> {
    let ask = async {
        let mut stream = TcpStream::connect(route).await?;
        exchange(&mut stream, 0).await
    };
    ensure!(timeout(SOON, ask).await.context("no answer")??, "something else comes back");
    Ok(())
}

/// Sends blocks for ever, on one connection after the other. Ends when one neither comes back nor is cut, or is another.
async fn traffic(route: SocketAddr, seen: Arc<Seen>) -> Result<()> {
    loop {
        if let Ok(mut stream) = TcpStream::connect(route).await {
            for number in 1.. {
                match timeout(NO_ANSWER, exchange(&mut stream, number)).await {
                    Ok(Ok(same)) => ensure!(same, "block {number} came back as something else"),
                    Ok(Err(_)) => break, // cut
                    Err(_) => bail!("block {number} neither came back nor ended the connection"),
                }
                seen.connected.store(true, Ordering::Release);
                seen.blocks.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        }
        seen.connected.store(false, Ordering::Release);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends one block and reads one; whether it is the same.
async fn exchange(stream: &mut TcpStream, number: u64) -> std::io::Result<bool> {
    let block = number.to_be_bytes().repeat(BLOCK / 8);
    let mut back = vec![0; BLOCK];
    stream.write_all(&block).await?;
    stream.read_exact(&mut back).await?;
    Ok(back == block)
}

async fn echo(listener: TcpListener) -> Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await.context("cannot accept")?;
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok() // a connection that breaks is the test client's business
        });
    }
}

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
