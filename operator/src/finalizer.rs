//! Our finalizer on an object: put there before the hub is told anything, taken off when the hub has been told of the end.

use std::fmt::Debug;

use connect_crds::FINALIZER;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::cluster::{FIELD_MANAGER, call};
use crate::context::Context;
use crate::error::Error;

/// Whether the finalizer is on the object.
pub fn is_on(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|name| name == FINALIZER)
}

/// Puts the finalizer on.
///
/// # Errors
/// The API server refused (also: the object has changed meanwhile) or did not answer.
pub async fn add<K>(object: &K, context: &Context) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    set(object, context, "adding the finalizer", finalizers).await
}

/// Takes the finalizer off; succeeds when the object is gone already.
///
/// # Errors
/// The API server refused (also: the object has changed meanwhile) or did not answer.
pub async fn remove<K>(object: &K, context: &Context) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let finalizers: Vec<String> =
        object.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
    if finalizers.len() == object.finalizers().len() {
        return Ok(());
    }
    match set(object, context, "removing the finalizer", finalizers).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Replaces the list. The resourceVersion in the patch makes it fail when somebody else has changed the object, so that no
/// other's finalizer is lost.
async fn set<K>(
    object: &K,
    context: &Context,
    doing: &'static str,
    finalizers: Vec<String>,
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(
        context.common.client.clone(),
        &object.namespace().ok_or(Error::Incomplete("namespace"))?,
    );
    let patch = serde_json::json!({
        "metadata": { "resourceVersion": object.resource_version(), "uid": object.uid(), "finalizers": finalizers }
    });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = call(doing, api.patch(&object.name_any(), &params, &Patch::Merge(&patch))).await?;
    context.own_writes.wrote(&written);
    Ok(())
}
