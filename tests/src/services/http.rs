//! An HTTP server whose bytes everybody can check: each block differs from every other, so a lost or swapped one shows.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Bytes in a block. A multiple of what one frame or read carries, so that a lost or swapped frame shows.
const BLOCK: usize = 64 * 1024;

/// Blocks in a MiB.
const BLOCKS_PER_MIB: u64 = 16;

/// A server in this process; it ends when this value is dropped.
pub struct Http {
    task: JoinHandle<()>,
    address: SocketAddr,
}

impl Http {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves on this address; port 0 takes a free one.
///
/// # Errors
/// The address is taken.
pub async fn start(address: SocketAddr) -> Result<Http> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().context("a listener without address")?;
    Ok(Http { task: tokio::spawn(async move { drop(axum::serve(listener, routes()).await) }), address })
}

/// Serves on this address until the process ends.
///
/// # Errors
/// The address is taken, or the listener fails.
pub async fn serve(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    axum::serve(listener, routes()).await.context("the listener failed")
}

/// `/bytes/MIB`: so many MiB as fast as possible · `/paced/MIB/KIB`: at so many KiB a second · `/echo`: what was sent.
fn routes() -> Router {
    Router::new()
        .route("/bytes/{mib}", get(|Path(mib): Path<u64>| async move { body(mib, blocks(mib)) }))
        .route("/paced/{mib}/{kib}", get(|Path((mib, kib)): Path<(u64, u64)>| async move { paced(mib, kib) }))
        .route("/echo", post(|body: Bytes| async move { body }))
}

fn body(mib: u64, blocks: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let length = mib * BLOCKS_PER_MIB * BLOCK as u64;
    let body = Body::from_stream(blocks.map(Ok::<_, std::convert::Infallible>));
    ([(CONTENT_LENGTH, length)], body).into_response()
}

fn blocks(mib: u64) -> impl Stream<Item = Bytes> + Send {
    stream::iter((0..mib * BLOCKS_PER_MIB).map(block))
}

fn paced(mib: u64, kib: u64) -> Response {
    let pause = Duration::from_secs(BLOCK as u64 / 1024) / u32::try_from(kib.max(1)).unwrap_or(u32::MAX);
    let slowly = blocks(mib).then(move |block| async move {
        tokio::time::sleep(pause).await;
        block
    });
    body(mib, slowly)
}

/// The block with this number: noise that no compression shortens, and the number in front.
fn block(number: u64) -> Bytes {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut noise = Vec::with_capacity(BLOCK);
        while noise.len() < BLOCK {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        noise
    });
    let mut block = NOISE.clone();
    block[..8].copy_from_slice(&number.to_le_bytes());
    block.into()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::services::transfer::{Ending, download, hex};

    #[tokio::test]
    async fn what_is_served_is_what_the_checksum_says() {
        let server = start(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = server.address();
        let fast = download(address, "/bytes/2", |_| {}).await.expect("it answers");
        let slow = download(address, "/paced/2/65536", |_| {}).await.expect("it answers");
        assert_eq!(fast.bytes, 2 * 1024 * 1024);
        assert_eq!(fast.ending, slow.ending);
        let mut digest = Sha256::new();
        (0..2 * BLOCKS_PER_MIB).for_each(|number| digest.update(block(number)));
        assert_eq!(fast.ending, Ending::Complete(hex(&digest.finalize())));
    }
}
