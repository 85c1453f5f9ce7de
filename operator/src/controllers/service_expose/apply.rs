//! Puts a route of reach Workspace at the hub, and takes away what is there and should not be.

use std::time::Duration;

use connect_crds::{Reach, ServiceExpose};
use connect_hub::client::{NewService, ServiceReach};
use connect_hub::tunnel::routes::Route;
use kube::runtime::controller::Action;

use super::validate::Validated;
use crate::context::{Context, Notice};
use crate::controllers::{GIVE_UP, ROOM_RETRY, TRY_EVERY, Unwritten};
use crate::error::Error;
use crate::faults::point;
use crate::finalizer;
use crate::tunnels::{HubConnection, HubProblem, HubState, KnownService};

/// What was done.
#[derive(Clone, Debug)]
pub enum Done {
    /// The route is not at the hub, and should not be.
    Absent {
        /// What is wrong with the hub.
        problem: Option<HubProblem>,
    },
    /// The hub is not ready: what it has was left as it is.
    Unchanged {
        /// What is wrong with the hub.
        problem: Option<HubProblem>,
        /// The hub's service, as status says.
        service_id: Option<String>,
        /// Its public URL, as status says.
        public_url: Option<String>,
    },
    /// The route cannot be put at the hub.
    NotRegistered {
        /// Why.
        problem: HubProblem,
        /// When to try again.
        look_again: Duration,
    },
    /// The workspace reaches the route.
    Registered {
        /// The hub's service.
        service_id: String,
        /// Its public URL.
        public_url: Option<String>,
    },
    /// The route should not be at the hub any more, and may be.
    NotWithdrawn {
        /// The hub's service, if that is known.
        service_id: Option<String>,
        /// What is wrong with the hub.
        problem: Option<HubProblem>,
        /// When to try again.
        look_again: Duration,
    },
}

// === impl Done ===

impl Done {
    /// The hub's service, of a route that the workspace reaches.
    pub fn service_id(&self) -> Option<&str> {
        match self {
            Done::Unchanged { service_id, .. } | Done::NotWithdrawn { service_id, .. } => {
                service_id.as_deref()
            }
            Done::Registered { service_id, .. } => Some(service_id),
            Done::Absent { .. } | Done::NotRegistered { .. } => None,
        }
    }

    /// Its public URL.
    pub fn public_url(&self) -> Option<&str> {
        match self {
            Done::Unchanged { public_url, .. } | Done::Registered { public_url, .. } => public_url.as_deref(),
            _ => None,
        }
    }

    /// What is wrong with the hub.
    pub fn problem(&self) -> Option<&HubProblem> {
        match self {
            Done::Absent { problem }
            | Done::Unchanged { problem, .. }
            | Done::NotWithdrawn { problem, .. } => problem.as_ref(),
            Done::NotRegistered { problem, .. } => Some(problem),
            Done::Registered { .. } => None,
        }
    }

    /// When to look again, if that is not left to the next change.
    pub fn look_again(&self) -> Option<Duration> {
        match self {
            Done::NotRegistered { look_again, .. } | Done::NotWithdrawn { look_again, .. } => {
                Some(*look_again)
            }
            _ => None,
        }
    }
}

/// Carries it out.
///
/// # Errors
/// The API server refused or did not answer. What the hub refuses is in [`Done::problem()`].
pub async fn apply(
    expose: &ServiceExpose,
    valid: &Validated,
    hub: Option<&HubConnection>,
    context: &Context,
) -> Result<Done, Error> {
    let Some(hub) = hub else { return Ok(Done::Absent { problem: None }) };
    let wanted = valid.reach == Reach::Workspace && valid.refused.is_none() && valid.target.is_ok();
    if !wanted {
        return withdraw(expose, hub, context).await;
    }
    let problem = hub.state().problem();
    if problem.is_some() || hub.state() == HubState::Starting {
        return Ok(Done::Unchanged {
            problem,
            service_id: reported_service_id(expose),
            public_url: told_public_url(expose),
        });
    }
    if !finalizer::is_on(expose)
        && let Err(error) = finalizer::add(expose, context).await
    {
        let Unwritten { reason, message, .. } = Unwritten::of_finalizer(error)?;
        let problem = HubProblem { reason, message, stalled: Some(reason) };
        return Ok(Done::NotRegistered { problem, look_again: context.hub_retry(expose) });
    }
    if hub.with_directory(|directory| directory.is_foreign(expose.route_name())) {
        // A hub that has no owners of names would hand the other's connections to us.
        let problem = HubProblem::name_taken(hub.url(), expose.route_name());
        return Ok(Done::NotRegistered { problem, look_again: context.hub_retry(expose) });
    }
    match register(expose, valid, hub).await {
        Ok(done) => {
            context.hub_answered(expose);
            Ok(done)
        }
        Err(error) => {
            let problem = hub.problem(&error);
            let look_again = if problem.is_no_room() { ROOM_RETRY } else { context.hub_retry(expose) };
            Ok(Done::NotRegistered { problem, look_again })
        }
    }
}

/// The route at the hub, under its own name; asked for only when the hub does not have it yet.
async fn register(
    expose: &ServiceExpose,
    valid: &Validated,
    hub: &HubConnection,
) -> Result<Done, connect_hub::Error> {
    let (Some((client, agent)), Ok(target)) = (hub.entered(), &valid.target) else {
        return Ok(Done::Absent { problem: None });
    };
    let name = expose.route_name();
    let protocol = expose.spec.protocol.as_hub_str();
    let told = expose.status.as_ref().and_then(|status| status.service_id.clone());
    let known = hub
        .with_directory(|directory| directory.service(name))
        .filter(|known| told == Some(known.id.to_string()));
    let observed =
        expose.status.as_ref().and_then(|status| status.observed_generation) == expose.metadata.generation;
    let (known, public_url) = match known.filter(|_| observed) {
        Some(known) => (known, told_public_url(expose)),
        None => {
            let service = NewService {
                name: name.to_owned(),
                target_host: name.to_owned(),
                target_port: target.port,
                protocol,
                is_public: expose.spec.public,
                reach: Some(ServiceReach::Workspace),
            };
            let made = point("registering a route", client.register_service(agent, &service)).await?;
            let known = KnownService { id: made.id, tunnel_port: made.tunnel_port };
            hub.with_directory(|directory| directory.remember_service(name, known));
            (known, made.public_url)
        }
    };
    let route = Route {
        share: None,
        name: name.to_owned(),
        tunnel_port: known.tunnel_port,
        protocol: protocol.to_owned(),
        targets: target.addresses.clone(),
    };
    hub.routes().set(known.id, route);
    Ok(Done::Registered {
        service_id: known.id.to_string(),
        public_url: public_url.filter(|_| expose.spec.public),
    })
}

/// Takes away what an earlier spec had put at the hub.
pub(super) async fn withdraw(
    expose: &ServiceExpose,
    hub: &HubConnection,
    context: &Context,
) -> Result<Done, Error> {
    let told = reported_service_id(expose);
    // The finalizer is there before the hub is asked, also where status could not be written afterwards.
    if told.is_none() && !finalizer::is_on(expose) {
        return Ok(Done::Absent { problem: hub.state().problem() });
    }
    if let Some(id) = told.as_ref().and_then(|id| id.parse().ok()) {
        hub.routes().remove(id);
    }
    let known = hub.with_directory(|directory| directory.service(expose.route_name()));
    let known = known.filter(|known| is_of(expose, *known, context));
    let not_withdrawn = |problem| Done::NotWithdrawn {
        service_id: told.clone().or(known.map(|known| known.id.to_string())),
        problem,
        look_again: context.hub_retry(expose),
    };
    if let Some(known) = known {
        if let Err(error) = hub.free_service(expose.route_name(), known).await {
            return Ok(not_withdrawn(Some(hub.problem(&error))));
        }
    } else if hub.state() != HubState::Ready
        && (told.is_some() || expose.metadata.deletion_timestamp.is_some())
    {
        return Ok(not_withdrawn(hub.state().problem()));
    }
    Ok(Done::Absent { problem: hub.state().problem() })
}

/// Whether the hub's service of this object's route name is this object's: status says so, or says nothing and no other object
/// could have put it there.
fn is_of(expose: &ServiceExpose, known: KnownService, context: &Context) -> bool {
    let id = known.id.to_string();
    match reported_service_id(expose) {
        Some(told) => told == id,
        None => !context.has_expose(|other| {
            let has_its_name = other.route_name() == expose.route_name()
                && other.reach() == Reach::Workspace
                && other.metadata.deletion_timestamp.is_none();
            other.metadata.uid != expose.metadata.uid
                && (has_its_name || reported_service_id(other).as_ref() == Some(&id))
        }),
    }
}

/// Takes the route from the hub when the object goes, and never holds the object for long.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn cleanup(
    expose: &ServiceExpose,
    hub: Option<&HubConnection>,
    context: &Context,
) -> Result<Action, Error> {
    if let Some(id) = reported_service_id(expose).and_then(|id| id.parse().ok()) {
        for hub in context.common.hubs.all() {
            hub.routes().remove(id);
        }
    }
    if !finalizer::is_on(expose) {
        return Ok(Action::await_change());
    }
    if let Some(hub) = hub
        && let Done::NotWithdrawn { problem, .. } = withdraw(expose, hub, context).await?
    {
        let asked = expose.metadata.deletion_timestamp.as_ref().map_or(context.now(), |time| time.0);
        if context.now().duration_since(asked) < GIVE_UP {
            return Ok(Action::requeue(TRY_EVERY));
        }
        abandon(expose, problem, "Delete", context).await;
    }
    finalizer::remove(expose, context).await?;
    Ok(Action::await_change())
}

/// Names what may be left at the hub.
pub(super) async fn abandon(
    expose: &ServiceExpose,
    problem: Option<HubProblem>,
    action: &'static str,
    context: &Context,
) {
    let why = problem.map(|problem| problem.message).unwrap_or_default();
    let note = format!(
        "gave up taking the route {} from the hub, so it may be left there; nothing is carried for it any more: {why}",
        expose.route_name()
    );
    context.tell(expose, Notice { warning: true, reason: "HubCleanupAbandoned", action, note }).await;
}

fn reported_service_id(expose: &ServiceExpose) -> Option<String> {
    expose.status.as_ref().and_then(|status| status.service_id.clone())
}

fn told_public_url(expose: &ServiceExpose) -> Option<String> {
    expose.status.as_ref().and_then(|status| status.public_url.clone())
}
