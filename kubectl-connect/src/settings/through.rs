//! A hub that lives only inside a cluster: which Service it is, as its name or the flags say.

use crate::failure::{Failure, Outcome};

/// Where the chart puts the operator and the hub it brings along.
const USUAL_NAMESPACE: &str = "private-connect";

/// What the chart calls the hub's Service.
const USUAL_SERVICE: &str = "private-connect-hub";

/// A Service inside a cluster, and a port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The Service, in the cluster's chosen namespace.
    pub service: String,
    /// Its port; otherwise the one called `hub`, or the only one.
    pub port: Option<u16>,
}

/// The way to a hub inside a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// The namespace, unless another one is given.
    pub namespace: String,
    /// The Service.
    pub destination: Destination,
}

// === impl Through ===

impl Through {
    /// The hub's name inside the cluster.
    pub fn url(&self) -> String {
        let Destination { service, port } = &self.destination;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("http://{service}.{}.svc{port}", self.namespace)
    }
}

/// The Service that a URL and `--service` mean.
///
/// # Errors
/// The URL wants TLS, whose names do not fit a port of this machine.
pub fn through(url: Option<&str>, service: Option<String>) -> Outcome<Through> {
    let named = url.and_then(inside);
    if let Some(url) = url.filter(|url| url.starts_with("https://")) {
        return Err(Failure::new(format!(
            "Cannot go to {url} through the cluster: only to a hub that speaks http there"
        ))
        .hint("The way through the API server is encrypted: give the hub's http URL, or none."));
    }
    let (host_service, namespace, port) = match named {
        Some(Inside { service, namespace, port }) => (Some(service), Some(namespace), port),
        None => (None, None, None),
    };
    Ok(Through {
        namespace: namespace.unwrap_or_else(|| USUAL_NAMESPACE.to_owned()),
        destination: Destination {
            service: service.or(host_service).unwrap_or_else(|| USUAL_SERVICE.to_owned()),
            port,
        },
    })
}

/// A URL whose host has a name inside a cluster.
#[derive(Debug, PartialEq, Eq)]
struct Inside {
    service: String,
    namespace: String,
    port: Option<u16>,
}

/// Whether the host of a URL is a Service's name, which only a cluster's own machines know.
pub fn is_inside(url: &str) -> bool {
    inside(url).is_some()
}

fn inside(url: &str) -> Option<Inside> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (host, port) =
        authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, port.parse().ok()));
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let mut labels = host.split('.');
    let (service, namespace, kind) = (labels.next()?, labels.next()?, labels.next()?);
    if kind != "svc" || service.is_empty() || namespace.is_empty() {
        return None;
    }
    let usual = if scheme == "https" { 443 } else { 80 };
    Some(Inside { service: service.to_owned(), namespace: namespace.to_owned(), port: port.or(Some(usual)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_inside_a_cluster_says_service_namespace_and_port() {
        for url in [
            "http://hub.team.svc:3001",
            "http://HUB.team.svc.cluster.local:3001/",
            "http://hub.team.svc.cluster.local.:3001",
        ] {
            let found = through(Some(url), None).expect("usable");
            let destination = Destination { service: "hub".into(), port: Some(3001) };
            assert_eq!(found, Through { namespace: "team".into(), destination }, "{url}");
        }
        assert_eq!(through(Some("http://hub.team.svc"), None).expect("usable").destination.port, Some(80));
        for url in [
            "http://hub.example.com",
            "http://svc",
            "http://a.svc",
            "http://a.b.svcx",
            "https://hub.svc.example",
        ] {
            assert!(!is_inside(url), "{url}");
        }
        assert!(is_inside("https://hub.team.svc"));
    }

    #[test]
    fn without_such_a_name_it_is_the_chart_s_hub() {
        let destination = Destination { service: "private-connect-hub".into(), port: None };
        assert_eq!(
            through(None, None).expect("usable"),
            Through { namespace: "private-connect".into(), destination }
        );
        let other = through(Some("http://hub.example.com"), Some("mine".into())).expect("usable");
        assert_eq!((other.destination.service.as_str(), other.destination.port), ("mine", None));
        assert!(through(Some("https://hub.team.svc"), None).is_err());
    }
}
