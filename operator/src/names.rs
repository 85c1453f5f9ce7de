//! What a share is called: at the data plane, and its routes at the hub.
//!
//! Hubs know services by name and let whoever registers a name have it. So every name ends with `@` and who made it: two clusters
//! with the same manifests and the same key never name the same service. Earlier versions wrote names without that end; rows
//! of ours with such a name are used for as long as they are there, and never made anew.

use connect_crds::{EnvironmentShare, Maker};
use connect_hub::tunnel::routes::ShareKey;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use sha2::{Digest, Sha256};

/// Longest name of an object, in characters, as Kubernetes has it.
pub const MAX_NAME: usize = 253;

/// Longest name of a service that hubs take, in characters.
const MAX_SERVICE_NAME: usize = 100;

/// Characters of `@` and a maker behind it.
const MAKER_LENGTH: usize = 17;

/// Longest name without its maker.
const MAX_OWN_NAME: usize = MAX_SERVICE_NAME - MAKER_LENGTH;

/// Bytes of the hash that stands for a name which is too long: 64 bits, as in markers.
const HASH_BYTES: usize = 8;

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

/// The name without who made it: what the same route is called by every operator.
pub fn without_maker(name: &str) -> &str {
    name.rsplit_once('@').map_or(name, |(own, _)| own)
}

fn made_by(maker: &Maker, own: &str) -> String {
    format!("{own}@{maker}")
}

/// The part of a service's name that its maker chose, if it is `maker`'s.
fn own_part<'a>(maker: &Maker, name: &'a str) -> Option<&'a str> {
    name.rsplit_once('@').filter(|(_, made_by)| *made_by == maker.to_string()).map(|(own, _)| own)
}

/// The name of a route's service at the hub: every share has its own, so that a connection is known to belong to it.
pub fn service_name(share: &EnvironmentShare, route: &str, maker: &Maker) -> String {
    made_by(maker, &own_service_name(share, route))
}

/// As [`service_name`], without who made it. Names in Kubernetes may be longer than a hub takes; then a hash stands for
/// namespace and share.
pub fn own_service_name(share: &EnvironmentShare, route: &str) -> String {
    let full = format!("{}{route}", full_prefix(share));
    if full.len() <= MAX_OWN_NAME { full } else { format!("{}{route}", hashed_prefix(share)) }
}

/// Whether this is the name of a service of the share, by whatever version of ours it was made.
pub fn is_service_of(share: &EnvironmentShare, name: &str, maker: &Maker) -> bool {
    match own_part(maker, name) {
        Some(own) => own.starts_with(&full_prefix(share)) || own.starts_with(&hashed_prefix(share)),
        None => !name.contains('@') && name.starts_with(&old_prefix(share)),
    }
}

/// The share of this namespace that a service of this route was made for, if `maker` made it for one. A name that is too long to be
/// written out says nothing of its share.
pub fn share_of_service<'a>(namespace: &str, route: &str, maker: &Maker, name: &'a str) -> Option<&'a str> {
    let mut parts = own_part(maker, name)?.split('/');
    let (in_namespace, share, of_route) = (parts.next()?, parts.next()?, parts.next()?);
    let of_route = of_route.split_once('~').map_or(of_route, |(route, _)| route);
    (parts.next().is_none() && in_namespace == namespace && of_route == route).then_some(share)
}

/// The name of a route's service while another share uses the one of [`service_name`].
pub fn other_service_name(share: &EnvironmentShare, route: &str, maker: &Maker) -> String {
    let uid = share.uid().unwrap_or_default();
    let mark = hex(&Sha256::digest(uid.as_bytes())[..HASH_BYTES]);
    made_by(maker, &shortened(format!("{}~{mark}", own_service_name(share, route)), MAX_OWN_NAME, HASH_BYTES))
}

/// The name that earlier versions gave to a route's service.
pub fn old_service_name(share: &EnvironmentShare, route: &str) -> String {
    format!("{}{route}", old_prefix(share))
}

fn full_prefix(share: &EnvironmentShare) -> String {
    format!("{}/{}/", share.namespace().unwrap_or_default(), share.name_any())
}

/// No namespace begins with this character.
fn hashed_prefix(share: &EnvironmentShare) -> String {
    format!("~{}/", hex(&Sha256::digest(full_prefix(share).as_bytes())[..HASH_BYTES]))
}

fn old_prefix(share: &EnvironmentShare) -> String {
    let full = full_prefix(share);
    const ROOM: usize = MAX_SERVICE_NAME - 64;
    if full.len() <= ROOM {
        return full;
    }
    let hash = hex(&Sha256::digest(full.as_bytes())[..4]);
    let kept: String = full.chars().take(ROOM - hash.len() - 2).collect();
    format!("{kept}~{hash}/")
}

/// The name at the hub of a service that all shares of a route have in common.
pub fn common_name(namespace: &str, route: &str, maker: &Maker) -> String {
    made_by(maker, &own_common_name(namespace, route))
}

/// As [`common_name`], without who made it.
pub fn own_common_name(namespace: &str, route: &str) -> String {
    shortened(format!("{namespace}/{route}"), MAX_OWN_NAME, HASH_BYTES)
}

/// The name that earlier versions gave to such a service.
pub fn old_common_name(namespace: &str, route: &str) -> String {
    shortened(format!("{namespace}/{route}"), MAX_SERVICE_NAME, 4)
}

fn shortened(full: String, longest: usize, hash_bytes: usize) -> String {
    if full.len() <= longest {
        return full;
    }
    let hash = hex(&Sha256::digest(full.as_bytes())[..hash_bytes]);
    let kept: String = full.chars().take(longest - hash.len() - 1).collect();
    format!("{kept}~{hash}")
}

/// Whether this is the name of a service in common of the namespace, by whatever version of ours it was made. Those of single
/// shares have another slash.
pub fn is_common_name(namespace: &str, name: &str, maker: &Maker) -> bool {
    let own = match own_part(maker, name) {
        Some(own) => own,
        None if name.contains('@') => return false,
        None => name,
    };
    own.strip_prefix(namespace)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|route| !route.contains('/'))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

    fn maker() -> Maker {
        Maker::of("cluster", "agent")
    }

    #[test]
    fn an_object_is_found_again_by_its_key() {
        let object = object_of(&share_key(&share("shop", "demo"))).expect("well formed");
        assert_eq!(object, ObjectRef::new("demo").within("shop"));
    }

    #[test]
    fn hub_service_names_fit_differ_and_are_known_again() {
        let long = "n".repeat(63);
        let shares = [share("shop", "demo"), share("shop", &long), share(&long, "demo"), share(&long, &long)];
        let mut names = std::collections::HashSet::new();
        for one in &shares {
            for route in ["postgres", &"r".repeat(63)] {
                let name = service_name(one, route, &maker());
                assert!(name.len() <= MAX_SERVICE_NAME, "{name}");
                for other in &shares {
                    let is_its = std::ptr::eq(one, other);
                    assert_eq!(is_service_of(other, &name, &maker()), is_its, "{name}");
                    assert_eq!(is_service_of(other, &old_service_name(one, route), &maker()), is_its);
                }
                names.insert(name);
            }
        }
        assert_eq!(names.len(), 8);
        assert!(names.contains(&format!("shop/demo/postgres@{}", maker())));
    }

    #[test]
    fn a_service_is_told_by_its_namespace_route_and_maker() {
        let (demo, maker) = (share("shop", "demo"), maker());
        let of = |namespace: &str, route: &str, name: &str| {
            share_of_service(namespace, route, &maker, name).map(str::to_owned)
        };
        for name in [service_name(&demo, "db", &maker), other_service_name(&demo, "db", &maker)] {
            assert_eq!(of("shop", "db", &name).as_deref(), Some("demo"), "{name}");
            assert!(is_service_of(&demo, &name, &maker));
            for (namespace, route) in [("shop", "api"), ("sho", "db"), ("shop", "d"), ("shop2", "db")] {
                assert_eq!(of(namespace, route, &name), None, "{name} {namespace} {route}");
            }
        }
        for name in [
            service_name(&demo, "db", &Maker::of("copy", "agent")),
            common_name("shop", "db", &maker),
            old_service_name(&demo, "db"),
            "db".to_owned(),
        ] {
            assert_eq!(of("shop", "db", &name), None, "{name}");
        }
    }

    #[test]
    fn nothing_of_another_operator_is_taken_for_ours() {
        let other = Maker::of("copy", "agent");
        let name = service_name(&share("shop", "demo"), "postgres", &other);
        assert_ne!(name, service_name(&share("shop", "demo"), "postgres", &maker()));
        assert!(!is_service_of(&share("shop", "demo"), &name, &maker()));
        assert!(!is_common_name("shop", &common_name("shop", "postgres", &other), &maker()));
        assert_eq!(without_maker(&name), "shop/demo/postgres");
        assert_eq!(without_maker("shop/demo/postgres"), "shop/demo/postgres");
    }

    #[test]
    fn services_in_common_are_told_from_those_of_single_shares_and_of_other_namespaces() {
        let long = "n".repeat(63);
        for namespace in ["shop", &long] {
            for route in ["postgres", &"r".repeat(63)] {
                for name in [common_name(namespace, route, &maker()), old_common_name(namespace, route)] {
                    assert!(
                        name.len() <= MAX_SERVICE_NAME && is_common_name(namespace, &name, &maker()),
                        "{name}"
                    );
                    assert!(!is_common_name("sho", &name, &maker()));
                }
            }
            for share in [share(namespace, "demo"), share(namespace, &long)] {
                for name in [service_name(&share, "postgres", &maker()), old_service_name(&share, "postgres")]
                {
                    assert!(!is_common_name(namespace, &name, &maker()), "{name}");
                }
            }
        }
        let (one, other) = ("r".repeat(63), "r".repeat(62));
        assert_ne!(common_name(&long, &one, &maker()), common_name(&long, &other, &maker()));
    }
}
