//! The way to a hub: straight, or through the proxy that the environment names. Everything said to a hub goes this way:
//! calls of its HTTP API, agents' sockets and data connections, so that all of them get through, or none.
//!
//! ```text
//! rules ── which proxy, if any: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY; never for what NO_PROXY exempts
//! race ─── TCP, to the hub or to the proxy: several addresses, and a second attempt beside one that hangs
//! tunnel ─ CONNECT or SOCKS5 through the proxy, for http and https hubs alike
//! here ─── TLS to the hub
//! ```

mod certificate;
mod exempt;
pub(crate) mod intercepted;
mod obstacle;
mod race;
mod rules;
mod service;
mod socks;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod tunnel;

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio_rustls::TlsConnector;

pub use self::obstacle::{Obstacle, ProxyTrouble};
pub use self::race::CONNECT_TIMEOUT;
pub use self::rules::{InvalidProxy, Proxies, Proxy};
pub use self::service::Connector;
pub use self::stream::Stream;

/// The environment of this process, read once: it does not change.
static ENVIRONMENT: LazyLock<Arc<Proxies>> = LazyLock::new(|| Arc::new(Proxies::from_environment()));

/// Connects to a hub. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    tls: Arc<ClientConfig>,
    proxies: Arc<Proxies>,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum DialError {
    /// The network did not give one.
    #[error("connecting: {0}")]
    Connect(#[source] io::Error),
    /// TLS did not come about.
    #[error("agreeing on TLS: {0}")]
    Tls(#[source] io::Error),
    /// Something in between is known to be the reason.
    #[error("{0}")]
    Obstacle(#[from] Obstacle),
}

// === impl Dialer ===

impl Dialer {
    /// Goes through the proxy that the environment of this process names.
    pub(crate) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls, proxies: Arc::clone(&ENVIRONMENT) }
    }

    #[cfg(test)]
    pub(crate) fn through(tls: Arc<ClientConfig>, proxies: Proxies) -> Self {
        Self { tls, proxies: Arc::new(proxies) }
    }

    #[cfg(test)]
    pub(crate) fn through_these(&self, proxies: Proxies) -> Self {
        Self::through(Arc::clone(&self.tls), proxies)
    }

    /// A connection over which HTTP can be spoken to the hub. [`CONNECT_TIMEOUT`] bounds TCP; the caller bounds the rest.
    pub(crate) async fn dial(&self, host: &str, port: u16, tls: bool) -> Result<Stream, DialError> {
        let stream = self.reach(host, port, tls).await?;
        if tls { encrypt(&self.tls, host, stream).await } else { Ok(stream) }
    }

    /// A connection without TLS to the destination; `tls` says whether that will have it, which decides on the proxy.
    async fn reach(&self, host: &str, port: u16, tls: bool) -> Result<Stream, DialError> {
        match self.proxies.proxy(tls, host, port)? {
            None => race::connect(host, port).await.map(Stream::from).map_err(DialError::Connect),
            Some(proxy) => Ok(tunnel::open(&proxy, &self.tls, host, port).await?),
        }
    }
}

async fn encrypt(tls: &Arc<ClientConfig>, host: &str, stream: Stream) -> Result<Stream, DialError> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|error| DialError::Tls(io::Error::other(error)))?;
    let connector = TlsConnector::from(Arc::clone(tls));
    stream.encrypted(&connector, name).await.map_err(|error| match certificate::clock_trouble(&error) {
        Some(obstacle) => obstacle.into(),
        None => DialError::Tls(error),
    })
}

// === impl DialError ===

impl DialError {
    /// What stands in between, if that is the reason; looks through errors that libraries put around it.
    pub fn obstacle<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Obstacle> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(obstacle) = error.downcast_ref::<Obstacle>() {
                return Some(obstacle);
            }
            if let Some(Self::Obstacle(obstacle)) = error.downcast_ref::<Self>() {
                return Some(obstacle);
            }
            next = error.source();
        }
        None
    }
}

impl From<InvalidProxy> for DialError {
    fn from(invalid: InvalidProxy) -> Self {
        Self::Obstacle(Obstacle::Setting(invalid))
    }
}
