//! Says in status and Events how it stands with a share: computed purely, written only when it differs.

use connect_crds::condition::{Verdict, find, is_true, kind, merge, reason, whole_second};
use connect_crds::{
    EnvironmentShare, EnvironmentShareStatus, JoinRecord, Joins, Membership, Protocol, RouteStatus,
};
use connect_hub::client::ShareRow;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::apply::{Done, renewal_due};
use super::dereference::Found;
use super::validate::{EXPOSE_FIRST, Over, Validated};
use crate::context::{Context, Notice};
use crate::controllers::{Unwritten, write_status};
use crate::error::Error;
use crate::names::{is_service_of, share_key};
use crate::tunnels::HubProblem;

/// Joins shown in status, newest first.
const RECENT_JOINS: usize = 20;

/// Writes status if it differs, then tells what has changed.
///
/// # Errors
/// The API server refused or did not answer.
pub async fn report(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    done: &Done,
    context: &Context,
) -> Result<(), Error> {
    let old = share.status.clone().unwrap_or_default();
    if done.is_undecided() && !old.conditions.is_empty() {
        return Ok(());
    }
    let new = status(share, valid, found, done, context.now());
    if share.status.as_ref() != Some(&new) {
        write_status(context, share, &new).await?;
    }
    for notice in notices(&old, &new, done) {
        context.tell(share, notice).await;
    }
    if let Ok((hub, _)) = &found.hub
        && hub.tells_of_mismatch(&share_key(share), found.mismatches.count)
    {
        context.tell(share, mismatch_notice()).await;
    }
    Ok(())
}

/// The status that says how it stands. Pure.
pub fn status(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    done: &Done,
    now: Timestamp,
) -> EnvironmentShareStatus {
    let old = share.status.clone().unwrap_or_default();
    let over = valid.over.or(done.ended_at_hub());
    let routes = if over.is_some() { ended_routes(&old) } else { routes(valid) };
    let ready = routes.iter().filter(|route| route.ready).count();
    let change = code_change(valid, found, done, now);
    let told = done.is_shared() || over.is_some() || !routes.is_empty();
    EnvironmentShareStatus {
        observed_generation: share.metadata.generation,
        expiration_time: valid.ends_at.map(|end| Time(whole_second(end))),
        code_change_time: change.map(Time),
        ready_routes: told.then(|| format!("{ready}/{}", routes.len())),
        routes,
        // Joins are those of the code; a new one starts from zero.
        joins: with_people(
            joins(old.joins.clone().filter(|_| !done.is_rotated()), done.row()),
            done,
            over.is_none(),
        ),
        encryption: done.encryption().or(old.encryption).filter(|_| done.is_shared() && over.is_none()),
        code_secret_name: (done.is_shared() && over.is_none()).then(|| share.code_secret_name()),
        conditions: merge(
            &old.conditions,
            verdicts(share, valid, found, (done, &old.conditions), change),
            share.metadata.generation,
            now,
        ),
    }
}

fn routes(valid: &Validated) -> Vec<RouteStatus> {
    let one = |route: &super::validate::Route| RouteStatus {
        name: route.name.clone(),
        protocol: protocol_name(route.protocol).to_owned(),
        port: i32::from(route.port),
        ready: route.is_ready(),
    };
    valid.routes.iter().map(one).collect()
}

fn ended_routes(old: &EnvironmentShareStatus) -> Vec<RouteStatus> {
    old.routes.iter().cloned().map(|route| RouteStatus { ready: false, ..route }).collect()
}

/// The protocol as specs write it.
pub fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Auto => "Auto",
        Protocol::Tcp => "TCP",
        Protocol::Http => "HTTP",
        Protocol::Https => "HTTPS",
        Protocol::Udp => "UDP",
    }
}

/// When the code that teammates have is replaced, because the hub does not keep it to the share's end.
fn code_change(valid: &Validated, found: &Found, done: &Done, now: Timestamp) -> Option<Timestamp> {
    if !done.is_shared() || valid.over.is_some() || valid.limit_reached {
        return None;
    }
    let (hub, _) = found.hub.as_ref().ok().filter(|(hub, _)| hub.entered().is_some())?;
    let row = match done {
        Done::Open { row, .. } => row,
        _ => found.row_in_the_secret()?,
    };
    renewal_due(row, valid.ends_at?, hub).map(whole_second).filter(|due| *due > now)
}

fn code_change_note(change: Timestamp) -> String {
    format!("; the code changes at {change}, because the hub cannot keep it longer")
}

/// What the hub says of joins, never less than what was said before.
fn joins(old: Option<Joins>, row: Option<&ShareRow>) -> Option<Joins> {
    let Some(row) = row else { return old };
    let mut joins = old.unwrap_or_default();
    joins.count = joins.count.max(i64::try_from(row.join_count).unwrap_or(i64::MAX));
    if !row.joins.is_empty() {
        let record = |join: &connect_hub::client::Join| JoinRecord {
            agent: join.agent_label.clone(),
            time: Time(whole_second(join.joined_at)),
            connected: join.connected,
        };
        joins.recent = row.joins.iter().take(RECENT_JOINS).map(record).collect();
        joins.last_time = joins.recent.first().map(|newest| newest.time.clone());
    }
    Some(joins)
}

/// Who is connected, as long as that is known, and whom an end cut off.
fn with_people(joins: Option<Joins>, done: &Done, lives: bool) -> Option<Joins> {
    let number = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    let cut_off = done.cut().map(|cut| number(cut.joiners));
    let mut joins = joins.or_else(|| cut_off.map(|_| Joins::default()))?;
    // A hub that cannot be asked may have let anybody go.
    let known = done.row().filter(|_| lives && done.problem().is_none());
    joins.connected = known.and_then(|row| row.connected).map(|people| number(people.joiners));
    if joins.connected.is_none() {
        joins.recent.iter_mut().for_each(|join| join.connected = false);
    }
    joins.cut_off = cut_off.or(joins.cut_off);
    Some(joins)
}

/// Whom an end has cut off, for its Event.
fn cut_off_note(done: &Done) -> String {
    match done.cut().map(|cut| cut.joiners) {
        None => String::new(),
        Some(0) => "; nobody was connected".to_owned(),
        Some(1) => "; 1 teammate was cut off".to_owned(),
        Some(joiners) => format!("; {joiners} teammates were cut off"),
    }
}

/// Every condition, in the order in which they are shown.
fn verdicts(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    (done, old): (&Done, &[Condition]),
    change: Option<Timestamp>,
) -> Vec<Verdict> {
    let accepted = accepted(valid, found, done);
    let resolved = resolved(valid, found);
    let active = active(share, valid, done, change, (&accepted, &resolved));
    let mut ready = ready(share, valid, found, done, &active);
    if valid.over.is_some() && share.spec.ttl_seconds_after_finished.is_some() && is_tracked(share) {
        ready.message.push_str("; ttlSecondsAfterFinished is ignored, because a GitOps tool manages this object and would create it again");
    }
    let mut verdicts = vec![accepted, resolved, active, ready];
    if valid.membership == Membership::Snapshot && done.is_shared() && valid.over.is_none() {
        verdicts.push(match &valid.outdated {
            None => Verdict::yes(
                kind::ROUTES_CURRENT,
                reason::UP_TO_DATE,
                "the shared routes are those selected today",
            ),
            Some(how) => Verdict::no(
                kind::ROUTES_CURRENT,
                reason::SNAPSHOT_OUTDATED,
                format!("{how}; a share is a snapshot, create a new one to share today's routes"),
            ),
        });
    }
    verdicts.extend(mismatched(valid, found, done, old));
    let of_hub = done.problem().and_then(HubProblem::stalled);
    let of_cluster = || done.unwritten().and_then(Unwritten::stalled);
    verdicts.extend(of_hub.or_else(of_cluster).or_else(|| found.outdated.clone()));
    verdicts
}

/// That the secret was not known again and again; said until the code is another one, because nothing else ends the doubt.
fn mismatched(valid: &Validated, found: &Found, done: &Done, old: &[Condition]) -> Option<Verdict> {
    let is_new = done.has_new_code() || done.is_rotated();
    let is_said = is_true(old, kind::SECRET_MISMATCH);
    let holds = !is_new && valid.over.is_none() && (found.mismatches.repeated || is_said);
    let message = "5 connections within a minute did not know the secret of the share's code: somebody tries wrong codes, or the hub replaces keys to read along; nothing was carried for them. A new code ends this: kubectl connect rotate";
    holds.then(|| Verdict::yes(kind::SECRET_MISMATCH, reason::REPEATED, message))
}

/// The first connection that did not know the secret.
fn mismatch_notice() -> Notice {
    Notice {
        warning: true,
        reason: kind::SECRET_MISMATCH,
        action: "Join",
        note: "a connection was refused that did not know the secret of the share's code: a wrong code, or the hub replaced its keys".to_owned(),
    }
}

fn accepted(valid: &Validated, found: &Found, done: &Done) -> Verdict {
    if let Some(refused) = &valid.refused {
        return refused.clone();
    }
    // A hub that allows no empty share, of a share that may be empty.
    let nothing = valid.over.is_none()
        && valid.routes.is_empty()
        && valid.not_yet.is_none()
        && !done.is_shared()
        && done.problem().is_none()
        && done.unwritten().is_none();
    if nothing && found.hub.is_ok() && !done.is_undecided() {
        let message =
            format!("nothing is selected, and this hub allows no share without routes; {EXPOSE_FIRST}");
        return Verdict::no(kind::ACCEPTED, reason::NO_ROUTES, message);
    }
    Verdict::yes(kind::ACCEPTED, reason::ACCEPTED, "the spec is valid")
}

fn resolved(valid: &Validated, found: &Found) -> Verdict {
    if let Err(problem) = &found.hub {
        return Verdict::no(kind::RESOLVED_REFS, reason::HUB_SECRET_NOT_FOUND, problem.to_string());
    }
    if let Some(unresolved) = &valid.unresolved {
        return unresolved.clone();
    }
    Verdict::yes(kind::RESOLVED_REFS, reason::ALL_ROUTES_RESOLVED, "every referenced object exists")
}

fn active(
    share: &EnvironmentShare,
    valid: &Validated,
    done: &Done,
    change: Option<Timestamp>,
    (accepted, resolved): (&Verdict, &Verdict),
) -> Verdict {
    let ends = valid.ends_at.map(|end| whole_second(end).to_string()).unwrap_or_default();
    match (valid.over, done.ended_at_hub()) {
        (Some(Over::Expired), _) => {
            return Verdict::no(kind::ACTIVE, reason::EXPIRED, format!("the share ended at {ends}"));
        }
        (Some(Over::Revoked), _) => {
            return Verdict::no(kind::ACTIVE, reason::REVOKED, "the share was revoked");
        }
        (None, Some(over)) => {
            return Verdict::no(kind::ACTIVE, over.reason(), "the share was ended at the hub");
        }
        (None, None) => {}
    }
    if let Some(end) = done.good_until() {
        let until = format!("teammates can join until {}", whole_second(end));
        return Verdict::yes(kind::ACTIVE, reason::JOINABLE, until);
    }
    if let Some(problem) = done.problem() {
        return match problem.reason {
            reason::HUB_UNREACHABLE => {
                Verdict::unknown(kind::ACTIVE, problem.reason, problem.message.clone())
            }
            _ => Verdict::no(kind::ACTIVE, reason::PENDING, problem.message.clone()),
        };
    }
    if let Some(unwritten) = done.unwritten() {
        return Verdict::no(kind::ACTIVE, unwritten.reason, unwritten.message.clone());
    }
    if done.is_shared() && valid.limit_reached {
        let limit = share.spec.max_joins.unwrap_or_default();
        return Verdict::no(
            kind::ACTIVE,
            reason::JOIN_LIMIT_REACHED,
            format!("the code was used {limit} times, as often as maxJoins allows"),
        );
    }
    if done.is_shared() {
        let until =
            format!("teammates can join until {ends}{}", change.map(code_change_note).unwrap_or_default());
        return Verdict::yes(kind::ACTIVE, reason::JOINABLE, until);
    }
    let why = match (accepted.status, resolved.status, &valid.not_yet) {
        (Some(false), ..) => accepted.message.clone(),
        (_, Some(false), _) => resolved.message.clone(),
        (_, _, Some((why, _))) => why.clone(),
        _ => "waits for the hub".to_owned(),
    };
    Verdict::no(kind::ACTIVE, reason::PENDING, why)
}

/// Whether the hub is as the object asks. A share that has ended as asked is Ready: tools that wait for readiness read
/// `Ready=False` as "never finished".
fn ready(
    share: &EnvironmentShare,
    valid: &Validated,
    found: &Found,
    done: &Done,
    active: &Verdict,
) -> Verdict {
    if let (None, None, Some(unwritten)) = (valid.over, done.problem(), done.unwritten()) {
        return Verdict::no(kind::READY, unwritten.reason, unwritten.message.clone());
    }
    match (valid.over, done.problem()) {
        // That an expired share is closed at the hub as well is tidiness: its code ends there by the same clock.
        (Some(Over::Expired), _) => Verdict::yes(kind::READY, reason::EXPIRED, active.message.clone()),
        (Some(Over::Revoked), None) => Verdict::yes(kind::READY, reason::REVOKED, active.message.clone()),
        (Some(Over::Revoked), Some(problem)) => Verdict::no(
            kind::READY,
            problem.reason,
            format!(
                "connections are cut and refused here, but the hub could not be told: {}",
                problem.message
            ),
        ),
        (None, Some(problem)) => Verdict::no(kind::READY, problem.reason, problem.message.clone()),
        (None, None) if done.ended_at_hub().is_some() => {
            Verdict::yes(kind::READY, active.reason, active.message.clone())
        }
        (None, None) if done.is_shared() => {
            let mut message = "the share is at the hub".to_owned();
            if shows_all_to_all(found) {
                message = format!("{message}; {OWN_WORKSPACE}");
            }
            if let Some(note) = reuse_note(share, found) {
                message = format!("{message}; {note}");
            }
            Verdict::yes(kind::READY, reason::SHARED, message)
        }
        (None, None) => Verdict::no(kind::READY, reason::PENDING, active.message.clone()),
    }
}

/// What is said of hubs that do not keep the agents of a workspace apart.
const OWN_WORKSPACE: &str = "this hub lets every agent of its workspace reach and share what any of them exposes, so the operator wants a workspace of its own";

/// What is said of routes that use services of ended shares.
fn reuse_note(share: &EnvironmentShare, found: &Found) -> Option<String> {
    let maker = found.maker.as_ref()?;
    let mut routes: Vec<&str> = found
        .reused
        .iter()
        .filter(|reused| !is_service_of(share, &reused.service, maker))
        .map(|reused| reused.route.as_str())
        .collect();
    routes.sort_unstable();
    (!routes.is_empty()).then(|| {
        format!(
            "the hub has no room for services, so services of ended shares are used for {}: whoever joined those and kept a service's id can reach it while this share lives",
            routes.join(", ")
        )
    })
}

/// Whether other agents of the workspace may reach what this one exposes: at hubs without grants.
fn shows_all_to_all(found: &Found) -> bool {
    found.hub.as_ref().is_ok_and(|(hub, _)| hub.entered().is_some() && !hub.has("grants"))
}

/// What has changed and is worth an Event. Pure; each thing is said once, because it is found by comparing two states.
fn notices(old: &EnvironmentShareStatus, new: &EnvironmentShareStatus, done: &Done) -> Vec<Notice> {
    let mut notices = Vec::new();
    let active = changed(&old.conditions, &new.conditions, kind::ACTIVE);
    let ready = changed(&old.conditions, &new.conditions, kind::READY);
    let normal = |reason, action, note: String| Notice { warning: false, reason, action, note };
    match active.map(|condition| (condition.reason.as_str(), condition)) {
        Some((reason::JOINABLE, condition)) => {
            let secret = new.code_secret_name.as_deref().unwrap_or_default();
            notices.push(normal(
                "Shared",
                "Share",
                format!("{}; the code is in Secret {secret}", condition.message),
            ));
        }
        Some((reason::EXPIRED, condition)) => {
            notices.push(normal("Expired", "End", condition.message.clone()));
        }
        Some((reason::REVOKED, condition)) => {
            notices.push(normal("Revoked", "End", condition.message.clone() + &cut_off_note(done)));
        }
        Some((reason::JOIN_LIMIT_REACHED, condition)) => {
            notices.push(normal("JoinLimitReached", "Close", condition.message.clone()));
        }
        _ => {}
    }
    notices.extend(ready.filter(|ready| ready.status == "False").and_then(|ready| trouble(ready, done)));
    if done.has_new_code() {
        notices.push(normal(
            "CodeChanged",
            "Share",
            format!("the share has a new code; it is in the share's Secret{}", cut_off_note(done)),
        ));
    }
    notices.extend(join_notices(old.joins.as_ref(), new.joins.as_ref()));
    notices
}

/// What keeps a share from being ready, where that is worth a warning.
fn trouble(ready: &Condition, done: &Done) -> Option<Notice> {
    let reason = match ready.reason.as_str() {
        reason::HUB_UNREACHABLE => reason::HUB_UNREACHABLE,
        reason::SECRET_NOT_WRITABLE => reason::SECRET_NOT_WRITABLE,
        reason::OBJECT_NOT_WRITABLE => reason::OBJECT_NOT_WRITABLE,
        // Says what a human is needed for, where one is.
        reason::HUB_REJECTED => {
            done.problem().and_then(|problem| problem.stalled).unwrap_or(reason::HUB_REJECTED)
        }
        _ => return None,
    };
    Some(Notice { warning: true, reason, action: "Share", note: ready.message.clone() })
}

/// The condition, if its status or reason is another than before.
fn changed<'a>(old: &[Condition], new: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    let now = find(new, kind)?;
    let before = find(old, kind);
    (before.is_none_or(|before| before.status != now.status || before.reason != now.reason)).then_some(now)
}

/// One Event for each join that was not counted before.
fn join_notices(old: Option<&Joins>, new: Option<&Joins>) -> Vec<Notice> {
    let Some(new) = new else { return Vec::new() };
    let before = old.map_or(0, |joins| joins.count);
    let fresh = usize::try_from(new.count.saturating_sub(before)).unwrap_or(0);
    let note = |text: String| Notice { warning: false, reason: "Joined", action: "Join", note: text };
    let mut notices: Vec<Notice> = new
        .recent
        .iter()
        .take(fresh)
        .map(|join| note(format!("{} joined at {}", join.agent, join.time.0)))
        .rev()
        .collect();
    if fresh > notices.len() {
        notices.insert(0, note(format!("the share was joined {} times more", fresh - notices.len())));
    }
    notices
}

/// When an ended share deletes itself, if it is to.
pub fn deletion_due(share: &EnvironmentShare) -> Option<Timestamp> {
    let ttl = share.spec.ttl_seconds_after_finished?;
    if is_tracked(share) {
        return None;
    }
    let conditions = share.status.as_ref()?.conditions.as_slice();
    let active = find(conditions, kind::ACTIVE)?;
    let ended =
        active.status == "False" && matches!(active.reason.as_str(), reason::EXPIRED | reason::REVOKED);
    if !ended || !connect_crds::condition::is_true(conditions, kind::READY) {
        return None;
    }
    active.last_transition_time.0.checked_add(SignedDuration::from_secs(i64::from(ttl))).ok()
}

/// Whether a GitOps tool tracks the object: it would create again what deletes itself.
pub fn is_tracked(share: &EnvironmentShare) -> bool {
    connect_crds::gitops::manager(share).is_some()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
