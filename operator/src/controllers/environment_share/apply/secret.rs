//! Writes and deletes the Secret that holds the code, and says in a sentence why it cannot be written.

use connect_crds::condition::reason;
use connect_crds::{EnvironmentShare, SHARE_CODE_SECRET_TYPE};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::cluster::{FIELD_MANAGER, call, call_opt};
use crate::context::Context;
use crate::controllers::Unwritten;
use crate::controllers::environment_share::code_secret::CodeSecret;
use crate::error::{Error, Refusal};
use crate::names::MAX_NAME;

/// Whether a write is only tried out. A trial passes through quotas, policies and validation like a real write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing is stored.
    Trial,
    /// For real.
    Real,
}

/// Writes the Secret as it should be: the `stored` one is changed, else one is made. Another's is never touched.
///
/// # Errors
/// Outer: the API server did not answer, or nobody could tell from its answer what a human should know. Inner: why the Secret
/// cannot be written.
pub async fn write_secret(
    share: &EnvironmentShare,
    stored: Option<&Secret>,
    wanted: &Secret,
    write: Write,
    context: &Context,
) -> Result<Result<(), Unwritten>, Error> {
    let name = wanted.name_any();
    if name.len() > MAX_NAME {
        let message = format!(
            "the Secret for the code would have a name of {} characters, and {MAX_NAME} are allowed; create the share again with a shorter name, or with codeSecretName",
            name.len()
        );
        return Ok(Err(unwritable(message, true)));
    }
    let secrets: Api<Secret> = Api::namespaced(
        context.common.client.clone(),
        &share.namespace().ok_or(Error::Incomplete("namespace"))?,
    );
    let made = match stored.and_then(ResourceExt::uid) {
        Some(uid) => change(&secrets, Some(&uid), wanted, write).await,
        None if write == Write::Trial => create(&secrets, wanted).await,
        // Nobody had one of this name a moment ago; without force nothing is taken from who has one now.
        None => change(&secrets, None, wanted, write).await,
    };
    let written = match made {
        Err(error) if stored.is_none() && error.is_conflict() => match there(&secrets, &name).await? {
            // It is gone again, or ours and not in the cache yet: the next look knows.
            None => Err(error),
            Some(other) => match foreign(share, &other) {
                Some(why) => return Ok(Err(unwritable(why, true))),
                None => change(&secrets, other.uid().as_deref(), wanted, write).await,
            },
        },
        other => other,
    };
    match written {
        Ok(()) => Ok(Ok(())),
        // Somebody else was faster: the next look sees what is there now.
        Err(error) if error.is_conflict() => Err(error),
        Err(error) => {
            let (why, needs_a_human) = explain(&name, &error);
            Ok(Err(unwritable(why, needs_a_human)))
        }
    }
}

/// Tries to make one where there is none.
async fn create(secrets: &Api<Secret>, wanted: &Secret) -> Result<(), Error> {
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    call(doing(Write::Trial), secrets.create(&params, wanted)).await.map(drop)
}

/// Changes the Secret with this UID, and no successor of it; without one, makes it.
async fn change(
    secrets: &Api<Secret>,
    uid: Option<&str>,
    wanted: &Secret,
    write: Write,
) -> Result<(), Error> {
    let mut wanted = wanted.clone();
    wanted.metadata.uid = uid.map(str::to_owned);
    let mut params = PatchParams::apply(FIELD_MANAGER);
    params.force = uid.is_some();
    params.dry_run = write == Write::Trial;
    call(doing(write), secrets.patch(&wanted.name_any(), &params, &Patch::Apply(&wanted))).await.map(drop)
}

fn doing(write: Write) -> &'static str {
    match write {
        Write::Trial => "trying to write the code's Secret",
        Write::Real => "writing the code's Secret",
    }
}

/// The Secret of this name, whatever its type, which the cache does not have.
async fn there(secrets: &Api<Secret>, name: &str) -> Result<Option<Secret>, Error> {
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    Ok(call("looking for the code's Secret", secrets.list(&params)).await?.items.into_iter().next())
}

/// Why a Secret of our name is not ours to write.
fn foreign(share: &EnvironmentShare, secret: &Secret) -> Option<String> {
    let name = secret.name_any();
    let way_out = "delete or rename it, or create the share again with another codeSecretName";
    if !secret.owner_references().iter().any(|owner| Some(&owner.uid) == share.metadata.uid.as_ref()) {
        return Some(format!("Secret {name} exists already and does not belong to this share; {way_out}"));
    }
    let kind = secret.type_.as_deref().unwrap_or_default();
    (kind != SHARE_CODE_SECRET_TYPE)
        .then(|| format!("Secret {name} has the type {kind} instead of {SHARE_CODE_SECRET_TYPE}; {way_out}"))
}

/// The sentence for what the API server said, and whether only a human can help.
fn explain(name: &str, error: &Error) -> (String, bool) {
    let answer = match error.refusal() {
        Refusal::NamespaceEnds => {
            return (
                format!("Secret {name} cannot be written, because the namespace is being deleted"),
                false,
            );
        }
        Refusal::Immutable => {
            let message = format!("Secret {name} is immutable; delete it, and the operator writes it again");
            return (message, true);
        }
        Refusal::Refused(answer) => {
            format!("the API server refuses Secret {name}, which holds the code: {answer}")
        }
        Refusal::Failed(answer) => {
            return (format!("Secret {name}, which holds the code, cannot be written: {answer}"), false);
        }
    };
    (answer, true)
}

fn unwritable(message: String, needs_a_human: bool) -> Unwritten {
    Unwritten { reason: reason::SECRET_NOT_WRITABLE, message, needs_a_human }
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
    let Some(code) = code else { return Ok(()) };
    let api: Api<Secret> = Api::namespaced(
        context.common.client.clone(),
        &share.namespace().ok_or(Error::Incomplete("namespace"))?,
    );
    let preconditions = Preconditions { uid: code.uid.clone(), resource_version: None };
    let params = DeleteParams::default().preconditions(preconditions);
    match call_opt("deleting the code's Secret", api.delete(&share.code_secret_name(), &params)).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_conflict() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answered(status: serde_json::Value) -> Error {
        let status: Status = serde_json::from_value(status).expect("a status");
        Error::Kube { doing: "writing", source: Box::new(kube::Error::Api(Box::new(status))) }
    }

    #[test]
    fn every_refusal_of_a_secret_has_its_sentence() {
        let status = |code: u16, message: &str, causes: serde_json::Value| {
            answered(serde_json::json!({"status": "Failure", "code": code, "message": message, "reason": "x",
                "details": {"causes": causes}}))
        };
        let ends = serde_json::json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": "namespace shop is being terminated"}]);
        let fixed = serde_json::json!([{"reason": "FieldValueForbidden", "field": "data",
            "message": "Forbidden: field is immutable when `immutable` is set"}]);
        let none = || serde_json::json!([]);
        for (error, sentence, needs_a_human) in [
            (
                status(
                    403,
                    "secrets \"code\" is forbidden: unable to create new content in namespace shop because it is being terminated",
                    ends,
                ),
                "Secret code cannot be written, because the namespace is being deleted",
                false,
            ),
            (
                status(422, "Secret \"code\" is invalid", fixed),
                "Secret code is immutable; delete it, and the operator writes it again",
                true,
            ),
            (
                status(403, "exceeded quota: none", none()),
                "the API server refuses Secret code, which holds the code: exceeded quota: none",
                true,
            ),
            (
                status(500, "etcd is away", none()),
                "Secret code, which holds the code, cannot be written: etcd is away",
                false,
            ),
        ] {
            assert_eq!(explain("code", &error), (sentence.to_owned(), needs_a_human));
        }
    }
}
