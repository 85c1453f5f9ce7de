//! Lets go of a route when the operator leaves the cluster, or the namespace ends: it leaves the hub, and the object stays, without
//! our finalizer.

use std::time::Duration;

use connect_crds::condition::{Verdict, kind, merge, reason};
use connect_crds::{ServiceExpose, ServiceExposeStatus};
use kube::ResourceExt;
use tokio::time::{Instant, timeout_at};

use super::apply::{Done, abandon, withdraw};
use crate::context::Context;
use crate::controllers::last_words;
use crate::controllers::letting_go::Leaving;
use crate::error::Error;
use crate::finalizer;

/// Pause between two tries at a hub that does not answer.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// What the object says until an operator is there again.
const LEFT: &str = "the operator was uninstalled; the route is carried again when there is one";

/// Takes the route from its hub if the hub answers before `deadline`, then lets the object go. Without a deadline the hub is
/// gone itself. `false` when the hub is there and was not told.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn let_go(
    expose: &ServiceExpose,
    context: &Context,
    deadline: Option<Instant>,
    leaving: Leaving,
) -> Result<bool, Error> {
    let told = match deadline {
        Some(deadline) => tell_the_hub(expose, context, deadline).await?,
        None => true,
    };
    finalizer::remove(expose, context).await?;
    if leaving == Leaving::Uninstalled {
        last_words(context, expose, &left(expose, context.now())).await;
    }
    Ok(told)
}

/// Tries until the hub has the route no more or `deadline` has passed; `false` then.
async fn tell_the_hub(expose: &ServiceExpose, context: &Context, deadline: Instant) -> Result<bool, Error> {
    let namespace = expose.namespace().ok_or(Error::Incomplete("namespace"))?;
    let Ok(hub) = context.hub(&namespace, expose.spec.hub_ref.as_ref()) else { return Ok(true) };
    loop {
        let problem = match timeout_at(deadline, withdraw(expose, &hub, context)).await {
            Ok(done) => match done? {
                Done::NotWithdrawn { problem, .. } => problem,
                _ => return Ok(true),
            },
            Err(_) => None,
        };
        if Instant::now() >= deadline {
            abandon(expose, problem, "Drain", context).await;
            return Ok(false);
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

/// The status of a route whose operator has left: whatever was true of the hub is so no longer.
fn left(expose: &ServiceExpose, now: jiff::Timestamp) -> ServiceExposeStatus {
    let old = expose.status.clone().unwrap_or_default();
    let verdicts = vec![
        Verdict::no(kind::PROGRAMMED, reason::TUNNEL_CONNECTING, LEFT),
        Verdict::no(kind::READY, reason::PENDING, LEFT),
    ];
    let mut conditions = old.conditions.clone();
    conditions.retain(|condition| [kind::ACCEPTED, kind::RESOLVED_REFS].contains(&condition.type_.as_str()));
    conditions.extend(merge(&old.conditions, verdicts, expose.metadata.generation, now));
    ServiceExposeStatus { conditions, service_id: None, public_url: None, connections: Some(0), ..old }
}
