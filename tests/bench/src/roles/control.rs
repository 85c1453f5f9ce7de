//! Orders to a role in another process, and its answers: a line of JSON each, one after the other.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// No order takes longer: registering a thousand services is the longest.
const LONGEST_ORDER: Duration = Duration::from_secs(90);

/// An answer, or why there is none.
#[derive(Serialize, Deserialize)]
pub(super) enum Reply<T> {
    Done(T),
    Failed(String),
}

/// A way to give orders.
pub(crate) struct Controlled {
    orders: OwnedWriteHalf,
    replies: BufReader<OwnedReadHalf>,
}

// === impl Controlled ===

impl Controlled {
    /// Connects to a role.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect to a part of our own")?;
        stream.set_nodelay(true).context("a socket without options")?;
        let (replies, orders) = stream.into_split();
        Ok(Self { orders, replies: BufReader::new(replies) })
    }

    /// Gives an order and waits until it is done.
    pub(crate) async fn order<T: DeserializeOwned>(&mut self, order: &impl Serialize) -> Result<T> {
        let mut line = serde_json::to_vec(order).context("an order is JSON")?;
        line.push(b'\n');
        self.orders.write_all(&line).await.context("a part of our own is gone")?;
        let mut reply = String::new();
        timeout(LONGEST_ORDER, self.replies.read_line(&mut reply))
            .await
            .context("a part of our own does not answer")?
            .context("a part of our own is gone")?;
        match serde_json::from_str(&reply).context("a part of our own is gone or answers oddly")? {
            Reply::Done(answer) => Ok(answer),
            Reply::Failed(why) => bail!("the exposing side: {why}"),
        }
    }
}
