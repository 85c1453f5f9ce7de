//! What `expose` and `unexpose` work with.

use std::time::Duration;

use connect_crds::{LocalPort, PortRef, Protocol};

use super::format::{self, Format};
use super::{DryRun, LABEL_RULE, Wait, is_label};
use crate::cli::{ExposeArgs, ProtocolArg, UnexposeArgs};
use crate::failure::{Failure, Outcome};

/// How long `expose` waits for the operator. The route is kept whatever it says, so this is only for good manners.
const EXPOSE_WAIT: Duration = Duration::from_secs(10);

/// Longest name of a Service's port.
const MAX_PORT_NAME: usize = 15;

/// What kubectl's users write before a Service's name.
const PREFIXES: [&str; 3] = ["svc/", "service/", "services/"];

/// A route that is wanted.
#[derive(Debug, PartialEq)]
pub struct ExposeSettings {
    /// The Service and its port.
    pub target: ServiceTarget,
    /// What teammates see.
    pub route: String,
    /// Whether that was asked for, and is not just the Service's name.
    pub is_named: bool,
    /// Port suggested for the teammate's machine.
    pub local_port: Option<LocalPort>,
    /// What is spoken on the port; otherwise what the Service says of it.
    pub protocol: Option<Protocol>,
    /// Whether a public URL is wanted.
    pub public: bool,
    /// Whether to change nothing.
    pub dry_run: Option<DryRun>,
    /// How it is printed.
    pub format: Format,
    /// Whether and how long to wait for the operator.
    pub wait: Wait,
}

/// A Service and perhaps one of its ports, as typed.
#[derive(Debug, PartialEq)]
pub struct ServiceTarget {
    /// Name of the Service.
    pub service: String,
    /// Number or name of the port.
    pub port: Option<PortRef>,
}

/// A route that is no longer wanted.
#[derive(Debug, PartialEq, Eq)]
pub struct UnexposeSettings {
    /// The route's name, or that of its object.
    pub route: String,
    /// Whether to change nothing.
    pub dry_run: Option<DryRun>,
    /// How it is printed.
    pub format: Format,
    /// Whether and how long to wait for the operator.
    pub wait: Wait,
}

/// Checks the flags of `expose`.
///
/// # Errors
/// A value that cannot be used.
pub fn expose(args: ExposeArgs) -> Outcome<ExposeSettings> {
    let ExposeArgs { service, name, local_port, protocol, public, dry_run, output, wait } = args;
    let target = ServiceTarget::parse(&service)?;
    let is_named = name.is_some();
    let route = name.unwrap_or_else(|| target.service.clone());
    if !is_label(&route) {
        return Err(Failure::new(format!("Invalid route name {route}: use {LABEL_RULE}")));
    }
    Ok(ExposeSettings {
        target,
        route,
        is_named,
        local_port: local_port.and_then(LocalPort::new),
        protocol: protocol.map(|protocol| match protocol {
            ProtocolArg::Auto => Protocol::Auto,
            ProtocolArg::Tcp => Protocol::Tcp,
            ProtocolArg::Http => Protocol::Http,
            ProtocolArg::Https => Protocol::Https,
        }),
        public,
        dry_run: super::dry_run(&dry_run),
        format: format::object(&output),
        wait: super::wait(&wait, EXPOSE_WAIT)?,
    })
}

/// Checks the flags of `unexpose`.
///
/// # Errors
/// A value that cannot be used.
pub fn unexpose(args: UnexposeArgs) -> Outcome<UnexposeSettings> {
    let UnexposeArgs { name, dry_run, output, wait } = args;
    if !is_label(&name) {
        return Err(Failure::new(format!("Invalid route name {name}: use {LABEL_RULE}"))
            .hint("See what is exposed with: kubectl get serviceexposes"));
    }
    Ok(UnexposeSettings {
        route: name,
        dry_run: super::dry_run(&dry_run),
        format: format::object(&output),
        wait: super::wait(&wait, super::DEFAULT_WAIT)?,
    })
}

// === impl ServiceTarget ===

impl ServiceTarget {
    /// Reads `postgres`, `postgres:5432`, `svc/api:http`.
    pub fn parse(text: &str) -> Outcome<Self> {
        let bare = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
        let (service, port) = match bare.split_once(':') {
            Some((service, port)) => (service, Some(port)),
            None => (bare, None),
        };
        if !is_label(service) {
            return Err(Failure::new(format!(
                "Invalid Service {text}: use NAME or NAME:PORT, for example postgres:5432"
            )));
        }
        let port = port.map(parse_port).transpose()?;
        Ok(Self { service: service.to_owned(), port })
    }
}

fn parse_port(text: &str) -> Outcome<PortRef> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_usable = if is_number {
        text.parse::<u16>().is_ok_and(|number| number > 0)
    } else {
        is_label(text) && text.len() <= MAX_PORT_NAME
    };
    if is_usable {
        return Ok(PortRef::parse(text));
    }
    Err(Failure::new(format!(
        "Invalid port {text}: use a number from 1 to 65535 or the name of one of the Service's ports"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{DryRunArg, DryRunArgs, ObjectOutputArgs, WaitArgs};
    use proptest::prelude::*;

    fn args(service: &str) -> ExposeArgs {
        ExposeArgs {
            service: service.into(),
            name: None,
            local_port: None,
            protocol: None,
            public: false,
            dry_run: DryRunArgs { dry_run: DryRunArg::None },
            output: ObjectOutputArgs::default(),
            wait: WaitArgs { timeout: None, wait: true, no_wait: false },
        }
    }

    #[test]
    fn services_are_named_as_kubectl_names_them() {
        for (text, service, port) in [
            ("postgres", "postgres", None),
            ("postgres:5432", "postgres", Some(PortRef::number(5432))),
            ("svc/api:http", "api", Some(PortRef::name("http"))),
            ("service/api", "api", None),
            ("services/api:80", "api", Some(PortRef::number(80))),
        ] {
            let settings = expose(args(text)).expect("valid");
            assert_eq!(settings.target, ServiceTarget { service: service.into(), port }, "{text}");
            assert_eq!(settings.route, service, "the route is named after the Service");
            assert_eq!(settings.wait, Wait::Until(EXPOSE_WAIT));
        }
    }

    #[test]
    fn what_is_no_service_or_port_is_named() {
        for (text, sentence) in [
            ("", "Invalid Service : use NAME or NAME:PORT, for example postgres:5432"),
            (
                "deployment/api",
                "Invalid Service deployment/api: use NAME or NAME:PORT, for example postgres:5432",
            ),
            ("Postgres", "Invalid Service Postgres: use NAME or NAME:PORT, for example postgres:5432"),
            (
                "postgres:",
                "Invalid port : use a number from 1 to 65535 or the name of one of the Service's ports",
            ),
            (
                "postgres:99999",
                "Invalid port 99999: use a number from 1 to 65535 or the name of one of the Service's ports",
            ),
            (
                "postgres:0",
                "Invalid port 0: use a number from 1 to 65535 or the name of one of the Service's ports",
            ),
            (
                "a:b:c",
                "Invalid port b:c: use a number from 1 to 65535 or the name of one of the Service's ports",
            ),
        ] {
            assert_eq!(
                expose(args(text)).expect_err("unusable").render(),
                format!("[x] {sentence}\n"),
                "{text}"
            );
        }
        let named = ExposeArgs { name: Some("My Route".into()), ..args("postgres") };
        assert_eq!(
            expose(named).expect_err("unusable").render(),
            "[x] Invalid route name My Route: use at most 63 lower-case letters, digits and hyphens\n"
        );
    }

    proptest! {
        #[test]
        fn never_panics_and_names_stay_names(text in ".{0,40}") {
            if let Ok(target) = ServiceTarget::parse(&text) {
                prop_assert!(is_label(&target.service));
            }
        }

        #[test]
        fn what_is_composed_is_taken_apart(service in "[a-z]([-a-z0-9]{0,20}[a-z0-9])?", port in 1u16..) {
            let target = ServiceTarget::parse(&format!("svc/{service}:{port}")).expect("valid");
            prop_assert_eq!(target, ServiceTarget { service, port: Some(PortRef::number(port)) });
        }
    }
}
