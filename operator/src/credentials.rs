//! Who we are at a hub, and where a hub is: the identity Secret and hub Secrets.
//!
//! An identity is never made anew while one is stored: the hub knows our shares by it, and a new one could neither list nor
//! close them.

use std::sync::Arc;

use connect_crds::{IDENTITY_SECRET, Maker, secret_key};
use connect_hub::identity::Identity;
use connect_hub::url::{HubUrl, InsecureHttp};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cluster::{FIELD_MANAGER, call, call_opt};
use crate::error::Error;
use crate::names::hex;
use crate::origin::{Origin, Place};

/// Type of identity Secrets.
const IDENTITY_SECRET_TYPE: &str = "connect.privateconnect.co/identity";

/// Bytes of a fingerprint, 64 bits: no two hub Secrets of a cluster have the same by accident or by trying.
const FINGERPRINT_BYTES: usize = 8;

/// Hexadecimal digits of the fingerprints in names of earlier versions' identity Secrets.
const OLD_FINGERPRINT_DIGITS: usize = 8;

/// Tokens kept after they were rotated. A hub that was set back to an older copy of its data still knows one of them; a token
/// lives for a month, so these reach a quarter of a year back.
const PREVIOUS_TOKENS: usize = 3;

/// Keys of an identity Secret.
mod key {
    pub(super) use connect_crds::secret_key::{AGENT_ID, API_KEY, HUB_URL};
    pub(super) const TOKEN: &str = "token";
    pub(super) const TOKEN_EXPIRES_AT: &str = "tokenExpiresAt";
    /// Tokens before this one, newest first, one a line.
    pub(super) const PREVIOUS_TOKENS: &str = "previousTokens";
    /// Where the identity was made.
    pub(super) const ORIGIN: &str = "origin";
}

/// A hub and how it is entered.
#[derive(Clone)]
pub struct HubEndpoint {
    /// Where this process connects.
    pub url: HubUrl,
    /// Where teammates connect; the same, but for an embedded hub.
    pub public_url: HubUrl,
    /// An API key of the hub's workspace.
    pub api_key: Option<SecretString>,
    /// PEM certificates of a private CA.
    pub ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for HubEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubEndpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

impl HubEndpoint {
    /// A short name for hub and key together: two Secrets that say the same share one connection.
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(self.url.as_str());
        digest.update([0]);
        digest.update(self.api_key.as_ref().map_or("", |key| key.expose_secret()));
        digest.update([0]);
        digest.update(self.ca.as_deref().unwrap_or_default());
        hex(&digest.finalize()[..FINGERPRINT_BYTES])
    }
}

/// Why a hub Secret cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubSecretProblem {
    /// No Secret of the needed type and name.
    #[error("there is no Secret {0} of type {ty} in this namespace", ty = connect_crds::HUB_SECRET_TYPE)]
    NotFound(String),
    /// A key is missing.
    #[error("Secret {secret} has no key {key}")]
    MissingKey {
        /// The Secret.
        secret: String,
        /// The missing key.
        key: &'static str,
    },
    /// The operator does not go to that hub.
    #[error("the hub of Secret {secret} may not be used: {why}")]
    NotAllowed {
        /// The Secret.
        secret: String,
        /// Why not.
        why: String,
    },
    /// The URL cannot be used.
    #[error("the url in Secret {secret} cannot be used: {why}")]
    BadUrl {
        /// The Secret.
        secret: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The hub that a Secret of type `connect.privateconnect.co/hub` names.
///
/// # Errors
/// A key is missing or the URL cannot be used.
pub fn hub_endpoint(secret: &Secret, insecure: InsecureHttp) -> Result<HubEndpoint, HubSecretProblem> {
    let name = secret.name_any();
    let url = text(secret, secret_key::URL)
        .ok_or(HubSecretProblem::MissingKey { secret: name.clone(), key: secret_key::URL })?;
    let api_key = text(secret, secret_key::API_KEY)
        .ok_or(HubSecretProblem::MissingKey { secret: name.clone(), key: secret_key::API_KEY })?;
    let url = HubUrl::parse(&url, insecure)
        .map_err(|error| HubSecretProblem::BadUrl { secret: name, why: error.to_string() })?;
    let ca =
        secret.data.as_ref().and_then(|data| data.get(secret_key::CA)).map(|ByteString(pem)| pem.clone());
    Ok(HubEndpoint { public_url: url.clone(), url, api_key: Some(SecretString::from(api_key)), ca })
}

/// A value of a Secret as text without surrounding white space; `None` when absent, empty or not UTF-8.
pub fn text(secret: &Secret, key: &str) -> Option<String> {
    let ByteString(bytes) = secret.data.as_ref()?.get(key)?;
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// What an identity Secret holds.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Agent id and token.
    pub identity: Identity,
    /// When the token runs out, as far as known.
    pub token_expires_at: Option<Timestamp>,
    /// The tokens before this one, newest first.
    pub previous_tokens: Vec<SecretString>,
    /// Where it was made; earlier versions did not say.
    pub origin: Option<String>,
}

// === impl Stored ===

impl Stored {
    /// Somebody new.
    pub fn new(origin: &Origin) -> Self {
        Self {
            identity: Identity::generate(),
            token_expires_at: None,
            previous_tokens: Vec::new(),
            origin: Some(origin.written()).filter(|written| !written.is_empty()),
        }
    }

    /// Takes another token, and keeps the one before for a while.
    pub fn replace_token(&mut self, token: SecretString, expires_at: Timestamp) {
        let before = std::mem::replace(&mut self.identity.token, token);
        self.previous_tokens.insert(0, before);
        self.previous_tokens.truncate(PREVIOUS_TOKENS);
        self.token_expires_at = Some(expires_at);
    }

    /// Who this is in the names of what it makes at the hub.
    pub fn maker(&self) -> Maker {
        Maker::of(self.origin.as_deref().unwrap_or_default(), &self.identity.agent_id.to_string())
    }
}

/// Why no identity is made in place of one that cannot be read.
const UNREADABLE_IDENTITY: Error =
    Error::Incomplete("agentId or token in the identity Secret; restore or delete it");

/// The identity Secret of one hub.
#[derive(Clone)]
pub struct IdentityStore {
    api: Api<Secret>,
    name: String,
    /// What an earlier version called the Secret.
    old_name: Option<String>,
    hub: Arc<str>,
    origin: Origin,
}

impl IdentityStore {
    /// The store for the operator's own hub (`fingerprint` is empty) or for another.
    pub fn new(api: Api<Secret>, fingerprint: &str, hub: &HubUrl, origin: Origin) -> Self {
        let name_of = |fingerprint: &str| format!("{IDENTITY_SECRET}-{fingerprint}");
        let (name, old_name) = match fingerprint {
            "" => (IDENTITY_SECRET.to_owned(), None),
            _ => (name_of(fingerprint), fingerprint.get(..OLD_FINGERPRINT_DIGITS).map(name_of)),
        };
        Self { api, name, old_name, hub: hub.as_str().into(), origin }
    }

    /// Where identities are made that this store makes.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The stored identity, or a new one that is stored before it is returned.
    ///
    /// # Errors
    /// The API server refused or did not answer. An unreadable Secret is an error too, never a reason for a new identity.
    pub async fn load_or_create(&self) -> Result<Stored, Error> {
        if let Some(secret) = call_opt("reading the identity Secret", self.api.get(&self.name)).await? {
            return self.keep_if_ours(read_identity(&secret).ok_or(UNREADABLE_IDENTITY)?).await;
        }
        if let Some(stored) = self.move_old().await? {
            return self.keep_if_ours(stored).await;
        }
        let stored = Stored::new(&self.origin);
        let secret = self.secret(&stored);
        match call("creating the identity Secret", self.api.create(&PostParams::default(), &secret)).await {
            Ok(_) => Ok(stored),
            Err(error) if error.is_conflict() => {
                let secret = call("reading the identity Secret", self.api.get(&self.name)).await?;
                self.keep_if_ours(read_identity(&secret).ok_or(UNREADABLE_IDENTITY)?).await
            }
            Err(error) => Err(error),
        }
    }

    /// An identity that was made here; in place of one that was copied from elsewhere a new one.
    async fn keep_if_ours(&self, stored: Stored) -> Result<Stored, Error> {
        let kept = match stored.origin.as_deref().map(|origin| self.origin.place_of(origin)) {
            Some(Place::Here) => return Ok(stored),
            Some(Place::Elsewhere) => {
                tracing::warn!(
                    secret = self.name, agent = %stored.identity.agent_id,
                    "the identity Secret was copied from another cluster or namespace, where its agent may be at work; this operator becomes another agent"
                );
                Stored::new(&self.origin)
            }
            // Of an earlier version.
            None => Stored { origin: Some(self.origin.written()), ..stored },
        };
        self.save(&kept).await?;
        Ok(kept)
    }

    /// Takes over the Secret of an earlier version, which knew hub and key by half as many digits.
    async fn move_old(&self) -> Result<Option<Stored>, Error> {
        let Some(old_name) = &self.old_name else { return Ok(None) };
        let Some(secret) = call_opt("reading the identity Secret", self.api.get(old_name)).await? else {
            return Ok(None);
        };
        // Half as many digits may be another hub's as well.
        let Some(stored) =
            read_identity(&secret).filter(|_| text(&secret, key::HUB_URL).as_deref() == Some(&*self.hub))
        else {
            return Ok(None);
        };
        self.save(&stored).await?;
        let preconditions = Preconditions { uid: secret.uid(), resource_version: None };
        let params = DeleteParams::default().preconditions(preconditions);
        if let Err(error) =
            call_opt("deleting the old identity Secret", self.api.delete(old_name, &params)).await
        {
            tracing::warn!(
                secret = old_name,
                error = crate::error::chain(&error),
                "cannot delete an identity Secret that was moved"
            );
        }
        Ok(Some(stored))
    }

    /// Deletes the Secret: nobody is this agent any more.
    ///
    /// # Errors
    /// The API server refused or did not answer.
    pub async fn delete(&self) -> Result<(), Error> {
        call_opt("deleting the identity Secret", self.api.delete(&self.name, &DeleteParams::default()))
            .await?;
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stores an identity in place of the one that is there.
    ///
    /// # Errors
    /// The API server refused or did not answer.
    pub async fn save(&self, stored: &Stored) -> Result<(), Error> {
        let secret = self.secret(stored);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        call("writing the identity Secret", self.api.patch(&self.name, &params, &Patch::Apply(&secret)))
            .await?;
        Ok(())
    }

    fn secret(&self, stored: &Stored) -> Secret {
        let mut data = std::collections::BTreeMap::from([
            (key::AGENT_ID.to_owned(), ByteString(stored.identity.agent_id.to_string().into_bytes())),
            (key::TOKEN.to_owned(), ByteString(stored.identity.token.expose_secret().as_bytes().to_vec())),
            (key::HUB_URL.to_owned(), ByteString(self.hub.as_bytes().to_vec())),
        ]);
        if let Some(end) = stored.token_expires_at {
            data.insert(key::TOKEN_EXPIRES_AT.to_owned(), ByteString(end.to_string().into_bytes()));
        }
        if let Some(origin) = &stored.origin {
            data.insert(key::ORIGIN.to_owned(), ByteString(origin.clone().into_bytes()));
        }
        if !stored.previous_tokens.is_empty() {
            let tokens: Vec<&str> =
                stored.previous_tokens.iter().map(|token| token.expose_secret()).collect();
            data.insert(key::PREVIOUS_TOKENS.to_owned(), ByteString(tokens.join("\n").into_bytes()));
        }
        typed_secret(&self.name, IDENTITY_SECRET_TYPE, data)
    }
}

/// The names of identity Secrets of hubs of which no fingerprint is `used`. The operator's own is never among them.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn identities_without_hub(
    api: &Api<Secret>,
    used: &std::collections::HashSet<String>,
) -> Result<Vec<String>, Error> {
    let params = ListParams::default()
        .fields(&format!("type={IDENTITY_SECRET_TYPE}"))
        .labels(&format!("app.kubernetes.io/managed-by={FIELD_MANAGER}"));
    let found = call("listing identity Secrets", api.list_metadata(&params)).await?.items;
    let is_unused = |name: &String| {
        let fingerprint = name.strip_prefix(IDENTITY_SECRET).and_then(|rest| rest.strip_prefix('-'));
        // One of an earlier version is taken over when its hub is entered.
        fingerprint.is_some_and(|known| !used.iter().any(|used| used.starts_with(known)))
    };
    Ok(found.iter().map(ResourceExt::name_any).filter(is_unused).collect())
}

/// The API key of the embedded hub: made once, kept in a Secret of its own, and imported by the hub at every start.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn embedded_hub_key(api: &Api<Secret>) -> Result<SecretString, Error> {
    const NAME: &str = connect_crds::EMBEDDED_HUB_SECRET;
    let read = |secret: &Secret| text(secret, key::API_KEY).map(SecretString::from);
    const UNREADABLE: Error = Error::Incomplete("apiKey in the embedded hub's Secret; restore or delete it");
    if let Some(secret) = call_opt("reading the embedded hub's key", api.get(NAME)).await? {
        return read(&secret).ok_or(UNREADABLE);
    }
    let mut bytes = [0u8; 24];
    getrandom::fill(&mut bytes).map_err(|_| Error::Incomplete("random numbers"))?;
    let made = format!("pc_{}", hex(&bytes));
    let data =
        std::collections::BTreeMap::from([(key::API_KEY.to_owned(), ByteString(made.clone().into_bytes()))]);
    match call(
        "creating the embedded hub's key",
        api.create(&PostParams::default(), &typed_secret(NAME, IDENTITY_SECRET_TYPE, data)),
    )
    .await
    {
        Ok(_) => Ok(SecretString::from(made)),
        Err(error) if error.is_conflict() => {
            let secret = call("reading the embedded hub's key", api.get(NAME)).await?;
            read(&secret).ok_or(UNREADABLE)
        }
        Err(error) => Err(error),
    }
}

fn typed_secret(name: &str, type_: &str, data: std::collections::BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some(type_.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

fn read_identity(secret: &Secret) -> Option<Stored> {
    let agent_id: Uuid = text(secret, key::AGENT_ID)?.parse().ok()?;
    let token = SecretString::from(text(secret, key::TOKEN)?);
    let token_expires_at = text(secret, key::TOKEN_EXPIRES_AT).and_then(|text| text.parse().ok());
    let previous = text(secret, key::PREVIOUS_TOKENS).unwrap_or_default();
    Some(Stored {
        identity: Identity { agent_id, token },
        token_expires_at,
        previous_tokens: previous.lines().take(PREVIOUS_TOKENS).map(SecretString::from).collect(),
        origin: text(secret, key::ORIGIN),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(yaml: &str) -> Secret {
        serde_saphyr::from_str(yaml).expect("fixture")
    }

    #[test]
    fn a_hub_secret_names_a_hub() {
        // "https://hub.example.com\n" and "pc_secret"
        let good = secret(
            "{metadata: {name: team}, data: {url: aHR0cHM6Ly9odWIuZXhhbXBsZS5jb20K, apiKey: cGNfc2VjcmV0}}",
        );
        let endpoint = hub_endpoint(&good, InsecureHttp::Refused).expect("a good Secret");
        assert_eq!(endpoint.url.as_str(), "https://hub.example.com");
        assert!(!format!("{endpoint:?}").contains("pc_secret"));
    }

    #[test]
    fn what_is_wrong_with_a_hub_secret_is_said() {
        let missing = secret("{metadata: {name: team}, data: {url: aHR0cHM6Ly9odWIuZXhhbXBsZS5jb20K}}");
        assert_eq!(
            hub_endpoint(&missing, InsecureHttp::Refused).expect_err("no key").to_string(),
            "Secret team has no key apiKey"
        );
        // "http://hub.example.com"
        let clear = secret(
            "{metadata: {name: team}, data: {url: aHR0cDovL2h1Yi5leGFtcGxlLmNvbQ==, apiKey: cGNfc2VjcmV0}}",
        );
        assert!(matches!(hub_endpoint(&clear, InsecureHttp::Refused), Err(HubSecretProblem::BadUrl { .. })));
        assert!(hub_endpoint(&clear, InsecureHttp::Allowed).is_ok());
    }

    #[tokio::test]
    async fn an_identity_is_read_back_as_it_was_stored() {
        let mut made = Stored::new(&Origin::default());
        let first = made.identity.token.clone();
        let end = Timestamp::from_second(1_800_000_000).expect("a date");
        for token in ["second", "third", "fourth", "fifth"] {
            made.replace_token(SecretString::from(token), end);
        }
        let url = HubUrl::parse("https://hub.example.com", InsecureHttp::Refused).expect("a URL");
        let client = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().expect("a URI")));
        let api = Api::namespaced(client.expect("a client"), "x");
        let store = IdentityStore::new(api, "0123456789abcdef", &url, Origin::default());
        assert_eq!(store.name(), "private-connect-identity-0123456789abcdef");
        assert_eq!(store.old_name.as_deref(), Some("private-connect-identity-01234567"));
        let read = read_identity(&store.secret(&made)).expect("complete");
        let kept: Vec<&str> = read.previous_tokens.iter().map(|token| token.expose_secret()).collect();
        assert_eq!(kept, ["fourth", "third", "second"]);
        assert!(!kept.contains(&first.expose_secret()));
        assert_eq!(read.identity.token.expose_secret(), "fifth");
        assert_eq!(read.origin, made.origin);
        assert_eq!(read.maker(), made.maker());
        assert_eq!(read.identity.agent_id, made.identity.agent_id);
        assert_eq!(read.token_expires_at, made.token_expires_at);
        assert!(
            read_identity(&typed_secret("x", IDENTITY_SECRET_TYPE, std::collections::BTreeMap::new()))
                .is_none()
        );
    }
}
