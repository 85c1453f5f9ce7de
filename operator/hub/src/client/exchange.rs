//! One request and its answer: headers, deadline, size limit, and the turn of every failure into an [`Error`].

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use uuid::Uuid;

use super::{CALL_DEADLINE, Client, refusal};
use crate::dial::{Connector, DialError, Dialer, intercepted};
use crate::error::{Cause, Error};

/// The largest answer we read: a workspace of 1,000 services with all their rows stays well below.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// How long a connection is kept for the next call: below the half minute after which gateways forget quiet ones.
const KEEP: Duration = Duration::from_secs(15);

/// Sends requests over connections that the dialer makes. It follows no redirect: that would carry the key to another
/// host.
pub(super) type Http = legacy::Client<Connector, Full<Bytes>>;

/// A request that is being put together.
pub(super) struct Call<'a> {
    client: &'a Client,
    name: &'static str,
    request: Builder,
    body: Result<Bytes, serde_json::Error>,
}

pub(super) fn http_client(dialer: Dialer) -> Http {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(KEEP).build(Connector::encrypting(dialer))
}

// === impl Client ===

impl Client {
    /// A call that carries no credentials.
    pub(super) fn open(&self, method: Method, name: &'static str, path: &str) -> Call<'_> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("connect-hub/", env!("CARGO_PKG_VERSION")));
        Call { client: self, name, request, body: Ok(Bytes::new()) }
    }

    /// A call with the workspace's key.
    pub(super) fn keyed(&self, method: Method, name: &'static str, path: &str) -> Call<'_> {
        let call = self.open(method, name, path);
        match &self.api_key {
            Some(key) => call.header("x-api-key", key.expose_secret()),
            None => call,
        }
    }

    /// A call with the workspace's key in the name of an agent.
    pub(super) fn as_agent(&self, method: Method, name: &'static str, path: &str, agent: Uuid) -> Call<'_> {
        self.keyed(method, name, path).header("x-agent-id", &agent.to_string())
    }
}

// === impl Call ===

impl Call<'_> {
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        // A value that is none is remembered by the builder and told when the call is made.
        self.request = match HeaderValue::from_str(value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.request.header(HeaderName::from_static(name), value)
            }
            Err(_) => self.request.header(name, value),
        };
        self
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Self {
        self.request = self.request.header(CONTENT_TYPE, "application/json");
        self.body = serde_json::to_vec(body).map(Bytes::from);
        self
    }

    /// Sends and reads the answer.
    pub(super) async fn send<T: DeserializeOwned>(self) -> Result<T, Error> {
        let (client, name) = (self.client, self.name);
        let body = self.exchange().await?;
        serde_json::from_slice(&body).map_err(|source| Error::Malformed {
            url: client.url.clone(),
            call: name,
            // Only where the answer went wrong: the text of a serde error may quote a secret.
            source: format!("line {} column {} is not what was expected", source.line(), source.column())
                .into(),
        })
    }

    /// Sends and needs nothing but success.
    pub(super) async fn done(self) -> Result<(), Error> {
        self.exchange().await.map(drop)
    }

    /// Sends and needs nothing but success; reads what the answer has of `T`.
    pub(super) async fn done_with<T: DeserializeOwned + Default>(self) -> Result<T, Error> {
        let body = self.exchange().await?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn exchange(self) -> Result<Bytes, Error> {
        let (name, observer) = (self.name, self.client.observer.clone());
        let started = Instant::now();
        let outcome = self.answer().await;
        if let Some(observer) = observer {
            observer.ended(name, started.elapsed(), outcome.as_ref().err().map(Error::reason));
        }
        outcome
    }

    async fn answer(self) -> Result<Bytes, Error> {
        let Self { client, name, request, body } = self;
        let unsendable = |source: Cause| Error::Unsendable { call: name, source };
        let body = body.map_err(|error| unsendable(error.into()))?;
        let request = request.body(Full::new(body)).map_err(|error| unsendable(error.into()))?;
        let exchange = async {
            let sent = Instant::now();
            let response = client.http.request(request).await.map_err(|error| failure(client, error))?;
            client.measured.learn(response.headers(), Timestamp::now(), sent.elapsed());
            read(client, name, response).await
        };
        timeout(CALL_DEADLINE, exchange).await.unwrap_or_else(|_| {
            Err(Error::TimedOut { url: client.url.clone(), call: name, after: CALL_DEADLINE })
        })
    }
}

async fn read(client: &Client, name: &'static str, response: Response<Incoming>) -> Result<Bytes, Error> {
    let url = || client.url.clone();
    let (head, body) = response.into_parts();
    if let Some(obstacle) = intercepted::by(head.status, &head.headers, client.url.as_str()) {
        return Err(Error::Obstructed { url: url(), obstacle });
    }
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).map_err(|source| {
        if source.is::<LengthLimitError>() {
            let source = format!("the answer is larger than {MAX_ANSWER_BYTES} bytes").into();
            return Error::Malformed { url: url(), call: name, source };
        }
        Error::Unreachable { url: url(), source }
    })?;
    if head.status.is_success() {
        return Ok(body);
    }
    let refused = refusal::read(name, head.status.as_u16(), &head.headers, &body);
    tracing::debug!(call = name, status = refused.status, message = refused.message, "the hub refuses");
    Err(Error::Rejected(refused))
}

fn failure(client: &Client, error: legacy::Error) -> Error {
    let url = client.url.clone();
    match DialError::obstacle(&error) {
        Some(obstacle) => Error::Obstructed { url, obstacle: obstacle.clone() },
        None => Error::Unreachable { url, source: error.into() },
    }
}
