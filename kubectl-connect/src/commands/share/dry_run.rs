//! `share --dry-run`: the manifest (client), or what the cluster says to it (server). Nothing is changed and no code made.

use connect_crds::condition::{self, kind};
use connect_crds::{EnvironmentShare, ServiceExpose, service_port};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::Value;

use super::services::Route;
use crate::cluster::failure::{Call, Kind};
use crate::cluster::shares::{self, call};
use crate::cluster::{Cluster, FIELD_MANAGER, services};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::printer::Printer;
use crate::sanitize::Clean;
use crate::settings::format::Format;
use crate::views::document;

// === client ===

/// Prints what would be applied.
pub fn client(
    share: &EnvironmentShare,
    routes: Option<&[Route]>,
    format: Format,
    printer: Printer,
) -> Outcome<()> {
    let new = new_routes(routes);
    let text = match format {
        Format::Yaml => {
            let documents =
                manifests(share, &new)?.iter().map(document::yaml).collect::<Outcome<Vec<_>>>()?;
            documents.join("---\n")
        }
        Format::Json => match manifests(share, &new)?.as_slice() {
            [only] => document::json(only)?,
            several => {
                document::json(&serde_json::json!({"apiVersion": "v1", "kind": "List", "items": several}))?
            }
        },
        _ => {
            let end = if format == Format::Name { "" } else { " created (dry run)" };
            let routes = new.iter().map(|expose| format!("{}{end}\n", document::name(*expose)));
            routes.chain([format!("{}{end}\n", document::name(share))]).collect()
        }
    };
    printer.data(&text)?;
    Ok(())
}

fn new_routes<'a>(routes: Option<&'a [Route]>) -> Vec<&'a ServiceExpose> {
    let new = |route: &'a Route| match route {
        Route::New(expose) => Some(expose.as_ref()),
        Route::Existing { .. } => None,
    };
    routes.unwrap_or_default().iter().filter_map(new).collect()
}

/// Routes first, so that the share finds them.
fn manifests(share: &EnvironmentShare, routes: &[&ServiceExpose]) -> Outcome<Vec<Value>> {
    let in_namespace = |route: &&ServiceExpose| {
        let mut route = (*route).clone();
        route.metadata.namespace = share.namespace();
        document::manifest(&route)
    };
    routes.iter().map(in_namespace).chain([document::manifest(share)]).collect()
}

// === server ===

/// What would be shared, as far as it can be known before it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Forecast {
    /// Name of the object.
    name: Clean,
    /// Friendly name.
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<Clean>,
    /// The cluster's own checks and policies let it pass.
    accepted: bool,
    /// When it would end.
    expiration_time: Timestamp,
    /// What it would share.
    routes: Vec<ForecastRoute>,
}

/// One route that would be shared.
#[derive(Debug, Serialize)]
struct ForecastRoute {
    name: Clean,
    port: i32,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Clean>,
}

/// Lets the cluster judge it, and prints what would be shared.
pub async fn server(
    cluster: &Cluster,
    share: &EnvironmentShare,
    routes: Option<&[Route]>,
    format: Format,
    printer: Printer,
) -> Outcome<()> {
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()) };
    let judged =
        cluster.ask(&call("create", cluster, None), shares::api(cluster).create(&params, share)).await?;
    let api: Api<ServiceExpose> = Api::namespaced(cluster.client(), cluster.namespace());
    let ask =
        |verb| Call { verb, kind: Kind::ServiceExpose, name: None, namespace: Some(cluster.namespace()) };
    let mut exposes = Vec::new();
    match routes {
        None => exposes = cluster.ask(&ask("list"), api.list(&ListParams::default())).await?.items,
        Some(routes) => {
            for route in routes {
                exposes.push(match route {
                    Route::New(expose) => cluster.ask(&ask("create"), api.create(&params, expose)).await?,
                    Route::Existing { expose, .. } => (**expose).clone(),
                });
            }
        }
    }
    exposes.retain(|expose| judged.selects(&expose.name_any(), expose.labels()));
    exposes.sort_by(|a, b| a.route_name().cmp(b.route_name()));
    let mut forecast = Vec::new();
    for expose in &exposes {
        let service = services::get(cluster, &expose.spec.service_ref.name).await?;
        forecast.push(ForecastRoute::new(expose, service.as_ref()));
    }
    let now = cluster.now();
    let ends_at = judged.ends_at(now).map_err(|error| Failure::new(error.to_string()))?;
    let forecast = Forecast {
        name: Clean::new(&judged.name_any()),
        display_name: judged.spec.display_name.as_ref().map(Clean::from),
        accepted: true,
        expiration_time: ends_at,
        routes: forecast,
    };
    let text = match format {
        Format::Json => document::json(&forecast)?,
        Format::Yaml => document::yaml(&forecast)?,
        _ => forecast.render(now),
    };
    printer.data(&text)?;
    Ok(())
}

// === impl ForecastRoute ===

impl ForecastRoute {
    fn new(expose: &ServiceExpose, service: Option<&Service>) -> Self {
        let reference = &expose.spec.service_ref;
        let ports = service.and_then(|service| service.spec.as_ref()?.ports.as_deref()).unwrap_or_default();
        let number = service_port::find(ports, &reference.port).map(|port| port.port);
        let port = expose.spec.local_port.map(|port| i32::from(port.get())).or(number);
        let conditions =
            expose.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let untrue = [kind::ACCEPTED, kind::RESOLVED_REFS, kind::READY]
            .iter()
            .filter_map(|kind| condition::find(conditions, kind))
            .find(|condition| condition.status != "True");
        let problem = match number {
            None => Some(format!("Service {} has no port {}", reference.name, reference.port)),
            Some(_) => untrue.map(|condition| format!("{}: {}", condition.reason, condition.message)),
        };
        Self {
            name: Clean::new(expose.route_name()),
            port: port.unwrap_or_default(),
            ready: problem.is_none(),
            problem: problem.as_ref().map(Clean::from),
        }
    }
}

// === impl Forecast ===

impl Forecast {
    fn render(&self, now: Timestamp) -> String {
        let name = self.display_name.as_ref().unwrap_or(&self.name);
        let mut text = format!("[ok] The cluster accepts share {name} (server dry run)\n\n");
        text.push_str(&self.render_routes());
        text.push_str(&format!(
            "  Would expire in {} ({})\n  Nothing was changed and no code was made.\n",
            output::rest_in_words(self.expiration_time, now),
            output::date(self.expiration_time)
        ));
        text
    }

    fn render_routes(&self) -> String {
        if self.routes.is_empty() {
            return "  Routes that would be shared: (none)\n\n".to_owned();
        }
        let mut text = "  Routes that would be shared:\n".to_owned();
        for ForecastRoute { name, port, problem, .. } in &self.routes {
            match problem {
                None => text.push_str(&output::route_line(name, *port)),
                Some(problem) => text.push_str(&format!("    [!] {name}: {problem}\n")),
            }
        }
        text.push('\n');
        text
    }
}
