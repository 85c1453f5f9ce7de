//! Waiting for the operator: a watch on one object, with a deadline that a verdict may bring closer.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Cluster;
use super::failure::{Call, is_forbidden};
use crate::failure::Outcome;

/// What an observer makes of the object as it is now.
pub enum Step<T> {
    /// This is what was waited for.
    Done(T),
    /// Wait on.
    Wait,
    /// Wait on, but not longer than this from when it was first said without a `Wait` between.
    WaitAtMost(Duration),
}

impl<T> Step<T> {
    /// The same, of something made from what was waited for.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Step<U> {
        match self {
            Step::Done(done) => Step::Done(make(done)),
            Step::Wait => Step::Wait,
            Step::WaitAtMost(limit) => Step::WaitAtMost(limit),
        }
    }
}

/// How waiting ended.
pub enum Waited<K, T> {
    /// The observer is content.
    Done(T),
    /// The deadline passed; the object as last seen, if it was.
    DeadlinePassed(Option<K>),
}

/// Shows every state of the object `name` to `observe` until it is content or the deadline passes. `None` means that
/// the object does not exist.
///
/// # Errors
/// The user may not watch. Anything that may mend itself is waited out.
pub async fn watch<K, T>(
    cluster: &Cluster,
    api: Api<K>,
    call: &Call<'_>,
    name: &str,
    limit: Duration,
    mut observe: impl FnMut(Option<&K>) -> Step<T>,
) -> Outcome<Waited<K, T>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let deadline = Instant::now() + limit;
    let mut patience: Option<Instant> = None;
    let mut last = None;
    let mut states = pin!(watcher::watch_object(api, name).default_backoff());
    loop {
        let until = patience.map_or(deadline, |patience| patience.min(deadline));
        let Ok(next) = tokio::time::timeout_at(until, states.next()).await else {
            return Ok(Waited::DeadlinePassed(last));
        };
        match next {
            Some(Ok(state)) => {
                last = state;
                match observe(last.as_ref()) {
                    Step::Done(done) => return Ok(Waited::Done(done)),
                    Step::Wait => patience = None,
                    Step::WaitAtMost(limit) => {
                        patience.get_or_insert(Instant::now() + limit);
                    }
                }
            }
            Some(Err(error)) => refuse_if_forbidden(cluster, &error, call)?,
            None => return Ok(Waited::DeadlinePassed(last)),
        }
    }
}

pub(super) fn refuse_if_forbidden(cluster: &Cluster, error: &watcher::Error, call: &Call<'_>) -> Outcome<()> {
    let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) = error else {
        return Ok(());
    };
    if is_forbidden(cause) { Err(cluster.failure(cause, call)) } else { Ok(()) }
}
