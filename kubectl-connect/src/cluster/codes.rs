//! Share codes: who may read their Secrets sees them, who may not is told so once.

use std::collections::{BTreeMap, BTreeSet};

use connect_crds::{EnvironmentShare, ROTATED_ANNOTATION, SHARE_CODE_SECRET_TYPE, secret_key};
use connect_hub::join_token::{self, JoinToken};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use secrecy::{ExposeSecret, SecretString};

use super::Cluster;
use super::failure::{Call, Kind, is_forbidden};
use crate::failure::Outcome;
use crate::sanitize::Clean;
use crate::settings::format::Format;

/// Secrets read at once where they must be read one by one; the API server's own clients keep to about as many.
const PARALLEL_READS: usize = 8;

/// Printed where several codes may not be shown.
pub const HIDDEN: &str = "[!] Codes are not shown where you do not have permission to read the Secret\n";

/// Why the code of this share is not shown.
pub fn hidden(share: &EnvironmentShare) -> String {
    let secret = Clean::new(&secret_name(share));
    format!("[!] The code is not shown: you do not have permission to read Secret {secret}\n")
}

/// Whether this form of output has codes in it.
pub fn are_shown(format: Format) -> bool {
    !matches!(format, Format::Name | Format::Markdown { show_code: false })
}

/// What a share's Secret says.
#[derive(Clone, Debug)]
pub struct Code {
    /// The code as its hub knows it.
    pub code: SecretString,
    /// What belongs behind it, and no hub is told.
    pub secret: Option<SecretString>,
    /// What a teammate types.
    pub join_command: SecretString,
    /// The wish for a new code that this code answers.
    pub rotation: Option<String>,
}

/// Whether the code may be seen.
#[derive(Clone, Debug)]
pub enum Access {
    /// It may, and is this.
    Granted(Code),
    /// The user may not read the Secret.
    Forbidden,
    /// There is no such Secret, or one that is none of ours.
    Absent,
}

/// Codes by namespace and name of their Secret.
#[derive(Debug, Default)]
pub struct Codes {
    known: BTreeMap<(String, String), Code>,
    forbidden: BTreeSet<(String, String)>,
}

// === impl Code ===

impl Code {
    /// What the Secret says; nothing when it is none of ours. Whoever may create Secrets could otherwise put words into
    /// the command that teammates are told to type.
    fn read(secret: &Secret) -> Option<Self> {
        let text = |key: &str| {
            let bytes = &secret.data.as_ref()?.get(key)?.0;
            std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty()).map(SecretString::from)
        };
        if secret.type_.as_deref() != Some(SHARE_CODE_SECRET_TYPE) {
            return None;
        }
        Some(Self {
            code: text(secret_key::CODE)?,
            secret: text(secret_key::SECRET),
            join_command: text(secret_key::JOIN_COMMAND)?,
            rotation: secret.annotations().get(ROTATED_ANNOTATION).cloned(),
        })
    }

    /// The code that teammates are given, with what no hub is told.
    pub fn full(&self) -> SecretString {
        join_token::full_code(self.code.expose_secret(), self.secret.as_ref())
    }

    /// The word that joins the share wherever its hub is, as the command has it.
    pub fn token(&self) -> SecretString {
        let token = JoinToken::parse(self.join_command.expose_secret()).ok();
        let printed =
            token.and_then(|token| Some(JoinToken::print(self.full().expose_secret(), &token.hub?)));
        printed.map_or_else(|| self.full(), SecretString::from)
    }

    /// Whether this is the code that was typed, whole or as its hub knows it; hubs write codes in lower case.
    pub fn is(&self, typed: &SecretString) -> bool {
        let is = |code: &SecretString| code.expose_secret().eq_ignore_ascii_case(typed.expose_secret());
        is(&self.code) || is(&self.full())
    }

    /// Whether this is the code that was pasted, with what chats and mails put around and into it.
    pub fn is_in(&self, typed: &SecretString) -> bool {
        join_token::is_code(typed.expose_secret(), self.code.expose_secret())
    }
}

// === impl Codes ===

impl Codes {
    /// The code of a share.
    pub fn of(&self, share: &EnvironmentShare) -> Access {
        let key = (share.namespace().unwrap_or_default(), secret_name(share));
        match self.known.get(&key) {
            Some(code) => Access::Granted(code.clone()),
            None if self.forbidden.contains(&key) => Access::Forbidden,
            None => Access::Absent,
        }
    }

    /// Codes as a test wants them: by namespace and name of their Secret.
    #[cfg(test)]
    pub fn of_test<const N: usize>(codes: [((&str, &str), &str); N]) -> Self {
        let known = codes.into_iter().map(|((namespace, name), code)| {
            let code = Code {
                code: code.into(),
                secret: None,
                join_command: "kubectl connect join".into(),
                rotation: None,
            };
            ((namespace.to_owned(), name.to_owned()), code)
        });
        Self { known: known.collect(), forbidden: BTreeSet::new() }
    }

    /// Whether some code may not be seen.
    pub fn some_forbidden(&self) -> bool {
        !self.forbidden.is_empty()
    }
}

/// Reads the code of one share.
///
/// # Errors
/// The cluster did not answer; lacking the right is no error.
pub async fn read_one(cluster: &Cluster, share: &EnvironmentShare) -> Outcome<Access> {
    let namespace = share.namespace().unwrap_or_else(|| cluster.namespace().to_owned());
    let name = secret_name(share);
    let api: Api<Secret> = Api::namespaced(cluster.client(), &namespace);
    let call = Call { verb: "get", kind: Kind::Secret, name: Some(&name), namespace: Some(&namespace) };
    let read = async {
        match api.get(&name).await {
            Ok(secret) => Ok(Code::read(&secret).map_or(Access::Absent, Access::Granted)),
            Err(error) if is_forbidden(&error) => Ok(Access::Forbidden),
            Err(error) => Err(error),
        }
    };
    Ok(cluster.ask_maybe(&call, read).await?.unwrap_or(Access::Absent))
}

/// Reads the codes of `shares` where this form of output needs them. Whoever may not is told only where a code would stand.
///
/// # Errors
/// As [`read_all`].
pub async fn read_for(
    cluster: &Cluster,
    namespace: Option<&str>,
    shares: &[EnvironmentShare],
    format: Format,
) -> Outcome<Codes> {
    if format == Format::Name {
        return Ok(Codes::default());
    }
    let codes = read_all(cluster, namespace, shares).await?;
    if are_shown(format) { Ok(codes) } else { Ok(Codes { forbidden: BTreeSet::new(), ..codes }) }
}

/// Reads the codes of `shares`: with one request where the user may list Secrets, else one by one.
///
/// # Errors
/// The cluster did not answer; lacking the right is no error.
pub async fn read_all(
    cluster: &Cluster,
    namespace: Option<&str>,
    shares: &[EnvironmentShare],
) -> Outcome<Codes> {
    if shares.is_empty() {
        return Ok(Codes::default());
    }
    if let Some(secrets) = list(cluster, namespace).await? {
        let known = secrets.iter().filter_map(|secret| Some((key(secret), Code::read(secret)?))).collect();
        return Ok(Codes { known, forbidden: BTreeSet::new() });
    }
    stream::iter(shares)
        .map(|share| async move { Ok((share, read_one(cluster, share).await?)) })
        .buffer_unordered(PARALLEL_READS)
        .try_fold(Codes::default(), |mut codes, (share, access)| async move {
            let key = (share.namespace().unwrap_or_default(), secret_name(share));
            match access {
                Access::Granted(code) => drop(codes.known.insert(key, code)),
                Access::Forbidden => drop(codes.forbidden.insert(key)),
                Access::Absent => {}
            }
            Ok(codes)
        })
        .await
}

/// All code Secrets; nothing when the user may not list them.
async fn list(cluster: &Cluster, namespace: Option<&str>) -> Outcome<Option<Vec<Secret>>> {
    let api: Api<Secret> = match namespace {
        Some(namespace) => Api::namespaced(cluster.client(), namespace),
        None => Api::all(cluster.client()),
    };
    let call = Call { verb: "list", kind: Kind::Secret, name: None, namespace };
    let params = ListParams::default().fields(&format!("type={SHARE_CODE_SECRET_TYPE}"));
    let read = async {
        match api.list(&params).await {
            Ok(list) => Ok(Some(list.items)),
            Err(error) if is_forbidden(&error) => Ok(None),
            Err(error) => Err(error),
        }
    };
    cluster.ask(&call, read).await
}

fn key(secret: &Secret) -> (String, String) {
    (secret.namespace().unwrap_or_default(), secret.name_any())
}

/// The Secret that status names, or the one it will name.
fn secret_name(share: &EnvironmentShare) -> String {
    let reported = share.status.as_ref().and_then(|status| status.code_secret_name.clone());
    reported.unwrap_or_else(|| share.code_secret_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(type_: &str, data: &serde_json::Value) -> Secret {
        let json = serde_json::json!({
            "metadata": {"name": "demo-share-code", "namespace": "staging"}, "type": type_, "stringData": {}, "data": data
        });
        serde_json::from_value(json).expect("a secret")
    }

    #[test]
    fn only_secrets_of_our_type_with_both_keys_hold_a_code() {
        // "abc123" and "kubectl connect join abc123" in base64.
        let data =
            serde_json::json!({"code": "YWJjMTIz", "joinCommand": "a3ViZWN0bCBjb25uZWN0IGpvaW4gYWJjMTIz"});
        let code = Code::read(&secret(SHARE_CODE_SECRET_TYPE, &data)).expect("a code");
        assert_eq!(code.join_command.expose_secret(), "kubectl connect join abc123");
        assert_eq!(code.token().expose_secret(), "abc123");
        let elsewhere = Code {
            join_command: "kubectl connect join 'https://hub.example.com/#abc123'".into(),
            ..code.clone()
        };
        assert_eq!(elsewhere.token().expose_secret(), "https://hub.example.com/#abc123");
        let whole = Code { secret: Some("abcdefghjkmnpqrs".into()), ..code.clone() };
        assert_eq!(whole.token().expose_secret(), "abc123+abcd-efgh-jkmn-pqrs");
        assert!(whole.is(&"abc123".into()) && whole.is(&"ABC123+abcd-efgh-jkmn-pqrs".into()));
        assert!(whole.is_in(&"'abc123+abcdefghjkmnpqrs'".into()) && !whole.is(&"abc123+abcd".into()));
        assert!(code.is(&"ABC123".into()) && !code.is(&"abc124".into()));
        assert!(
            code.is_in(&"'abc-123'.".into()) && !code.is_in(&"abc-124".into()) && !code.is(&"abc-123".into())
        );
        assert!(!format!("{code:?}").contains("abc123"), "the code is a secret");
        assert!(Code::read(&secret("Opaque", &data)).is_none());
        assert!(
            Code::read(&secret(SHARE_CODE_SECRET_TYPE, &serde_json::json!({"code": "YWJjMTIz"}))).is_none()
        );
    }
}
