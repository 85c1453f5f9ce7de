//! Fetches what an EnvironmentShare names; judges nothing.
//!
//! Everything comes from caches; only the addresses of a headless Service may cost a call, once until they change.

use std::sync::Arc;

use connect_crds::{EnvironmentShare, ServiceExpose};
use connect_hub::client::ShareRow;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::code_secret::{self, CodeSecret};
use super::names::service_prefix;
use crate::context::Context;
use crate::credentials::HubSecretProblem;
use crate::error::Error;
use crate::target::{Problem, Target};
use crate::tunnels::{HubConnection, HubState, KnownService, Mark};

/// What the spec names, as it is now.
pub struct Found {
    /// The hub, and what can be said of it.
    pub hub: Result<(Arc<HubConnection>, HubState), HubSecretProblem>,
    /// The namespace's ServiceExposes with where they lead, by name.
    pub exposes: Vec<(Arc<ServiceExpose>, Result<Target, Problem>)>,
    /// The code's Secret as stored, when it is this share's.
    pub stored_secret: Option<Arc<Secret>>,
    /// What that Secret says.
    pub code: Option<CodeSecret>,
    /// Shares with this object's mark at the hub, oldest first.
    pub rows: Vec<ShareRow>,
    /// Services at the hub that are this share's, by their names there.
    pub services: Vec<(String, KnownService)>,
}

/// Fetches what the spec names.
///
/// # Errors
/// The API server did not answer, or the object lacks its UID or namespace.
pub async fn dereference(share: &EnvironmentShare, context: &Context) -> Result<Found, Error> {
    let namespace = share.namespace().ok_or(Error::Incomplete("namespace"))?;
    let uid = share.uid().ok_or(Error::Incomplete("uid"))?;
    let hub = context.hub(&namespace, share.spec.hub_ref.as_ref());
    let mut exposes = Vec::new();
    for expose in context.exposes_of(&namespace) {
        let target = context.target(&expose).await?;
        exposes.push((expose, target));
    }
    let secret = context.stores.codes.get(&ObjectRef::new(&share.code_secret_name()).within(&namespace));
    let code = secret.as_deref().and_then(|secret| code_secret::read(secret, share));
    let (rows, services) = match &hub {
        Ok(hub) => hub.with_directory(|directory| {
            (directory.shares(&Mark::of(&uid)).to_vec(), directory.services_below(&service_prefix(share)))
        }),
        Err(_) => (Vec::new(), Vec::new()),
    };
    let hub = hub.map(|hub| {
        let state = hub.state();
        (hub, state)
    });
    let stored_secret = secret.filter(|_| code.is_some());
    Ok(Found { hub, exposes, stored_secret, code, rows, services })
}
