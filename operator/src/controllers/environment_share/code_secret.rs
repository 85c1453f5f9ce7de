//! The Secret that holds a share's code: read, and as it should be.
//!
//! That this Secret exists is the memory that the hub has a share to be closed: it is written before status says Active,
//! and deleted only after the hub was told of the end. Which routes a snapshot took is noted on it in the same write.

use connect_crds::{
    EnvironmentShare, ROTATE_ANNOTATION, ROTATED_ANNOTATION, SHARE_CODE_SECRET_TYPE, secret_key,
};
use connect_hub::code_key::is_secret;
use connect_hub::join_token::{full_code, join_command};
use connect_hub::url::HubUrl;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::args::ShareIsolation;
use crate::cluster::FIELD_MANAGER;
use crate::credentials::text;

/// Annotation with the names of the shared routes, separated by commas.
const ROUTES_ANNOTATION: &str = "connect.privateconnect.co/routes";

/// Annotation with the hub's ids of the services that they lead to, separated by commas.
const SERVICES_ANNOTATION: &str = "connect.privateconnect.co/services";

/// Annotation of a share whose services at the hub are not its own.
const ISOLATION_ANNOTATION: &str = "connect.privateconnect.co/share-isolation";

/// Its value.
const SHARED: &str = "shared";

/// Label with the share's name, by which tools find the Secret.
const SHARE_LABEL: &str = "connect.privateconnect.co/share";

/// Longest value of a label; a longer share name is left out of it.
const MAX_LABEL_VALUE: usize = 63;

/// What a share's Secret says.
#[derive(Clone, Debug)]
pub struct CodeSecret {
    /// The code as its hub knows it.
    pub code: SecretString,
    /// What belongs behind it, and no hub is told.
    pub secret: Option<SecretString>,
    /// Whether something else stands in the secret's place.
    pub is_spoilt: bool,
    /// The hub a teammate connects to.
    pub hub_url: Option<String>,
    /// Names of the shared routes.
    pub routes: Vec<String>,
    /// The hub's ids of the services that the routes lead to, in their order; earlier versions did not note them. Only ever
    /// compared: whoever may write the Secret could have written any.
    pub services: Option<Vec<Uuid>>,
    /// The request for a new code that this code answers.
    pub rotation: Option<String>,
    /// What the share was opened with.
    pub isolation: ShareIsolation,
    /// The Secret's UID, for a deletion that hits no successor.
    pub uid: Option<String>,
}

/// Reads the Secret; `None` when it is not this share's or has no code.
pub fn read(secret: &Secret, share: &EnvironmentShare) -> Option<CodeSecret> {
    let owned = secret.owner_references().iter().any(|owner| Some(&owner.uid) == share.metadata.uid.as_ref());
    if !owned {
        return None;
    }
    let routes = secret.annotations().get(ROUTES_ANNOTATION).map(String::as_str).unwrap_or_default();
    let services = secret.annotations().get(SERVICES_ANNOTATION);
    let is_shared = secret.annotations().get(ISOLATION_ANNOTATION).is_some_and(|value| value == SHARED);
    let behind = text(secret, secret_key::SECRET);
    Some(CodeSecret {
        code: SecretString::from(text(secret, secret_key::CODE)?),
        is_spoilt: behind.as_ref().is_some_and(|text| !is_secret(text)),
        secret: behind.filter(|text| is_secret(text)).map(SecretString::from),
        hub_url: text(secret, secret_key::HUB_URL),
        routes: routes.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        services: services.map(|ids| ids.split(',').filter_map(|id| id.parse().ok()).collect()),
        rotation: secret.annotations().get(ROTATED_ANNOTATION).cloned(),
        isolation: if is_shared { ShareIsolation::Shared } else { ShareIsolation::Route },
        uid: secret.uid(),
    })
}

/// The request for a new code, if there was one.
pub fn wanted_rotation(share: &EnvironmentShare) -> Option<&String> {
    share.annotations().get(ROTATE_ANNOTATION)
}

/// The Secret as it should be.
pub fn manifest(
    share: &EnvironmentShare,
    (code, secret): (&SecretString, Option<&SecretString>),
    hub: &HubUrl,
    ends_at: Timestamp,
    routes: &[(String, Uuid)],
    isolation: ShareIsolation,
) -> Secret {
    let name = share.name_any();
    let code = code.expose_secret();
    let full = full_code(code, secret);
    let data = [
        (secret_key::CODE, code.to_owned()),
        (secret_key::JOIN_COMMAND, join_command(full.expose_secret(), hub)),
        (secret_key::EXPIRATION_TIME, connect_crds::condition::whole_second(ends_at).to_string()),
        (secret_key::HUB_URL, hub.to_string()),
    ];
    let secret = secret.map(|secret| (secret_key::SECRET, secret.expose_secret().to_owned()));
    let data = data.into_iter().chain(secret);
    let mut labels = std::collections::BTreeMap::from([(
        "app.kubernetes.io/managed-by".to_owned(),
        FIELD_MANAGER.to_owned(),
    )]);
    if name.len() <= MAX_LABEL_VALUE {
        labels.insert(SHARE_LABEL.to_owned(), name);
    }
    let (names, services): (Vec<&str>, Vec<String>) =
        routes.iter().map(|(name, service)| (name.as_str(), service.to_string())).unzip();
    let mut annotations = std::collections::BTreeMap::from([
        (ROUTES_ANNOTATION.to_owned(), names.join(",")),
        (SERVICES_ANNOTATION.to_owned(), services.join(",")),
    ]);
    if let Some(rotation) = wanted_rotation(share) {
        annotations.insert(ROTATED_ANNOTATION.to_owned(), rotation.clone());
    }
    if isolation == ShareIsolation::Shared {
        annotations.insert(ISOLATION_ANNOTATION.to_owned(), SHARED.to_owned());
    }
    Secret {
        metadata: ObjectMeta {
            name: Some(share.code_secret_name()),
            namespace: share.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: share.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some(SHARE_CODE_SECRET_TYPE.to_owned()),
        data: Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect()),
        ..Secret::default()
    }
}

/// Whether the stored Secret says what it should. Labels, annotations and keys that others have added do not count.
pub fn is_current(stored: &Secret, wanted: &Secret) -> bool {
    let has_all = |stored: &std::collections::BTreeMap<String, String>,
                   wanted: &std::collections::BTreeMap<String, String>| {
        wanted.iter().all(|(key, value)| stored.get(key) == Some(value))
    };
    let data = |secret: &Secret| secret.data.clone().unwrap_or_default();
    let stored_data = data(stored);
    data(wanted).iter().all(|(key, value)| stored_data.get(key) == Some(value))
        && has_all(stored.labels(), wanted.labels())
        && has_all(stored.annotations(), wanted.annotations())
        && wanted
            .owner_references()
            .iter()
            .all(|owner| stored.owner_references().iter().any(|stored| stored.uid == owner.uid))
}

#[cfg(test)]
mod tests {
    use connect_hub::url::InsecureHttp;

    use super::*;

    fn share() -> EnvironmentShare {
        serde_saphyr::from_str("{apiVersion: connect.privateconnect.co/v1alpha1, kind: EnvironmentShare, metadata: {name: demo, namespace: shop, uid: u-1}, spec: {}}")
            .expect("fixture")
    }

    #[test]
    fn what_is_written_is_read_back() {
        let hub = HubUrl::parse("https://hub.example.com", InsecureHttp::Refused).expect("a URL");
        let end = Timestamp::from_second(1_800_000_000).expect("a date");
        let code = SecretString::from("k7mwx2pq9d");
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let routes = [("api".to_owned(), one), ("postgres".to_owned(), other)];
        let written = manifest(&share(), (&code, None), &hub, end, &routes, ShareIsolation::Route);
        let read_back = read(&written, &share()).expect("complete");
        assert_eq!(read_back.code.expose_secret(), "k7mwx2pq9d");
        assert_eq!(read_back.routes, ["api", "postgres"]);
        assert_eq!(read_back.services, Some(vec![one, other]));
        assert_eq!(read_back.isolation, ShareIsolation::Route);
        let common = manifest(&share(), (&code, None), &hub, end, &routes, ShareIsolation::Shared);
        assert_eq!(read(&common, &share()).expect("complete").isolation, ShareIsolation::Shared);
        assert_eq!(read_back.hub_url.as_deref(), Some("https://hub.example.com"));
        assert!(is_current(&written, &written));
        assert_eq!(
            text(&written, secret_key::JOIN_COMMAND).expect("set"),
            "kubectl connect join 'https://hub.example.com/#k7mwx2pq9d'"
        );
        assert_eq!(text(&written, secret_key::EXPIRATION_TIME).expect("set"), "2027-01-15T08:00:00Z");
        assert!(!format!("{read_back:?}").contains("k7mwx2pq9d"));
        assert!(read_back.secret.is_none());
    }

    #[test]
    fn the_secret_of_a_code_has_a_key_of_its_own_and_is_in_the_command() {
        let hub = HubUrl::parse("https://hub.example.com", InsecureHttp::Refused).expect("a URL");
        let code = (&SecretString::from("k7mwx2pq9d"), Some(&SecretString::from("abcdefghjkmnpqrs")));
        let written = manifest(&share(), code, &hub, Timestamp::MAX, &[], ShareIsolation::Route);
        let of = |key| text(&written, key).expect("set");
        assert_eq!(of(secret_key::CODE), "k7mwx2pq9d");
        assert_eq!(of(secret_key::SECRET), "abcdefghjkmnpqrs");
        assert_eq!(
            of(secret_key::JOIN_COMMAND),
            "kubectl connect join 'https://hub.example.com/#k7mwx2pq9d+abcd-efgh-jkmn-pqrs'"
        );
        let read_back = read(&written, &share()).expect("complete");
        assert_eq!(read_back.secret.expect("kept").expose_secret(), "abcdefghjkmnpqrs");
    }

    #[test]
    fn another_objects_secret_is_not_ours() {
        let mut secret = manifest(
            &share(),
            (&SecretString::from("k7mwx2pq9d"), None),
            &HubUrl::parse(HubUrl::DEFAULT, InsecureHttp::Refused).expect("a URL"),
            Timestamp::MAX,
            &[],
            ShareIsolation::Route,
        );
        secret.metadata.owner_references.as_mut().expect("owned")[0].uid = "u-2".to_owned();
        assert!(read(&secret, &share()).is_none());
    }
}
