//! Through a proxy: CONNECT for http and https proxies, SOCKS 5 for the others.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use super::rules::{Credentials, Kind, Proxy, authority};
use super::stream::{Stream, connector};
use super::{Obstacle, ProxyTrouble, certificate, race, socks};

/// How long a connected proxy may take to answer: it has a connection of its own to make meanwhile.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// A connection to `host` through `proxy`.
pub(super) async fn open(
    proxy: &Proxy,
    tls: &Arc<ClientConfig>,
    host: &str,
    port: u16,
) -> Result<Stream, Obstacle> {
    let told = |trouble| Obstacle::proxy(proxy, trouble);
    let connected = race::connect(&proxy.host, proxy.port).await;
    let stream = connected.map_err(|error| told(ProxyTrouble::Unreachable(error.to_string())))?;
    let stream = Stream::from(stream);
    let asking = async {
        match proxy.kind {
            Kind::Http => connect(proxy, stream, host, port).await.map_err(told),
            Kind::Https => {
                connect(proxy, encrypted(proxy, tls, stream).await?, host, port).await.map_err(told)
            }
            Kind::Socks5 => {
                let mut stream = stream;
                let asked = socks::connect(&mut stream, proxy.credentials.as_ref(), host, port).await;
                asked.map(|()| stream).map_err(told)
            }
        }
    };
    timeout(ANSWER_TIMEOUT, asking).await.unwrap_or_else(|_| {
        let why = format!("no answer within {} seconds", ANSWER_TIMEOUT.as_secs());
        Err(told(ProxyTrouble::Broke(why)))
    })
}

async fn encrypted(proxy: &Proxy, tls: &Arc<ClientConfig>, stream: Stream) -> Result<Stream, Obstacle> {
    let failed = |error: io::Error| match certificate::clock_trouble(&error) {
        Some(_) => ProxyTrouble::Broke(format!("{error}; check this machine's clock, too")),
        None => ProxyTrouble::Broke(error.to_string()),
    };
    let told = |error| Obstacle::proxy(proxy, failed(error));
    let name = ServerName::try_from(proxy.host.clone()).map_err(|error| told(io::Error::other(error)))?;
    stream.encrypted(&connector(tls), name).await.map_err(told)
}

async fn connect(proxy: &Proxy, stream: Stream, host: &str, port: u16) -> Result<Stream, ProxyTrouble> {
    let broke = |error: hyper::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        ProxyTrouble::Broke(cause.unwrap_or_else(|| error.to_string()))
    };
    let target = authority(host, port);
    let mut request = Request::connect(&target)
        .header(HOST, &target)
        .header(USER_AGENT, concat!("connect-hub/", env!("CARGO_PKG_VERSION")))
        .body(String::new())
        .map_err(|error| ProxyTrouble::Broke(error.to_string()))?;
    if let Some(value) = proxy.credentials.as_ref().and_then(basic) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, value);
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    // The sender goes with the answer, so that a connection which was refused ends as well.
    let asking = async move { sender.send_request(request).await.map(|answer| answer.status()) };
    let (status, parts) = tokio::join!(asking, connection.without_shutdown());
    let status = status.map_err(broke)?;
    if !status.is_success() {
        return Err(refusal(status, target, proxy.credentials.is_some()));
    }
    let parts = parts.map_err(broke)?;
    if !parts.read_buf.is_empty() {
        return Err(ProxyTrouble::Broke("it sent bytes that nobody asked for".to_owned()));
    }
    Ok(parts.io.into_inner())
}

fn refusal(status: StatusCode, target: String, has_credentials: bool) -> ProxyTrouble {
    match status {
        // tinyproxy says the latter of a wrong password.
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED if has_credentials => {
            ProxyTrouble::LoginRefused
        }
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => ProxyTrouble::WantsLogin,
        status if status.is_client_error() => ProxyTrouble::Forbidden { target },
        status => ProxyTrouble::Failed { target, said: format!("status {status}") },
    }
}

fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let Credentials { user, password } = credentials;
    let text = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
    let mut value = HeaderValue::from_str(&format!("Basic {text}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
