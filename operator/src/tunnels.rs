//! The hubs in use: one connection for each hub and key, shared by all objects that name it.

mod connection;
mod directory;
mod problem;
mod reused;
mod shared;
mod token;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use connect_crds::ShareMarker;
use connect_hub::tunnel::Memory;
use connect_hub::tunnel::routes::{EndReason, ShareKey};
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use kube::{Api, Client};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use connection::HubConnection;
pub use directory::{KnownService, hub_share_name, signature_of};
pub use problem::{HubProblem, HubState};
pub use shared::{Use, service_key};

use crate::allowed_hubs::AllowedHubs;
use crate::cluster::call_opt;
use crate::credentials::{HubEndpoint, IdentityStore};
use crate::error::{Error, chain};
use crate::origin::Origin;
use crate::state::HubCalls;

/// Changes at hubs that controllers have not yet taken. A controller that falls behind looks at everything once instead.
const CHANGES_CAPACITY: usize = 1024;

/// Something at a hub that an object should know of.
#[derive(Clone, Debug)]
pub enum HubChange {
    /// The hub came up, went away, has other services than we knew, or room again.
    Hub,
    /// The hub says something new of one share: it was joined, or closed.
    Share(ShareMarker),
    /// Another process uses our identity.
    Replaced,
    /// The data plane ended one share, because its time is up.
    Expired(ShareKey),
    /// Somebody connected to a share, or to a service in common, without knowing its secret.
    Mismatch(ShareKey),
}

/// Where the operator keeps what it knows of itself.
#[derive(Clone)]
pub struct Home {
    /// The API server.
    pub client: Client,
    /// The operator's own namespace.
    pub namespace: String,
    /// What tells it from a copy elsewhere.
    pub origin: Origin,
}

/// A connection, and how it is left.
struct Kept {
    connection: Arc<HubConnection>,
    identities: IdentityStore,
    stop: CancellationToken,
}

/// All hub connections of this process.
pub struct Hubs {
    home: Home,
    own: HubEndpoint,
    allowed: Arc<AllowedHubs>,
    connections: Mutex<HashMap<String, Kept>>,
    calls: Arc<HubCalls>,
    memory: Memory,
    /// HubConnection --changes--> controllers
    changes_tx: broadcast::Sender<HubChange>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Hubs {
    /// No connection yet. `own` is the operator's own hub; all of them share the memory.
    pub fn new(
        home: Home,
        own: HubEndpoint,
        allowed: AllowedHubs,
        memory: Memory,
        stop: CancellationToken,
    ) -> Self {
        Self {
            home,
            own,
            allowed: Arc::new(allowed),
            connections: Mutex::default(),
            calls: Arc::default(),
            memory,
            changes_tx: broadcast::Sender::new(CHANGES_CAPACITY),
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Room for bytes that wait for Services.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What is counted of calls to hubs.
    pub fn calls(&self) -> &HubCalls {
        &self.calls
    }

    /// The connection to the operator's own hub.
    pub fn own(&self) -> Arc<HubConnection> {
        self.connect(self.own.clone(), String::new())
    }

    /// The connection to the hub that a Secret names.
    pub fn other(&self, endpoint: HubEndpoint) -> Arc<HubConnection> {
        let fingerprint = endpoint.fingerprint();
        self.connect(endpoint, fingerprint)
    }

    /// Every connection made so far.
    pub fn all(&self) -> Vec<Arc<HubConnection>> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.values().map(|kept| kept.connection.clone()).collect()
    }

    /// Which hubs objects may name.
    pub fn allowed(&self) -> &AllowedHubs {
        &self.allowed
    }

    /// The fingerprints of all hubs but the operator's own.
    pub fn others(&self) -> Vec<String> {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.keys().filter(|fingerprint| !fingerprint.is_empty()).cloned().collect()
    }

    /// Leaves a hub that nobody uses any more, and forgets who we were there. What the hub does not hear ends there by itself.
    pub async fn leave(&self, fingerprint: &str) {
        let kept = self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(fingerprint);
        let Some(Kept { connection, identities, stop }) = kept else { return };
        tracing::info!(hub = %connection.url(), "no object names the hub any more; leaving it");
        connection.take_everything_back().await;
        stop.cancel();
        if let Err(error) = identities.delete().await {
            tracing::warn!(
                secret = identities.name(),
                error = chain(&error),
                "cannot delete the identity Secret of a hub that was left"
            );
        }
    }

    /// Deletes identity Secrets of hubs that no object names, which an earlier life has left.
    ///
    /// # Errors
    /// The API server refused or did not answer.
    pub async fn forget_identities(&self, used: &HashSet<String>) -> Result<(), Error> {
        let Home { client, namespace, .. } = &self.home;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        for name in crate::credentials::identities_without_hub(&secrets, used).await? {
            call_opt("deleting the identity Secret", secrets.delete(&name, &DeleteParams::default())).await?;
            tracing::info!(secret = name, "deleted the identity Secret of a hub that no object names");
        }
        Ok(())
    }

    /// Refuses a share's dials and cuts its connections, at whatever hub they are.
    pub fn end_share(&self, share: &ShareKey, why: EndReason) {
        for hub in self.all() {
            hub.end_share(share, why);
        }
    }

    /// Cuts what is left of a share whose object is gone, and forgets it.
    pub fn forget_share(&self, share: &ShareKey) {
        for hub in self.all() {
            hub.forget_share(share);
        }
    }

    /// As [`Self::forget_share`], for every share of which `is_known` says no.
    pub fn forget_unknown(&self, is_known: impl Fn(&ShareKey) -> bool) {
        for hub in self.all() {
            for share in hub.routes().shares().iter().filter(|share| !is_known(share)) {
                self.forget_share(share);
            }
        }
    }

    /// What happens at hubs from now on.
    pub fn changes(&self) -> broadcast::Receiver<HubChange> {
        self.changes_tx.subscribe()
    }

    /// Leaves every hub and waits for that; bounded by the connections' own deadlines.
    pub async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The connection of this key: a fingerprint, or nothing for the operator's own hub.
    fn connect(&self, endpoint: HubEndpoint, key: String) -> Arc<HubConnection> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = connections.get(&key) {
            return kept.connection.clone();
        }
        let Home { client, namespace, origin } = &self.home;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let identities = IdentityStore::new(secrets, &key, &endpoint.url, origin.clone());
        let connection = Arc::new(HubConnection::new(
            endpoint,
            (!key.is_empty()).then(|| self.allowed.clone()),
            self.calls.clone(),
            self.memory.clone(),
            self.changes_tx.clone(),
        ));
        let stop = self.stop.child_token();
        self.tasks.spawn(connection.clone().run(identities.clone(), stop.clone()));
        connections.insert(key, Kept { connection: connection.clone(), identities, stop });
        connection
    }
}
