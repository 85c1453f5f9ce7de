//! What a share is called: at the data plane, and its routes at the hub.

use connect_crds::EnvironmentShare;
use connect_hub::tunnel::routes::ShareKey;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use sha2::{Digest, Sha256};

/// Longest name of a service that hubs take, in characters.
const MAX_SERVICE_NAME: usize = 100;

/// The share's name at the data plane: namespace, name and UID, so that a successor of the same name is another share.
pub fn share_key(share: &EnvironmentShare) -> ShareKey {
    let namespace = share.namespace().unwrap_or_default();
    ShareKey(format!("{namespace}/{}/{}", share.name_any(), share.uid().unwrap_or_default()))
}

/// The object of a name at the data plane.
pub fn object_of(ShareKey(key): &ShareKey) -> Option<ObjectRef<EnvironmentShare>> {
    let mut parts = key.split('/');
    let (namespace, name, _uid) = (parts.next()?, parts.next()?, parts.next()?);
    Some(ObjectRef::new(name).within(namespace))
}

/// What all hub services of a share begin with.
pub fn service_prefix(share: &EnvironmentShare) -> String {
    let full = format!("{}/{}/", share.namespace().unwrap_or_default(), share.name_any());
    // Names in Kubernetes may be longer than a hub takes; then a hash stands for the whole.
    const ROOM: usize = MAX_SERVICE_NAME - 64;
    if full.len() <= ROOM {
        return full;
    }
    let hash = crate::credentials::hex(&Sha256::digest(full.as_bytes())[..4]);
    let kept: String = full.chars().take(ROOM - hash.len() - 2).collect();
    format!("{kept}~{hash}/")
}

/// The name of a route's service at the hub: every share has its own, so that a connection is known to belong to it.
pub fn service_name(share: &EnvironmentShare, route: &str) -> String {
    format!("{}{route}", service_prefix(share))
}

/// The name at the hub of a service that all shares of a route have in common.
pub fn common_name(namespace: &str, route: &str) -> String {
    let full = format!("{namespace}/{route}");
    if full.len() <= MAX_SERVICE_NAME {
        return full;
    }
    let hash = crate::credentials::hex(&Sha256::digest(full.as_bytes())[..4]);
    let kept: String = full.chars().take(MAX_SERVICE_NAME - hash.len() - 1).collect();
    format!("{kept}~{hash}")
}

/// Whether this is the name of a service in common of the namespace. Those of single shares have another slash.
pub fn is_common_name(namespace: &str, name: &str) -> bool {
    name.strip_prefix(namespace)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|route| !route.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(namespace: &str, name: &str) -> EnvironmentShare {
        let mut share = EnvironmentShare::new(name, connect_crds::EnvironmentShareSpec::default());
        share.metadata.namespace = Some(namespace.to_owned());
        share.metadata.uid = Some("u-1".to_owned());
        share
    }

    #[test]
    fn an_object_is_found_again_by_its_key() {
        let object = object_of(&share_key(&share("shop", "demo"))).expect("well formed");
        assert_eq!(object, ObjectRef::new("demo").within("shop"));
    }

    #[test]
    fn hub_service_names_fit_and_differ() {
        let long = "n".repeat(63);
        let names: std::collections::HashSet<String> =
            [share("shop", "demo"), share("shop", &long), share(&long, "demo"), share(&long, &long)]
                .iter()
                .flat_map(|share| [service_name(share, "postgres"), service_name(share, &"r".repeat(63))])
                .collect();
        assert_eq!(names.len(), 8);
        assert!(names.iter().all(|name| name.len() <= MAX_SERVICE_NAME), "{names:?}");
        assert!(names.contains("shop/demo/postgres"));
    }

    #[test]
    fn services_in_common_are_told_from_those_of_single_shares_and_of_other_namespaces() {
        let long = "n".repeat(63);
        for namespace in ["shop", &long] {
            for route in ["postgres", &"r".repeat(63)] {
                let name = common_name(namespace, route);
                assert!(name.len() <= MAX_SERVICE_NAME && is_common_name(namespace, &name), "{name}");
                assert!(!is_common_name("sho", &name));
            }
            for share in [share(namespace, "demo"), share(namespace, &long)] {
                let name = service_name(&share, "postgres");
                assert!(!is_common_name(namespace, &name), "{name}");
            }
        }
        assert_ne!(common_name(&long, &"r".repeat(63)), common_name(&long, &"r".repeat(62)));
    }
}
