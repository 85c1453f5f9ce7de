//! `join`: the routes of a share as ports of this machine, until the share ends or the user leaves.
//!
//! A code and a hub are enough. Hubs that offer it are joined without an account; others get an agent of the workspace
//! whose API key is given.

mod access;
mod refusal;
mod view;

use std::time::Duration;

use connect_hub::client::{Client, ClientOptions, JoinedShare};
use connect_hub::join::{Join, JoinConfig, JoinEnd, JoinError, JoinEvent, LocalRoute, Recheck};
use connect_hub::tls;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use crate::failure::{Failure, Outcome, chain};
use crate::interrupt;
use crate::printer::Printer;
use crate::sanitize::Clean;
use crate::settings::join::JoinSettings;
use access::Admission;

/// Longest time spent on closing politely; the process ends then anyway.
const GOODBYE: Duration = Duration::from_secs(2);

/// Joins, and stays until the end.
pub async fn run(settings: JoinSettings, printer: Printer) -> Outcome<()> {
    if let Some(warning) = &settings.warning {
        printer.talk(&format!("[!] {}\n", Clean::new(warning)));
    }
    printer
        .data(&format!("🔗 Joining environment share: {}\n\n", Clean::new(settings.code.expose_secret())))?;
    let joined = tokio::select! {
        joined = enter(&settings, printer) => joined?,
        () = interrupt::requested() => return Ok(printer.data(view::LEAVING)?),
    };
    stay(joined, printer).await
}

/// From the code to open ports.
async fn enter(settings: &JoinSettings, printer: Printer) -> Outcome<Join> {
    let tls = tls::client_config(settings.extra_ca.as_deref())
        .map_err(|error| Failure::new(format!("Cannot use the CA file: {}", chain(&error))))?;
    let options = ClientOptions { api_key: settings.api_key.clone(), tls: tls.clone() };
    let client =
        Client::new(settings.hub.clone(), options).map_err(|error| refusal::of_hub(&error, &settings.hub))?;
    let admission = access::admit(&client, settings).await?;
    printer.data(&view::connected(&admission.share, Timestamp::now()))?;
    let Admission { share, identity, ends_silently } = admission;
    let config = JoinConfig {
        url: settings.hub.clone(),
        tls,
        identity,
        share_id: share.id,
        ends_at: share.expires_at,
        routes: local_routes(&share, settings),
        bind: settings.bind.clone(),
        recheck: ends_silently.then(|| Recheck { client, code: settings.code.clone() }),
    };
    let unreachable = view::unreachable_routes(&share);
    if config.routes.is_empty() {
        printer.data(&unreachable)?;
        return Err(no_tunnels(&share));
    }
    let join = Join::start(config).await.map_err(|error| not_started(&error, settings))?;
    let host = view::host(&settings.bind);
    printer.data(&format!(
        "{}{unreachable}{}",
        view::tunnels(join.routes(), &host),
        view::active(join.routes(), &share, &host)
    ))?;
    Ok(join)
}

/// What to listen for. A route without an id cannot be asked for.
fn local_routes(share: &JoinedShare, settings: &JoinSettings) -> Vec<LocalRoute> {
    share
        .routes
        .iter()
        .filter_map(|route| {
            let asked = settings.ports.get(&route.service_name).copied();
            Some(LocalRoute {
                name: route.service_name.clone(),
                service_id: route.service_id?,
                wanted_port: asked.or(route.local_port).unwrap_or(route.target_port),
                protocol: route.protocol.clone(),
            })
        })
        .collect()
}

fn no_tunnels(share: &JoinedShare) -> Failure {
    if share.routes.is_empty() {
        return Failure::new("No tunnels could be established: the share has no routes")
            .hint("Ask its owner to expose services: kubectl connect expose SERVICE:PORT");
    }
    Failure::new("No tunnels could be established: the hub gives no way to the routes")
}

fn not_started(error: &JoinError, settings: &JoinSettings) -> Failure {
    match error {
        JoinError::Unreachable { url, .. } => Failure::hub_down(url),
        JoinError::Refused { message } => Failure::new(format!("The hub refused this machine: {message}")),
        JoinError::Bind { route, source } => {
            let failure = Failure::new(format!("Cannot listen on a port for {route}: {}", source.kind()));
            if settings.bind.is_empty() {
                failure
            } else {
                failure.hint("Check --address: it must be an address of this machine.")
            }
        }
        JoinError::Ended => Failure::new("Share not found or expired").hint("Check the code and try again."),
        #[allow(unreachable_patterns, reason = "the hub crate may learn new failures")]
        error => Failure::new(format!("Cannot join: {}", chain(error))),
    }
}

/// Tells what happens until the share ends or the user leaves.
async fn stay(mut join: Join, printer: Printer) -> Outcome<()> {
    let mut last = None;
    loop {
        let event = tokio::select! {
            event = join.next_event() => event,
            () = interrupt::requested() => {
                printer.data(view::LEAVING)?;
                let _ = tokio::time::timeout(GOODBYE, join.stop()).await;
                return Ok(());
            }
        };
        if let JoinEvent::Ended { reason } = event {
            return end(reason, printer);
        }
        // A program that tries again and again would otherwise fill the screen with one sentence.
        if last.as_ref() != Some(&event) {
            printer.talk(&view::event(&event));
            last = Some(event);
        }
    }
}

fn end(reason: JoinEnd, printer: Printer) -> Outcome<()> {
    match view::ending(reason) {
        Ok(line) => Ok(printer.data(line)?),
        Err(line) => Err(Failure::new(line).hint("Ask the share's owner for a new code.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_hub::client::JoinedRoute;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn settings(ports: &[(&str, u16)]) -> JoinSettings {
        JoinSettings {
            code: "abc123".into(),
            hub: connect_hub::url::HubUrl::parse("https://hub.example.com", Default::default())
                .expect("valid"),
            api_key: None,
            extra_ca: None,
            label: "mia@laptop".into(),
            bind: Vec::new(),
            ports: ports.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect::<BTreeMap<_, _>>(),
            warning: None,
        }
    }

    fn share(routes: &[(&str, bool, Option<u16>)]) -> JoinedShare {
        let routes = routes
            .iter()
            .map(|(name, has_id, local_port)| JoinedRoute {
                service_name: (*name).to_owned(),
                service_id: has_id.then_some(Uuid::nil()),
                target_port: 5432,
                local_port: *local_port,
                protocol: "auto".into(),
            })
            .collect();
        JoinedShare { id: None, name: None, expires_at: Timestamp::UNIX_EPOCH, routes }
    }

    #[test]
    fn a_port_is_the_one_asked_for_else_the_suggested_else_the_service_s() {
        let share = share(&[
            ("asked", true, Some(1)),
            ("suggested", true, Some(2)),
            ("plain", true, None),
            ("lost", false, None),
        ]);
        let routes = local_routes(&share, &settings(&[("asked", 15432)]));
        let ports: Vec<_> = routes.iter().map(|route| (route.name.as_str(), route.wanted_port)).collect();
        assert_eq!(ports, [("asked", 15432), ("suggested", 2), ("plain", 5432)]);
    }

    #[test]
    fn a_join_that_gives_nothing_is_a_failure() {
        assert_eq!(
            no_tunnels(&share(&[])).render(),
            "[x] No tunnels could be established: the share has no routes\n\
             Ask its owner to expose services: kubectl connect expose SERVICE:PORT\n"
        );
        assert_eq!(
            no_tunnels(&share(&[("lost", false, None)])).render(),
            "[x] No tunnels could be established: the hub gives no way to the routes\n"
        );
    }
}
