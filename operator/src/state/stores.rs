//! The caches.

use std::sync::{Arc, Mutex};

use connect_crds::{EnvironmentShare, ServiceExpose};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::runtime::reflector::Store;

/// The caches, each kept by one watch. Services and Secrets are cut down to what is used before they are stored.
#[derive(Clone)]
pub struct Stores {
    /// Every ServiceExpose served.
    pub exposes: Store<ServiceExpose>,
    /// Every EnvironmentShare served.
    pub shares: Store<EnvironmentShare>,
    /// Every Service, without what is not used.
    pub services: Store<Service>,
    /// Secrets of type `connect.privateconnect.co/share-code`.
    pub codes: Store<Secret>,
    /// Secrets of type `connect.privateconnect.co/hub`.
    pub hub_secrets: Store<Secret>,
}

/// The caches of every scope.
pub type AllStores = Arc<Mutex<Vec<Stores>>>;
