//! The Service that a route leads to, and the port of it that is meant.

use connect_crds::{PortRef, Protocol, service_port};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;

use crate::cluster::Cluster;
use crate::cluster::failure::{Call, Kind};
use crate::failure::{Failure, Outcome};
use crate::settings::expose::ServiceTarget;

/// The Service, if it exists.
pub async fn get(cluster: &Cluster, name: &str) -> Outcome<Option<Service>> {
    let api: Api<Service> = Api::namespaced(cluster.client(), cluster.namespace());
    let call =
        Call { verb: "get", kind: Kind::Service, name: Some(name), namespace: Some(cluster.namespace()) };
    cluster.ask_maybe(&call, api.get(name)).await
}

/// There is no such Service.
pub fn none(name: &str, namespace: &str) -> Failure {
    let failure = Failure::new(format!("Service {name} does not exist in namespace {namespace}"));
    match name {
        "localhost" => failure
            .hint("kubectl connect exposes Services of the cluster: kubectl connect expose SERVICE:PORT --name ROUTE"),
        _ => failure.hint(format!("See them with: kubectl get services -n {namespace}")),
    }
}

/// A port of a Service that can be shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// How the resource names it.
    pub reference: PortRef,
    /// Its number.
    pub number: i32,
    /// What is spoken on it, as far as the Service tells, and what told it.
    pub spoken: Option<(Protocol, String)>,
}

/// Ports that hubs can carry.
pub fn is_tcp(port: &ServicePort) -> bool {
    service_port::is_tcp(port)
}

/// The port that is meant: the one named, or the only one that can be shared.
pub fn choose_port(target: &ServiceTarget, service: &Service) -> Outcome<Port> {
    let name = &target.service;
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return Err(Failure::new(format!(
            "Service {name} is of type ExternalName and cannot be exposed: it names something outside the cluster"
        )));
    }
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    if ports.is_empty() {
        return Err(Failure::new(format!("Service {name} has no ports")));
    }
    let tcp: Vec<&ServicePort> = ports.iter().filter(|port| is_tcp(port)).collect();
    let port = match &target.port {
        Some(wanted) => named_port(wanted, ports, name)?,
        None => match tcp.as_slice() {
            [only] => only,
            [] => return Err(not_tcp(&ports[0], name)),
            [first, ..] => {
                return Err(Failure::new(format!(
                    "Service {name} has several ports: {}",
                    listed(tcp.iter().copied())
                ))
                .hint(format!("Name one: kubectl connect expose {name}:{}", shown(first))));
            }
        },
    };
    let reference = target.port.clone().unwrap_or(PortRef(IntOrString::Int(port.port)));
    Ok(Port { reference, number: port.port, spoken: service_port::spoken(port) })
}

fn named_port<'a>(wanted: &PortRef, ports: &'a [ServicePort], service: &str) -> Outcome<&'a ServicePort> {
    match service_port::find(ports, wanted) {
        Some(port) if is_tcp(port) => Ok(port),
        Some(port) => Err(not_tcp(port, service)),
        None => Err(Failure::new(format!(
            "Service {service} has no port {wanted}; it has {}",
            listed(ports.iter())
        ))),
    }
}

fn not_tcp(port: &ServicePort, service: &str) -> Failure {
    let protocol = port.protocol.as_deref().unwrap_or_default();
    Failure::new(format!(
        "Port {} of Service {service} is {protocol} and cannot be exposed: hubs carry TCP connections only",
        port.port
    ))
}

/// As `5432 (sql), 53 (dns, UDP)`.
fn listed<'a>(ports: impl Iterator<Item = &'a ServicePort>) -> String {
    let named = ports.map(|port| {
        let protocol = port.protocol.as_deref().filter(|_| !is_tcp(port));
        let about: Vec<&str> = port.name.as_deref().into_iter().chain(protocol).collect();
        if about.is_empty() { port.port.to_string() } else { format!("{} ({})", port.port, about.join(", ")) }
    });
    named.collect::<Vec<_>>().join(", ")
}

fn shown(port: &ServicePort) -> String {
    port.name.clone().unwrap_or_else(|| port.port.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(ports: &serde_json::Value) -> Service {
        serde_json::from_value(serde_json::json!({"spec": {"ports": ports}})).expect("a Service")
    }

    fn chosen(port: Option<PortRef>, service: &Service) -> Result<PortRef, String> {
        let target = ServiceTarget { service: "postgres".into(), port };
        choose_port(&target, service).map(|port| port.reference).map_err(|failure| failure.render())
    }

    #[test]
    fn the_port_is_the_one_named_or_the_only_one() {
        let one = service(&serde_json::json!([{"port": 5432}]));
        let two =
            service(&serde_json::json!([{"port": 5432, "name": "sql"}, {"port": 9187, "name": "metrics"}]));
        assert_eq!(chosen(None, &one), Ok(PortRef::number(5432)));
        assert_eq!(chosen(Some(PortRef::number(9187)), &two), Ok(PortRef::number(9187)));
        assert_eq!(chosen(Some(PortRef::name("sql")), &two), Ok(PortRef::name("sql")));
        assert_eq!(
            chosen(None, &two).expect_err("ambiguous"),
            "[x] Service postgres has several ports: 5432 (sql), 9187 (metrics)\n\
             Name one: kubectl connect expose postgres:sql\n"
        );
        assert_eq!(
            chosen(Some(PortRef::number(80)), &two).expect_err("no such port"),
            "[x] Service postgres has no port 80; it has 5432 (sql), 9187 (metrics)\n"
        );
    }

    #[test]
    fn udp_ports_neither_count_nor_stand_in_the_way() {
        let udp_first = serde_json::json!([
            {"port": 53, "name": "dns", "protocol": "UDP"}, {"port": 53, "name": "dns-tcp", "protocol": "TCP"}]);
        let dns = service(&udp_first);
        assert_eq!(chosen(Some(PortRef::number(53)), &dns), Ok(PortRef::number(53)));
        assert_eq!(chosen(None, &dns), Ok(PortRef::number(53)), "it has one port that can be shared");
        assert_eq!(
            chosen(Some(PortRef::name("dns")), &dns).expect_err("a name means one port"),
            "[x] Port 53 of Service postgres is UDP and cannot be exposed: hubs carry TCP connections only\n"
        );
        let three = service(&serde_json::json!([
            {"port": 53, "protocol": "UDP"}, {"port": 53, "name": "tcp"}, {"port": 9153, "name": "metrics"}]));
        assert_eq!(
            chosen(None, &three).expect_err("ambiguous"),
            "[x] Service postgres has several ports: 53 (tcp), 9153 (metrics)\n\
             Name one: kubectl connect expose postgres:tcp\n"
        );
        assert_eq!(
            chosen(Some(PortRef::number(54)), &three).expect_err("no such port"),
            "[x] Service postgres has no port 54; it has 53 (UDP), 53 (tcp), 9153 (metrics)\n"
        );
    }

    #[test]
    fn what_cannot_be_exposed_is_said() {
        let udp = service(&serde_json::json!([{"port": 53, "protocol": "UDP"}]));
        assert_eq!(
            chosen(None, &udp).expect_err("UDP"),
            "[x] Port 53 of Service postgres is UDP and cannot be exposed: hubs carry TCP connections only\n"
        );
        assert_eq!(
            none("postgres", "staging").render(),
            "[x] Service postgres does not exist in namespace staging\nSee them with: kubectl get services -n staging\n"
        );
        let external: Service =
            serde_json::from_value(serde_json::json!({"spec": {"type": "ExternalName"}})).expect("a Service");
        assert_eq!(
            chosen(None, &external).expect_err("outside"),
            "[x] Service postgres is of type ExternalName and cannot be exposed: it names something outside the cluster\n"
        );
    }
}
