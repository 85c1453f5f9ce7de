//! A share's services at the hub, and where the data plane takes their connections.

use connect_crds::EnvironmentShare;
use connect_hub::client::{Client, NewService, ServiceReach};
use connect_hub::tunnel::routes::Route as DialRoute;
use uuid::Uuid;

use crate::controllers::environment_share::dereference::Found;
use crate::controllers::environment_share::names::{service_name, share_key};
use crate::controllers::environment_share::validate::{Route, Validated};
use crate::tunnels::{HubConnection, KnownService};

/// Tells the data plane the share's end and where its known services lead now. Costs no call, so it is done whatever the hub's
/// state: a Service that was withdrawn is cut even while the hub is away.
pub fn follow_services(share: &EnvironmentShare, valid: &Validated, found: &Found, hub: &HubConnection) {
    let key = share_key(share);
    if let Some(end) = valid.ends_at {
        hub.routes().set_end(&key, end);
    }
    for (name, known) in &found.services {
        match valid.routes.iter().find(|route| service_name(share, &route.name) == *name) {
            Some(route) => hub.routes().set(known.id, dial_route(share, route, *known)),
            None => hub.routes().remove(known.id),
        }
    }
}

fn dial_route(share: &EnvironmentShare, route: &Route, known: KnownService) -> DialRoute {
    DialRoute {
        share: Some(share_key(share)),
        name: service_name(share, &route.name),
        tunnel_port: known.tunnel_port,
        protocol: route.protocol.as_hub_str().to_owned(),
        targets: route.target.as_ref().map(|target| target.addresses.clone()).unwrap_or_default(),
    }
}

/// Every route's own service at the hub; those that are known already cost nothing.
///
/// # Errors
/// The hub refused or did not answer.
pub async fn register_services(
    share: &EnvironmentShare,
    routes: &[Route],
    hub: &HubConnection,
    (client, agent): (&Client, Uuid),
) -> Result<Vec<Uuid>, connect_hub::Error> {
    let mut ids = Vec::with_capacity(routes.len());
    for route in routes {
        let name = service_name(share, &route.name);
        let known = match hub.with_directory(|directory| directory.service(&name)) {
            Some(known) => known,
            None => {
                let service = NewService {
                    name: name.clone(),
                    target_host: route.name.clone(),
                    target_port: target_port(route),
                    protocol: route.protocol.as_hub_str(),
                    is_public: false,
                    reach: Some(ServiceReach::Shared),
                };
                let made = client.register_service(agent, &service).await?;
                let known = KnownService { id: made.id, tunnel_port: made.tunnel_port };
                hub.with_directory(|directory| directory.remember_service(&name, known));
                known
            }
        };
        hub.routes().set(known.id, dial_route(share, route, known));
        ids.push(known.id);
    }
    Ok(ids)
}

/// Frees the services of routes that are no longer shared, where the hub can.
///
/// # Errors
/// The hub refused or did not answer.
pub async fn withdraw_services(
    share: &EnvironmentShare,
    routes: &[Route],
    found: &Found,
    hub: &HubConnection,
) -> Result<(), connect_hub::Error> {
    for (name, known) in &found.services {
        if !routes.iter().any(|route| service_name(share, &route.name) == *name) {
            hub.free_service(name, *known).await?;
        }
    }
    Ok(())
}

/// The port that the hub is told a route leads to.
pub fn target_port(route: &Route) -> u16 {
    route.target.as_ref().map_or(route.port, |target| target.port)
}
