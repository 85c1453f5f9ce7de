//! `unexpose`: removes a ServiceExpose, which cuts the route's connections.

use std::time::Duration;

use connect_crds::{EnvironmentShare, ServiceExpose};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};

use crate::cluster::Cluster;
use crate::cluster::failure::{Call, Kind};
use crate::cluster::shares;
use crate::cluster::wait::{self, Step, Waited};
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::progress::Spinner;
use crate::sanitize::Clean;
use crate::settings::expose::UnexposeSettings;
use crate::settings::format::Format;
use crate::settings::{DryRun, Wait, duration};
use crate::views::document;
use crate::views::verdict::Blocking;

/// Removes the route and waits until the operator has let go of it.
pub async fn run(settings: &UnexposeSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let UnexposeSettings { route, dry_run, format, wait } = settings;
    let api: Api<ServiceExpose> = Api::namespaced(cluster.client(), cluster.namespace());
    let call =
        Call { verb: "list", kind: Kind::ServiceExpose, name: None, namespace: Some(cluster.namespace()) };
    let routes = cluster.ask(&call, api.list(&ListParams::default())).await?;
    let object = find(&routes.items, route, cluster.namespace())?;
    let name = object.name_any();
    let named = Call { verb: "delete", name: Some(&name), ..call };
    let connected = shared_with(cluster, object.route_name()).await;
    if *dry_run != Some(DryRun::Client) {
        let params = DeleteParams { dry_run: dry_run.is_some(), ..DeleteParams::default() };
        cluster.ask_maybe(&named, api.delete(&name, &params)).await?;
    }
    if let (Wait::Until(limit), None) = (*wait, dry_run) {
        let spinner = printer.spinner("Waiting until the operator has cut its connections");
        await_absence(cluster, api.clone(), &Call { verb: "watch", ..named }, limit, &spinner).await?;
    }
    let text = match (format, dry_run) {
        (Format::Human, None) => format!("[ok] \"{}\" is no longer exposed.\n", Clean::new(route)),
        (Format::Human, Some(place)) => format!("{} deleted ({place})\n", document::name(object)),
        (other, _) => document::object(object, *other)?,
    };
    printer.data(&text)?;
    if let (Format::Human, None, Some(line)) = (format, dry_run, in_words(&connected)) {
        printer.talk(&line);
    }
    Ok(())
}

/// The live shares that have the route, and how many teammates are connected to each, where that is known. Whoever may not
/// list shares is told nothing of them.
async fn shared_with(cluster: &Cluster, route: &str) -> Vec<(String, i32)> {
    let Ok(listed) = shares::api(cluster).list(&ListParams::default()).await else { return Vec::new() };
    let connected = |share: &EnvironmentShare| {
        let status = share.status.as_ref().filter(|_| !shares::is_over(share))?;
        status.routes.iter().find(|shared| shared.name == route)?;
        Some((share.name_any(), status.joins.as_ref()?.connected?))
    };
    listed.items.iter().filter_map(connected).filter(|(_, count)| *count > 0).collect()
}

/// Whom it concerns that the route is gone.
fn in_words(connected: &[(String, i32)]) -> Option<String> {
    let count: i32 = connected.iter().map(|(_, count)| *count).sum();
    let names = connected.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    match count {
        0 => None,
        1 => Some(format!("  When last counted, 1 teammate was connected to a share that had it: {names}\n")),
        count => Some(format!(
            "  When last counted, {count} teammates were connected to shares that had it: {names}\n"
        )),
    }
}

async fn await_absence(
    cluster: &Cluster,
    api: Api<ServiceExpose>,
    call: &Call<'_>,
    limit: Duration,
    spinner: &Spinner,
) -> Outcome<()> {
    let name = call.name.unwrap_or_default();
    let gone = wait::watch(cluster, api, call, name, limit, |object: Option<&ServiceExpose>| {
        let Some(object) = object else { return Step::Done(()) };
        spinner.because(object.status.as_ref().and_then(|status| Blocking::first(&status.conditions)));
        Step::Wait
    });
    let Waited::DeadlinePassed(_) = gone.await? else { return Ok(()) };
    let limit = duration::print(limit);
    Err(Failure::new(format!(
        "ServiceExpose {name} is marked for deletion, but the operator has not let go of it within {limit}"
    ))
    .hint("Check that it runs: kubectl connect doctor"))
}

/// The object that was meant: by its own name, else by its route's.
fn find<'a>(routes: &'a [ServiceExpose], wanted: &str, namespace: &str) -> Outcome<&'a ServiceExpose> {
    let by_name = || routes.iter().find(|route| route.name_any() == wanted);
    let by_route = || routes.iter().find(|route| route.route_name() == wanted);
    if let Some(found) = by_name().or_else(by_route) {
        return Ok(found);
    }
    let mut known: Vec<&str> = routes.iter().map(ServiceExpose::route_name).collect();
    known.sort_unstable();
    let has = if known.is_empty() {
        "nothing is exposed there".into()
    } else {
        format!("it has {}", known.join(", "))
    };
    Err(Failure::new(format!("No route {wanted} in namespace {namespace}; {has}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_crds::{PortRef, Protocol, ServiceExposeSpec, ServiceRef};

    fn route(name: &str, route_name: Option<&str>) -> ServiceExpose {
        let spec = ServiceExposeSpec {
            service_ref: ServiceRef { name: "postgres".into(), port: PortRef::number(5432) },
            route_name: route_name.map(Into::into),
            local_port: None,
            protocol: Protocol::Auto,
            reach: None,
            public: false,
            hub_ref: None,
        };
        ServiceExpose::new(name, spec)
    }

    #[test]
    fn a_route_is_found_by_the_name_of_its_object_first() {
        let routes = [route("one", Some("two")), route("two", Some("one")), route("three", None)];
        for (wanted, found) in [("one", "one"), ("two", "two"), ("postgres", "three")] {
            assert_eq!(find(&routes, wanted, "staging").map(ResourceExt::name_any), Ok(found.to_owned()));
        }
    }

    #[test]
    fn an_unknown_route_is_answered_with_the_known_ones() {
        let said = |routes: &[ServiceExpose]| find(routes, "redis", "staging").expect_err("unknown").render();
        assert_eq!(
            said(&[route("b", Some("web")), route("a", Some("api"))]),
            "[x] No route redis in namespace staging; it has api, web\n"
        );
        assert_eq!(said(&[]), "[x] No route redis in namespace staging; nothing is exposed there\n");
    }
}
