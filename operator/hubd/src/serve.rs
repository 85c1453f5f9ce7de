//! Accepts connections, each with a [`Wire`] that its requests and its socket find, and serves them until stopped.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::client_address,
    limits::{CONNECTIONS, HANDSHAKE_BYTES, HEAD_BYTES, HEAD_TIMEOUT, WRITE_TIMEOUT},
    places::{Place, Places},
    wire::{BufferBudget, Metered, Tcp, Wire, WireIo},
};

/// A pause after a failed accept: out of file descriptors is not cured by trying faster.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where sockets are opened.
const SOCKETS_PATH: &str = "/socket.io";
/// What the upgrade of a socket is told by.
const UPGRADE_HEADERS: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::ORIGIN,
];

/// Where the certificate and its key are, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and what leads to its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or not PEM.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The key does not belong to the certificate, or the like.
    #[error("using the TLS certificate and key")]
    Use(#[source] rustls::Error),
}

/// Everything that a connection needs.
#[derive(Clone)]
pub struct Server {
    pub router: Router,
    pub tls: Option<TlsAcceptor>,
    /// No new connections, no new requests on old ones.
    pub stop: CancellationToken,
    /// Connections end now.
    pub kill: CancellationToken,
    pub tasks: TaskTracker,
    /// What all connections together may have waiting.
    pub budget: Arc<BufferBudget>,
    pub places: Arc<Places>,
    /// How many proxies of ours stand in front of us.
    pub trusted_proxies: usize,
}

/// Reads certificate and key.
pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let read = |path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Read { path, source }
    };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(read(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(read(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Use)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Use)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

// === impl Server ===

impl Server {
    /// Serves until stopped.
    pub async fn run(self, listener: TcpListener) {
        let all = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = all.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = Place::new(self.places.seat(peer.ip(), self.kill.child_token()), permit);
                    self.serve(stream, peer, place);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Begins to serve a connection. What it needs while it rests is small, and the rest is made when it is needed.
    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: Place) {
        let accepted = Instant::now();
        // Small events wait for nobody; a connection that is already gone shows itself below.
        let _ = stream.set_nodelay(true);
        // The kernel too forgets what a stranger does not fetch.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, WRITE_TIMEOUT.as_millis() as u32);
        let Some(tls) = &self.tls else {
            self.tasks.spawn(self.serve_http(stream, peer, place, accepted));
            return;
        };
        let handshake = Box::pin(tls.accept(Metered::new(stream, HANDSHAKE_BYTES)));
        let (server, closed) = (self.clone(), place.closed());
        self.tasks.spawn(async move {
            let handshake = tokio::select! {
                handshake = tokio::time::timeout_at(accepted + HEAD_TIMEOUT, handshake) => handshake,
                () = closed.cancelled() => return,
            };
            match handshake {
                Ok(Ok(mut stream)) => {
                    stream.get_mut().0.open();
                    Box::pin(server.serve_http(stream, peer, place, accepted)).await;
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        });
    }

    fn serve_http<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        place: Place,
        accepted: Instant,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Tcp + Send + Unpin + 'static,
    {
        let (closed, stop, server) = (place.closed(), self.stop.clone(), self.clone());
        let wire = Arc::new(Wire::new(peer, &place, self.budget.clone()));
        let io = TokioIo::new(WireIo::new(stream, wire.clone(), place, accepted));
        let connection = http1::Builder::new()
            .max_buf_size(HEAD_BYTES)
            .header_read_timeout(None) // the wire's own clocks tell a slow head from an idle connection
            .serve_connection(
                io,
                service_fn(move |request| Box::pin(server.clone().answer(wire.clone(), request))),
            )
            .with_upgrades();
        let mut connection = Box::pin(connection);
        async move {
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = closed.cancelled() => return,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection ended badly");
            }
        }
    }

    async fn answer(
        self,
        wire: Arc<Wire>,
        request: hyper::Request<Incoming>,
    ) -> Result<Response, std::convert::Infallible> {
        use tower::ServiceExt as _;
        let mut request: Request = request.map(Body::new);
        let address = client_address(request.headers(), self.trusted_proxies, wire.peer.ip());
        wire.asked(length(&request), address);
        request.extensions_mut().insert(wire.clone());
        if request.uri().path().starts_with(SOCKETS_PATH) {
            shorten(request.headers_mut());
        }
        let mut response = self.router.oneshot(request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            wire.expect_frames();
        } else if wire.answered() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// How long a request is, near enough: a client may write its head with more blanks than are needed.
fn length(request: &Request) -> u64 {
    let line = request.method().as_str().len() + request.uri().to_string().len() + "  HTTP/1.1\r\n".len();
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let body =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    (line + headers.sum::<usize>() + 2) as u64 + body.unwrap_or(0)
}

/// Takes away what an upgrade needs not: the head of a socket's request is kept for as long as the socket.
fn shorten(headers: &mut HeaderMap) {
    let kept = UPGRADE_HEADERS.map(|name| headers.remove(&name).map(|value| (name, value)));
    *headers = kept.into_iter().flatten().collect();
}
