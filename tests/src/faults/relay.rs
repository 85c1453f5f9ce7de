//! A relay in front of the API server or of a hub: names and notes what passes, and breaks it where it is told to.

mod mistakes;
mod sockets;
mod upstream;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, StatusCode, request};
use futures::{Stream, StreamExt, stream};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::injection_point;
use super::plan::{DELAY, Fault, Place};
use mistakes::Asked;
pub use mistakes::{Mistake, Mistaken};
pub use upstream::Upstream;
use upstream::refusal;

/// Largest request or answer that is not streamed.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// How many bytes of a connection are looked at to tell what it is.
const HEAD: usize = 256;

/// How our hub says that it knows idempotency keys.
const IDEMPOTENCY: &str = "\"idempotency-key\",";

/// Pause between two looks at whether something gets through again.
const PAUSE: Duration = Duration::from_millis(20);

/// Something that passed.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where.
    pub place: Place,
    /// Whether it was meant to change something.
    pub write: bool,
    /// What was said to it; none for watch events and for what was never answered.
    pub status: Option<u16>,
    /// What was asked.
    pub asked: Value,
    /// What was answered.
    pub answer: Value,
}

/// A relay; it ends when this value is dropped.
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

/// Ends whoever talks through the relay, at once.
pub type Kill = Arc<dyn Fn() + Send + Sync>;

struct State {
    upstream: Upstream,
    rule: Option<(Place, Fault)>,
    /// Who asks.
    operator: Arc<Mistaken>,
    notes: Mutex<Notes>,
}

/// What goes wrong at a place, if anything does.
pub type Chaos = Arc<dyn Fn(&Place) -> Option<Fault> + Send + Sync>;

#[derive(Default)]
struct Notes {
    seen: Vec<Seen>,
    counts: HashMap<String, usize>,
    /// Paths whose next watch is told that it is too old.
    too_old: Vec<String>,
    struck: usize,
    kill: Option<Kill>,
    /// Nothing gets through.
    silent: bool,
    /// How often all watches were made to say nothing more.
    deafened: usize,
    /// The hub does not say that it knows idempotency keys, and is not told any.
    plain: bool,
    /// What goes wrong beside the rule.
    chaos: Option<Chaos>,
}

// === impl Relay ===

impl Relay {
    /// Relays what `operator` asks to `upstream`, and does what `rule` says, once.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(
        upstream: Upstream,
        rule: Option<(Place, Fault)>,
        operator: Arc<Mistaken>,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let address = listener.local_addr().context("it has an address")?;
        let state = Arc::new(State { upstream, rule, operator, notes: Mutex::default() });
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // A connection that breaks is the business of its two ends.
                connections.spawn(shared.clone().connection(client));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, state, accepting })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Who is to be killed when the rule says so.
    pub fn kills(&self, kill: Kill) {
        self.state.notes().kill = Some(kill);
    }

    /// Everything that passed so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.notes().seen.clone()
    }

    /// Whether the rule has struck.
    pub fn has_struck(&self) -> bool {
        self.struck() > 0
    }

    /// How often something has gone wrong.
    pub fn struck(&self) -> usize {
        self.state.notes().struck
    }

    /// From now on the hub is one that does not know idempotency keys, as a vendor's.
    pub fn is_plain(&self) {
        self.state.notes().plain = true;
    }

    /// From now on this goes wrong, or nothing any more.
    pub fn goes_wrong(&self, chaos: Option<Chaos>) {
        self.state.notes().chaos = chaos;
    }

    /// Lets the watches that are open say nothing more, though they stay open. New ones are as they should be.
    pub fn deafen(&self) {
        self.state.notes().deafened += 1;
    }

    /// Lets nothing through any more, or everything again. What is under way hangs.
    pub fn silence(&self, silent: bool) {
        self.state.notes().silent = silent;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

// === impl State ===

impl State {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(self: Arc<Self>, client: TcpStream) {
        let mut head = [0; HEAD];
        let Ok(count) = client.peek(&mut head).await else { return };
        if let Upstream::Hub(hub, _) = &self.upstream {
            let begins = |path: &str| head[..count].starts_with(path.as_bytes());
            if begins("GET /socket.io") {
                let _ = sockets::events(&self, client, *hub).await; // its two ends see that it is over
                return;
            } else if begins("GET /v1/data") {
                let _ = sockets::bytes(&self, client, *hub).await;
                return;
            }
        }
        let service = service_fn(|request| self.clone().request(request));
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
    }

    async fn hangs_while_silent(&self) {
        while self.notes().silent {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// An error closes the connection without an answer. What was begun is finished and noted, though whoever asked be gone.
    async fn request(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>> {
        tokio::spawn(self.hear(request)).await.context("the relay failed")?
    }

    async fn hear(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>> {
        self.hangs_while_silent().await;
        let (parts, body) = request.into_parts();
        let body = to_bytes(Body::new(body), MAX_BODY).await.context("the request breaks off")?;
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let is_api = matches!(self.upstream, Upstream::Api(_));
        let name = if is_api {
            injection_point::of_api_request(&parts.method, path, query)
        } else {
            injection_point::of_hub_call(&parts.method, path)
        };
        let answer = self.operator.ask(&self, Asked { name, parts, body }).await;
        self.hangs_while_silent().await;
        answer
    }

    /// Notes what is asked, and lets it through as far as the rule does.
    async fn pass(self: &Arc<Self>, Asked { name, parts, body }: Asked) -> Result<Response<Body>> {
        let is_api = matches!(self.upstream, Upstream::Api(_));
        let (index, place) = self.note(name, injection_point::is_write(&parts.method), &body);
        if place.injection_point.starts_with("watch ") && is_api {
            return self.clone().watch(parts).await;
        }
        match self.strikes(&place) {
            None => {}
            Some(Fault::Drop) => return Err(anyhow!("dropped")),
            Some(Fault::Refuse(status)) => {
                self.answered(index, status, Value::Null);
                return Ok(refusal(status, is_api));
            }
            Some(Fault::Delay) => tokio::time::sleep(DELAY).await,
            Some(Fault::KillBefore) => {
                self.kill();
                return Err(anyhow!("killed"));
            }
            Some(fault @ (Fault::Lose | Fault::KillAfter)) => {
                let answer = self.upstream.forward(&parts, body).await?;
                self.read(index, answer).await?;
                if fault == Fault::KillAfter {
                    self.kill();
                }
                return Err(anyhow!("lost"));
            }
            Some(Fault::Duplicate) => {
                let first = self.upstream.forward(&parts, body.clone()).await?;
                self.read(index, first).await?;
            }
            Some(Fault::Garble) => {
                let answer = self.upstream.forward(&parts, body).await?;
                let (parts, body) = self.read(index, answer).await?.into_parts();
                let body = to_bytes(body, MAX_BODY).await.context("it was read before")?;
                return Ok(Response::from_parts(parts, Body::from(body.slice(..body.len() / 2))));
            }
            Some(Fault::Hide) => return Err(anyhow!("only watch events are hidden")),
        }
        let answer = self.upstream.forward(&parts, body).await?;
        self.read(index, answer).await
    }

    fn note(&self, injection_point: String, write: bool, asked: &[u8]) -> (usize, Place) {
        let mut notes = self.notes();
        let count = notes.counts.entry(injection_point.clone()).or_default();
        *count += 1;
        let place = Place { injection_point, nth: *count };
        let asked = if write { serde_json::from_slice(asked).unwrap_or_default() } else { Value::Null };
        notes.seen.push(Seen { place: place.clone(), write, status: None, asked, answer: Value::Null });
        (notes.seen.len() - 1, place)
    }

    fn answered(&self, index: usize, status: u16, answer: Value) {
        let mut notes = self.notes();
        notes.seen[index].status = Some(status);
        notes.seen[index].answer = answer;
    }

    /// What goes wrong here, the first time that it is asked.
    fn strikes(&self, place: &Place) -> Option<Fault> {
        let mut notes = self.notes();
        let by_rule = self.rule.as_ref().filter(|(where_, _)| where_ == place).map(|(_, fault)| *fault);
        let fault = notes.chaos.as_ref().and_then(|chaos| chaos(place)).or(by_rule)?;
        notes.struck += 1;
        Some(fault)
    }

    fn kill(&self) {
        if let Some(kill) = self.notes().kill.clone() {
            kill();
        }
    }

    /// Reads the whole answer and notes it.
    async fn read(&self, index: usize, answer: Response<Body>) -> Result<Response<Body>> {
        let (parts, body) = answer.into_parts();
        let mut body = to_bytes(body, MAX_BODY).await.context("the answer breaks off")?;
        if self.notes().plain {
            body = String::from_utf8_lossy(&body).replace(IDEMPOTENCY, "").into();
        }
        self.answered(index, parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default());
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    /// A watch: passed on line by line, each with its own place.
    async fn watch(self: Arc<Self>, parts: request::Parts) -> Result<Response<Body>> {
        let path = parts.uri.path().to_owned();
        let too_old = {
            let mut notes = self.notes();
            let before = notes.too_old.len();
            notes.too_old.retain(|old| *old != path);
            notes.too_old.len() < before
        };
        if too_old {
            return Ok(refusal(StatusCode::GONE.as_u16(), true));
        }
        let born = self.notes().deafened;
        let answer = self.upstream.forward(&parts, Bytes::new()).await?;
        let (parts, body) = answer.into_parts();
        let lines = lines(body.into_data_stream());
        let state = (self, Box::pin(lines), path, born);
        let passed = stream::unfold(state, async |(state, mut lines, path, born)| {
            let line = lines.next().await;
            if state.notes().deafened > born {
                std::future::pending::<()>().await; // whoever watches must leave
            }
            let line = line?;
            state.hangs_while_silent().await;
            if let Some(name) = injection_point::of_event(&line) {
                let (_, place) = state.note(name, false, &[]);
                if state.strikes(&place) == Some(Fault::Hide) {
                    state.notes().too_old.push(path);
                    return None;
                }
            }
            let line = state.operator.line(line).await;
            Some((Ok::<_, Infallible>(Bytes::from(line)), (state, lines, path, born)))
        });
        Ok(Response::from_parts(parts, Body::from_stream(passed)))
    }
}

/// Whole lines, each with its end.
fn lines<E>(chunks: impl Stream<Item = Result<Bytes, E>> + Send) -> impl Stream<Item = Vec<u8>> + Send {
    stream::unfold((Box::pin(chunks), Vec::new()), async |(mut chunks, mut rest): (_, Vec<u8>)| {
        loop {
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let after = rest.split_off(end + 1);
                return Some((rest, (chunks, after)));
            }
            // A watch that breaks off is one that ends.
            rest.extend_from_slice(&chunks.next().await?.ok()?);
        }
    })
}
