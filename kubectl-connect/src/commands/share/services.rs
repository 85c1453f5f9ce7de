//! `--service` and `-l`: the routes of a share that names Services.
//!
//! A Service that is exposed already is shared as it is. For the others the share gets ServiceExposes of its own, which it
//! owns, so that they go with it; one that another share owns gets us as a further owner.

use std::collections::BTreeSet;

use connect_crds::{
    EnvironmentShare, HubRef, PortRef, Protocol, ServiceExpose, ServiceExposeSpec, ServiceRef, service_port,
};
use k8s_openapi::api::core::v1::{Service, ServicePort};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt};

use crate::cluster::failure::{Call, Kind};
use crate::cluster::services::Port;
use crate::cluster::{Cluster, FIELD_MANAGER, services};
use crate::failure::{Failure, Outcome};
use crate::settings::share::Selection;

/// Longest name of a ServiceExpose.
const MAX_NAME: usize = 63;

/// Routes of one share at most, as the resource allows.
const MAX_ROUTES: usize = 100;

/// One route of the share.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// Made by somebody before.
    Existing {
        /// Its object.
        expose: Box<ServiceExpose>,
        /// Whether shares own it, so that it would go with them.
        is_owned: bool,
    },
    /// To be made with the share.
    New(Box<ServiceExpose>),
}

/// One port of one Service, and what its route is to be called.
struct Wanted {
    service: String,
    number: i32,
    port: PortRef,
    protocol: Protocol,
    route: String,
}

// === impl Route ===

impl Route {
    /// Name of the object.
    pub fn name(&self) -> String {
        match self {
            Self::Existing { expose, .. } | Self::New(expose) => expose.name_any(),
        }
    }
}

/// The routes that the share is to name; nothing when it shares what is exposed.
///
/// # Errors
/// A Service or port does not exist, or no Service has the labels.
pub async fn plan(
    cluster: &Cluster,
    selection: &Selection,
    share: &str,
    hub: Option<&HubRef>,
) -> Outcome<Option<Vec<Route>>> {
    let wanted = match selection {
        Selection::Exposed => return Ok(None),
        Selection::Services(targets) => {
            let mut wanted = Vec::new();
            for target in targets {
                let name = &target.service;
                let service = services::get(cluster, name).await?;
                let service = service.ok_or_else(|| services::none(name, cluster.namespace()))?;
                let Port { reference, number, spoken } = services::choose_port(target, &service)?;
                let protocol = spoken.map(|(protocol, _)| protocol).unwrap_or_default();
                let (service, route) = (service.name_any(), service.name_any());
                wanted.push(Wanted { service, number, port: reference, protocol, route });
            }
            wanted
        }
        Selection::Labelled(labels) => {
            labelled(&services(cluster, labels).await?, labels, cluster.namespace())?
        }
    };
    let call =
        Call { verb: "list", kind: Kind::ServiceExpose, name: None, namespace: Some(cluster.namespace()) };
    let exposed = cluster.ask(&call, api(cluster).list(&ListParams::default())).await?.items;
    choose(wanted, &exposed, share, hub).map(Some)
}

/// Whether nothing is exposed in the namespace, as far as we may see.
pub async fn nothing_is_exposed(cluster: &Cluster) -> bool {
    let call =
        Call { verb: "list", kind: Kind::ServiceExpose, name: None, namespace: Some(cluster.namespace()) };
    let listed = cluster.ask(&call, api(cluster).list(&ListParams::default().limit(1))).await;
    listed.is_ok_and(|list| list.items.is_empty())
}

async fn services(cluster: &Cluster, labels: &str) -> Outcome<Vec<Service>> {
    let api: Api<Service> = Api::namespaced(cluster.client(), cluster.namespace());
    let call = Call { verb: "list", kind: Kind::Service, name: None, namespace: Some(cluster.namespace()) };
    Ok(cluster.ask(&call, api.list(&ListParams::default().labels(labels))).await?.items)
}

fn ports(service: &Service) -> impl Iterator<Item = &ServicePort> {
    let spec = service.spec.as_ref();
    let is_inside = spec.and_then(|spec| spec.type_.as_deref()) != Some("ExternalName");
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    ports.iter().filter(move |port| is_inside && services::is_tcp(port))
}

/// Every TCP port of these Services. The routes of a Service with several are told apart by their ports.
fn labelled(services: &[Service], labels: &str, namespace: &str) -> Outcome<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for service in services {
        let name = service.name_any();
        let is_only = ports(service).count() == 1;
        for port in ports(service) {
            let suffix = port.name.clone().unwrap_or_else(|| port.port.to_string());
            let route = if is_only { name.clone() } else { format!("{name}-{suffix}") };
            let number = u16::try_from(port.port).unwrap_or_default();
            wanted.push(Wanted {
                service: name.clone(),
                number: port.port,
                port: PortRef::number(number),
                protocol: service_port::spoken(port).map(|(protocol, _)| protocol).unwrap_or_default(),
                route,
            });
        }
    }
    match wanted.len() {
        0 => Err(Failure::new(format!(
            "No Service of namespace {namespace} with a TCP port has the labels {labels}"
        ))
        .hint(format!("See them with: kubectl get services -n {namespace} --show-labels"))),
        count if count > MAX_ROUTES => Err(Failure::new(format!(
            "The labels {labels} choose {count} ports, and a share has at most {MAX_ROUTES} routes"
        ))
        .hint("Choose fewer Services.")),
        _ => Ok(wanted),
    }
}

/// For each port the ServiceExpose that is there, or a new one. Pure.
fn choose(
    wanted: Vec<Wanted>,
    exposed: &[ServiceExpose],
    share: &str,
    hub: Option<&HubRef>,
) -> Outcome<Vec<Route>> {
    let live = || exposed.iter().filter(|expose| expose.metadata.deletion_timestamp.is_none());
    let mut taken: BTreeSet<String> = live().map(|expose| expose.route_name().to_owned()).collect();
    let mut routes: Vec<Route> = Vec::new();
    for Wanted { service, number, port, protocol, route } in wanted {
        let suits = |expose: &&ServiceExpose| {
            let spec = &expose.spec;
            let name = match &port.0 {
                k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String(name) => {
                    Some(name.as_str())
                }
                _ => None,
            };
            spec.service_ref.name == service
                && spec.service_ref.port.matches(number, name)
                && (spec.hub_ref.is_none() || spec.hub_ref.as_ref() == hub)
        };
        let planned = match live().find(suits) {
            Some(expose) => Route::Existing {
                is_owned: expose
                    .owner_references()
                    .iter()
                    .any(|owner| owner.kind == EnvironmentShare::kind(&())),
                expose: Box::new(expose.clone()),
            },
            None => {
                let route = if taken.contains(&route) { format!("{route}-{number}") } else { route };
                if route.len() > MAX_NAME || !taken.insert(route.clone()) {
                    return Err(Failure::new(format!("Port {number} of Service {service} cannot be shared as {route}: another route has this name, or it is too long"))
                        .hint(format!("Expose it under another name: kubectl connect expose {service}:{number} --name ROUTE")));
                }
                let mut expose = new_expose(share, routes.len(), service, port, route);
                expose.spec.protocol = protocol;
                Route::New(Box::new(expose))
            }
        };
        if !routes.iter().any(|other| other.name() == planned.name()) {
            routes.push(planned);
        }
    }
    Ok(routes)
}

fn new_expose(share: &str, index: usize, service: String, port: PortRef, route: String) -> ServiceExpose {
    let name = format!("{share}-{route}");
    let name = if name.len() > MAX_NAME { format!("{share}-{index}") } else { name };
    let spec = ServiceExposeSpec {
        service_ref: ServiceRef { name: service, port },
        route_name: Some(route),
        local_port: None,
        protocol: Protocol::Auto,
        reach: None,
        public: false,
        hub_ref: None,
    };
    ServiceExpose::new(&name, spec)
}

/// Makes the new routes, owned by the share, and adds the share to the owners of those that other shares own.
///
/// # Errors
/// The cluster refuses or does not answer.
pub async fn make(cluster: &Cluster, share: &EnvironmentShare, routes: &[Route]) -> Outcome<()> {
    let Some(owner) = share.owner_ref(&()) else {
        return Err(Failure::fault("The cluster stored the share without a UID"));
    };
    let api = api(cluster);
    for route in routes {
        let name = route.name();
        let call = |verb| Call {
            verb,
            kind: Kind::ServiceExpose,
            name: Some(&name),
            namespace: Some(cluster.namespace()),
        };
        match route {
            Route::New(expose) => {
                let mut expose = expose.clone();
                expose.metadata.owner_references = Some(vec![owner.clone()]);
                let params =
                    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
                cluster.ask(&call("create"), api.create(&params, &expose)).await?;
            }
            Route::Existing { is_owned: true, .. } => {
                let add =
                    serde_json::json!([{"op": "add", "path": "/metadata/ownerReferences/-", "value": owner}]);
                let add = serde_json::from_value(add)
                    .map_err(|error| Failure::new(format!("Cannot add an owner: {error}")))?;
                let patch = Patch::Json::<()>(add);
                cluster.ask(&call("patch"), api.patch(&name, &PatchParams::default(), &patch)).await?;
            }
            Route::Existing { is_owned: false, .. } => {}
        }
    }
    Ok(())
}

fn api(cluster: &Cluster) -> Api<ServiceExpose> {
    Api::namespaced(cluster.client(), cluster.namespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, ports: &serde_json::Value) -> Service {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "spec": {"ports": ports}}))
            .expect("a Service")
    }

    fn exposed(name: &str, route: &str, service: &str, port: u16, owned: bool) -> ServiceExpose {
        let mut expose = new_expose("x", 0, service.into(), PortRef::number(port), route.into());
        expose.metadata.name = Some(name.into());
        if owned {
            let owner = serde_json::json!([{"apiVersion": "connect.privateconnect.co/v1alpha1", "kind": "EnvironmentShare", "name": "s", "uid": "u"}]);
            expose.metadata.owner_references = serde_json::from_value(owner).expect("owners");
        }
        expose
    }

    fn said(routes: &[Route]) -> Vec<String> {
        routes
            .iter()
            .map(|route| match route {
                Route::New(expose) => format!("new {} as {}", expose.name_any(), expose.route_name()),
                Route::Existing { expose, is_owned } => format!("{} owned={is_owned}", expose.name_any()),
            })
            .collect()
    }

    #[test]
    fn what_is_exposed_already_is_shared_as_it_is() {
        let services = [
            service("postgres", &serde_json::json!([{"port": 5432}])),
            service(
                "api",
                &serde_json::json!([{"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP"}]),
            ),
            service(
                "web",
                &serde_json::json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]),
            ),
        ];
        let wanted = labelled(&services, "a=b", "staging").expect("ports");
        let there =
            [exposed("db", "database", "postgres", 5432, false), exposed("s-web", "web", "web", 80, true)];
        let routes = choose(wanted, &there, "demo", None).expect("a plan");
        assert_eq!(
            said(&routes),
            ["db owned=false", "new demo-api as api", "s-web owned=true", "new demo-web-https as web-https"]
        );
    }

    #[test]
    fn a_name_that_is_taken_gets_its_port() {
        let services = [service("api", &serde_json::json!([{"port": 80}]))];
        let wanted = || labelled(&services, "a=b", "staging").expect("ports");
        let one = [exposed("x", "api", "other", 1, false)];
        assert_eq!(
            said(&choose(wanted(), &one, "demo", None).expect("a plan")),
            ["new demo-api-80 as api-80"]
        );
        let two = [exposed("x", "api", "other", 1, false), exposed("y", "api-80", "other", 2, false)];
        let refused = choose(wanted(), &two, "demo", None).expect_err("both names are taken");
        assert!(
            refused.render().contains("kubectl connect expose api:80 --name ROUTE"),
            "{}",
            refused.render()
        );
    }

    #[test]
    fn labels_that_choose_nothing_are_an_answer() {
        assert_eq!(
            labelled(&[], "a=b", "staging").err().map(|failure| failure.render()).as_deref(),
            Some(
                "[x] No Service of namespace staging with a TCP port has the labels a=b\n\
                 See them with: kubectl get services -n staging --show-labels\n"
            )
        );
    }
}
