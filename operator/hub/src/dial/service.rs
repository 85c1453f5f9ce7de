//! The dialer as libraries of HTTP clients want it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::{DialError, Dialer, ENVIRONMENT, Proxies, Stream};

/// A way to wherever a URI points, straight or through a proxy. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {
    dialer: Dialer,
    /// Whether TLS to the destination is ours to do, where the URI has it.
    encrypts: bool,
}

// === impl Connector ===

impl Connector {
    /// Goes through what `proxies` says; `None` means the environment of this process. Without TLS to the destination: for
    /// clients that have their own. `tls` is for proxies with TLS.
    pub fn new(proxies: Option<Proxies>, tls: Arc<rustls::ClientConfig>) -> Self {
        let proxies = proxies.map_or_else(|| Arc::clone(&ENVIRONMENT), Arc::new);
        Self { dialer: Dialer { tls, proxies }, encrypts: false }
    }

    /// With TLS where the URI has it.
    pub(crate) fn encrypting(dialer: Dialer) -> Self {
        Self { dialer, encrypts: true }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Stream>, DialError> {
        let Destination { host, port, tls } = Destination::of(&uri);
        let connected = if self.encrypts {
            self.dialer.dial(host, port, tls).await
        } else {
            self.dialer.reach(host, port, tls).await
        };
        connected.map(TokioIo::new)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// What a URI says about where to go.
struct Destination<'a> {
    host: &'a str,
    port: u16,
    tls: bool,
}

impl<'a> Destination<'a> {
    fn of(uri: &'a Uri) -> Self {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let tls = uri.scheme_str() == Some("https");
        Self { host, port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }), tls }
    }
}
