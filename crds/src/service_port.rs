//! A port of a Service: which one a reference means, and what is spoken on it.

use k8s_openapi::api::core::v1::ServicePort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::port::PortRef;
use crate::service_expose::Protocol;

/// First or last words of a port's name that say HTTP.
const HTTP_WORDS: [&str; 3] = ["http", "web", "www"];

/// Words of a port's name that say something else, whatever its number.
const OTHER_WORDS: [&str; 7] = ["tcp", "tls", "grpc", "http2", "h2c", "ssh", "sql"];

/// Whether hubs can carry what is spoken there.
pub fn is_tcp(port: &ServicePort) -> bool {
    port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
}

/// The port that is meant. A Service may have a number twice, once for TCP and once for UDP: the one that can be shared is
/// meant, in whatever order they stand.
pub fn find<'a>(ports: &'a [ServicePort], wanted: &PortRef) -> Option<&'a ServicePort> {
    let is_it = |port: &&ServicePort| wanted.matches(port.port, port.name.as_deref());
    let of_tcp = ports.iter().filter(|port| is_tcp(port)).find(is_it);
    of_tcp.or_else(|| ports.iter().find(is_it))
}

/// What is spoken on the port, as far as the Service tells, and what told it. What it says in words comes before what its
/// number is usually used for.
pub fn spoken(port: &ServicePort) -> Option<(Protocol, String)> {
    if let Some(said) = &port.app_protocol {
        let protocol = match said.to_ascii_lowercase().as_str() {
            "http" | "kubernetes.io/ws" => Protocol::Http,
            "https" | "kubernetes.io/wss" => Protocol::Https,
            _ => return None,
        };
        return Some((protocol, format!("its appProtocol is {said}")));
    }
    let target = match &port.target_port {
        Some(IntOrString::String(name)) => Some(name),
        _ => None,
    };
    for (name, what) in [(port.name.as_ref(), "the port"), (target, "its target port")] {
        let Some(name) = name else { continue };
        match by_name(name) {
            Some(Protocol::Auto) => return None,
            Some(protocol) => return Some((protocol, format!("{what} is named {name}"))),
            None => {}
        }
    }
    match port.port {
        80 => Some((Protocol::Http, "port 80 is the one of HTTP".to_owned())),
        443 => Some((Protocol::Https, "port 443 is the one of HTTPS".to_owned())),
        _ => None,
    }
}

/// `Auto` is something that is known not to be HTTP.
fn by_name(name: &str) -> Option<Protocol> {
    let name = name.to_ascii_lowercase();
    let words = || name.split('-');
    if words().any(|word| OTHER_WORDS.contains(&word)) {
        return Some(Protocol::Auto);
    }
    let ends = [words().next(), words().next_back()];
    match ends.into_iter().flatten().find(|word| *word == "https" || HTTP_WORDS.contains(word)) {
        Some("https") => Some(Protocol::Https),
        Some(_) => Some(Protocol::Http),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(json: serde_json::Value) -> Vec<ServicePort> {
        serde_json::from_value(json).expect("ports")
    }

    #[test]
    fn under_one_number_the_tcp_port_is_meant_in_any_order() {
        let tcp = serde_json::json!({"port": 53, "name": "dns-tcp", "protocol": "TCP"});
        let udp = serde_json::json!({"port": 53, "name": "dns", "protocol": "UDP"});
        for both in [serde_json::json!([tcp, udp]), serde_json::json!([udp, tcp])] {
            let both = ports(both);
            let found = |wanted: &PortRef| find(&both, wanted).and_then(|port| port.name.clone());
            assert_eq!(found(&PortRef::number(53)).as_deref(), Some("dns-tcp"));
            assert_eq!(found(&PortRef::name("dns")).as_deref(), Some("dns"), "a name means one port");
            assert_eq!(found(&PortRef::number(54)), None);
        }
        let only = ports(serde_json::json!([udp]));
        assert!(find(&only, &PortRef::number(53)).is_some_and(|port| !is_tcp(port)), "it is there, and UDP");
    }

    #[test]
    fn what_is_spoken_follows_from_what_the_service_says() {
        for (port, protocol, why) in [
            (serde_json::json!({"port": 8080, "appProtocol": "http"}), "http", "its appProtocol is http"),
            (serde_json::json!({"port": 1, "appProtocol": "HTTPS"}), "https", "its appProtocol is HTTPS"),
            (
                serde_json::json!({"port": 1, "appProtocol": "kubernetes.io/ws"}),
                "http",
                "its appProtocol is kubernetes.io/ws",
            ),
            (serde_json::json!({"port": 80, "name": "http", "appProtocol": "kubernetes.io/h2c"}), "", ""),
            (serde_json::json!({"port": 8080, "name": "http"}), "http", "the port is named http"),
            (
                serde_json::json!({"port": 9000, "name": "http-metrics"}),
                "http",
                "the port is named http-metrics",
            ),
            (
                serde_json::json!({"port": 9000, "name": "admin-https"}),
                "https",
                "the port is named admin-https",
            ),
            (serde_json::json!({"port": 3000, "name": "web"}), "http", "the port is named web"),
            (
                serde_json::json!({"port": 8080, "targetPort": "http"}),
                "http",
                "its target port is named http",
            ),
            (
                serde_json::json!({"port": 80, "name": "main", "targetPort": 8080}),
                "http",
                "port 80 is the one of HTTP",
            ),
            (serde_json::json!({"port": 443}), "https", "port 443 is the one of HTTPS"),
            (serde_json::json!({"port": 80, "name": "grpc"}), "", ""),
            (serde_json::json!({"port": 443, "name": "tls-postgres"}), "", ""),
            (serde_json::json!({"port": 9000, "name": "httpd"}), "", ""),
            (serde_json::json!({"port": 5432, "name": "postgres", "targetPort": "sql"}), "", ""),
            (serde_json::json!({"port": 8080}), "", ""),
        ] {
            let said = spoken(&ports(serde_json::json!([port]))[0]);
            let (said, because) = said.map_or(("", String::new()), |(it, why)| (it.as_hub_str(), why));
            assert_eq!((said, because.as_str()), (protocol, why), "{port}");
        }
    }
}
