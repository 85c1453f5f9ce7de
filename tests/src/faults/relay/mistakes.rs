//! Mistakes that an operator could make, made for it between it and its relays: what it asks is changed before a relay notes it,
//! and what it hears afterwards. The operator knows nothing of them; its clock and its log make three of them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Method, Response, StatusCode, Uri, header, request};
use connect_crds::FINALIZER;
use serde_json::{Value, json};

use super::upstream::refusal;
use super::{MAX_BODY, PAUSE, State};

/// How a hub is told that a share has ended.
const CLOSE: &str = "DELETE /v1/env-shares/:id";

/// By this a clock is behind by which no share ends, in seconds.
const NEVER_ENDS: &str = "-86400";

/// By this a clock is ahead that nobody steps, in seconds.
const NOT_STEPPED: &str = "0";

/// How often another's Lease is taken for ours before the truth is heard: for so long that what was refused while the Lease had run
/// out is tried again.
const LIES: usize = 3;

/// Mistakes that can be made, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// A share is created at the hub without looking for one, and without an idempotency key.
    CreatesBlindly,
    /// What was found at the hub more than once is left there.
    KeepsDuplicates,
    /// Status says Active before the code is in its Secret.
    StatusBeforeSecret,
    /// Connections are cut only after the hub was told of the end: until then the operator does not hear of a revocation.
    CutsLast,
    /// The data plane does not end a share by itself; only a reconciliation does.
    EndsByReconciliation,
    /// A stepped clock is not noticed by the data plane.
    MissesClockSteps,
    /// A deletion waits for the hub for ever.
    WaitsForTheHub,
    /// The hub is told of a share while the object may vanish unnoticed.
    NoFinalizer,
    /// The object goes although the hub was not told.
    LetsGoTooSoon,
    /// A list of which a page failed counts as complete.
    SweepsOnPartialLists,
    /// The code is logged at debug level.
    LogsTheCode,
    /// The code is told in an Event.
    TellsTheCode,
    /// The Secret outlives the share.
    LeavesTheSecret,
    /// Status is written whether it differs or not.
    WritesStatusAlways,
    /// A start makes a new identity although one is stored.
    ForgetsItsIdentity,
    /// A leader whose Lease ran out goes on.
    IgnoresTheLease,
    /// A new end is written into the Secret and not told to the hub.
    ExtendsOnlyHere,
}

/// An operator that makes a mistake, or none, and what has passed that its mistake depends on.
#[derive(Default)]
pub struct Mistaken {
    mistake: Option<Mistake>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Codes that creations at the hub were answered with.
    created: HashSet<String>,
    /// The code that was last written into a Secret.
    written: Option<String>,
    /// Writes of Secrets that wait for a status.
    held: Vec<Asked>,
    /// Paths of the Secrets whose first write has waited.
    waited: HashSet<String>,
    /// The hub has heard of an end.
    closed: bool,
    /// The Lease as it was when it was last ours.
    lease: Option<Value>,
    /// How often another's Lease was taken for ours.
    mistook: usize,
}

/// What an operator asks.
#[derive(Clone)]
pub(super) struct Asked {
    /// What it is called.
    pub name: String,
    /// Method, path and headers.
    pub parts: request::Parts,
    /// The whole body.
    pub body: Bytes,
}

// === impl Mistake ===

impl Mistake {
    /// By how many seconds the data plane's clock is ahead, where that is the mistake.
    pub fn data_clock(self) -> Option<&'static str> {
        match self {
            Self::EndsByReconciliation => Some(NEVER_ENDS),
            Self::MissesClockSteps => Some(NOT_STEPPED),
            _ => None,
        }
    }

    /// Whether the mistake is to log what is written.
    pub fn logs_bodies(self) -> bool {
        self == Self::LogsTheCode
    }
}

// === impl Mistaken ===

impl Mistaken {
    /// An operator that makes this mistake, or none.
    pub fn new(mistake: Option<Mistake>) -> Arc<Self> {
        Arc::new(Self { mistake, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks what this operator asks instead, and answers what it understands.
    pub(super) async fn ask(&self, state: &Arc<State>, asked: Asked) -> Result<Response<Body>> {
        use Mistake as M;
        let Some(mistake) = self.mistake else { return state.pass(asked).await };
        self.note(&asked);
        let (name, method) = (asked.name.clone(), asked.parts.method.clone());
        let answer = match mistake {
            M::CreatesBlindly if method == Method::POST => {
                state.pass(asked.without("idempotency-key")).await?
            }
            M::CreatesBlindly if name == "GET /v1/env-shares" => {
                let created = self.known().created.clone();
                let was_told = |row: &Value| row["code"].as_str().is_some_and(|code| created.contains(code));
                rewritten(state.pass(asked).await?, |list| retain(&mut list["shares"], was_told)).await?
            }
            M::KeepsDuplicates if name == CLOSE && !self.has_made(&asked) => heard(&json!({})),
            M::StatusBeforeSecret => self.status_first(state, asked).await?,
            M::WaitsForTheHub if changes_finalizers(&asked, false) && !self.known().closed => {
                refusal(409, true)
            }
            M::NoFinalizer if changes_finalizers(&asked, true) => unguarded(state, asked).await?,
            M::LetsGoTooSoon if method == Method::DELETE => or_else(state.pass(asked).await, &json!({})),
            M::SweepsOnPartialLists if name == "list environmentshares" => {
                or_else(state.pass(asked).await, &no_shares())
            }
            M::TellsTheCode if name.starts_with("create events") => {
                let code = self.known().written.clone();
                state.pass(asked.rewritten(|event| event["note"] = json!(code))?).await?
            }
            M::LeavesTheSecret if name.starts_with("delete secrets ") => {
                heard(&json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
            }
            M::WritesStatusAlways if name == "list environmentshares" => {
                rewritten(state.pass(asked).await?, |list| {
                    list["items"].as_array_mut().into_iter().flatten().for_each(misread);
                })
                .await?
            }
            M::ForgetsItsIdentity => forgetful(state, asked).await?,
            M::IgnoresTheLease if name.contains(" leases") => self.own_lease(state, asked).await?,
            M::ExtendsOnlyHere if name.starts_with("PATCH /v1/env-shares") => {
                let end = asked.json()["expiresAt"].clone();
                let asked = asked.rewritten(|change| {
                    change.as_object_mut().map(|change| change.remove("expiresAt"));
                })?;
                rewritten(state.pass(asked).await?, |answer| answer["share"]["expiresAt"] = end).await?
            }
            _ => state.pass(asked).await?,
        };
        self.learn(&name, answer).await
    }

    /// A line of a watch as this operator reads it, once it does.
    pub(super) async fn line(&self, line: Vec<u8>) -> Vec<u8> {
        if !matches!(self.mistake, Some(Mistake::CutsLast | Mistake::WritesStatusAlways)) {
            return line;
        }
        let Ok(mut event) = serde_json::from_slice::<Value>(&line) else { return line };
        if event["object"]["kind"] != "EnvironmentShare" {
            return line;
        }
        if self.mistake == Some(Mistake::WritesStatusAlways) {
            misread(&mut event["object"]);
            return format!("{event}\n").into_bytes();
        }
        while event["object"]["spec"]["revoked"] == true && !self.known().closed {
            tokio::time::sleep(PAUSE).await;
        }
        line
    }

    /// Remembers a code that is written into a Secret.
    fn note(&self, asked: &Asked) {
        let code = asked.json()["data"]["code"].as_str().and_then(decoded);
        if asked.name.starts_with("patch secrets ") && code.is_some() {
            self.known().written = code;
        }
    }

    /// Remembers what the hub has said.
    async fn learn(&self, name: &str, answer: Response<Body>) -> Result<Response<Body>> {
        if !answer.status().is_success() || (name != "POST /v1/env-shares" && name != CLOSE) {
            return Ok(answer);
        }
        self.known().closed |= name == CLOSE;
        rewritten(answer, |answer| {
            self.known().created.extend(answer["share"]["code"].as_str().map(str::to_owned));
        })
        .await
    }

    /// Whether the share of this path is one that a creation was answered with.
    fn has_made(&self, asked: &Asked) -> bool {
        let code = asked.parts.uri.path().rsplit('/').next().unwrap_or_default();
        self.known().created.contains(code)
    }

    /// The first write of each code's Secret comes after the status that follows it.
    async fn status_first(&self, state: &Arc<State>, asked: Asked) -> Result<Response<Body>> {
        let is_code = asked.name.starts_with("patch secrets ") && asked.name.ends_with("-share-code");
        if is_code && self.known().waited.insert(asked.parts.uri.path().to_owned()) {
            let answer = heard(&asked.json());
            self.known().held.push(asked);
            return Ok(answer);
        }
        let is_status = asked.name.starts_with("patch environmentshares/status ");
        let answer = state.pass(asked).await?;
        let held = if is_status { std::mem::take(&mut self.known().held) } else { Vec::new() };
        for write in held {
            state.pass(write).await?;
        }
        Ok(answer)
    }

    /// The Lease, which is ours, whoever holds it.
    async fn own_lease(&self, state: &Arc<State>, asked: Asked) -> Result<Response<Body>> {
        let (name, renewed) = (asked.name.clone(), asked.json());
        let is_renewal = name.starts_with("update ") && renewed["spec"]["holderIdentity"].is_string();
        if is_renewal && self.known().mistook > 0 {
            return Ok(heard(&renewed));
        }
        let answer = state.pass(asked).await?;
        if !answer.status().is_success() {
            return Ok(answer);
        }
        rewritten(answer, |lease| {
            // Its metadata alone may be asked for, which tells of nobody.
            let Some(holder) = lease["spec"]["holderIdentity"].as_str() else { return };
            let mut known = self.known();
            match &known.lease {
                Some(was) if was["spec"]["holderIdentity"] != holder => {
                    if known.mistook < LIES {
                        *lease = was.clone();
                        known.mistook += 1;
                    }
                }
                _ => known.lease = Some(lease.clone()),
            }
        })
        .await
    }
}

// === impl Asked ===

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn rewritten(mut self, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let mut body = serde_json::from_slice(&self.body).context("it is JSON")?;
        change(&mut body);
        self.body = Bytes::from(body.to_string());
        Ok(self.without(header::CONTENT_LENGTH.as_str()))
    }

    fn without(mut self, header: &str) -> Self {
        self.parts.headers.remove(header);
        self
    }
}

/// Whether this puts our finalizer on an object, or takes it off.
fn changes_finalizers(asked: &Asked, on: bool) -> bool {
    let is_object = ["patch environmentshares ", "patch serviceexposes "]
        .iter()
        .any(|begin| asked.name.starts_with(begin));
    let finalizers = asked.json()["metadata"]["finalizers"].clone();
    is_object && finalizers.as_array().is_some_and(|names| names.iter().any(|name| name == FINALIZER) == on)
}

/// The object as it would be with the finalizer, which is not put on.
async fn unguarded(state: &Arc<State>, asked: Asked) -> Result<Response<Body>> {
    let finalizers = asked.json()["metadata"]["finalizers"].clone();
    let asked = asked.rewritten(|patch| {
        patch["metadata"].as_object_mut().map(|metadata| metadata.remove("finalizers"));
    })?;
    rewritten(state.pass(asked).await?, |object| object["metadata"]["finalizers"] = finalizers).await
}

/// The stored identity is not found, and another takes its place.
async fn forgetful(state: &Arc<State>, asked: Asked) -> Result<Response<Body>> {
    const IDENTITY: &str = "private-connect-identity";
    if asked.name == format!("get secrets {IDENTITY}") {
        return Ok(refusal(StatusCode::NOT_FOUND.as_u16(), true));
    }
    if asked.name == "create secrets" && asked.json()["metadata"]["name"] == IDENTITY {
        let mut stored = asked.clone().without(header::CONTENT_LENGTH.as_str());
        let path = format!("{}/{IDENTITY}", asked.parts.uri.path());
        stored.parts.uri = path.parse::<Uri>().context("a path")?;
        stored.parts.method = Method::DELETE;
        stored.name = format!("delete secrets {IDENTITY}");
        stored.body = Bytes::new();
        state.pass(stored).await?;
    }
    state.pass(asked).await
}

/// Changes a status so that it is never what the operator would write.
fn misread(share: &mut Value) {
    if let Some(message) = share.pointer_mut("/status/conditions/0/message") {
        *message = json!("misread");
    }
}

fn retain(list: &mut Value, keep: impl Fn(&Value) -> bool) {
    if let Some(rows) = list.as_array_mut() {
        rows.retain(keep);
    }
}

fn no_shares() -> Value {
    json!({ "kind": "EnvironmentShareList", "apiVersion": "connect.privateconnect.co/v1alpha1", "metadata": {}, "items": [] })
}

fn decoded(base64: &str) -> Option<String> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    String::from_utf8(BASE64_STANDARD.decode(base64).ok()?).ok()
}

/// A good answer with this body.
fn heard(body: &Value) -> Response<Body> {
    let mut answer = Response::new(Body::from(body.to_string()));
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

/// The answer if it is a good one, or else a good one with this body.
fn or_else(answer: Result<Response<Body>>, body: &Value) -> Response<Body> {
    answer.ok().filter(|answer| answer.status().is_success()).unwrap_or_else(|| heard(body))
}

/// An answer with another body, where it is JSON.
async fn rewritten(answer: Response<Body>, change: impl FnOnce(&mut Value)) -> Result<Response<Body>> {
    let (mut parts, body) = answer.into_parts();
    let body = to_bytes(body, MAX_BODY).await.context("the answer breaks off")?;
    let Ok(mut json) = serde_json::from_slice::<Value>(&body) else {
        return Ok(Response::from_parts(parts, Body::from(body)));
    };
    change(&mut json);
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, Body::from(json.to_string())))
}
