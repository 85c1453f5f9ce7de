//! One hub: entered once, kept connected, its lists read again every minute.
//!
//! The task behind it ([`HubConnection::run`]: `entry`, then `upkeep`) does all the talking that no single object asks for:
//! identity, registration, tunnel, lists, token. What objects ask for (a share, its end) is asked by their reconcilers
//! through [`HubConnection::entered`].

mod entry;
mod expirations;
mod secrets;
mod upkeep;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use connect_crds::Maker;
use connect_hub::client::{Client, Deleted, Features};
use connect_hub::tunnel::routes::{Routes, ShareKey};
use connect_hub::tunnel::{Memory, Tunnel};
use connect_hub::url::HubUrl;
use jiff::SignedDuration;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::allowed_hubs::AllowedHubs;
use crate::clock::Wall;
use crate::credentials::HubEndpoint;
use crate::faults::point;
use crate::retry_delays::RetryDelays;
use crate::state::HubCalls;
use crate::tunnels::HubChange;
use crate::tunnels::directory::{Directory, KnownService};
use crate::tunnels::problem::{HubProblem, HubState};
use crate::tunnels::reused::ReusedServices;
use crate::tunnels::shared::SharedServices;

/// Key of the only entry in this connection's backoff.
const THIS: &str = "hub";

/// Longest life of a share, in hours, that a hub takes which takes whole hours only (`operator/hub/PROTOCOL.md`, part 1).
const LONGEST_HOURS: u32 = 168;

/// A hub, its tunnel, and what it said it has.
pub struct HubConnection {
    endpoint: HubEndpoint,
    /// Where it may lead, for a hub that an object has named.
    allowed: Option<Arc<AllowedHubs>>,
    client: OnceLock<Client>,
    calls: Arc<HubCalls>,
    memory: Memory,
    routes: Routes,
    state_tx: watch::Sender<HubState>,
    entered: RwLock<Option<Entered>>,
    directory: Mutex<Directory>,
    tunnel: OnceLock<Tunnel>,
    shared: Mutex<SharedServices>,
    reused: Mutex<ReusedServices>,
    commons: tokio::sync::Mutex<()>,
    drawn: Mutex<secrets::Drawn>,
    /// Shares of which it was told that somebody did not know their secret.
    told_mismatches: Mutex<HashSet<ShareKey>>,
    /// HubConnection --changes--> controllers
    changes_tx: broadcast::Sender<HubChange>,
    backoff: RetryDelays,
    /// Turned off when the hub turns out to have no way to delete a service.
    deletes_services: AtomicBool,
    /// A creation was asked for and not answered, and the lists were not read since.
    unanswered: AtomicBool,
    /// The hub has said that it has no room for another service, and none was freed since.
    full: AtomicBool,
    /// The most hours that it takes for a share.
    longest_hours: AtomicU32,
}

/// What is known once the hub has been entered.
#[derive(Clone, Debug)]
struct Entered {
    agent: Uuid,
    maker: Maker,
    features: Features,
}

// === impl HubConnection ===

impl HubConnection {
    /// Not connected yet; [`Self::run`] does that.
    pub fn new(
        endpoint: HubEndpoint,
        allowed: Option<Arc<AllowedHubs>>,
        calls: Arc<HubCalls>,
        memory: Memory,
        changes_tx: broadcast::Sender<HubChange>,
    ) -> Self {
        Self {
            endpoint,
            allowed,
            client: OnceLock::new(),
            calls,
            memory,
            routes: Routes::new(Arc::new(Wall)),
            state_tx: watch::Sender::new(HubState::Starting),
            entered: RwLock::default(),
            directory: Mutex::default(),
            tunnel: OnceLock::new(),
            shared: Mutex::default(),
            reused: Mutex::default(),
            commons: tokio::sync::Mutex::default(),
            drawn: Mutex::default(),
            told_mismatches: Mutex::default(),
            changes_tx,
            backoff: RetryDelays::default(),
            deletes_services: AtomicBool::new(true),
            unanswered: AtomicBool::new(false),
            full: AtomicBool::new(false),
            longest_hours: AtomicU32::new(LONGEST_HOURS),
        }
    }

    /// What can be said of the hub now.
    pub fn state(&self) -> HubState {
        self.state_tx.borrow().clone()
    }

    /// The hub's URL, as this process reaches it.
    pub fn url(&self) -> &HubUrl {
        &self.endpoint.url
    }

    /// The hub's URL, as teammates reach it.
    pub fn public_url(&self) -> &HubUrl {
        &self.endpoint.public_url
    }

    fn agent(&self) -> Option<Uuid> {
        self.entered.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|entered| entered.agent)
    }

    /// Who we are in the names of what we make there; `None` until the hub was entered.
    pub fn maker(&self) -> Option<Maker> {
        let entered = self.entered.read().unwrap_or_else(PoisonError::into_inner);
        entered.as_ref().map(|entered| entered.maker.clone())
    }

    /// The HTTP API and who we are there; `None` until the hub was entered.
    pub fn entered(&self) -> Option<(&Client, Uuid)> {
        Some((self.client.get()?, self.agent()?))
    }

    /// Whether the hub can do this.
    pub fn has(&self, feature: &str) -> bool {
        self.entered
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(|entered| entered.features.has(feature))
    }

    /// What may be dialled.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The tunnel, once there is one.
    pub fn tunnel(&self) -> Option<&Tunnel> {
        self.tunnel.get()
    }

    /// Looks into, or changes, what the hub said it has.
    pub fn with_directory<T>(&self, look: impl FnOnce(&mut Directory) -> T) -> T {
        look(&mut self.directory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Longest life of a share at a hub that takes whole hours only, as far as known.
    pub fn longest(&self) -> SignedDuration {
        SignedDuration::from_hours(i64::from(self.longest_hours.load(Ordering::Relaxed)))
    }

    /// Notes that the hub has refused a share of more hours than these.
    pub fn keeps_at_most(&self, hours: u32) {
        self.longest_hours.store(hours, Ordering::Relaxed);
    }

    /// Looks into, or changes, which share uses a service that was made for another.
    pub fn with_reused<T>(&self, look: impl FnOnce(&mut ReusedServices) -> T) -> T {
        look(&mut self.reused.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a share is over everywhere, so that another may use what it used.
    pub fn gives_back(&self, share: &ShareKey) {
        self.with_reused(|reused| reused.leaves(share));
        if !self.deletes_services() {
            self.has_room();
        }
    }

    /// Whether the hub can delete services, as far as known.
    pub fn deletes_services(&self) -> bool {
        self.deletes_services.load(Ordering::Relaxed)
    }

    /// Cuts a service's connections and frees its row at the hub, where the hub can.
    ///
    /// # Errors
    /// The hub refused or did not answer; the connections are cut all the same.
    pub async fn free_service(&self, name: &str, known: KnownService) -> Result<(), connect_hub::Error> {
        self.routes.remove(known.id);
        self.with_reused(|reused| reused.give_back(name));
        if let Some(client) = self.client.get().filter(|_| self.deletes_services()) {
            match point("deleting a service", client.delete_service(known.id)).await? {
                Deleted::Done | Deleted::Absent => {
                    self.with_directory(|directory| directory.forget_service(name));
                    self.has_room();
                }
                Deleted::Unsupported => self.deletes_services.store(false, Ordering::Relaxed),
            }
        }
        Ok(())
    }

    /// Notes that a creation failed, so that the hub may have made what we know nothing of.
    pub fn was_not_answered(&self) {
        self.unanswered.store(true, Ordering::Release);
    }

    /// Reads the lists, if they may lack what an unanswered creation has made.
    ///
    /// # Errors
    /// The hub refused or did not answer.
    pub async fn catch_up(&self) -> Result<(), connect_hub::Error> {
        if self.unanswered.load(Ordering::Acquire) {
            self.read_lists().await?;
        }
        Ok(())
    }

    /// What a failed call means for the object that needed it.
    pub fn problem(&self, error: &connect_hub::Error) -> HubProblem {
        let problem = HubProblem::of(&self.endpoint.url, error);
        if !problem.is_no_room() {
            return problem;
        }
        self.full.store(true, Ordering::Release);
        if self.deletes_services() {
            problem
        } else {
            HubProblem::no_room_for_good(&self.endpoint.url, error)
        }
    }

    /// Wakes whoever waits for room, if anybody does.
    fn has_room(&self) {
        if self.full.swap(false, Ordering::AcqRel) {
            self.tell(HubChange::Hub);
        }
    }

    fn tell(&self, change: HubChange) {
        // Nobody listens before the caches are filled; everything is looked at then anyway.
        let _ = self.changes_tx.send(change);
    }
}
