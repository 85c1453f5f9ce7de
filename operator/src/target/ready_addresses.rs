//! Which addresses of a headless Service are dialled.

use std::net::SocketAddr;

use connect_crds::PortRef;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use super::service_port;

/// Label that an EndpointSlice carries with the name of who keeps it.
const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";

/// The cluster's own controller, which makes slices of a Service's selector.
const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Whether the cluster's own controller keeps this EndpointSlice for the Service. The label with the Service's name alone is no
/// proof: nobody takes away a slice that somebody else has added. A Service without a selector, where such are allowed at all,
/// has only what somebody else has added.
fn is_of(service: &Service, slice: &EndpointSlice) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    if selector.is_none_or(std::collections::BTreeMap::is_empty) {
        return true;
    }
    let is_owned = slice
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "Service" && Some(&owner.uid) == service.metadata.uid.as_ref());
    is_owned && slice.labels().get(MANAGED_BY_LABEL).is_some_and(|manager| manager == SLICE_CONTROLLER)
}

/// The ready addresses in EndpointSlices for one port of a Service, sorted so that equal sets look equal.
pub fn ready_addresses(service: &Service, wanted: &PortRef, slices: &[EndpointSlice]) -> Vec<SocketAddr> {
    let Some(service_port) = service_port(service, wanted) else { return Vec::new() };
    let name = service_port.name.as_deref().unwrap_or_default();
    let mut addresses = Vec::new();
    for slice in slices.iter().filter(|slice| is_of(service, slice)) {
        let ports = slice.ports.as_deref().unwrap_or_default();
        let port = ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == name);
        let Some(port) = port.and_then(|port| port.port).and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            if ready {
                let parsed = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
                addresses.extend(parsed.map(|ip| SocketAddr::new(ip, port)));
            }
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headless_services_ready_endpoints_are_found_by_the_ports_name() {
        let service: Service = serde_saphyr::from_str(
            "{metadata: {name: db, uid: u-1}, spec: {clusterIP: None, selector: {a: b}, ports: [{name: sql, port: 5432}, {name: web, port: 80}]}}",
        )
        .expect("fixture");
        let slices: Vec<EndpointSlice> = serde_saphyr::from_str(
            "
- addressType: IPv4
  metadata: &ours
    labels: {endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}
    ownerReferences: [{apiVersion: v1, kind: Service, name: db, uid: u-1}]
  ports: [{name: web, port: 8080}, {name: sql, port: 15432}]
  endpoints:
  - {addresses: [10.2.0.9], conditions: {ready: true}}
  - {addresses: [10.2.0.8], conditions: {ready: false}}
  - {addresses: [10.2.0.7]}
- addressType: IPv4
  metadata: *ours
  ports: [{name: web, port: 8080}]
  endpoints: [{addresses: [10.2.0.1]}]
",
        )
        .expect("fixture");
        let found = ready_addresses(&service, &PortRef::name("sql"), &slices);
        assert_eq!(
            found,
            vec!["10.2.0.7:15432".parse().expect("address"), "10.2.0.9:15432".parse().expect("address")]
        );
        assert_eq!(ready_addresses(&service, &PortRef::number(80), &slices).len(), 3);
        assert!(ready_addresses(&service, &PortRef::number(1), &slices).is_empty());
    }

    #[test]
    fn a_slice_that_somebody_has_added_is_not_dialled() {
        let ours = "labels: {endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}";
        let owner = "ownerReferences: [{apiVersion: v1, kind: Service, name: db, uid: u-1}]";
        let foreign_owner = "ownerReferences: [{apiVersion: v1, kind: Service, name: db, uid: u-2}]";
        let other_kind = "ownerReferences: [{apiVersion: v1, kind: Pod, name: db, uid: u-1}]";
        let somebody = "labels: {endpointslice.kubernetes.io/managed-by: somebody}";
        let mirrored =
            "labels: {endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io}";
        let service = |selector: &str| -> Service {
            let text = format!(
                "{{metadata: {{name: db, uid: u-1}}, spec: {{clusterIP: None, {selector} ports: [{{port: 5432}}]}}}}"
            );
            serde_saphyr::from_str(&text).expect("fixture")
        };
        for (metadata, is_dialled) in [
            (format!("{ours}, {owner}"), true),
            (format!("{ours}, {foreign_owner}"), false),
            (format!("{ours}, {other_kind}"), false),
            (ours.to_owned(), false),
            (owner.to_owned(), false),
            (format!("{somebody}, {owner}"), false),
            (format!("{mirrored}, {owner}"), false),
            ("name: added".to_owned(), false),
        ] {
            let text = format!(
                "{{addressType: IPv4, metadata: {{{metadata}}}, ports: [{{port: 1}}], endpoints: [{{addresses: [10.2.0.9]}}]}}"
            );
            let slices: Vec<EndpointSlice> = vec![serde_saphyr::from_str(&text).expect("fixture")];
            let found = |selector| ready_addresses(&service(selector), &PortRef::number(5432), &slices).len();
            assert_eq!(found("selector: {a: b},"), usize::from(is_dialled), "{metadata}");
            assert_eq!(found(""), 1, "only allowed by --allow-selectorless-targets: {metadata}");
        }
    }
}
