//! What a Service's label and annotations ask for. Pure.

use connect_crds::labelled::{ANNOTATIONS, LABEL, LOCAL_PORT, PORT, PROTOCOL, PUBLIC, ROUTE_NAME, WANTED};
use connect_crds::{
    LocalPort, PortRef, Protocol, ServiceExpose, ServiceExposeSpec, ServiceRef, service_port,
};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

/// Label that an EndpointSlice carries with the name of its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Longest name of a route, as the definition says.
const MAX_ROUTE_NAME: usize = 63;

/// What a labelled Service asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// The spec of its ServiceExpose, as far as it can be read.
    pub spec: ServiceExposeSpec,
    /// What of it cannot be read: one sentence. Nothing is shared until it is mended.
    pub validation_message: Option<String>,
}

/// What the Service asks for; nothing without the label.
pub fn desired(service: &Service) -> Option<Desired> {
    if service.labels().get(LABEL).is_none_or(|value| value != WANTED) {
        return None;
    }
    let mut validation_message = None;
    let mut complain = |sentence: String| {
        validation_message.get_or_insert(sentence);
    };
    let port = port(service).unwrap_or_else(|sentence| {
        complain(sentence);
        PortRef::number(1)
    });
    let read = |annotation| {
        let text = service.annotations().get(annotation)?;
        Some((text.as_str(), annotation))
    };
    let route_name = read(ROUTE_NAME).and_then(|(text, name)| {
        is_route_name(text).then(|| text.to_owned()).or_else(|| {
            complain(format!("{name}: {text:?} is no route name: lower-case letters, digits and hyphens, at most {MAX_ROUTE_NAME}"));
            None
        })
    });
    let local_port = read(LOCAL_PORT).and_then(|(text, name)| {
        text.parse().ok().and_then(LocalPort::new).or_else(|| {
            complain(format!("{name}: {text:?} is no port from 1 to 65535"));
            None
        })
    });
    let protocol = read(PROTOCOL).and_then(|(text, name)| {
        protocol(text).or_else(|| {
            complain(format!("{name}: {text:?} is none of Auto, TCP, HTTP and HTTPS"));
            None
        })
    });
    let public = read(PUBLIC).and_then(|(text, name)| {
        text.parse().ok().or_else(|| {
            complain(format!("{name}: {text:?} is neither true nor false"));
            None
        })
    });
    let protocol = protocol.or_else(|| spoken(service, &port));
    let spec = ServiceExposeSpec {
        service_ref: ServiceRef { name: service.name_any(), port },
        route_name,
        local_port,
        protocol: protocol.unwrap_or_default(),
        reach: None,
        public: public.unwrap_or_default(),
        hub_ref: None,
    };
    Some(Desired { spec, validation_message: validation_message.or_else(|| unknown_annotation(service)) })
}

/// Whether the ServiceExpose is the one that this Service's label asked for: the Service owns it.
pub fn is_owned_by(expose: &ServiceExpose, service: &Service) -> bool {
    service.uid().is_some_and(|uid| expose.owner_references().iter().any(|owner| owner.uid == uid))
}

/// Why a ServiceExpose that a label asked for is not what its Service asks for now.
pub fn validation_message(expose: &ServiceExpose, service: &Service) -> Option<String> {
    if is_owned_by(expose, service) { desired(service)?.validation_message } else { None }
}

/// The port that the annotation says, or the only one that can be carried.
fn port(service: &Service) -> Result<PortRef, String> {
    if let Some(text) = service.annotations().get(PORT) {
        return if text.is_empty() { Err(format!("{PORT} is empty")) } else { Ok(PortRef::parse(text)) };
    }
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let tcp: Vec<_> = ports.iter().filter(|port| service_port::is_tcp(port)).collect();
    match tcp[..] {
        [port] => u16::try_from(port.port).map(PortRef::number).map_err(|_| "its port is none".to_owned()),
        [] => Err("it has no TCP port".to_owned()),
        _ => Err(format!("it has several ports: say which by the annotation {PORT}")),
    }
}

/// What the Service itself says of the port.
fn spoken(service: &Service, port: &PortRef) -> Option<Protocol> {
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    service_port::find(ports, port).and_then(service_port::spoken).map(|(protocol, _)| protocol)
}

fn is_route_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= MAX_ROUTE_NAME
        && text.bytes().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn protocol(text: &str) -> Option<Protocol> {
    [("auto", Protocol::Auto), ("tcp", Protocol::Tcp), ("http", Protocol::Http), ("https", Protocol::Https)]
        .into_iter()
        .find_map(|(name, protocol)| text.eq_ignore_ascii_case(name).then_some(protocol))
}

/// One of ours that means nothing is a typing error, and would else be silence.
fn unknown_annotation(service: &Service) -> Option<String> {
    let ours =
        |name: &&String| name.starts_with(connect_crds::GROUP) && !ANNOTATIONS.contains(&name.as_str());
    let name = service.annotations().keys().find(ours)?;
    Some(format!("{name} means nothing; there are {}", ANNOTATIONS.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(annotations: &str, ports: &str) -> Service {
        let text = format!(
            "metadata: {{name: api, uid: u-1, labels: {{connect.privateconnect.co/expose: 'true'}}, annotations: {{{annotations}}}}}\nspec: {{ports: [{ports}]}}"
        );
        serde_saphyr::from_str(&text).expect("fixture")
    }

    fn asked(annotations: &str, ports: &str) -> Desired {
        desired(&service(annotations, ports)).expect("it has the label")
    }

    #[test]
    fn a_label_alone_exposes_the_only_tcp_port() {
        let Desired { spec, validation_message } = asked("", "{port: 8080}, {port: 53, protocol: UDP}");
        assert_eq!((spec.service_ref.name.as_str(), &spec.service_ref.port), ("api", &PortRef::number(8080)));
        assert_eq!((spec.route_name, spec.public, validation_message), (None, false, None));
    }

    #[test]
    fn annotations_say_the_rest() {
        let all = "connect.privateconnect.co/port: web, connect.privateconnect.co/route-name: shop, connect.privateconnect.co/local-port: '8080', connect.privateconnect.co/protocol: HTTP, connect.privateconnect.co/public: 'true'";
        let Desired { spec, validation_message } = asked(all, "{port: 80, name: web}, {port: 81}");
        assert_eq!(validation_message, None);
        assert_eq!(spec.service_ref.port, PortRef::name("web"));
        assert_eq!((spec.route_name.as_deref(), spec.local_port), (Some("shop"), LocalPort::new(8080)));
        assert_eq!((spec.protocol, spec.public), (Protocol::Http, true));
    }

    #[test]
    fn what_is_spoken_follows_from_the_service_unless_an_annotation_says_it() {
        for (annotations, ports, protocol) in [
            ("", "{port: 80, name: http}", Protocol::Http),
            ("", "{port: 8080, appProtocol: https}", Protocol::Https),
            ("", "{port: 5432}", Protocol::Auto),
            ("connect.privateconnect.co/protocol: TCP", "{port: 80, name: http}", Protocol::Tcp),
            ("connect.privateconnect.co/protocol: auto", "{port: 80}", Protocol::Auto),
        ] {
            assert_eq!(asked(annotations, ports).spec.protocol, protocol, "{annotations} {ports}");
        }
    }

    #[test]
    fn nothing_is_asked_for_without_the_label_or_with_another_value() {
        for labels in
            ["{}", "{connect.privateconnect.co/expose: 'false'}", "{connect.privateconnect.co/expose: yes}"]
        {
            let text = format!("metadata: {{name: api, labels: {labels}}}\nspec: {{ports: [{{port: 80}}]}}");
            assert_eq!(desired(&serde_saphyr::from_str(&text).expect("fixture")), None, "{labels}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_in_a_sentence() {
        let rows = [
            ("", "{port: 80}, {port: 81}", "several ports"),
            ("", "{port: 53, protocol: UDP}", "no TCP port"),
            ("connect.privateconnect.co/route-name: My_Route", "{port: 80}", "\"My_Route\" is no route name"),
            ("connect.privateconnect.co/local-port: '0'", "{port: 80}", "\"0\" is no port"),
            ("connect.privateconnect.co/protocol: FTP", "{port: 80}", "\"FTP\" is none of"),
            ("connect.privateconnect.co/public: maybe", "{port: 80}", "\"maybe\" is neither"),
            ("connect.privateconnect.co/prot: '80'", "{port: 80}", "/prot means nothing"),
        ];
        for (annotations, ports, sentence) in rows {
            let validation_message = asked(annotations, ports).validation_message.expect(annotations);
            assert!(validation_message.contains(sentence), "{validation_message}");
        }
    }
}
