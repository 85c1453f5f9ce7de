//! `expose`: a ServiceExpose for one port of one Service.

use connect_crds::condition::{self, kind};
use connect_crds::{ServiceExpose, ServiceExposeSpec, ServiceRef, service_port};
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};

use crate::cluster::failure::{Call, Kind};
use crate::cluster::services::Port;
use crate::cluster::wait::{self, Step, Waited};
use crate::cluster::{Cluster, FIELD_MANAGER, services};
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::sanitize::Clean;
use crate::settings::expose::ExposeSettings;
use crate::settings::format::Format;
use crate::settings::{DryRun, Wait};
use crate::views::document;
use crate::views::verdict::Blocking;

/// Makes or changes the route, and says how it does.
pub async fn run(settings: &ExposeSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let service = services::get(cluster, &settings.target.service).await?;
    let existing = get_route(cluster, &settings.route).await?;
    let Plan { wanted, because } = plan(settings, service.as_ref(), existing.as_ref(), cluster.namespace())?;
    if let Some(place) = settings.dry_run {
        let judged = match place {
            DryRun::Client => wanted,
            DryRun::Server => apply(cluster, &wanted, settings.dry_run).await?,
        };
        return show_dry_run(&judged, existing.is_some(), place, settings, printer);
    }
    make(&wanted, existing.is_none(), settings, cluster, printer).await?;
    if let Some(because) = because.filter(|_| settings.format.is_human()) {
        printer.data(&format!("\n{because}"))?;
    }
    Ok(())
}

/// The object that says what is wanted, and what people should know of it.
struct Plan {
    wanted: ServiceExpose,
    /// Which protocol the Service itself has told.
    because: Option<String>,
}

/// Stores the route, waits until it is ready, and says so.
async fn make(
    wanted: &ServiceExpose,
    is_new: bool,
    settings: &ExposeSettings,
    cluster: &Cluster,
    printer: Printer,
) -> Outcome<()> {
    let is_human = settings.format.is_human();
    let target = Clean::new(&format!("{}:{}", wanted.spec.service_ref.name, wanted.spec.service_ref.port));
    if is_human {
        printer.data(&format!("🔗 Exposing {target} as \"{}\"...\n\n", settings.route))?;
    }
    let applied = apply(cluster, wanted, None).await?;
    let Wait::Until(limit) = settings.wait else {
        let text = match is_human {
            true => format!("[ok] Route \"{}\" is stored\n", settings.route),
            false => document::object(&applied, settings.format)?,
        };
        return Ok(printer.data(&text)?);
    };
    let call = Call { verb: "watch", ..call(cluster, &settings.route) };
    let generation = applied.metadata.generation;
    let spinner = printer.spinner("Waiting until the route is ready");
    let waited = wait::watch(cluster, routes(cluster), &call, &settings.route, limit, |route| {
        let status = route.and_then(|route: &ServiceExpose| route.status.as_ref());
        spinner.because(status.and_then(|status| Blocking::first(&status.conditions)));
        observe(route, generation)
    });
    let waited = waited.await?;
    drop(spinner);
    match waited {
        Waited::Done(Ok(route)) if is_human => {
            let public_url = route.status.and_then(|status| status.public_url);
            printer.data(&render(&target, &settings.route, public_url.as_ref().map(Clean::from).as_ref()))?;
        }
        Waited::Done(Ok(route)) => printer.data(&document::object(&route, settings.format)?)?,
        Waited::Done(Err(refusal)) => {
            return Err(refused(cluster, settings, refusal, is_new).await);
        }
        Waited::DeadlinePassed(last) => {
            printer.talk(&not_yet(&settings.route, last.as_ref()));
            if !is_human {
                printer.data(&document::object(&last.unwrap_or(applied), settings.format)?)?;
            }
        }
    }
    Ok(())
}

/// The route as it would be, and that nothing was changed.
fn show_dry_run(
    route: &ServiceExpose,
    existed: bool,
    place: DryRun,
    settings: &ExposeSettings,
    printer: Printer,
) -> Outcome<()> {
    let text = match settings.format {
        Format::Human => {
            let did = if existed { "configured" } else { "created" };
            format!("{} {did} ({place})\n", document::name(route))
        }
        Format::Name => format!("{}\n", document::name(route)),
        other => document::value(&document::manifest(route)?, other)?,
    };
    Ok(printer.data(&text)?)
}

async fn get_route(cluster: &Cluster, name: &str) -> Outcome<Option<ServiceExpose>> {
    cluster.ask_maybe(&call(cluster, name), routes(cluster).get(name)).await
}

async fn apply(cluster: &Cluster, wanted: &ServiceExpose, dry_run: Option<DryRun>) -> Outcome<ServiceExpose> {
    let name = wanted.name_any();
    let params = PatchParams { dry_run: dry_run.is_some(), ..PatchParams::apply(FIELD_MANAGER) };
    let call = Call { verb: "patch", ..call(cluster, &name) };
    cluster.ask(&call, routes(cluster).patch(&name, &params, &Patch::Apply(wanted))).await
}

/// The operator will not have it. What this very call has made goes again; what was there before stays.
async fn refused(cluster: &Cluster, settings: &ExposeSettings, refusal: Blocking, is_new: bool) -> Failure {
    let failure = refusal.into_failure(&format!("Route \"{}\" cannot be exposed", settings.route));
    if !is_new {
        return failure;
    }
    let call = Call { verb: "delete", ..call(cluster, &settings.route) };
    let api = routes(cluster);
    match cluster.ask_maybe(&call, api.delete(&settings.route, &DeleteParams::default())).await {
        Ok(_) => failure.hint("Nothing was exposed."),
        Err(_) => failure.hint(format!(
            "It could not be removed again: kubectl delete serviceexpose {} -n {}",
            settings.route,
            cluster.namespace()
        )),
    }
}

fn routes(cluster: &Cluster) -> Api<ServiceExpose> {
    Api::namespaced(cluster.client(), cluster.namespace())
}

fn call<'a>(cluster: &'a Cluster, name: &'a str) -> Call<'a> {
    Call { verb: "get", kind: Kind::ServiceExpose, name: Some(name), namespace: Some(cluster.namespace()) }
}

/// The object to apply.
fn plan(
    settings: &ExposeSettings,
    service: Option<&Service>,
    existing: Option<&ServiceExpose>,
    namespace: &str,
) -> Outcome<Plan> {
    let ExposeSettings { target, route, is_named, local_port, protocol, public, .. } = settings;
    let service = service.ok_or_else(|| services::none(&target.service, namespace))?;
    let port = services::choose_port(target, service)?;
    if let Some(existing) = existing.filter(|_| !is_named) {
        refuse_another_port(existing, service, &port, route)?;
    }
    let told = port.spoken.as_ref().filter(|_| protocol.is_none());
    let because = told.map(|(protocol, why)| {
        let name = protocol.as_hub_str().to_ascii_uppercase();
        let why = Clean::new(why);
        format!("  Protocol: {name}, because {why}. Where that is wrong: --protocol tcp\n")
    });
    // A route's name is fixed when it is made, also when it was left to be the Service's.
    let route_name = match existing.map(|existing| &existing.spec.route_name) {
        Some(fixed) => fixed.clone(),
        None => Some(route.clone()),
    };
    let spec = ServiceExposeSpec {
        service_ref: ServiceRef { name: target.service.clone(), port: port.reference },
        route_name,
        local_port: *local_port,
        protocol: protocol.or_else(|| told.map(|(protocol, _)| *protocol)).unwrap_or_default(),
        reach: None,
        public: *public,
        hub_ref: None,
    };
    let mut wanted = ServiceExpose::new(route, spec);
    wanted.metadata.namespace = Some(namespace.to_owned());
    if wanted.route_name() != route {
        return Err(Failure::new(format!(
            "ServiceExpose {route} is the route {}, whose name cannot change",
            wanted.route_name()
        ))
        .hint(format!("Choose another --name, or remove it first: kubectl connect unexpose {route}")));
    }
    Ok(Plan { wanted, because })
}

/// A route that got its name from its Service stays at its port: a second port would silently take the place of the first.
fn refuse_another_port(existing: &ServiceExpose, service: &Service, port: &Port, route: &str) -> Outcome<()> {
    let ServiceRef { name, port: had } = &existing.spec.service_ref;
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let is_same = *name == service.name_any()
        && (*had == port.reference
            || service_port::find(ports, had).is_some_and(|had| had.port == port.number));
    if is_same {
        return Ok(());
    }
    let wanted = format!("{}:{}", service.name_any(), port.reference);
    Err(Failure::new(format!("Route {route} is {name}:{had} already"))
        .hint(format!(
            "Give this one another name: kubectl connect expose {wanted} --name {route}-{}",
            port.reference
        ))
        .hint(format!(
            "Or let it take the place of {name}:{had}: kubectl connect expose {wanted} --name {route}"
        )))
}

/// What the operator has made of the route: it is ready, or why it will not have it.
fn observe(route: Option<&ServiceExpose>, generation: Option<i64>) -> Step<Result<ServiceExpose, Blocking>> {
    let Some((route, status)) = route.and_then(|route| Some((route, route.status.as_ref()?))) else {
        return Step::Wait;
    };
    if status.observed_generation < generation {
        return Step::Wait;
    }
    let conditions = &status.conditions;
    if condition::is_true(conditions, kind::READY) {
        return Step::Done(Ok(route.clone()));
    }
    let refusal = Blocking::named(conditions, kind::STALLED, "True")
        .or_else(|| Blocking::named(conditions, kind::ACCEPTED, "False"))
        .or_else(|| Blocking::named(conditions, kind::RESOLVED_REFS, "False"));
    match refusal {
        Some(refusal) => Step::Done(Err(refusal)),
        None => Step::Wait,
    }
}

fn render(target: &Clean, route: &str, public_url: Option<&Clean>) -> String {
    let mut text = format!("[ok] Exposed {target} as \"{route}\"\n");
    if let Some(url) = public_url {
        text.push_str(&format!("\n🌐 Public URL: {url}\n"));
    }
    text
}

/// The wish is stored and stays; why it is not fulfilled yet.
fn not_yet(route: &str, last: Option<&ServiceExpose>) -> String {
    let conditions = last.and_then(|route| route.status.as_ref()).map(|status| &status.conditions);
    match conditions.and_then(|conditions| Blocking::first(conditions)) {
        Some(blocking) => {
            format!(
                "[!] Route \"{route}\" is stored but not ready yet: {}\n",
                Clean::new(&blocking.to_string())
            )
        }
        None => format!(
            "[!] Route \"{route}\" is stored, but no operator has looked at it yet\n\
             Check that it runs: kubectl connect doctor\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::expose::ServiceTarget;
    use connect_crds::{PortRef, Protocol};

    fn service(ports: &serde_json::Value) -> Service {
        serde_json::from_value(
            serde_json::json!({"metadata": {"name": "postgres"}, "spec": {"ports": ports}}),
        )
        .expect("a Service")
    }

    fn settings() -> ExposeSettings {
        ExposeSettings {
            target: ServiceTarget { service: "postgres".into(), port: None },
            route: "postgres".into(),
            local_port: None,
            is_named: false,
            protocol: None,
            public: false,
            dry_run: None,
            format: Format::Human,
            wait: Wait::Not,
        }
    }

    fn planned(
        settings: &ExposeSettings,
        service: &Service,
        existing: Option<&ServiceExpose>,
    ) -> Outcome<ServiceExpose> {
        plan(settings, Some(service), existing, "staging").map(|plan| plan.wanted)
    }

    #[test]
    fn a_second_port_does_not_silently_take_the_place_of_the_first() {
        let service =
            service(&serde_json::json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]));
        let at = |port: PortRef, is_named: bool| {
            let target = ServiceTarget { service: "postgres".into(), port: Some(port) };
            ExposeSettings { target, is_named, ..settings() }
        };
        let first = planned(&at(PortRef::number(80), false), &service, None).expect("valid");
        let again = |port: PortRef, is_named: bool| planned(&at(port, is_named), &service, Some(&first));
        assert_eq!(
            again(PortRef::number(443), false).expect_err("another port").render(),
            "[x] Route postgres is postgres:80 already\n\
             Give this one another name: kubectl connect expose postgres:443 --name postgres-443\n\
             Or let it take the place of postgres:80: kubectl connect expose postgres:443 --name postgres\n"
        );
        assert!(again(PortRef::number(80), false).is_ok(), "nothing changes");
        assert!(again(PortRef::name("http"), false).is_ok(), "it is the same port");
        assert!(again(PortRef::number(443), true).is_ok(), "it was asked for");
    }

    #[test]
    fn the_protocol_is_what_was_asked_for_else_what_the_service_says() {
        let service = service(&serde_json::json!([{"port": 80, "name": "http"}]));
        for (asked, protocol, because) in [
            (
                None,
                Protocol::Http,
                Some(
                    "  Protocol: HTTP, because the port is named http. Where that is wrong: --protocol tcp\n",
                ),
            ),
            (Some(Protocol::Auto), Protocol::Auto, None),
            (Some(Protocol::Tcp), Protocol::Tcp, None),
        ] {
            let settings = ExposeSettings { protocol: asked, ..settings() };
            let plan = plan(&settings, Some(&service), None, "staging").expect("valid");
            assert_eq!((plan.wanted.spec.protocol, plan.because.as_deref()), (protocol, because));
        }
    }

    #[test]
    fn the_name_of_an_existing_route_is_left_as_it_was_made() {
        let service = service(&serde_json::json!([{"port": 5432}]));
        let existing = |route_name: Option<&str>| {
            let mut existing = planned(&settings(), &service, None).expect("valid");
            existing.spec.route_name = route_name.map(Into::into);
            existing
        };
        for fixed in [None, Some("postgres")] {
            let planned = planned(&settings(), &service, Some(&existing(fixed)));
            assert_eq!(planned.expect("valid").spec.route_name.as_deref(), fixed);
        }
        let other = planned(&settings(), &service, Some(&existing(Some("db"))));
        assert_eq!(
            other.expect_err("another route").render(),
            "[x] ServiceExpose postgres is the route db, whose name cannot change\n\
             Choose another --name, or remove it first: kubectl connect unexpose postgres\n"
        );
    }

    #[test]
    fn the_operator_s_verdict_counts_once_it_speaks_of_this_wish() {
        let route = |generation: i64, conditions: serde_json::Value| {
            let service = service(&serde_json::json!([{"port": 1}]));
            let mut route = planned(&settings(), &service, None).expect("valid");
            let json = serde_json::json!({"observedGeneration": generation, "conditions": conditions, "publicURL": "https://p"});
            route.status = Some(serde_json::from_value(json).expect("a status"));
            route
        };
        let condition = |kind: &str, status: &str, reason: &str| {
            serde_json::json!({"type": kind, "status": status, "reason": reason, "message": "because",
                "lastTransitionTime": "2024-01-15T10:30:00Z"})
        };
        let ready = serde_json::json!([condition("Ready", "True", "Exposed")]);
        assert!(matches!(observe(Some(&route(2, ready.clone())), Some(2)), Step::Done(Ok(_))));
        assert!(matches!(observe(Some(&route(1, ready)), Some(2)), Step::Wait));
        let refused = serde_json::json!([
            condition("Accepted", "False", "TargetNotAllowed"),
            condition("Ready", "False", "Pending")
        ]);
        let Step::Done(Err(blocking)) = observe(Some(&route(2, refused)), Some(2)) else {
            panic!("must be refused")
        };
        assert_eq!(blocking.to_string(), "Accepted is False (TargetNotAllowed): because");
        let waiting = route(2, serde_json::json!([condition("Ready", "False", "HubUnreachable")]));
        assert!(matches!(observe(Some(&waiting), Some(2)), Step::Wait));
        assert_eq!(
            not_yet("postgres", Some(&waiting)),
            "[!] Route \"postgres\" is stored but not ready yet: Ready is False (HubUnreachable): because\n"
        );
    }

    #[test]
    fn success_is_one_line_and_the_public_url() {
        let target = Clean::new("postgres:5432");
        assert_eq!(render(&target, "db", None), "[ok] Exposed postgres:5432 as \"db\"\n");
        assert_eq!(
            render(&target, "db", Some(&Clean::new("https://p"))),
            "[ok] Exposed postgres:5432 as \"db\"\n\n🌐 Public URL: https://p\n"
        );
    }
}
