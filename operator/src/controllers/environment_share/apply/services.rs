//! A share's services at the hub, and where the data plane takes their connections.

use connect_crds::EnvironmentShare;
use connect_crds::condition::reason;
use connect_hub::client::{Client, NewService, ServiceReach};
use connect_hub::code_key::Verification;
use connect_hub::tunnel::routes::Route as DialRoute;
use jiff::Timestamp;
use kube::ResourceExt;
use uuid::Uuid;

use crate::args::ShareIsolation;
use crate::context::Context;
use crate::controllers::environment_share::dereference::Found;
use crate::controllers::environment_share::encryption::verification;
use crate::controllers::environment_share::reuse::{Reuse, Reused};
use crate::controllers::environment_share::validate::{Route, Validated};
use crate::faults::point;
use crate::names::{common_name, old_common_name, old_service_name, service_name, share_key};
use crate::tunnels::{HubConnection, KnownService, Use, service_key};

/// The name of a route's service at the hub; `None` while it is not known who we are there. One that an earlier version has
/// made is used for as long as it is ours: a share's routes lead to its id.
fn name_at_hub(share: &EnvironmentShare, found: &Found, route: &str) -> Option<String> {
    let maker = found.maker.as_ref()?;
    if let Some(reused) = found.reused.iter().find(|reused| reused.route == route) {
        return Some(reused.service.clone());
    }
    let namespace = share.namespace().unwrap_or_default();
    let (old, new) = match found.isolation {
        ShareIsolation::Route => (old_service_name(share, route), service_name(share, route, maker)),
        ShareIsolation::Shared => (old_common_name(&namespace, route), common_name(&namespace, route, maker)),
    };
    let is_there = |name: &str| found.services.iter().any(|(known, _)| known == name);
    Some(if is_there(&old) && !is_there(&new) { old } else { new })
}

/// Whether the service with this name at the hub is the route's.
fn is_at_hub(share: &EnvironmentShare, found: &Found, route: &Route, name: &str) -> bool {
    name_at_hub(share, found, &route.name).is_some_and(|wanted| wanted == name)
}

/// Tells the data plane the share's end and where its known services lead now. Costs no call, so it is done whatever the hub's
/// state: a Service that was withdrawn is cut even while the hub is away.
pub fn follow_services(share: &EnvironmentShare, valid: &Validated, found: &Found, hub: &HubConnection) {
    // Nobody connects before it is known what he has to prove.
    ask_for(share, valid, found, hub, verification(share, found, hub));
    if let Some(end) = valid.ends_at {
        hub.routes().set_end(&share_key(share), end);
    }
    for (name, known) in &found.services {
        match valid.routes.iter().find(|route| is_at_hub(share, found, route, name)) {
            Some(route) => hub.routes().set(known.id, dial_route(share, found, route, name, *known)),
            None if found.isolation == ShareIsolation::Route => hub.routes().remove(known.id),
            // Another share's.
            None => {}
        }
    }
}

/// Tells the data plane what whoever connects has to prove, and which services the share has in common with others.
pub fn ask_for(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    hub: &HubConnection,
    verification: Verification,
) {
    hub.routes().set_verification(&share_key(share), verification.clone());
    hold(share, &valid.routes, (valid.ends_at, verification), found, hub);
}

/// Notes which services the share has in common with others; without an end they are kept for it and not opened.
pub fn hold_services(
    share: &EnvironmentShare,
    routes: &[Route],
    ends_at: Option<Timestamp>,
    found: &Found,
    hub: &HubConnection,
) {
    hold(share, routes, (ends_at, verification(share, found, hub)), found, hub);
}

fn hold(
    share: &EnvironmentShare,
    routes: &[Route],
    (ends_at, verification): (Option<Timestamp>, Verification),
    found: &Found,
    hub: &HubConnection,
) {
    if found.isolation == ShareIsolation::Shared && found.maker.is_some() {
        let names = routes.iter().filter_map(|route| name_at_hub(share, found, &route.name)).collect();
        hub.uses_in_common(&share_key(share), Use { ends_at, services: names, verification });
    }
}

fn dial_route(
    share: &EnvironmentShare,
    found: &Found,
    route: &Route,
    name: &str,
    known: KnownService,
) -> DialRoute {
    let key = match found.isolation {
        ShareIsolation::Route => share_key(share),
        ShareIsolation::Shared => service_key(name),
    };
    DialRoute {
        share: Some(key),
        name: name.to_owned(),
        tunnel_port: known.tunnel_port,
        protocol: route.protocol.as_hub_str().to_owned(),
        targets: route.target.as_ref().map(|target| target.addresses.clone()).unwrap_or_default(),
    }
}

/// Every route's service at the hub; those that are known already cost nothing.
///
/// # Errors
/// The hub refused or did not answer.
pub async fn register_services(
    share: &EnvironmentShare,
    routes: &[Route],
    found: &Found,
    hub: &HubConnection,
    (client, agent): (&Client, Uuid),
    context: &Context,
) -> Result<Vec<Uuid>, connect_hub::Error> {
    let _commons = match found.isolation {
        ShareIsolation::Route => None,
        ShareIsolation::Shared => Some(hub.commons().await),
    };
    let mut ids = Vec::with_capacity(routes.len());
    for route in routes {
        // A hub that is entered knows who we are.
        let Some(name) = name_at_hub(share, found, &route.name) else { return Ok(Vec::new()) };
        let reuse = found.maker.as_ref().filter(|_| found.isolation == ShareIsolation::Route);
        let reuse = reuse.map(|maker| Reuse { share, hub, maker, code: found.code.as_ref(), context });
        let registration = Registration { hub, client, agent, reuse };
        let (name, known) = registration.of(route, name).await?;
        hub.routes().set(known.id, dial_route(share, found, route, &name, known));
        ids.push(known.id);
    }
    Ok(ids)
}

/// How services are registered.
struct Registration<'a> {
    hub: &'a HubConnection,
    client: &'a Client,
    agent: Uuid,
    /// Where services of ended shares may be used.
    reuse: Option<Reuse<'a>>,
}

impl Registration<'_> {
    /// The route's service under this name, made if it is not there. Where the hub has no room for another and deletes none, one
    /// that an ended share had for the same route.
    async fn of(
        &self,
        route: &Route,
        mut name: String,
    ) -> Result<(String, KnownService), connect_hub::Error> {
        let known = |name: &str| self.hub.with_directory(|directory| directory.service(name));
        if let (Some(own), Some(reuse)) = (known(&name), &self.reuse)
            && reuse.is_lent(&name, own.id)
        {
            name = reuse.another_name(&route.name);
        }
        if let Some(known) = known(&name) {
            return Ok((name, known));
        }
        let error = match self.register(route, &name).await {
            Ok(known) => return Ok((name, known)),
            Err(error) => error,
        };
        let is_full = error.reason() == reason::SERVICE_LIMIT_REACHED && !self.hub.deletes_services();
        match self.reuse.as_ref().filter(|_| is_full).and_then(|reuse| reuse.take(&route.name)) {
            // Registered once more under its name, it leads to the route as it is now.
            Some(Reused { service, .. }) => Ok((service.clone(), self.register(route, &service).await?)),
            None => Err(error),
        }
    }

    async fn register(&self, route: &Route, name: &str) -> Result<KnownService, connect_hub::Error> {
        let service = NewService {
            name: name.to_owned(),
            target_host: route.name.clone(),
            target_port: target_port(route),
            protocol: route.protocol.as_hub_str(),
            is_public: false,
            reach: Some(ServiceReach::Shared),
        };
        let made = point("registering a service", self.client.register_service(self.agent, &service)).await?;
        let known = KnownService { id: made.id, tunnel_port: made.tunnel_port };
        self.hub.with_directory(|directory| directory.remember_service(name, known));
        Ok(known)
    }
}

/// Frees the services that no route of `routes` needs any more, where the hub can.
///
/// # Errors
/// The hub refused or did not answer.
pub async fn free_services(
    share: &EnvironmentShare,
    routes: &[Route],
    found: &Found,
    hub: &HubConnection,
) -> Result<(), connect_hub::Error> {
    match found.isolation {
        ShareIsolation::Route => {
            for (name, known) in &found.services {
                if !routes.iter().any(|route| is_at_hub(share, found, route, name)) {
                    hub.free_service(name, *known).await?;
                }
            }
        }
        // What others use is not known of all of them yet; whoever looks next frees what is left.
        ShareIsolation::Shared if found.has_unknown_shares => {}
        ShareIsolation::Shared => {
            let _commons = hub.commons().await;
            for (name, known) in found.services.iter().filter(|(name, _)| !hub.is_used(name)) {
                hub.free_service(name, *known).await?;
            }
        }
    }
    Ok(())
}

/// Whether [`free_services`] would have something to ask of the hub when the share needs no route any more.
pub fn has_services_to_free(found: &Found, hub: &HubConnection) -> bool {
    hub.deletes_services()
        && match found.isolation {
            ShareIsolation::Route => !found.services.is_empty(),
            ShareIsolation::Shared => {
                !found.has_unknown_shares && found.services.iter().any(|(name, _)| !hub.is_used(name))
            }
        }
}

/// Whether the share's routes at the hub lead to other services than those that are there for them now: the hub has lost some, or
/// an operator of an earlier version elsewhere has taken them.
pub fn have_moved(share: &EnvironmentShare, routes: &[Route], found: &Found, services: &[Uuid]) -> bool {
    let Some(code) = &found.code else { return false };
    if code.routes.len() != routes.len() || routes.iter().any(|route| !code.routes.contains(&route.name)) {
        return false; // other routes, which are sent anyway
    }
    let lead_to = |route: &String| match &code.services {
        Some(noted) => {
            code.routes.iter().position(|name| name == route).and_then(|at| noted.get(at).copied())
        }
        None => {
            let name = name_at_hub(share, found, route)?;
            found.services.iter().find(|(known, _)| *known == name).map(|(_, known)| known.id)
        }
    };
    routes.iter().zip(services).any(|(route, id)| lead_to(&route.name) != Some(*id))
}

/// The port that the hub is told a route leads to.
pub fn target_port(route: &Route) -> u16 {
    route.target.as_ref().map_or(route.port, |target| target.port)
}
