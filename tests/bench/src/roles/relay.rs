//! A plain TCP relay: one hop of R2, the ceiling for every path of two hops.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

/// Bytes copied at once in each direction.
const BUFFER: usize = 64 * 1024;

/// Relays until the process ends. `listening` hears the address.
pub(super) async fn serve(to: SocketAddr, listening: impl FnOnce(SocketAddr) -> Result<()>) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
    listening(listener.local_addr().context("a listener without address")?)?;
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        // A connection that breaks is the ends' business.
        tokio::spawn(async move { relay(stream, to).await.ok() });
    }
}

async fn relay(mut near: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut near, &mut far, BUFFER, BUFFER).await?;
    Ok(())
}
