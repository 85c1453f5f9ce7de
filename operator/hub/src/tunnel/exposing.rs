//! Tells the hub which services this socket serves: all of them after every welcome, and again whenever they change.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::agent::AgentError;
use crate::backoff::Backoff;
use crate::protocol::{Answer, Expose};
use crate::routes::{Route, Routes};
use crate::socketio::{EmitError, Emitter, SocketError};

/// How long the hub may take to accept one service.
const EXPOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Services offered at once: the hub answers each with a round trip, and a thousand in turn would take minutes.
const OFFERS_AT_ONCE: usize = 16;

/// When services that the hub did not accept are offered again.
const RETRY: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));

/// How often one service is offered again to a hub that may have lost this socket without a word: on the recorded one that
/// happens when another socket with our agent's id leaves, and its answers to heartbeats do not tell.
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// What the hub already knows, so that a change of one route does not offer a thousand others again.
type Known = HashMap<Uuid, Route>;

/// Offers services for as long as the socket lives; returns when the hub turns out not to know the socket. `probes` is for
/// hubs that must be asked for that.
pub(super) async fn run(emitter: Emitter, routes: Routes, welcomed: &Notify, probes: bool) -> AgentError {
    let mut exposed = routes.exposed();
    let mut known = Known::new();
    let mut failures = 0;
    loop {
        exposed.borrow_and_update();
        let complete = match offer_all(&emitter, &routes, &mut known).await {
            Ok(complete) => complete,
            Err(error) => return error,
        };
        failures = if complete { 0 } else { failures + 1 };
        let changed = async {
            if exposed.changed().await.is_err() {
                std::future::pending::<()>().await; // nobody can change them any more
            }
        };
        tokio::select! {
            () = changed => {}
            () = welcomed.notified() => known.clear(),
            () = sleep(RETRY.ceiling(failures)), if !complete => {}
            () = sleep(PROBE_EVERY), if probes && complete => forget_one(&mut known),
        }
    }
}

/// So that one service is offered again. A hub that knows us accepts it, or says that it has it.
fn forget_one(known: &mut Known) {
    if let Some(id) = known.keys().next().copied() {
        known.remove(&id);
    }
}

/// Offers what the hub does not know yet and says whether it now knows everything.
async fn offer_all(emitter: &Emitter, routes: &Routes, known: &mut Known) -> Result<bool, AgentError> {
    let wanted = routes.snapshot();
    known.retain(|id, _| wanted.contains_key(id));
    let news: Vec<(Uuid, Route)> = wanted
        .into_iter()
        .filter(|(id, route)| !known.get(id).is_some_and(|old| old.is_exposed_like(route)))
        .collect();
    let mut offers = futures::stream::iter(news)
        .map(|(id, route)| async move { (id, offer(emitter, id, &route).await, route) })
        .buffer_unordered(OFFERS_AT_ONCE);
    let mut complete = true;
    while let Some((id, accepted, route)) = offers.next().await {
        if accepted? {
            known.insert(id, route);
        } else {
            complete = false;
        }
    }
    Ok(complete)
}

async fn offer(emitter: &Emitter, service_id: Uuid, route: &Route) -> Result<bool, AgentError> {
    let port = route.targets.first().map_or(0, std::net::SocketAddr::port);
    let expose = Expose {
        service_id,
        service_name: &route.name,
        tunnel_port: route.tunnel_port,
        target_host: &route.name,
        target_port: port,
        protocol: &route.protocol,
    };
    match emitter.call::<Answer>("expose", Some(&expose), EXPOSE_TIMEOUT).await {
        Ok(Answer { success: true, .. }) => {
            debug!(service = route.name, "exposed");
            Ok(true)
        }
        Ok(Answer { error, .. }) => {
            let error = error.unwrap_or_default();
            if is_about_this_socket(&error) {
                return Err(AgentError::Forgotten);
            }
            if is_there_already(&error) {
                return Ok(true);
            }
            warn!(service = route.name, error, "the hub did not accept a service");
            Ok(false)
        }
        Err(EmitError::Gone) => Err(AgentError::Socket(SocketError::Closed)),
        Err(error) => {
            warn!(service = route.name, %error, "offering a service");
            Ok(false)
        }
    }
}

/// Whether the hub lost this socket, as happens when another one used our agent id and left.
fn is_about_this_socket(error: &str) -> bool {
    error.ends_with(" not connected") || error == "Agent not registered"
}

/// Whether the hub listens for the service already: the recorded one keeps its ports for ever.
fn is_there_already(error: &str) -> bool {
    error.starts_with("listen EADDRINUSE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_socket_is_told_from_a_refused_service() {
        assert!(is_about_this_socket("Agent e820b10a-5e07-4d3f-b815-68a9cd6fbf8f not connected"));
        assert!(is_about_this_socket("Agent not registered"));
        assert!(!is_about_this_socket("Service not found"));
        let taken = "listen EADDRINUSE: address already in use 127.0.0.1:23000";
        assert!(!is_about_this_socket(taken) && is_there_already(taken));
    }
}
