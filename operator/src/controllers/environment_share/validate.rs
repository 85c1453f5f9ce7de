//! Judges an EnvironmentShare and what it names. Pure: nothing after this step reads the raw spec for a decision.

use std::sync::Arc;
use std::time::Duration;

use connect_crds::condition::{Verdict, find, kind, reason};
use connect_crds::{EnvironmentShare, Membership, ServiceExpose};
use connect_hub::tunnel::routes::EndReason;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::code_secret;
use super::dereference::Found;
use crate::target::Target;

/// How long the set of ServiceExposes must have been still before a snapshot is taken, by their creation times. A
/// directory of manifests that is applied at once arrives within it, whatever the order of its files.
const SETTLE: Duration = Duration::from_secs(2);

/// What to do when nothing is selected.
pub const EXPOSE_FIRST: &str = "expose a Service first: kubectl connect expose SERVICE:PORT";

/// How a share has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Its time is up.
    Expired,
    /// It was revoked.
    Revoked,
}

impl Over {
    /// The condition reason.
    pub fn reason(self) -> &'static str {
        match self {
            Over::Expired => reason::EXPIRED,
            Over::Revoked => reason::REVOKED,
        }
    }

    /// The data plane's word for it.
    pub fn end_reason(self) -> EndReason {
        match self {
            Over::Expired => EndReason::Expired,
            Over::Revoked => EndReason::Revoked,
        }
    }
}

/// One route of a share.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// What teammates see.
    pub name: String,
    /// As the ServiceExpose says.
    pub protocol: connect_crds::Protocol,
    /// Suggested local port.
    pub port: u16,
    /// Where connections go; `None` while they cannot.
    pub target: Option<Target>,
}

impl Route {
    /// Whether connections are taken to the Service now.
    pub fn is_ready(&self) -> bool {
        self.target.as_ref().is_some_and(|target| !target.addresses.is_empty())
    }
}

/// What is to be done about an EnvironmentShare, before the hub is looked at.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The share has ended.
    pub over: Option<Over>,
    /// When it ends; `None` only when that cannot be read.
    pub ends_at: Option<Timestamp>,
    /// Why the spec cannot be acted on: the condition Accepted.
    pub refused: Option<Verdict>,
    /// What the spec names and does not exist: the condition ResolvedRefs.
    pub unresolved: Option<Verdict>,
    /// What is to be shared.
    pub routes: Vec<Route>,
    /// Why the share is not opened yet, and when to look again.
    pub not_yet: Option<(String, Duration)>,
    /// Routes that the selection would give today and the snapshot has not, or the reverse.
    pub outdated: Option<String>,
    /// Whether routes follow the ServiceExposes.
    pub membership: Membership,
    /// The code was used as often as it may be.
    pub limit_reached: bool,
    /// A new code is wanted in place of the one in the Secret.
    pub rotates: bool,
}

/// Judges spec and what was found.
pub fn validate(share: &EnvironmentShare, found: &Found, now: Timestamp) -> Validated {
    let ends = share.ends_at(now);
    let selection = select(share, found);
    let opened = found.code.as_ref().filter(|_| share.membership() == Membership::Snapshot);
    let routes = match opened {
        Some(code) => code.routes.iter().map(|name| snapshot_route(name, share, found)).collect(),
        None => selection.routes.clone(),
    };
    let over = over(share, ends.as_ref().ok().copied(), now);
    let rotates = rotates(share, found);
    let joins = share.status.as_ref().and_then(|status| status.joins.as_ref()).map_or(0, |joins| joins.count);
    let seen = found
        .rows
        .iter()
        .map(|row| i64::try_from(row.join_count).unwrap_or(i64::MAX))
        .max()
        .unwrap_or(0)
        .max(joins);
    let is_unopened = over.is_none() && found.code.is_none();
    let not_yet = if found.code.is_some() { None } else { not_yet(share, &selection, now) };
    Validated {
        over,
        refused: match &ends {
            Err(error) => Some(Verdict::no(kind::ACCEPTED, reason::INVALID_EXPIRATION, error.to_string())),
            Ok(end) => hub_longest(found).and_then(|longest| too_long(share, *end, longest)),
        }
        .or_else(|| no_routes(share).filter(|_| is_unopened && not_yet.is_none() && routes.is_empty())),
        ends_at: ends.ok(),
        not_yet,
        outdated: opened.and_then(|code| outdated(&code.routes, &selection.routes)),
        unresolved: if over.is_some() { None } else { selection.unresolved },
        routes,
        membership: share.membership(),
        // A new code starts from zero.
        limit_reached: !rotates && share.spec.max_joins.is_some_and(|limit| seen >= i64::from(limit)),
        rotates,
    }
}

/// Whether the Secret's code answers another request than the one that the object speaks of now.
fn rotates(share: &EnvironmentShare, found: &Found) -> bool {
    let wanted = code_secret::wanted_rotation(share);
    wanted.is_some() && found.code.as_ref().is_some_and(|code| code.rotation.as_ref() != wanted)
}

/// Whether and how the share has ended. What status has once said stays: an ended share is not opened again.
pub fn over(share: &EnvironmentShare, ends_at: Option<Timestamp>, now: Timestamp) -> Option<Over> {
    if share.spec.revoked {
        return Some(Over::Revoked);
    }
    let conditions = share.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    match find(conditions, kind::ACTIVE)
        .filter(|active| active.status == "False")
        .map(|active| active.reason.as_str())
    {
        Some(reason::REVOKED) => return Some(Over::Revoked),
        Some(reason::EXPIRED) => return Some(Over::Expired),
        _ => {}
    }
    ends_at.is_some_and(|end| end <= now).then_some(Over::Expired)
}

/// After how long the hub ends every share, if it does, as far as known.
fn hub_longest(found: &Found) -> Option<SignedDuration> {
    let (hub, _) = found.hub.as_ref().ok()?;
    (hub.entered().is_some() && !hub.has("expires-at")).then(|| hub.longest())
}

/// Why the share cannot be kept to its end at a capped hub. Others get a new code there before the old one ends; but the hub
/// counts the joins of each code anew, so a limit of joins would not be one.
fn too_long(share: &EnvironmentShare, ends_at: Timestamp, longest: SignedDuration) -> Option<Verdict> {
    let limit = share.spec.max_joins?;
    let lives = ends_at.duration_since(share.creation_timestamp()?.0);
    (lives > longest).then(|| {
        let hours = longest.as_hours();
        let message = format!(
            "this hub ends every share after {hours} hours, and would count to maxJoins {limit} anew for the code after that; choose expires: {hours}h or less, leave maxJoins out, or use a hub without that limit, such as the embedded one"
        );
        Verdict::no(kind::ACCEPTED, reason::EXPIRATION_TOO_LONG, message)
    })
}

/// Why a share that selects nothing is not opened, unless it may be empty: as a snapshot it would stay so for ever.
fn no_routes(share: &EnvironmentShare) -> Option<Verdict> {
    let message = format!("nothing is selected yet; the share opens when something is: {EXPOSE_FIRST}");
    (!share.may_be_empty()).then(|| Verdict::no(kind::ACCEPTED, reason::NO_ROUTES, message))
}

/// What the spec selects today.
struct Selection {
    routes: Vec<Route>,
    unresolved: Option<Verdict>,
    /// Whether something named by hand is missing, which is waited for.
    waits: bool,
    newest: Option<Timestamp>,
}

fn select(share: &EnvironmentShare, found: &Found) -> Selection {
    let mut routes: Vec<(Route, Option<Timestamp>)> = Vec::new();
    let mut unresolved: Option<Verdict> = None;
    let mut newest = None;
    let mut complain = |why: &'static str, message: String| {
        unresolved.get_or_insert_with(|| Verdict::no(kind::RESOLVED_REFS, why, message));
    };
    for (expose, target) in &found.exposes {
        if !share.selects(&expose.name_any(), expose.labels()) {
            continue;
        }
        let created = expose.creation_timestamp().map(|time| time.0);
        newest = newest.max(created);
        if expose.spec.hub_ref.is_some() && expose.spec.hub_ref != share.spec.hub_ref {
            complain(
                reason::EXPOSE_NOT_READY,
                format!("ServiceExpose {} is for another hub than this share", expose.name_any()),
            );
            continue;
        }
        match target {
            Err(problem) => {
                complain(problem.reason(), format!("ServiceExpose {}: {problem}", expose.name_any()));
            }
            Ok(target) => {
                let route = route_of(expose, target);
                match routes.iter_mut().find(|(other, _)| other.name == route.name) {
                    // The older ServiceExpose keeps the name; the younger says RouteNameConflict itself.
                    Some((other, since)) if created < *since => (*other, *since) = (route, created),
                    Some(_) => {}
                    None => routes.push((route, created)),
                }
            }
        }
    }
    let names = share.spec.routes.as_ref().and_then(|routes| routes.names.as_deref()).unwrap_or_default();
    for name in names {
        if !found.exposes.iter().any(|(expose, _)| expose.name_any() == *name) {
            complain(reason::EXPOSE_NOT_READY, format!("there is no ServiceExpose {name} in this namespace"));
        }
    }
    let mut routes: Vec<Route> = routes.into_iter().map(|(route, _)| route).collect();
    routes.sort_by(|a, b| a.name.cmp(&b.name));
    let waits = unresolved.is_some() && (!names.is_empty() || routes.is_empty());
    Selection { routes, unresolved, waits, newest }
}

fn route_of(expose: &Arc<ServiceExpose>, target: &Target) -> Route {
    Route {
        name: expose.route_name().to_owned(),
        protocol: expose.spec.protocol,
        port: expose.spec.local_port.map_or(target.port, |port| port.get()),
        target: Some(target.clone()),
    }
}

/// A route that the snapshot took, as it is now: withdrawn and broken routes stay, without a target.
fn snapshot_route(name: &str, share: &EnvironmentShare, found: &Found) -> Route {
    let mut candidates: Vec<_> = found
        .exposes
        .iter()
        .filter(|(expose, _)| expose.route_name() == name)
        .filter(|(expose, _)| expose.spec.hub_ref.is_none() || expose.spec.hub_ref == share.spec.hub_ref)
        .collect();
    candidates.sort_by_key(|(expose, _)| expose.creation_timestamp().map(|time| time.0));
    if let Some((expose, Ok(target))) = candidates.first() {
        return route_of(expose, target);
    }
    let told = share.status.iter().flat_map(|status| &status.routes).find(|route| route.name == name);
    let port = told.and_then(|route| u16::try_from(route.port).ok()).filter(|port| *port != 0).unwrap_or(1);
    let protocol =
        candidates.first().map_or(connect_crds::Protocol::Auto, |(expose, _)| expose.spec.protocol);
    Route { name: name.to_owned(), protocol, port, target: None }
}

/// Why a share that has no code yet should not get one now.
fn not_yet(share: &EnvironmentShare, selection: &Selection, now: Timestamp) -> Option<(String, Duration)> {
    if selection.waits {
        let why = selection.unresolved.as_ref().map(|verdict| verdict.message.clone()).unwrap_or_default();
        return Some((why, super::RESYNC));
    }
    let youngest = if selection.routes.is_empty() {
        share.creation_timestamp().map(|time| time.0)
    } else {
        selection.newest
    };
    let age = now.duration_since(youngest?);
    // A creation time far from our clock means that the clocks differ, not that something was just created.
    let settle = jiff::SignedDuration::try_from(SETTLE).unwrap_or(jiff::SignedDuration::ZERO);
    if age.abs() < settle {
        let rest = Duration::try_from(settle - age).unwrap_or(SETTLE).min(SETTLE * 2);
        return Some(("waits for ServiceExposes that are being created together with it".to_owned(), rest));
    }
    None
}

/// How a snapshot differs from what its selection would give today.
fn outdated(snapshot: &[String], today: &[Route]) -> Option<String> {
    let added: Vec<&str> = today
        .iter()
        .map(|route| route.name.as_str())
        .filter(|name| !snapshot.iter().any(|had| had == name))
        .collect();
    let gone: Vec<&str> = snapshot
        .iter()
        .map(String::as_str)
        .filter(|name| !today.iter().any(|route| route.name == *name))
        .collect();
    match (added.is_empty(), gone.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("not in the snapshot: {}", added.join(", "))),
        (true, false) => Some(format!("withdrawn since the snapshot: {}", gone.join(", "))),
        (false, false) => {
            Some(format!("not in the snapshot: {}; withdrawn since: {}", added.join(", "), gone.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_limit_of_joins_forbids_a_second_code() {
        let share = |spec: &str| -> EnvironmentShare {
            let text = format!(
                "apiVersion: connect.privateconnect.co/v1alpha1\nkind: EnvironmentShare\nmetadata: {{name: demo, creationTimestamp: '2026-01-01T00:00:00Z'}}\nspec: {spec}\n"
            );
            serde_saphyr::from_str(&text).expect("fixture")
        };
        let refused = |spec: &str| {
            let share = share(spec);
            let end = share.ends_at(Timestamp::UNIX_EPOCH).expect("an end");
            too_long(&share, end, SignedDuration::from_hours(168)).map(|verdict| verdict.reason)
        };
        assert_eq!(refused("{expires: 14d, maxJoins: 3}"), Some("ExpirationTooLong"));
        assert_eq!(refused("{expires: 169h, maxJoins: 3}"), Some("ExpirationTooLong"));
        assert_eq!(refused("{expires: 7d, maxJoins: 3}"), None);
        assert_eq!(refused("{expires: 14d}"), None);
    }
}
