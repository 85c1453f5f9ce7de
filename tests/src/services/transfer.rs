//! A download as a client sees it: how many bytes came, how fast, whether all of them, and which.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::control_plane::install_crypto;
use crate::wait::{PATIENTLY, SOON, eventually};

/// Longest silence in a running transfer before it counts as broken.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes after which a transfer is under way: more than a hub or a kernel holds for a reader that does not read.
const UNDER_WAY: u64 = 1024 * 1024;

/// How a download ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that was promised came, with this SHA-256.
    Complete(String),
    /// The connection ended before.
    Cut(String),
}

/// What a download brought.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Bytes of the body.
    pub bytes: u64,
    /// From the request to the end.
    pub took: Duration,
    /// How it ended.
    pub ending: Ending,
}

impl Transfer {
    /// The SHA-256 of a complete transfer.
    ///
    /// # Errors
    /// It was cut.
    pub fn checksum(&self) -> Result<&str> {
        match &self.ending {
            Ending::Complete(checksum) => Ok(checksum),
            Ending::Cut(why) => bail!("a transfer broke after {} bytes: {why}", self.bytes),
        }
    }

    /// MB/s, with 1 MB = 1,000,000 bytes.
    pub fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.took.as_secs_f64()
    }
}

/// A download that goes on beside us.
pub struct Running {
    task: JoinHandle<Result<Transfer>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Starts it and waits until it is under way.
    ///
    /// # Errors
    /// It ends or does not begin.
    pub async fn start(address: SocketAddr, path: &str) -> Result<Self> {
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        let path = path.to_owned();
        let task = tokio::spawn(async move {
            download(address, &path, |bytes| counter.store(bytes, Ordering::Relaxed)).await
        });
        let running = Self { task };
        eventually("the transfer is under way", SOON, || {
            let (bytes, ended) = (bytes.load(Ordering::Relaxed), running.task.is_finished());
            async move {
                if bytes >= UNDER_WAY && !ended {
                    Ok(())
                } else {
                    Err(anyhow!("{bytes} bytes, ended: {ended}"))
                }
            }
        })
        .await?;
        Ok(running)
    }

    /// Whether it has ended already, one way or the other.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until it has ended, one way or the other.
    ///
    /// # Errors
    /// It goes on for too long, or there was no answer at all.
    pub async fn end(mut self) -> Result<Transfer> {
        let ended = tokio::time::timeout(PATIENTLY, &mut self.task).await;
        ended.context("the transfer neither ends nor breaks")?.context("the transfer was given up")?
    }

    /// Waits until it is cut.
    ///
    /// # Errors
    /// It completes, or goes on for too long.
    pub async fn cut(self) -> Result<Transfer> {
        let transfer = self.end().await?;
        match &transfer.ending {
            Ending::Cut(_) => Ok(transfer),
            Ending::Complete(_) => bail!("the transfer was not cut: {transfer:?}"),
        }
    }
}

/// Downloads until the body ends, one way or the other. `progress` hears how many bytes have come.
///
/// # Errors
/// There is no answer at all, or it is a refusal.
pub async fn download(
    address: SocketAddr,
    path: &str,
    mut progress: impl FnMut(u64) + Send,
) -> Result<Transfer> {
    let begun = Instant::now();
    install_crypto();
    // A client of its own: no connection of an earlier download is used again.
    let client =
        reqwest::Client::builder().read_timeout(SILENCE).no_proxy().build().context("no HTTP client")?;
    let answer = client
        .get(format!("http://{address}{path}"))
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .with_context(|| format!("cannot download {path} from {address}"))?;
    let mut digest = Sha256::new();
    let mut bytes = 0;
    let mut body = answer.bytes_stream();
    let ending = loop {
        match body.next().await {
            None => break Ending::Complete(hex(&digest.finalize())),
            Some(Ok(chunk)) => {
                digest.update(&chunk);
                bytes += chunk.len() as u64;
                progress(bytes);
            }
            Some(Err(error)) => break Ending::Cut(format!("{:#}", anyhow::Error::from(error))),
        }
    };
    Ok(Transfer { bytes, took: begun.elapsed(), ending })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
