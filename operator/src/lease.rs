//! One active replica: a Lease that is taken before the first write and given back at the end.
//!
//! The holder renews every [`RENEW_EVERY`]. A replica that could not renew for [`LEASE_SECONDS`], be it for a dead API server or
//! because the process was frozen, changes nothing any more: [`Leadership::is_held`] is asked before every reconciliation, and
//! [`fenced`] before every write. It goes on carrying bytes and ending shares by the clock, and changes things again once it
//! has renewed. Leadership is lost only to another replica, which takes the Lease after it has watched one renewal stand still for as
//! long, or takes our place at the hub ([`Leadership::lose`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use connect_crds::{NAMESPACES_ANNOTATION, VERSION_ANNOTATION};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::clock;
use crate::cluster::{call, call_opt};
use crate::error::Error;

/// Name of the Lease.
pub const LEASE_NAME: &str = connect_crds::OPERATOR_LEASE;

/// How long a Lease holds without renewal, in seconds. A crashed leader is replaced within this and one look.
const LEASE_SECONDS: i32 = 8;

/// How often the holder renews: three tries fit into the Lease's life.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// How often a waiting replica looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a renewal counts for the holder, who stops a second before others may start.
const LIFE: Duration = Duration::from_secs(LEASE_SECONDS as u64 - 1);

/// Proof of leadership, to be asked before every write.
#[derive(Clone, Debug)]
pub struct Leadership {
    renewed: Arc<Mutex<Renewed>>,
    /// Cancelled when leadership is lost.
    lost: CancellationToken,
}

/// When the last renewal was sent, by both clocks: the wall clock goes on while the machine sleeps, and the other one when
/// somebody sets the wall clock back.
#[derive(Clone, Copy, Debug)]
struct Renewed {
    wall: Timestamp,
    monotonic: Instant,
}

impl Leadership {
    /// Renewed this moment.
    fn now() -> Self {
        Self { renewed: Arc::new(Mutex::new(Renewed::now())), lost: CancellationToken::new() }
    }

    /// Whether this replica is the leader now, by the age of its last renewal.
    pub fn is_held(&self) -> bool {
        let Renewed { wall, monotonic } = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = clock::now().duration_since(wall) < SignedDuration::try_from(LIFE).unwrap_or_default()
            && monotonic.elapsed() < LIFE;
        fresh && !self.lost.is_cancelled()
    }

    /// Gives leadership up: another replica has shown that it leads.
    pub fn lose(&self) {
        self.lost.cancel();
    }

    fn renewed(&self, sent: Renewed) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = sent;
    }

    /// Completes when leadership is lost.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Renewed {
    fn now() -> Self {
        Self { wall: clock::now(), monotonic: Instant::now() }
    }
}

/// The same client, which changes nothing while leadership is not held.
pub fn fenced(client: &Client, leadership: &Leadership) -> Client {
    let (inner, leadership) = (client.clone(), leadership.clone());
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let (client, leadership) = (inner.clone(), leadership.clone());
        async move {
            if *request.method() != http::Method::GET && !leadership.is_held() {
                return Err(BoxError::from(Error::NotLeader));
            }
            client.send(request).await.map_err(BoxError::from)
        }
    });
    Client::new(service, client.default_namespace())
}

/// Takes the Lease, waiting as long as another replica holds it. `pod` is the name of our Pod, where we have one: its container
/// before us has ended, or there were no us, so nobody waits for that one's Lease to run out. `served` are the namespaces that
/// we serve, none of them for all.
/// `answered` is set once the API server has let us look at the Lease.
///
/// # Errors
/// Only when `stop` was asked for first ([`Error::NotLeader`]); failing calls are tried again.
pub async fn acquire(
    client: &Client,
    namespace: &str,
    replica: &str,
    pod: Option<&str>,
    served: &[String],
    answered: &AtomicBool,
    stop: &CancellationToken,
) -> Result<Leadership, Error> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let mut seen: Option<(Option<MicroTime>, Instant)> = None;
    let mut told = false;
    loop {
        let tried = try_acquire(&api, replica, pod, served, &mut seen).await;
        if tried.is_ok() {
            answered.store(true, Ordering::Release);
        }
        match tried {
            Ok(true) => break,
            Ok(false) if !told => {
                tracing::info!("another replica holds the lease; waiting for it");
                told = true;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = crate::error::chain(&error), "cannot take the lease; trying again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return Err(Error::NotLeader),
        }
    }
    tracing::info!(replica, "holds the lease");
    Ok(Leadership::now())
}

/// Takes the Lease from whoever holds it, and returns once that replica leads no more by its own clock. `afterwards` is how long
/// others wait, in seconds, once it is renewed no longer.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn seize(
    client: &Client,
    namespace: &str,
    replica: &str,
    afterwards: i32,
) -> Result<Leadership, Error> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    loop {
        let lease = call_opt("reading the lease", api.get(LEASE_NAME)).await?;
        let before = lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let transitions = before.lease_transitions.unwrap_or(0).saturating_add(1);
        let mut spec = held_by(replica, transitions, Timestamp::now());
        spec.lease_duration_seconds = Some(afterwards);
        let written = match lease {
            Some(lease) => {
                let lease = Lease { spec: Some(spec), ..lease };
                call("taking the lease", api.replace(LEASE_NAME, &PostParams::default(), &lease)).await
            }
            None => {
                let metadata = ObjectMeta { name: Some(LEASE_NAME.to_owned()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(spec) };
                call("creating the lease", api.create(&PostParams::default(), &lease)).await
            }
        };
        // Lost to a renewal; the next try is faster.
        if won(written)? {
            if before.holder_identity.is_some_and(|holder| !holder.is_empty()) {
                tokio::time::sleep(Duration::from_secs(LEASE_SECONDS.unsigned_abs().into())).await;
            }
            return renew(&api, replica, Timestamp::now()).await.map(|_| Leadership::now());
        }
    }
}

/// Renews until `stop`, then gives the Lease back; ends early, with leadership lost, when another replica has taken it.
pub async fn keep(
    client: Client,
    namespace: String,
    replica: String,
    leadership: Leadership,
    stop: CancellationToken,
) {
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut was_held = true;
    loop {
        tokio::select! {
            () = tokio::time::sleep(RENEW_EVERY) => {}
            () = stop.cancelled() => {
                leadership.lost.cancel();
                release(&api, &replica).await;
                return;
            }
        }
        if was_held && !leadership.is_held() {
            tracing::warn!(
                "the lease ran out; connections go on, and nothing is changed until it is renewed"
            );
        }
        was_held = leadership.is_held();
        let sent = Renewed::now();
        match renew(&api, &replica, sent.wall).await {
            Ok(true) => leadership.renewed(sent),
            Ok(false) => {
                tracing::error!("another replica has taken the lease");
                leadership.lost.cancel();
                return;
            }
            Err(error) => {
                tracing::warn!(error = crate::error::chain(&error), "cannot renew the lease; trying again");
            }
        }
    }
}

/// One try to take the Lease. `seen` is the renewal last observed and when, by our own monotonic clock.
async fn try_acquire(
    api: &Api<Lease>,
    replica: &str,
    pod: Option<&str>,
    served: &[String],
    seen: &mut Option<(Option<MicroTime>, Instant)>,
) -> Result<bool, Error> {
    let Some(mut lease) = call_opt("reading the lease", api.get(LEASE_NAME)).await? else {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(LEASE_NAME.to_owned()),
                annotations: Some(about_us(served)),
                ..ObjectMeta::default()
            },
            spec: Some(held_by(replica, 0, Timestamp::now())),
        };
        return won(call("creating the lease", api.create(&PostParams::default(), &lease)).await);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.as_deref();
    let ours = holder == Some(replica);
    let free =
        holder.is_none_or(|holder| holder.is_empty() || pod.is_some_and(|pod| is_life_of(holder, pod)));
    if !ours && !free {
        let life = Duration::from_secs(
            u64::try_from(spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS)).unwrap_or(0),
        );
        match seen {
            Some((renewal, since)) if *renewal == spec.renew_time => {
                if since.elapsed() < life {
                    return Ok(false);
                }
            }
            _ => {
                *seen = Some((spec.renew_time, Instant::now()));
                return Ok(false);
            }
        }
    }
    lease.spec = Some(held_by(
        replica,
        spec.lease_transitions.unwrap_or(0).saturating_add(i32::from(!ours)),
        Timestamp::now(),
    ));
    let annotations = lease.metadata.annotations.get_or_insert_default();
    annotations.remove(NAMESPACES_ANNOTATION);
    annotations.extend(about_us(served));
    // The object's resourceVersion makes this fail when another replica was faster.
    won(call("taking the lease", api.replace(LEASE_NAME, &PostParams::default(), &lease)).await)
}

/// One renewal; `false` when another replica holds the Lease.
async fn renew(api: &Api<Lease>, replica: &str, now: Timestamp) -> Result<bool, Error> {
    let mut lease = call("reading the lease", api.get(LEASE_NAME)).await?;
    let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(replica))
    else {
        return Ok(false);
    };
    spec.renew_time = Some(MicroTime(now));
    won(call("renewing the lease", api.replace(LEASE_NAME, &PostParams::default(), &lease)).await)
}

/// Gives the Lease back, so that another replica need not wait for its end. Best effort.
async fn release(api: &Api<Lease>, replica: &str) {
    let given_back = async {
        let mut lease = call("reading the lease", api.get(LEASE_NAME)).await?;
        if let Some(spec) =
            lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(replica))
        {
            spec.holder_identity = None;
            call("giving the lease back", api.replace(LEASE_NAME, &PostParams::default(), &lease)).await?;
        }
        Ok::<(), Error>(())
    };
    if let Err(error) = given_back.await {
        tracing::warn!(
            error = crate::error::chain(&error),
            "cannot give the lease back; it runs out by itself"
        );
    }
}

/// What whoever looks for the operator wants to know of it.
fn about_us(served: &[String]) -> BTreeMap<String, String> {
    let mut about = BTreeMap::from([(VERSION_ANNOTATION.to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    if !served.is_empty() {
        about.insert(NAMESPACES_ANNOTATION.to_owned(), served.join(","));
    }
    about
}

/// The name of a replica in the Lease; with a random part, so that a restarted process is another holder than its ghost.
pub fn name(host: &str) -> String {
    format!("{host}_{}", uuid::Uuid::new_v4().simple())
}

/// Whether the holder is a replica of this name.
fn is_life_of(holder: &str, host: &str) -> bool {
    holder.rsplit_once('_').is_some_and(|(name, _)| name == host)
}

fn held_by(replica: &str, transitions: i32, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(replica.to_owned()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}

/// Losing a race is an answer, not an error.
fn won(result: Result<Lease, Error>) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewed(ago: SignedDuration) -> Leadership {
        let renewed = Renewed { wall: Timestamp::now() - ago, ..Renewed::now() };
        Leadership { renewed: Arc::new(Mutex::new(renewed)), lost: CancellationToken::new() }
    }

    #[test]
    fn a_resumed_leader_knows_that_it_leads_no_more() {
        assert!(renewed(SignedDuration::from_secs(1)).is_held());
        assert!(!renewed(SignedDuration::from_secs(60)).is_held());
    }

    #[test]
    fn a_renewal_counts_again_after_the_clock_was_stepped() {
        let leadership = renewed(SignedDuration::from_hours(1));
        assert!(!leadership.is_held());
        leadership.renewed(Renewed::now());
        assert!(leadership.is_held());
    }

    #[test]
    fn lost_is_lost() {
        let leadership = renewed(SignedDuration::ZERO);
        leadership.lose();
        assert!(!leadership.is_held());
    }

    #[test]
    fn an_earlier_life_of_a_pod_is_known_by_the_whole_of_its_name() {
        assert!(is_life_of(&name("operator-0"), "operator-0"));
        assert!(is_life_of("my_host_1f", "my_host"));
        for holder in [name("operator-01"), name("operator"), "operator-0".to_owned(), String::new()] {
            assert!(!is_life_of(&holder, "operator-0"), "{holder}");
        }
        assert_ne!(name("operator-0"), name("operator-0"), "two lives are two holders");
    }
}
