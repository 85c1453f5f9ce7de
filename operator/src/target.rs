//! Where a route's connections may go: the pure judgement of a Service, its port and its addresses.
//!
//! Everything that the operator ever dials has passed [`judge`] first. It refuses by default whatever would let somebody
//! who may write objects in one namespace reach what they could not reach otherwise: names resolved elsewhere
//! (ExternalName), Services without a selector (whoever writes their EndpointSlices would steer us), loopback and
//! link-local addresses, the API server, and the operator itself.

mod ready_addresses;
mod required_label;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use connect_crds::condition::reason;
use connect_crds::{PortRef, ServiceRef, service_port};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use kube::ResourceExt;

pub use ready_addresses::ready_addresses;
pub use required_label::RequiredLabel;

/// Value of `spec.clusterIP` of a headless Service.
const HEADLESS: &str = "None";

/// Label that the operator's own Services carry.
const OWN_NAME_LABEL: &str = "app.kubernetes.io/name";
/// Its value.
const OWN_NAME: &str = "private-connect";

/// What is refused, and what an explicit flag allows.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// `--allow-loopback-targets`.
    pub allow_loopback: bool,
    /// `--allow-selectorless-targets`.
    pub allow_selectorless: bool,
    /// Addresses never dialled: the API server's and the operator's own.
    pub forbidden: Vec<IpAddr>,
    /// The operator's own namespace.
    pub own_namespace: String,
    /// Labels without which a Service is not shared.
    pub required_labels: Vec<RequiredLabel>,
}

/// A Service port that may be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Service and port as people write it, such as `postgres:5432`.
    pub display: String,
    /// The Service port's number, as clients in the cluster see it.
    pub port: u16,
    /// The Service's UID: a Service that was deleted and created again is another one.
    pub uid: String,
    /// Addresses to dial, in order of preference; empty while nothing is ready.
    pub addresses: Vec<SocketAddr>,
}

/// Why a Service port may not or cannot be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No such Service.
    #[error("Service {0} does not exist in this namespace")]
    ServiceNotFound(String),
    /// No such port.
    #[error("Service {service} has no port {wanted}; it has {available}")]
    PortNotFound {
        /// The Service.
        service: String,
        /// What the spec asks for.
        wanted: String,
        /// The ports it has, for people.
        available: String,
    },
    /// The port is not TCP.
    #[error("port {port} of Service {service} is {protocol}; hubs carry TCP connections only")]
    NotTcp {
        /// The Service.
        service: String,
        /// The port's number.
        port: i32,
        /// The port's protocol.
        protocol: String,
    },
    /// The Service may not be dialled.
    #[error("Service {service} cannot be shared: {why}")]
    NotAllowed {
        /// The Service.
        service: String,
        /// The rule that forbids it.
        why: Cow<'static, str>,
    },
    /// The Service's label asks for a route that cannot be made.
    #[error("Service {service} is labelled to be exposed, but {why}")]
    Annotation {
        /// The Service.
        service: String,
        /// What cannot be read.
        why: String,
    },
}

impl Problem {
    /// The condition reason that says this.
    pub fn reason(&self) -> &'static str {
        match self {
            Problem::ServiceNotFound(_) => reason::SERVICE_NOT_FOUND,
            Problem::PortNotFound { .. } => reason::PORT_NOT_FOUND,
            Problem::NotTcp { .. } | Problem::NotAllowed { .. } => reason::TARGET_NOT_ALLOWED,
            Problem::Annotation { .. } => reason::INVALID_ANNOTATION,
        }
    }
}

/// Whether connections to a headless Service's port must go to the addresses of its endpoints.
pub fn is_headless(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        .is_none_or(|ip| ip == HEADLESS || ip.is_empty())
}

/// Judges the port of a Service. `endpoints` are the ready addresses of a headless Service's EndpointSlices, with the
/// endpoint's port for this Service port; they are ignored for a Service with an address of its own.
///
/// # Errors
/// Says why the port may not or cannot be dialled.
pub fn judge(
    reference: &ServiceRef,
    service: Option<&Service>,
    endpoints: &[SocketAddr],
    policy: &Policy,
) -> Result<Target, Problem> {
    let name = &reference.name;
    let service = service.ok_or_else(|| Problem::ServiceNotFound(name.clone()))?;
    let not_allowed = |why: &'static str| Problem::NotAllowed { service: name.clone(), why: why.into() };
    let spec = service.spec.as_ref().ok_or_else(|| Problem::ServiceNotFound(name.clone()))?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Err(not_allowed("it is of type ExternalName, which names something outside the cluster"));
    }
    let is_own = service.namespace().as_deref() == Some(policy.own_namespace.as_str())
        && service.labels().get(OWN_NAME_LABEL).is_some_and(|value| value == OWN_NAME);
    if is_own {
        return Err(not_allowed("it is the operator's own"));
    }
    if !policy.allow_selectorless && spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
        return Err(not_allowed("it has no selector, so its endpoints could be set to any address"));
    }
    if let Some(label) = policy.required_labels.iter().find(|label| !label.allows(service)) {
        let why = format!("it lacks the label {}, which is required here", label.label());
        return Err(Problem::NotAllowed { service: name.clone(), why: why.into() });
    }
    let ports = spec.ports.as_deref().unwrap_or_default();
    let port = service_port::find(ports, &reference.port).ok_or_else(|| Problem::PortNotFound {
        service: name.clone(),
        wanted: reference.port.to_string(),
        available: list_ports(ports),
    })?;
    if let Some(protocol) = port.protocol.as_deref().filter(|protocol| *protocol != "TCP") {
        return Err(Problem::NotTcp {
            service: name.clone(),
            port: port.port,
            protocol: protocol.to_owned(),
        });
    }
    let number = u16::try_from(port.port).map_err(|_| Problem::PortNotFound {
        service: name.clone(),
        wanted: reference.port.to_string(),
        available: list_ports(ports),
    })?;
    let addresses =
        if is_headless(service) { endpoints.to_vec() } else { cluster_addresses(service, number) };
    if let Some(why) = addresses.iter().find_map(|address| forbidden(address.ip(), policy)) {
        return Err(not_allowed(why));
    }
    Ok(Target {
        display: format!("{name}:{number}"),
        port: number,
        uid: service.uid().unwrap_or_default(),
        addresses,
    })
}

/// The rule that forbids dialling this address.
fn forbidden(ip: IpAddr, policy: &Policy) -> Option<&'static str> {
    let ip = ip.to_canonical();
    if policy.forbidden.contains(&ip) {
        return Some("its address is the API server's or the operator's own");
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Some("its address is not one that can be dialled");
    }
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if link_local {
        return Some("its address is link-local, where cloud metadata services live");
    }
    if ip.is_loopback() && !policy.allow_loopback {
        return Some("its address is a loopback address");
    }
    None
}

/// The Service's own addresses, IPv4 and IPv6.
fn cluster_addresses(service: &Service, port: u16) -> Vec<SocketAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let several = spec.cluster_ips.clone().unwrap_or_default();
    let one = spec.cluster_ip.clone();
    let mut addresses = Vec::new();
    for ip in several.iter().chain(one.iter()).filter_map(|ip| ip.parse::<IpAddr>().ok()) {
        let address = SocketAddr::new(ip, port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The ports a Service has, as `5432 (postgres), 9187`.
fn list_ports(ports: &[ServicePort]) -> String {
    if ports.is_empty() {
        return "none".to_owned();
    }
    let one = |port: &ServicePort| match &port.name {
        Some(name) => format!("{} ({name})", port.port),
        None => port.port.to_string(),
    };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The Service port that a reference means.
pub fn service_port<'a>(service: &'a Service, wanted: &PortRef) -> Option<&'a ServicePort> {
    service_port::find(service.spec.as_ref()?.ports.as_ref()?, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(yaml: &str) -> Service {
        serde_saphyr::from_str(yaml).expect("fixture")
    }

    fn reference(name: &str, port: PortRef) -> ServiceRef {
        ServiceRef { name: name.to_owned(), port }
    }

    const POSTGRES: &str = "
metadata: {name: postgres, namespace: shop, uid: u-1}
spec:
  clusterIP: 10.96.3.4
  clusterIPs: [10.96.3.4, 'fd00::4']
  selector: {app: postgres}
  ports: [{name: sql, port: 5432, targetPort: 15432}, {name: metrics, port: 9187}, {name: dns, port: 53, protocol: UDP}]
";

    #[test]
    fn the_services_own_addresses_and_port_are_dialled() {
        for port in [PortRef::number(5432), PortRef::name("sql")] {
            let target =
                judge(&reference("postgres", port), Some(&service(POSTGRES)), &[], &Policy::default())
                    .expect("allowed");
            assert_eq!(target.display, "postgres:5432");
            assert_eq!(
                target.addresses,
                vec!["10.96.3.4:5432".parse().expect("address"), "[fd00::4]:5432".parse().expect("address")]
            );
        }
    }

    #[test]
    fn what_does_not_exist_is_said_with_what_does() {
        let missing = judge(
            &reference("postgres", PortRef::number(80)),
            Some(&service(POSTGRES)),
            &[],
            &Policy::default(),
        );
        let problem = missing.expect_err("no such port");
        assert_eq!(
            problem.to_string(),
            "Service postgres has no port 80; it has 5432 (sql), 9187 (metrics), 53 (dns)"
        );
        assert_eq!(problem.reason(), reason::PORT_NOT_FOUND);
        let problem = judge(&reference("nope", PortRef::number(80)), None, &[], &Policy::default())
            .expect_err("no such Service");
        assert_eq!(problem.reason(), reason::SERVICE_NOT_FOUND);
    }

    #[test]
    fn udp_is_refused() {
        let problem = judge(
            &reference("postgres", PortRef::name("dns")),
            Some(&service(POSTGRES)),
            &[],
            &Policy::default(),
        );
        assert!(matches!(problem, Err(Problem::NotTcp { .. })));
    }

    /// One row per rule: a Service that must be refused, and the policy under which the same Service is allowed.
    #[test]
    fn nothing_that_could_steer_us_elsewhere_is_dialled() {
        let own = Policy { own_namespace: "private-connect".into(), ..Policy::default() };
        let loopback = Policy { allow_loopback: true, ..Policy::default() };
        let selectorless = Policy { allow_selectorless: true, ..Policy::default() };
        let forbidden = Policy { forbidden: vec!["10.0.0.1".parse().expect("address")], ..Policy::default() };
        let rows: [(&str, &Policy, Option<&Policy>); 7] = [
            (
                "{metadata: {name: s}, spec: {type: ExternalName, externalName: example.com, ports: [{port: 80}]}}",
                &selectorless,
                None,
            ),
            (
                "{metadata: {name: s}, spec: {clusterIP: 10.1.1.1, ports: [{port: 80}]}}",
                &own,
                Some(&selectorless),
            ),
            (
                "{metadata: {name: s}, spec: {clusterIP: 127.96.0.9, selector: {a: b}, ports: [{port: 80}]}}",
                &own,
                Some(&loopback),
            ),
            (
                "{metadata: {name: s}, spec: {clusterIP: '::ffff:127.0.0.1', selector: {a: b}, ports: [{port: 80}]}}",
                &own,
                Some(&loopback),
            ),
            (
                "{metadata: {name: s}, spec: {clusterIP: 169.254.169.254, selector: {a: b}, ports: [{port: 80}]}}",
                &loopback,
                None,
            ),
            (
                "{metadata: {name: s}, spec: {clusterIP: 10.0.0.1, selector: {a: b}, ports: [{port: 80}]}}",
                &forbidden,
                Some(&own),
            ),
            (
                "{metadata: {name: s, namespace: private-connect, labels: {app.kubernetes.io/name: private-connect}}, spec: {clusterIP: 10.1.1.2, selector: {a: b}, ports: [{port: 80}]}}",
                &own,
                Some(&forbidden),
            ),
        ];
        for (yaml, refusing, allowing) in rows {
            let judged = |policy: &Policy| {
                judge(&reference("s", PortRef::number(80)), Some(&service(yaml)), &[], policy)
            };
            assert!(matches!(judged(refusing), Err(Problem::NotAllowed { .. })), "{yaml}");
            if let Some(allowing) = allowing {
                assert!(judged(allowing).is_ok(), "{yaml}");
            }
        }
    }

    #[test]
    fn a_required_label_is_asked_for_in_a_sentence() {
        let required_labels = vec!["shop:share=yes".parse().expect("a label")];
        let policy = Policy { required_labels, ..Policy::default() };
        let judged = |service: &Service| {
            judge(&reference("postgres", PortRef::number(5432)), Some(service), &[], &policy)
        };
        let mut postgres = service(POSTGRES);
        let problem = judged(&postgres).expect_err("it has no label");
        assert_eq!(
            problem.to_string(),
            "Service postgres cannot be shared: it lacks the label share=yes, which is required here"
        );
        postgres.labels_mut().insert("share".to_owned(), "yes".to_owned());
        assert!(judged(&postgres).is_ok());
        postgres.labels_mut().clear();
        postgres.metadata.namespace = Some("elsewhere".to_owned());
        assert!(judged(&postgres).is_ok(), "the rule is for another namespace");
    }

    #[test]
    fn a_headless_service_is_dialled_at_its_endpoints_which_are_judged_too() {
        let headless =
            service("{metadata: {name: s}, spec: {clusterIP: None, selector: {a: b}, ports: [{port: 80}]}}");
        assert!(is_headless(&headless));
        let wanted = reference("s", PortRef::number(80));
        let ready: SocketAddr = "10.2.0.7:8080".parse().expect("address");
        let target = judge(&wanted, Some(&headless), &[ready], &Policy::default()).expect("allowed");
        assert_eq!(target.addresses, vec![ready]);
        let metadata: SocketAddr = "169.254.169.254:80".parse().expect("address");
        assert!(judge(&wanted, Some(&headless), &[ready, metadata], &Policy::default()).is_err());
        assert!(
            judge(&wanted, Some(&headless), &[], &Policy::default()).expect("allowed").addresses.is_empty()
        );
    }
}
