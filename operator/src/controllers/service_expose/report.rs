//! Says in status how it stands with a route: computed purely, written only when it differs.

use std::sync::Arc;

use connect_crds::condition::{Verdict, find, kind, merge, reason};
use connect_crds::{Reach, ServiceExpose, ServiceExposeStatus};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::apply::Done;
use super::validate::Validated;
use crate::context::Context;
use crate::controllers::{labelled_service, write_status};
use crate::credentials::HubSecretProblem;
use crate::error::Error;
use crate::labels::is_owned_by;
use crate::tunnels::{HubConnection, HubProblem, HubState};

/// What is looked at elsewhere, at other times.
struct Seen {
    connections: Option<i64>,
    outdated: Option<Verdict>,
}

/// Writes status if it differs.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn report(
    expose: &ServiceExpose,
    valid: &Validated,
    hub: &Result<Arc<HubConnection>, HubSecretProblem>,
    done: &Done,
    context: &Context,
) -> Result<(), Error> {
    let state = hub.as_ref().map(|hub| hub.state()).map_err(Clone::clone);
    let said_before = expose.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
    if state == Ok(HubState::Starting) && said_before {
        return Ok(());
    }
    let seen = Seen {
        connections: context.connections.of(expose),
        outdated: context.common.definitions.stalled::<ServiceExpose>(),
    };
    let new = status(expose, valid, &state, done, seen, context.now());
    if expose.status.as_ref() != Some(&new) {
        write_status(context, expose, &new).await?;
        tell_the_service(expose, &new, context).await;
    }
    Ok(())
}

/// Whoever labelled a Service looks there: what keeps its route from being shared is told to it as well.
async fn tell_the_service(expose: &ServiceExpose, status: &ServiceExposeStatus, context: &Context) {
    let namespace = expose.namespace().unwrap_or_default();
    let service = ObjectRef::new(&expose.spec.service_ref.name).within(&namespace);
    let Some(service) = context.stores.services.get(&service) else { return };
    if !is_owned_by(expose, &service) {
        return;
    }
    let wrong = [kind::ACCEPTED, kind::RESOLVED_REFS]
        .into_iter()
        .filter_map(|kind| find(&status.conditions, kind))
        .find(|condition| condition.status == "False");
    if let Some(wrong) = wrong {
        let note = format!("{}: {}", wrong.reason, wrong.message);
        context.tell_once(&*service, labelled_service::warning("ExposeRefused", note)).await;
    }
}

/// The status that says how it stands. Pure.
fn status(
    expose: &ServiceExpose,
    valid: &Validated,
    hub: &Result<HubState, HubSecretProblem>,
    done: &Done,
    seen: Seen,
    now: Timestamp,
) -> ServiceExposeStatus {
    let old = expose.status.clone().unwrap_or_default();
    let generation = expose.metadata.generation;
    ServiceExposeStatus {
        observed_generation: generation,
        route_name: Some(expose.route_name().to_owned()),
        service_id: done.service_id().map(str::to_owned),
        target: valid.target.as_ref().ok().map(|target| target.display.clone()),
        public_url: done.public_url().map(str::to_owned),
        connections: Some(seen.connections.or(old.connections).unwrap_or(0)),
        conditions: merge(&old.conditions, verdicts(valid, hub, done, seen.outdated), generation, now),
    }
}

fn verdicts(
    valid: &Validated,
    hub: &Result<HubState, HubSecretProblem>,
    done: &Done,
    outdated: Option<Verdict>,
) -> Vec<Verdict> {
    let accepted = valid
        .refused
        .clone()
        .unwrap_or_else(|| Verdict::yes(kind::ACCEPTED, reason::ACCEPTED, "the spec is valid"));
    let resolved = match (&valid.target, hub) {
        (Err(problem), _) => Verdict::no(kind::RESOLVED_REFS, problem.reason(), problem.to_string()),
        (_, Err(problem)) => {
            Verdict::no(kind::RESOLVED_REFS, reason::HUB_SECRET_NOT_FOUND, problem.to_string())
        }
        _ => Verdict::yes(kind::RESOLVED_REFS, reason::ALL_ROUTES_RESOLVED, "every referenced object exists"),
    };
    let programmed = programmed(hub, done);
    let blocking =
        [&accepted, &resolved, &programmed].into_iter().find(|verdict| verdict.status != Some(true));
    let ready = match blocking {
        Some(verdict) if verdict.reason == reason::TUNNEL_CONNECTING => {
            Verdict::no(kind::READY, reason::PENDING, verdict.message.clone())
        }
        Some(verdict) => Verdict::no(kind::READY, verdict.reason, verdict.message.clone()),
        None if valid.reach == Reach::Workspace => Verdict::yes(
            kind::READY,
            reason::EXPOSED,
            "the route can be shared, and the hub's workspace reaches it by name",
        ),
        None => Verdict::yes(kind::READY, reason::EXPOSED, "the route can be shared"),
    };
    let stalled = done.problem().and_then(HubProblem::stalled).or(outdated);
    [accepted, resolved, programmed, ready].into_iter().chain(stalled).collect()
}

fn programmed(hub: &Result<HubState, HubSecretProblem>, done: &Done) -> Verdict {
    if let Some(problem) = done.problem() {
        return Verdict::no(kind::PROGRAMMED, problem.reason, problem.message.clone());
    }
    match hub {
        Err(problem) => Verdict::no(kind::PROGRAMMED, reason::TUNNEL_CONNECTING, problem.to_string()),
        Ok(HubState::Starting) => {
            Verdict::no(kind::PROGRAMMED, reason::TUNNEL_CONNECTING, "the tunnel to the hub is being opened")
        }
        Ok(HubState::Ready) => {
            Verdict::yes(kind::PROGRAMMED, reason::TUNNEL_CONNECTED, "the tunnel to the hub is up")
        }
        Ok(HubState::Down(problem)) => Verdict::no(kind::PROGRAMMED, problem.reason, problem.message.clone()),
    }
}
