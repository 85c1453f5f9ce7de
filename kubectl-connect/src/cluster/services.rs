//! The Service that a route leads to, and the port of it that is meant.

use connect_crds::PortRef;
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

/// The port that is meant: the one named, or the only one.
pub fn choose_port(target: &ServiceTarget, service: &Service) -> Outcome<PortRef> {
    let name = &target.service;
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return Err(Failure::new(format!(
            "Service {name} is of type ExternalName and cannot be exposed: it names something outside the cluster"
        )));
    }
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let has = || listed(ports);
    let port = match (&target.port, ports) {
        (_, []) => return Err(Failure::new(format!("Service {name} has no ports"))),
        (Some(wanted), ports) => ports
            .iter()
            .find(|port| wanted.matches(port.port, port.name.as_deref()))
            .ok_or_else(|| Failure::new(format!("Service {name} has no port {wanted}; it has {}", has())))?,
        (None, [only]) => only,
        (None, _) => {
            return Err(Failure::new(format!("Service {name} has several ports: {}", has()))
                .hint(format!("Name one: kubectl connect expose {name}:{}", shown(&ports[0]))));
        }
    };
    match port.protocol.as_deref() {
        None | Some("TCP") => {}
        Some(other) => {
            return Err(Failure::new(format!(
                "Port {} of Service {name} is {other} and cannot be exposed: hubs carry TCP connections only",
                port.port
            )));
        }
    }
    Ok(target.port.clone().unwrap_or(PortRef(IntOrString::Int(port.port))))
}

fn listed(ports: &[ServicePort]) -> String {
    let named: Vec<String> = ports
        .iter()
        .map(|port| match &port.name {
            Some(name) => format!("{} ({name})", port.port),
            None => port.port.to_string(),
        })
        .collect();
    named.join(", ")
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
        choose_port(&target, service).map_err(|failure| failure.render())
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
