//! The allow-list: the one place that decides whether a dial is answered, and the end of every share.
//!
//! Controllers write it, sessions ask it. Guarantees, whatever the hub says or the API server hides:
//! a service that is not in the list is not dialled; a share is refused from its end on, by the wall clock and not by
//! the timer having fired; and a share that ended, a route that was removed or a target that changed takes its open
//! connections with it. The timer of all ends is one task; it lives as long as the last clone of [`Routes`].

mod connection_guard;
mod mismatches;
mod share_state;
mod table;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use connect_frames::expirations::CLOCK_CHECK;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use self::connection_guard::ConnectionGuard;
use self::mismatches::Alarm;
pub use self::mismatches::Mismatches;
use self::table::{Entry, Table};
pub use self::traffic::{Carried, Traffic};
use crate::clock::Clock;
use crate::code_key::Verification;

/// Ends that a slow listener may lag behind; after a lag it asks [`Routes::ended_reason`] for each share it cares for.
const ENDED_QUEUE: usize = 1024;

/// Names a share within this process. Never its code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareKey(pub String);

/// What may be dialled for one service of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The share this route belongs to; `None` for a route that has no end of its own.
    pub share: Option<ShareKey>,
    /// The name of the service at the hub.
    pub name: String,
    /// The hub's own port for it, as the hub told.
    pub tunnel_port: Option<u16>,
    /// `auto`, `tcp`, `http` or `https`.
    pub protocol: String,
    /// Where to connect; tried in order.
    pub targets: Vec<SocketAddr>,
}

/// Why a share is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its time was up.
    Expired,
    /// It was taken back.
    Revoked,
    /// What it shared is gone.
    Withdrawn,
}

/// A share is over and its connections are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareEnded {
    /// Which.
    pub share: ShareKey,
    /// Why.
    pub why: EndReason,
}

/// Permission to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The service that was asked for.
    pub service_id: Uuid,
    /// Its name, for logs.
    pub name: String,
    /// The only addresses that may be connected.
    pub targets: Vec<SocketAddr>,
}

/// Why a dial is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The service is not in the list.
    #[error("unknown service")]
    UnknownService,
    /// Its share is over.
    #[error("the share has ended")]
    ShareEnded(EndReason),
    /// Its share has no end yet, so nothing of it may be used.
    #[error("the share has not started")]
    EndNotSet,
    /// It leads nowhere at the moment.
    #[error("the service has no address")]
    NoTarget,
}

/// The allow-list. Clones share it.
#[derive(Clone)]
pub struct Routes {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
    /// Timer, `end` --share that is over--> whoever asked.
    ended_tx: broadcast::Sender<ShareEnded>,
    /// Connections --share whose secret one end did not know--> whoever asked.
    mismatched_tx: broadcast::Sender<ShareKey>,
    /// `set`, `remove` --a new number--> sessions, which expose again.
    exposed_tx: watch::Sender<u64>,
    /// `set_end` --wake up--> timer.
    wake: Arc<Notify>,
}

// === impl Routes ===

impl Routes {
    /// An empty list. Starts the timer, so it must be called within a Tokio runtime.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let wake = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            clock,
            table: Mutex::default(),
            ended_tx: broadcast::channel(ENDED_QUEUE).0,
            mismatched_tx: broadcast::channel(ENDED_QUEUE).0,
            exposed_tx: watch::channel(0).0,
            wake: Arc::clone(&wake),
        });
        tokio::spawn(run_timer(Arc::downgrade(&shared), wake));
        Self { shared }
    }

    /// Adds or replaces a route. Connections to targets, or of a share, that are no longer the route's are cut.
    pub fn set(&self, service_id: Uuid, route: Route) {
        let mut table = self.shared.lock();
        let (cut, traffic, told) = match table.services.remove(&service_id) {
            None => (CancellationToken::new(), Arc::default(), true),
            Some(old) if old.route == route => (old.cut, old.traffic, false),
            Some(old) => {
                table.leave_share(service_id, &old.route);
                let told = !old.route.is_exposed_like(&route);
                let kept = old.route.share == route.share && old.route.targets == route.targets;
                let cut = if kept { old.cut } else { old.replace_cut() };
                (cut, old.traffic, told)
            }
        };
        if let Some(share) = &route.share {
            table.shares.entry(share.clone()).or_default().services.insert(service_id);
        }
        table.services.insert(service_id, Entry { route, cut, traffic });
        drop(table);
        if told {
            self.shared.tell_exposed();
        }
    }

    /// Takes a route away and cuts its connections.
    pub fn remove(&self, service_id: Uuid) {
        let mut table = self.shared.lock();
        let Some(entry) = table.services.remove(&service_id) else { return };
        table.leave_share(service_id, &entry.route);
        drop(table);
        entry.cut.cancel();
        self.shared.tell_exposed();
    }

    /// Says what is asked of whoever connects to a share from now on. What was counted of mismatches belongs to the old secrets.
    pub fn set_verification(&self, share: &ShareKey, verification: Verification) {
        let mut table = self.shared.lock();
        let entry = table.shares.entry(share.clone()).or_default();
        if entry.verification.keys != verification.keys {
            entry.mismatches = Arc::default();
        }
        entry.verification = Arc::new(verification);
    }

    /// Connections of a share that knew another secret than its own, or none of those that lead there.
    pub fn mismatches(&self, share: &ShareKey) -> Mismatches {
        let counted = self.shared.lock().shares.get(share).map(|entry| Arc::clone(&entry.mismatches));
        counted
            .map(|counted| counted.lock().unwrap_or_else(PoisonError::into_inner).seen())
            .unwrap_or_default()
    }

    /// Shares with a mismatch from now on: told at the first of a share, and when they repeat.
    pub fn mismatched(&self) -> broadcast::Receiver<ShareKey> {
        self.shared.mismatched_tx.subscribe()
    }

    /// Sets or moves the end of a share. A share that has ended stays ended until [`Routes::forget`].
    pub fn set_end(&self, share: &ShareKey, ends_at: Timestamp) {
        let mut table = self.shared.lock();
        let state = Arc::clone(&table.shares.entry(share.clone()).or_default().state);
        if state.ended().is_some() {
            return;
        }
        state.open_until(ends_at);
        table.expirations.arm(share, ends_at);
        drop(table);
        self.shared.wake.notify_one();
    }

    /// Ends a share now: dials are refused, then connections are cut, then listeners are told. Does nothing twice.
    pub fn end(&self, share: &ShareKey, why: EndReason) {
        let cuts = self.shared.lock().close(share, why);
        if let Some(cuts) = cuts {
            self.shared.finish(share.clone(), why, &cuts);
        }
    }

    /// Forgets a share and its end. Its routes stay, refused until a new end is set.
    pub fn forget(&self, share: &ShareKey) {
        let mut table = self.shared.lock();
        table.expirations.disarm(share);
        let Some(entry) = table.shares.remove(share) else { return };
        entry.state.close(EndReason::Withdrawn);
        let cuts = table.replace_cuts(&entry.services);
        if !entry.services.is_empty() {
            table.shares.entry(share.clone()).or_default().services = entry.services;
        }
        drop(table);
        cuts.iter().for_each(CancellationToken::cancel);
    }

    /// Every share that the list knows of, those that have ended included.
    pub fn shares(&self) -> Vec<ShareKey> {
        self.shared.lock().shares.keys().cloned().collect()
    }

    /// Decides a dial, refusing by default. Has no effect.
    pub fn authorize(&self, service_id: Uuid, now: Timestamp) -> Result<Dial, Refusal> {
        self.shared.lock().authorize(service_id, now)
    }

    /// Shares that end from now on, each told after its connections were cut.
    pub fn ended(&self) -> broadcast::Receiver<ShareEnded> {
        self.shared.ended_tx.subscribe()
    }

    /// Why a share is over, if it is: for those who were not listening at the time.
    pub fn ended_reason(&self, share: &ShareKey) -> Option<EndReason> {
        self.shared.lock().shares.get(share)?.state.refusal(self.shared.clock.now()).and_then(|refusal| {
            match refusal {
                Refusal::ShareEnded(why) => Some(why),
                _ => None,
            }
        })
    }

    /// Changes whenever what a session must expose changes.
    pub fn exposed(&self) -> watch::Receiver<u64> {
        self.shared.exposed_tx.subscribe()
    }

    /// Connections open to a service now, those being opened included.
    pub fn open_connections(&self, service_id: Uuid) -> usize {
        self.shared.lock().services.get(&service_id).map_or(0, |entry| entry.traffic.open())
    }

    /// What every service has carried since its route is here: its name, its share, and the counters.
    pub fn carried(&self) -> Vec<Carried> {
        let one = |entry: &Entry| Carried {
            service: entry.route.name.clone(),
            share: entry.route.share.clone(),
            traffic: Arc::clone(&entry.traffic),
        };
        self.shared.lock().services.values().map(one).collect()
    }

    /// Decides a dial by the clock and, in the same step, ties the connection to the route.
    pub(crate) fn admit(&self, service_id: Uuid) -> Result<(Dial, ConnectionGuard), Refusal> {
        let now = self.shared.clock.now();
        let table = self.shared.lock();
        let dial = table.authorize(service_id, now)?;
        let Some(entry) = table.services.get(&service_id) else { return Err(Refusal::UnknownService) };
        let share = entry.route.share.as_ref().and_then(|share| Some((share, table.shares.get(share)?)));
        let alarm = share.map(|(key, share)| Alarm {
            share: key.clone(),
            clock: Arc::clone(&self.shared.clock),
            counted: Arc::clone(&share.mismatches),
            mismatched_tx: self.shared.mismatched_tx.clone(),
        });
        let verification = share.map(|(_, share)| Arc::clone(&share.verification)).unwrap_or_default();
        let guard = ConnectionGuard::new(
            Arc::clone(&self.shared.clock),
            share.map(|(_, share)| Arc::clone(&share.state)),
            entry.cut.clone(),
            Arc::clone(&entry.traffic),
            (verification, alarm),
        );
        Ok((dial, guard))
    }

    /// Everything a session must expose now.
    pub(crate) fn snapshot(&self) -> HashMap<Uuid, Route> {
        self.shared.lock().services.iter().map(|(id, entry)| (*id, entry.route.clone())).collect()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("services", &self.shared.lock().services.len()).finish_non_exhaustive()
    }
}

// === impl Route ===

impl Route {
    /// Whether the hub is told the same about both.
    pub(super) fn is_exposed_like(&self, other: &Self) -> bool {
        (&self.name, self.tunnel_port, &self.protocol) == (&other.name, other.tunnel_port, &other.protocol)
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // No code under this lock can panic half-way; a poisoned lock would still hold a whole table.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_exposed(&self) {
        self.exposed_tx.send_modify(|version| *version += 1);
    }

    fn finish(&self, share: ShareKey, why: EndReason, cuts: &[CancellationToken]) {
        cuts.iter().for_each(CancellationToken::cancel);
        let _ = self.ended_tx.send(ShareEnded { share, why }); // nobody listening is fine
    }

    /// Ends every share that is due and says how long to wait for the next.
    fn end_due(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut table = self.lock();
        let due = table.expirations.take_due(now);
        let closed: Vec<_> = due
            .into_iter()
            .filter_map(|share| table.close(&share, EndReason::Expired).map(|cuts| (share, cuts)))
            .collect();
        let next = table.expirations.next();
        drop(table);
        for (share, cuts) in closed {
            self.finish(share, EndReason::Expired, &cuts);
        }
        let wait = Duration::try_from(next?.duration_since(now)).unwrap_or(Duration::ZERO);
        Some(wait.min(CLOCK_CHECK))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

// === impl EndReason ===

impl EndReason {
    /// A bounded PascalCase name.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Expired => "Expired",
            Self::Revoked => "Revoked",
            Self::Withdrawn => "Withdrawn",
        }
    }

    fn code(self) -> u8 {
        self as u8 + 1
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Expired, Self::Revoked, Self::Withdrawn].into_iter().find(|why| why.code() == code)
    }
}

/// Ends shares when they are due, for as long as anybody holds the list.
async fn run_timer(shared: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        let wait = match shared.upgrade() {
            Some(shared) => shared.end_due(),
            None => return,
        };
        match wait {
            Some(wait) => tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = wake.notified() => {}
            },
            None => wake.notified().await,
        }
    }
}
