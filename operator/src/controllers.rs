//! The controllers, and what they have in common: the loop, the status write, the retry.

pub mod environment_share;
pub mod labelled_service;
pub mod letting_go;
pub mod service_expose;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use connect_crds::condition::{Verdict, kind, reason};
use futures::{StreamExt, future};
use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cluster::{FIELD_MANAGER, call};
use crate::context::{Context, Notice};
use crate::error::{Error, Refusal, chain};
use crate::triggers::Trigger;

/// Reconciliations of one kind under way at once. Enough to hide a hub's latency, few enough not to flood it.
const CONCURRENCY: u16 = 16;

/// An object with nothing to wait for is looked at again this often, as a net under everything that could be missed.
pub const RESYNC: Duration = Duration::from_secs(15 * 60);

/// How long a deletion may wait for the hub, from its request. An object leaves within a minute (I7 in `tests/INVARIANTS.md`).
pub const GIVE_UP: SignedDuration = SignedDuration::from_secs(45);

/// How often the hub is tried until then.
pub const TRY_EVERY: Duration = Duration::from_secs(3);

/// When a share is tried again at a hub that has no room for its services. What we free is told at once, and what others
/// free is in the list that is read every minute; this is the net under both, for hubs that grow (a larger plan).
pub const ROOM_RETRY: Duration = Duration::from_secs(60);

/// When an object is looked at again whose cache has not taken our last write.
const CATCH_UP: Duration = Duration::from_secs(1);

/// What the API server does not let us write, so that a share or route cannot be as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritten {
    /// Condition reason.
    pub reason: &'static str,
    /// The sentence.
    pub message: String,
    /// Whether only a human can help.
    pub needs_a_human: bool,
}

impl Unwritten {
    /// The condition Stalled, while a human is needed.
    pub fn stalled(&self) -> Option<Verdict> {
        self.needs_a_human.then(|| Verdict::yes(kind::STALLED, self.reason, self.message.clone()))
    }

    /// What it means that our finalizer is refused; an answer that says nothing lasting is handed back.
    ///
    /// # Errors
    /// Anything but a refusal.
    pub fn of_finalizer(error: Error) -> Result<Self, Error> {
        let Refusal::Refused(answer) = error.refusal() else { return Err(error) };
        let message = format!(
            "the hub is told nothing, because the API server does not let the operator add its finalizer to this object: {answer}"
        );
        Ok(Self { reason: reason::OBJECT_NOT_WRITABLE, message, needs_a_human: true })
    }
}

/// Runs one controller until `stop`.
pub async fn run<K, Fut>(
    store: Store<K>,
    triggers_rx: mpsc::Receiver<Trigger<K>>,
    context: Arc<Context>,
    stop: CancellationToken,
    reconcile: fn(Arc<K>, Arc<Context>) -> Fut,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let reader = store.clone();
    let triggers = futures::stream::unfold(triggers_rx, async |mut rx| Some((rx.recv().await?, rx)));
    let objects = triggers.flat_map(move |trigger| {
        futures::stream::iter(match trigger {
            Trigger::One(object) => vec![object],
            Trigger::All => reader.state().iter().map(|object| ObjectRef::from_obj(&**object)).collect(),
        })
    });
    Controller::for_stream(futures::stream::pending(), store)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(objects)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(move |object, context| guarded(object, context, reconcile), retry, context)
        .for_each(|_| future::ready(()))
        .await;
}

/// Reconciles only while this replica leads, and counts the outcome.
async fn guarded<K, Fut>(
    object: Arc<K>,
    context: Arc<Context>,
    reconcile: fn(Arc<K>, Arc<Context>) -> Fut,
) -> Result<Action, Error>
where
    K: Resource<DynamicType = ()>,
    Fut: Future<Output = Result<Action, Error>>,
{
    if !context.common.leadership.is_held() {
        return Err(Error::NotLeader);
    }
    if context.ending.has_begun() && object.meta().deletion_timestamp.is_none() {
        // Or it would get back the finalizer that was taken off in time.
        return Ok(Action::await_change());
    }
    if context.own_writes.outrun(&*object) {
        // The change that the cache waits for triggers the next look; this is the net under it.
        return Ok(Action::requeue(CATCH_UP));
    }
    let outcome = reconcile(object.clone(), context.clone()).await;
    if outcome.is_ok() {
        context.backoff.succeeded(&key(&*object));
    }
    let result = outcome.as_ref().err().map_or("Success", Error::reason);
    context.common.reconciliations.ended(&K::kind(&()), result);
    outcome
}

/// When an object that failed is tried again.
#[expect(clippy::needless_pass_by_value, reason = "the signature that kube's Controller asks for")]
fn retry<K: Resource<DynamicType = ()>>(object: Arc<K>, error: &Error, context: Arc<Context>) -> Action {
    let wait = context.backoff.failed(&key(&*object));
    let wait = error.retry_after().map_or(wait, |asked| asked.max(wait));
    tracing::warn!(
        kind = %K::kind(&()),
        namespace = object.meta().namespace,
        name = object.meta().name,
        reason = error.reason(),
        error = chain(error),
        retry_in = ?wait,
        "reconciliation failed"
    );
    Action::requeue(wait)
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{}/{}", K::kind(&()), object.uid().unwrap_or_default())
}

/// Writes a status by server-side apply.
///
/// # Errors
/// The API server refused or did not answer; an object that is gone meanwhile is no error.
pub async fn write_status<K, S>(context: &Context, object: &K, status: &S) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
    S: Serialize,
{
    let api: Api<K> = Api::namespaced(
        context.common.client.clone(),
        &object.namespace().ok_or(Error::Incomplete("namespace"))?,
    );
    // The UID keeps a status from landing on a successor of the same name.
    let mut patch = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "uid": object.uid() },
        "status": status,
    });
    context.common.definitions.leave_out_unknown::<K>(&mut patch);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match call("writing status", api.patch_status(&object.name_any(), &params, &Patch::Apply(&patch))).await {
        Ok(written) => {
            context.own_writes.wrote(&written);
            Ok(())
        }
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => {
            if error.is_unknown_field() {
                context.common.definitions.look_now();
            } else if let Refusal::Refused(answer) = error.refusal() {
                // Status cannot say it, so an Event does.
                let note =
                    format!("the API server does not let the operator write this object's status: {answer}");
                let notice = Notice { warning: true, reason: "StatusNotWritable", action: "Report", note };
                context.tell_once(object, notice).await;
            }
            Err(error)
        }
    }
}

/// As [`write_status`], for an object that is free already: a status that cannot be written holds nobody up.
pub async fn last_words<K, S>(context: &Context, object: &K, status: &S)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
    S: Serialize,
{
    if let Err(error) = write_status(context, object, status).await {
        tracing::warn!(kind = %K::kind(&()), name = object.meta().name, error = chain(&error), "cannot write the last status");
    }
}
