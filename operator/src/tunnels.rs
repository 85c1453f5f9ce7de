//! The hubs in use: one connection for each hub and key, shared by all objects that name it.

mod connection;
mod directory;
mod problem;
mod shared;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use connect_crds::Mark;
use connect_hub::tunnel::Memory;
use connect_hub::tunnel::routes::{EndReason, ShareKey};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use connection::HubConnection;
pub use directory::{KnownService, hub_share_name};
pub use problem::{HubProblem, HubState};
pub use shared::service_key;

use crate::credentials::{HubEndpoint, IdentityStore};
use crate::metrics::HubCalls;

/// Changes at hubs that controllers have not yet taken. A controller that falls behind looks at everything once instead.
const CHANGES_CAPACITY: usize = 1024;

/// Something at a hub that an object should know of.
#[derive(Clone, Debug)]
pub enum HubChange {
    /// The hub came up, went away, has other services than we knew, or room again.
    Hub,
    /// The hub says something new of one share: it was joined, or closed.
    Share(Mark),
    /// Another process uses our identity.
    Replaced,
    /// The data plane ended one share, because its time is up.
    Expired(ShareKey),
}

/// All hub connections of this process.
pub struct Hubs {
    client: Client,
    own_namespace: String,
    own: HubEndpoint,
    connections: Mutex<HashMap<String, Arc<HubConnection>>>,
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
        client: Client,
        own_namespace: &str,
        own: HubEndpoint,
        memory: Memory,
        stop: CancellationToken,
    ) -> Self {
        Self {
            client,
            own_namespace: own_namespace.to_owned(),
            own,
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
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
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
        if let Some(connection) = connections.get(&key) {
            return connection.clone();
        }
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.own_namespace);
        let identities = IdentityStore::new(secrets, &key, &endpoint.url);
        let connection = Arc::new(HubConnection::new(
            endpoint,
            self.calls.clone(),
            self.memory.clone(),
            self.changes_tx.clone(),
        ));
        self.tasks.spawn(connection.clone().run(identities, self.stop.clone()));
        connections.insert(key, connection.clone());
        connection
    }
}
