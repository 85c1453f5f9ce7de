//! Where this operator lives: what a copy of its Secrets in another cluster does not share.
//!
//! Backups and GitOps copy Secrets from cluster to cluster. A copied identity would make two operators one agent at the hub: each
//! would take the other's socket, and close the other's shares as orphans. So an identity says for which namespace, by its
//! UID, it was made, and is not used elsewhere. The UID is the API server's to give; nothing that is restored keeps it.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

use crate::cluster::{call, call_opt};
use crate::error::{Error, chain};
use crate::lease::LEASE_NAME;
use crate::retry_delays::RetryDelays;

/// Key of the only entry in the backoff.
const THIS: &str = "origin";

/// What tells this place from a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    namespace: Option<String>,
    lease: Option<String>,
}

/// Whether what was written down elsewhere was written down here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It was, as far as can be told.
    Here,
    /// It was not.
    Elsewhere,
}

// === impl Origin ===

impl Origin {
    /// Reads it, and tries until the API server answers.
    pub async fn read(client: &Client, namespace: &str) -> Self {
        let backoff = RetryDelays::default();
        loop {
            match Self::read_once(client, namespace).await {
                Ok(origin) => return origin,
                Err(error) => {
                    let wait: Duration = backoff.failed(THIS);
                    tracing::warn!(
                        error = chain(&error),
                        "cannot tell where this operator lives; trying again"
                    );
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn read_once(client: &Client, namespace: &str) -> Result<Self, Error> {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let found =
            match call_opt("reading the operator's namespace", namespaces.get_metadata(namespace)).await {
                // Roles of an earlier chart do not allow it; the Lease, which is ours to read, says it as well.
                Err(error) if error.is_refusal() => None,
                found => found?,
            };
        let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
        let lease = call("reading the operator's Lease", leases.get_metadata(LEASE_NAME)).await?;
        Ok(Self { namespace: found.and_then(|found| found.uid()), lease: lease.uid() })
    }

    /// How it is written down: by the namespace where that may be read, else by the Lease.
    pub fn written(&self) -> String {
        match (&self.namespace, &self.lease) {
            (Some(uid), _) => format!("namespace/{uid}"),
            (None, Some(uid)) => format!("lease/{uid}"),
            (None, None) => String::new(),
        }
    }

    /// Whether `written` was written down here. What cannot be compared is believed.
    pub fn place_of(&self, written: &str) -> Place {
        let same = match written.split_once('/') {
            Some(("namespace", uid)) => self.namespace.as_ref().is_none_or(|ours| ours == uid),
            Some(("lease", uid)) => self.lease.as_ref().is_none_or(|ours| ours == uid),
            _ => true,
        };
        if same { Place::Here } else { Place::Elsewhere }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(namespace: Option<&str>, lease: Option<&str>) -> Origin {
        Origin { namespace: namespace.map(str::to_owned), lease: lease.map(str::to_owned) }
    }

    #[test]
    fn a_copy_in_another_cluster_is_told_from_the_original() {
        let here = origin(Some("n1"), Some("l1"));
        let copy = origin(Some("n2"), Some("l2"));
        assert_eq!(here.written(), "namespace/n1");
        assert_eq!(here.place_of(&here.written()), Place::Here);
        assert_eq!(copy.place_of(&here.written()), Place::Elsewhere);

        // Where the namespace may not be read, the Lease tells; a permission that comes or goes changes nothing.
        let blind = origin(None, Some("l1"));
        assert_eq!(blind.written(), "lease/l1");
        assert_eq!(here.place_of(&blind.written()), Place::Here);
        assert_eq!(copy.place_of(&blind.written()), Place::Elsewhere);
        assert_eq!(blind.place_of(&here.written()), Place::Here);
        assert_eq!(here.place_of("garbage"), Place::Here);
    }
}
