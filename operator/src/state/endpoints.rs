//! The EndpointSlices of headless Services.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::discovery::v1::EndpointSlice;

/// EndpointSlices of headless Services, read when needed and forgotten when one of the Service changes.
#[derive(Debug, Default)]
pub struct Endpoints(Mutex<HashMap<ServiceKey, Arc<Vec<EndpointSlice>>>>);

/// Namespace and name of a Service.
type ServiceKey = (String, String);

impl Endpoints {
    /// What is known of this Service.
    pub fn of(&self, namespace: &str, service: &str) -> Option<Arc<Vec<EndpointSlice>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(namespace.to_owned(), service.to_owned())).cloned()
    }

    /// Keeps what was read of this Service.
    pub fn remember(&self, namespace: &str, service: &str, slices: Arc<Vec<EndpointSlice>>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((namespace.to_owned(), service.to_owned()), slices);
    }

    /// Forgets what is known of this Service.
    pub fn forget(&self, namespace: &str, service: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&(namespace.to_owned(), service.to_owned()));
    }
}
