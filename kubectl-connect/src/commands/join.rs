//! `join`: the routes of a share as ports of this machine, until the share ends or the user leaves.
//!
//! A code and a hub are enough. Hubs that offer it are joined without an account; others get an agent of the workspace
//! whose API key is given.

mod access;
mod clock;
mod command;
mod environment;
mod family;
mod notices;
pub mod refusal;
mod status_display;
mod view;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use connect_hub::client::{Client, ClientOptions, JoinedShare};
use connect_hub::clock::Clock;
use connect_hub::join::{Join, JoinConfig, JoinEnd, JoinError, JoinEvent, LocalRoute, Recheck, Timing};
use connect_hub::tls;
use connect_hub::url::{HubUrl, InsecureHttp};
use secrecy::ExposeSecret;

use crate::cluster::Cluster;
use crate::cluster::forward::{self, Forward};
use crate::failure::{Exit, Failure, Outcome, chain};
use crate::interrupt::Signals;
use crate::printer::Printer;
use crate::sanitize::Clean;
use crate::settings::ClusterSettings;
use crate::settings::join::{JoinSettings, Purpose};
use crate::settings::through::Through;
use access::Admission;
use clock::HubClock;
use environment::{Environment, Variables};
use notices::Notices;
use status_display::StatusDisplay;

/// Longest time spent on closing politely; the process ends then anyway.
const GOODBYE: Duration = Duration::from_millis(500);

/// How often the lines of a terminal are drawn anew: often enough to look alive, seldom enough to be read.
const REDRAW: Duration = Duration::from_secs(1);

/// What was joined, with open ports.
struct Joined {
    join: Join,
    share: JoinedShare,
    /// By which the share ends.
    clock: Arc<HubClock>,
}

/// Where the output of a join is told: stdout, unless that belongs to a command or to the lines that were asked for.
#[derive(Clone, Copy)]
struct Output {
    printer: Printer,
    beside_stdout: bool,
}

// === impl Output ===

impl Output {
    fn tell(self, text: &str) -> Outcome<()> {
        if self.beside_stdout {
            self.printer.talk(text);
            return Ok(());
        }
        Ok(self.printer.data(text)?)
    }
}

/// Joins, and stays until the end.
pub async fn run(mut settings: JoinSettings, cluster: ClusterSettings, printer: Printer) -> Outcome<Exit> {
    let output = Output { printer, beside_stdout: settings.purpose != Purpose::Stay };
    printer.hide(&settings.code);
    if let Some(warning) = &settings.warning {
        printer.talk(&format!("[!] {}\n", Clean::new(warning)));
    }
    // Open until we leave.
    let _way = match settings.through.take() {
        Some(through) => {
            let way = go_through(through, cluster, printer).await?;
            settings.hub = HubUrl::parse(&format!("http://{}", way.address), InsecureHttp::Refused)
                .map_err(|error| Failure::new(format!("Cannot use a port of this machine: {error}")))?;
            Some(way)
        }
        None => None,
    };
    output
        .tell(&format!("🔗 Joining environment share: {}\n\n", Clean::new(settings.code.expose_secret())))?;
    // From here on one listener: what comes between two waits is not lost.
    let mut signals = Signals::that_end()?;
    let Joined { mut join, share, clock } = tokio::select! {
        joined = enter(&settings, output) => joined?,
        _ = signals.next() => return output.tell(view::LEAVING).map(|()| Exit::Success),
    };
    let host = view::host(&settings.bind);
    let variables = || variables(&join, &share, &settings.bind, printer);
    match &settings.purpose {
        Purpose::Stay => output.tell(&view::active(join.routes(), &share, &host))?,
        Purpose::PrintEnvironment => {
            output.tell(&view::active(join.routes(), &share, &host))?;
            printer.data(&environment::lines(&variables()))?;
        }
        Purpose::Run(words) => {
            let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
            output.tell(&view::ready_for(join.routes(), &program))?;
            let variables = variables();
            let ended = command::run(&mut join, words, &variables, &*clock, printer).await;
            let _ = tokio::time::timeout(GOODBYE, join.stop()).await;
            return ended;
        }
    }
    stay(join, &host, &*clock, signals, output).await.map(|()| Exit::Success)
}

/// The routes as variables. What is not as one might expect is told.
fn variables(join: &Join, share: &JoinedShare, bind: &[IpAddr], printer: Printer) -> Variables {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let Environment { variables, notes } = environment::environment(join.routes(), share, bind, &is_set);
    notes.iter().for_each(|note| printer.talk(note));
    variables
}

/// Opens the way to a hub inside a cluster.
async fn go_through(through: Through, cluster: ClusterSettings, printer: Printer) -> Outcome<Forward> {
    let Through { namespace, destination } = through;
    let namespace = cluster.namespace.clone().unwrap_or(namespace);
    let settings = ClusterSettings { namespace: Some(namespace.clone()), ..cluster };
    let cluster = Cluster::connect(settings).await?;
    printer.talk(&format!(
        "[!] Going to Service {} in namespace {namespace} through the cluster's API server: slower than a hub's own address\n",
        Clean::new(&destination.service)
    ));
    forward::open(cluster, destination, printer).await
}

/// From the code to open ports.
async fn enter(settings: &JoinSettings, output: Output) -> Outcome<Joined> {
    let tls = tls::client_config(settings.extra_ca.as_deref())
        .map_err(|error| Failure::new(format!("Cannot use the CA file: {}", chain(&error))))?;
    let options = ClientOptions { api_key: settings.api_key.clone(), tls: tls.clone() };
    let client =
        Client::new(settings.hub.clone(), options).map_err(|error| refusal::of_hub(&error, &settings.hub))?;
    let admission = access::admit(&client, settings).await?;
    let clock = Arc::new(HubClock::new(client.clock_offset()));
    if let Some(warning) = clock.warning() {
        output.printer.talk(&warning);
    }
    output.tell(&view::connected(&admission.share, clock.now(), admission.ends_silently))?;
    let Admission { mut share, identity, ends_silently } = admission;
    if !settings.only.is_empty() {
        share.routes.retain(|route| settings.only.contains(&route.service_name));
    }
    let config = JoinConfig {
        url: settings.hub.clone(),
        tls,
        identity,
        share_id: share.id,
        code_key: settings.code_key.clone(),
        ends_at: share.expires_at,
        routes: local_routes(&share, settings),
        bind: settings.bind.clone(),
        recheck: ends_silently.then(|| Recheck { client, code: settings.code.clone() }),
    };
    let unreachable = view::unreachable_routes(&share);
    if config.routes.is_empty() {
        output.tell(&unreachable)?;
        return Err(no_tunnels(&share));
    }
    let timing = Timing { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Timing::default() };
    let join = Join::start_with(config, timing).await.map_err(|error| not_started(&error, settings))?;
    let host = view::host(&settings.bind);
    output.tell(&format!("{}{unreachable}", view::tunnels(join.routes(), &host)))?;
    Ok(Joined { join, share, clock })
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
        JoinError::Obstructed { url, obstacle } => refusal::obstructed(obstacle, url),
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
async fn stay(
    mut join: Join,
    host: &str,
    clock: &dyn Clock,
    mut signals: Signals,
    output: Output,
) -> Outcome<()> {
    let printer = output.printer;
    let mut display = StatusDisplay::default();
    let mut notices = Notices::default();
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        let event = tokio::select! {
            event = join.next_event() => event,
            _ = redraw.tick() => {
                draw(&mut display, &join, host, printer);
                continue;
            }
            _ = signals.next() => {
                output.tell(view::LEAVING)?;
                let _ = tokio::time::timeout(GOODBYE, join.stop()).await;
                return Ok(());
            }
        };
        if let JoinEvent::Ended { reason } = event {
            return end(reason, output);
        }
        if let Some(line) = notices.line(&event, clock.now()) {
            printer.draw(&display.take_away());
            printer.talk(&line);
            draw(&mut display, &join, host, printer);
        }
    }
}

/// Shows what passes, where there is a screen.
fn draw(display: &mut StatusDisplay, join: &Join, host: &str, printer: Printer) {
    let Some(columns) = printer.screen_width() else { return };
    if let Some(text) = display.show(status_display::lines(join.routes(), &join.traffic(), host, columns)) {
        printer.draw(&text);
    }
}

fn end(reason: JoinEnd, output: Output) -> Outcome<()> {
    match view::ending(reason) {
        Ok(line) => output.tell(line),
        Err(line) => Err(Failure::new(line).hint("Ask the share's owner for a new code.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_hub::client::ShareRoute;
    use jiff::Timestamp;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    fn settings(ports: &[(&str, u16)]) -> JoinSettings {
        JoinSettings {
            code: "abc123".into(),
            code_key: None,
            hub: connect_hub::url::HubUrl::parse("https://hub.example.com", Default::default())
                .expect("valid"),
            hub_is_assumed: false,
            api_key: None,
            extra_ca: None,
            label: "mia@laptop".into(),
            bind: Vec::new(),
            ports: ports.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect::<BTreeMap<_, _>>(),
            only: Vec::new(),
            through: None,
            purpose: Purpose::Stay,
            warning: None,
        }
    }

    fn share(routes: &[(&str, bool, Option<u16>)]) -> JoinedShare {
        let routes = routes
            .iter()
            .map(|(name, has_id, local_port)| ShareRoute {
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
