//! A port of this machine that leads to a Service of the cluster, through the API server.
//!
//! It is slower than a direct way: every byte passes the API server and the node's kubelet. A Pod is chosen anew for every
//! connection, so that the way stays open while the Service's Pods come and go.

use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::io::{DuplexStream, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Cluster;
use super::failure::{Call, Kind};
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::settings::through::Destination;

/// Connections that wait to be accepted are the system's; those that were accepted all have a Pod. A join makes one and
/// a few short ones, so that many at once mean a mistake.
const MAX_CONNECTIONS: usize = 64;

/// Name of a hub's port in our chart, for Services with several.
const HUB_PORT: &str = "hub";

/// A way that is open until this is dropped.
#[derive(Debug)]
pub struct Forward {
    /// Its end on this machine.
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

/// Opens a way, after having gone it once: what is wrong is said before anything is built on it.
///
/// # Errors
/// There is no such Service, no Pod behind it is ready, or the cluster does not let us through.
pub async fn open(cluster: Cluster, destination: Destination, printer: Printer) -> Outcome<Forward> {
    drop(connect(&cluster, &destination).await?);
    let listen = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        std::io::Result::Ok((listener, address))
    };
    let (listener, address) =
        listen.await.map_err(|error| Failure::new(format!("Cannot listen on a port: {}", error.kind())))?;
    let accepting = tokio::spawn(accept(listener, cluster, destination, printer));
    Ok(Forward { address, accepting })
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, cluster: Cluster, destination: Destination, printer: Printer) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                // What failed is one connection, and its client knows.
                let Ok((stream, _)) = accepted else { continue };
                let (cluster, destination) = (cluster.clone(), destination.clone());
                connections.spawn(async move {
                    if let Err(failure) = carry(stream, &cluster, &destination).await {
                        printer.talk(&failure.render().replacen("[x]", "[!]", 1));
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut near: TcpStream, cluster: &Cluster, destination: &Destination) -> Outcome<()> {
    let mut far = connect(cluster, destination).await?;
    let _ = copy_bidirectional(&mut near, &mut far).await; // whoever waits for more notices
    Ok(())
}

/// A stream to a Pod behind the Service.
async fn connect(cluster: &Cluster, destination: &Destination) -> Outcome<DuplexStream> {
    let (pod, port) = find(cluster, destination).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client(), cluster.namespace());
    let call = Call {
        verb: "create",
        kind: Kind::PortForward,
        name: Some(&pod),
        namespace: Some(cluster.namespace()),
    };
    let mut forwarder = cluster.ask(&call, pods.portforward(&pod, &[port])).await?;
    forwarder.take_stream(port).ok_or_else(|| {
        Failure::fault(format!("The cluster forwards no connection to port {port} of Pod {pod}"))
    })
}

/// A ready Pod behind the Service, and the Pod's port.
async fn find(cluster: &Cluster, destination: &Destination) -> Outcome<(String, u16)> {
    let Destination { service: name, port } = destination;
    let namespace = cluster.namespace();
    let services: Api<Service> = Api::namespaced(cluster.client(), namespace);
    let call = Call { verb: "get", kind: Kind::Service, name: Some(name), namespace: Some(namespace) };
    let service = cluster.ask(&call, services.get(name)).await?;
    let spec = service.spec.unwrap_or_default();
    let port = choose_port(spec.ports.as_deref().unwrap_or_default(), *port).ok_or_else(|| {
        Failure::new(format!("Service {name} has no port for the hub"))
            .hint("Name it in the URL: --hub http://SERVICE.NAMESPACE.svc:PORT")
    })?;
    let selector = spec.selector.filter(|selector| !selector.is_empty()).ok_or_else(|| {
        Failure::new(format!("Service {name} selects no Pods, so there is no way to go through the cluster"))
    })?;
    let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let call = Call { verb: "list", kind: Kind::Pod, name: None, namespace: Some(namespace) };
    let params = ListParams::default().labels(&labels.join(","));
    let pods = cluster.ask(&call, pods.list(&params)).await?.items;
    let pod = pods.iter().find(|pod| is_ready(pod)).ok_or_else(|| {
        Failure::new(format!("No Pod behind Service {name} is ready in namespace {namespace}"))
            .hint(format!("See them with: kubectl get pods -n {namespace} -l {}", labels.join(",")))
    })?;
    let port = pod_port(port, pod).ok_or_else(|| {
        Failure::new(format!("Pod {} has no port with the name that Service {name} uses", pod.name_any()))
    })?;
    Ok((pod.name_any(), port))
}

/// The port of this number, else the one called `hub`, else the only one.
fn choose_port(ports: &[ServicePort], number: Option<u16>) -> Option<&ServicePort> {
    match (number, ports) {
        (Some(number), _) => ports.iter().find(|port| port.port == i32::from(number)),
        (None, [only]) => Some(only),
        (None, _) => ports.iter().find(|port| port.name.as_deref() == Some(HUB_PORT)),
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// The Pod's port behind a port of its Service.
fn pod_port(port: &ServicePort, pod: &Pod) -> Option<u16> {
    let number = match &port.target_port {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
        None => port.port,
    };
    u16::try_from(number).ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ports(ports: &serde_json::Value) -> Vec<ServicePort> {
        serde_json::from_value(ports.clone()).expect("ports")
    }

    fn pod(ready: &str, deleted: bool) -> Pod {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "hub-0"},
            "spec": {"containers": [{"name": "side", "image": "x"}, {"name": "hub", "image": "x", "ports": [{"name": "hub", "containerPort": 3001}]}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .expect("a pod");
        if deleted {
            let time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time");
            pod.metadata.deletion_timestamp = Some(time);
        }
        pod
    }

    #[test]
    fn a_port_is_the_one_of_the_url_else_the_hub_s_else_the_only_one() {
        let two = ports(&json!([{"name": "metrics", "port": 8080}, {"name": "hub", "port": 3001}]));
        let chosen = |ports: &[ServicePort], number| choose_port(ports, number).map(|port| port.port);
        assert_eq!(chosen(&two, Some(8080)), Some(8080));
        assert_eq!(chosen(&two, Some(80)), None);
        assert_eq!(chosen(&two, None), Some(3001));
        assert_eq!(chosen(&two[..1], None), Some(8080));
        assert_eq!(chosen(&[], None), None);
    }

    #[test]
    fn only_pods_that_are_ready_and_stay_are_used() {
        assert!(is_ready(&pod("True", false)));
        assert!(!is_ready(&pod("False", false)));
        assert!(!is_ready(&pod("True", true)));
    }

    #[test]
    fn a_named_target_is_looked_up_in_the_pod() {
        for (port, expected) in [
            (json!([{"port": 80, "targetPort": "hub"}]), Some(3001)),
            (json!([{"port": 80, "targetPort": "http"}]), None),
            (json!([{"port": 80, "targetPort": 4000}]), Some(4000)),
            (json!([{"port": 80}]), Some(80)),
            (json!([{"port": 80, "targetPort": 99999}]), None),
        ] {
            assert_eq!(pod_port(&ports(&port)[0], &pod("True", false)), expected, "{port}");
        }
    }
}
