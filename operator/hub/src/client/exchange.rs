//! One request and its answer: headers, deadline, size limit, and the turn of every failure into an [`Error`].

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{CALL_DEADLINE, Client, refusal};
use crate::error::Error;

/// The largest answer we read: a workspace of 1,000 services with all their rows stays well below.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// A request that is being put together.
pub(super) struct Call<'a> {
    client: &'a Client,
    name: &'static str,
    request: RequestBuilder,
}

pub(super) fn http_client(tls: &rustls::ClientConfig) -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .timeout(CALL_DEADLINE)
        .redirect(reqwest::redirect::Policy::none()) // a redirect would carry the key to another host
        .no_proxy() // the socket goes straight to the hub; both must take the same way
        .user_agent(concat!("connect-hub/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|source| Error::Unsendable { call: "client", source: source.into() })
}

// === impl Client ===

impl Client {
    /// A call that carries no credentials.
    pub(super) fn open(&self, method: Method, name: &'static str, path: &str) -> Call<'_> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        Call { client: self, name, request }
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
        self.request = self.request.header(name, value);
        self
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Self {
        self.request = self.request.json(body);
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
        let Self { client, name, request } = self;
        let failed = |error| failure(client, name, error);
        let request = request.build().map_err(failed)?;
        let sent = Instant::now();
        let response = client.http.execute(request).await.map_err(failed)?;
        client.measured.learn(response.headers(), Timestamp::now(), sent.elapsed());
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_capped(client, name, response).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(Error::Rejected(refusal::read(name, status.as_u16(), &headers, &body)))
    }
}

async fn read_capped(client: &Client, name: &'static str, mut response: Response) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(client, name, error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            let source = format!("the answer is larger than {MAX_ANSWER_BYTES} bytes").into();
            return Err(Error::Malformed { url: client.url.clone(), call: name, source });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The error without the URL, whose path may hold a share's code.
fn failure(client: &Client, name: &'static str, error: reqwest::Error) -> Error {
    let url = client.url.clone();
    if error.is_timeout() {
        return Error::TimedOut { url, call: name, after: CALL_DEADLINE };
    }
    let source = error.without_url();
    if source.is_builder() {
        return Error::Unsendable { call: name, source: source.into() };
    }
    Error::Unreachable { url, source: source.into() }
}
