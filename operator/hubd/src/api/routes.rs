//! A share's routes as their maker gives them.

use super::validation::Fields;
use crate::{
    limits::ROUTES_PER_SHARE,
    store::{NewRoute, ServiceRow},
};

/// A route's or host's name: the longest DNS name.
const NAME_MAX: usize = 253;
/// A protocol is a word.
const PROTOCOL_MAX: usize = 16;

/// The field `routes`, if it is there.
pub fn read(fields: &mut Fields<'_>) -> Option<Vec<NewRoute>> {
    fields.optional_array("routes", ROUTES_PER_SHARE, |route| {
        let (service_name, service) =
            (route.string("serviceName", 1, NAME_MAX), route.optional_uuid("serviceId"));
        let (target_host, target_port) = (route.string("targetHost", 0, NAME_MAX), route.port("targetPort"));
        let local_port = route.has("localPort").then(|| route.port("localPort")).flatten();
        let protocol = route.optional_string("protocol", PROTOCOL_MAX).unwrap_or("auto");
        Some(NewRoute {
            service_name: service_name?.to_owned(),
            service,
            target_host: target_host?.to_owned(),
            target_port: target_port?,
            local_port,
            protocol: protocol.to_owned(),
        })
    })
}

/// A service as the recorded hub snapshots it: the suggested local port is the tunnel port, if it has one.
pub fn snapshot(service: ServiceRow) -> NewRoute {
    NewRoute {
        service_name: service.name,
        service: Some(service.id),
        target_host: service.target_host,
        target_port: service.target_port,
        local_port: service.tunnel_port.or(Some(service.target_port)),
        protocol: service.protocol,
    }
}
