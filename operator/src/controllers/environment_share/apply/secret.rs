//! Writes and deletes the Secret that holds the code.

use connect_crds::EnvironmentShare;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::cluster::{FIELD_MANAGER, call, call_opt};
use crate::context::Context;
use crate::controllers::environment_share::code_secret::CodeSecret;
use crate::error::Error;
use crate::faults::{Bug, is_planted};

/// Writes the Secret as it should be.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn write_secret(share: &EnvironmentShare, wanted: &Secret, context: &Context) -> Result<(), Error> {
    let api: Api<Secret> =
        Api::namespaced(context.client.clone(), &share.namespace().ok_or(Error::Incomplete("namespace"))?);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    call("writing the code's Secret", api.patch(&wanted.name_any(), &params, &Patch::Apply(wanted))).await?;
    Ok(())
}

/// Deletes the Secret, but only the very one that was read: its code is void.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn delete_secret(
    share: &EnvironmentShare,
    code: Option<&CodeSecret>,
    context: &Context,
) -> Result<(), Error> {
    let Some(code) = code.filter(|_| !is_planted(Bug::LeavesTheSecret)) else { return Ok(()) };
    let api: Api<Secret> =
        Api::namespaced(context.client.clone(), &share.namespace().ok_or(Error::Incomplete("namespace"))?);
    let preconditions = Preconditions { uid: code.uid.clone(), resource_version: None };
    let params = DeleteParams::default().preconditions(preconditions);
    match call_opt("deleting the code's Secret", api.delete(&share.code_secret_name(), &params)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}
