//! Every condition type and reason of both kinds, and how conditions are set.
//!
//! Follows the Kubernetes API conventions and Gateway API's use of conditions. A reader of the API finds here all the
//! words that status can say; no other module spells one out.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Condition types.
pub mod kind {
    /// The spec can be acted on.
    pub const ACCEPTED: &str = "Accepted";
    /// What the spec names exists.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// ServiceExpose: its tunnel is up.
    pub const PROGRAMMED: &str = "Programmed";
    /// EnvironmentShare: joinable now.
    pub const ACTIVE: &str = "Active";
    /// The hub is as the object asks. Stays True when a share has ended as asked.
    pub const READY: &str = "Ready";
    /// EnvironmentShare: the snapshot still equals what its selection would give today.
    pub const ROUTES_CURRENT: &str = "RoutesCurrent";
    /// EnvironmentShare: connections did not know the secret of its code; present only while True.
    pub const SECRET_MISMATCH: &str = "SecretMismatch";
    /// A human is needed; present only while True.
    pub const STALLED: &str = "Stalled";
}

/// Condition reasons.
pub mod reason {
    /// Accepted: the spec is valid.
    pub const ACCEPTED: &str = "Accepted";
    /// Accepted: `expires` or `expirationTime` cannot be used.
    pub const INVALID_EXPIRATION: &str = "InvalidExpiration";
    /// Accepted: the hub cannot keep a share for so long.
    pub const EXPIRATION_TOO_LONG: &str = "ExpirationTooLong";
    /// Accepted: nothing is selected.
    pub const NO_ROUTES: &str = "NoRoutes";
    /// Accepted: another, older object has the same route name.
    pub const ROUTE_NAME_CONFLICT: &str = "RouteNameConflict";
    /// Accepted: the Service is of a kind that may not be shared.
    pub const TARGET_NOT_ALLOWED: &str = "TargetNotAllowed";
    /// Accepted: the Service's label asks for this route, and an annotation beside it cannot be read.
    pub const INVALID_ANNOTATION: &str = "InvalidAnnotation";
    /// ResolvedRefs: everything named exists.
    pub const ALL_ROUTES_RESOLVED: &str = "AllRoutesResolved";
    /// ResolvedRefs: no such Service.
    pub const SERVICE_NOT_FOUND: &str = "ServiceNotFound";
    /// ResolvedRefs: the Service has no such port.
    pub const PORT_NOT_FOUND: &str = "PortNotFound";
    /// ResolvedRefs: a ServiceExpose is missing or not ready.
    pub const EXPOSE_NOT_READY: &str = "ExposeNotReady";
    /// ResolvedRefs: no such hub Secret, or one without the needed keys.
    pub const HUB_SECRET_NOT_FOUND: &str = "HubSecretNotFound";
    /// Active: teammates can join.
    pub const JOINABLE: &str = "Joinable";
    /// Active, Ready: not yet.
    pub const PENDING: &str = "Pending";
    /// Active, Ready: the share has reached its end.
    pub const EXPIRED: &str = "Expired";
    /// Active, Ready: the share was revoked.
    pub const REVOKED: &str = "Revoked";
    /// Active: the code was used as often as `maxJoins` allows.
    pub const JOIN_LIMIT_REACHED: &str = "JoinLimitReached";
    /// The hub does not answer.
    pub const HUB_UNREACHABLE: &str = "HubUnreachable";
    /// The hub refuses.
    pub const HUB_REJECTED: &str = "HubRejected";
    /// Programmed: the tunnel is up.
    pub const TUNNEL_CONNECTED: &str = "TunnelConnected";
    /// Programmed: the tunnel is being opened.
    pub const TUNNEL_CONNECTING: &str = "TunnelConnecting";
    /// Ready: the share is at the hub and joinable.
    pub const SHARED: &str = "Shared";
    /// Ready: the route can be shared.
    pub const EXPOSED: &str = "Exposed";
    /// RoutesCurrent: the shared routes are those selected today.
    pub const UP_TO_DATE: &str = "UpToDate";
    /// RoutesCurrent: the selection would give other routes today.
    pub const SNAPSHOT_OUTDATED: &str = "SnapshotOutdated";
    /// SecretMismatch: so often within a minute that it is no slip.
    pub const REPEATED: &str = "Repeated";
    /// Stalled: the hub does not accept our key or token.
    pub const INVALID_CREDENTIALS: &str = "InvalidCredentials";
    /// Stalled: the hub's plan allows no more services.
    pub const SERVICE_LIMIT_REACHED: &str = "ServiceLimitReached";
    /// Stalled: what the object asks for at the hub belongs to another agent of the workspace.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// Active, Ready, Stalled: the Secret for the share's code cannot be written.
    pub const SECRET_NOT_WRITABLE: &str = "SecretNotWritable";
    /// Programmed, Active, Ready, Stalled: the operator may not change the object itself, which it must before it tells the hub.
    pub const OBJECT_NOT_WRITABLE: &str = "ObjectNotWritable";
    /// Stalled: the CustomResourceDefinitions are older than the operator.
    pub const CRD_OUTDATED: &str = "CRDOutdated";
}

/// A condition before it has a time: what is said of an object now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Condition type, one of [`kind`].
    pub kind: &'static str,
    /// True, False, or `None` for Unknown.
    pub status: Option<bool>,
    /// One of [`reason`].
    pub reason: &'static str,
    /// One sentence for people.
    pub message: String,
}

impl Verdict {
    /// The condition holds.
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: Some(true), reason, message: message.into() }
    }

    /// The condition does not hold.
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: Some(false), reason, message: message.into() }
    }

    /// Nobody can tell.
    pub fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: None, reason, message: message.into() }
    }
}

/// The conditions that say `verdicts`, in their order, keeping the time of each whose status is as in `old`.
///
/// Conditions of `old` that `verdicts` does not name are left out: a condition that nobody stands for is no longer said.
pub fn merge(
    old: &[Condition],
    verdicts: Vec<Verdict>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts
        .into_iter()
        .map(|Verdict { kind, status, reason, message }| {
            let status = match status {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let unchanged_since = find(old, kind)
                .filter(|condition| condition.status == status)
                .map(|condition| condition.last_transition_time.clone());
            Condition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: reason.to_owned(),
                message,
                observed_generation: generation,
                // Status stores whole seconds; finer times would differ from what is read back.
                last_transition_time: unchanged_since.unwrap_or_else(|| Time(whole_second(now))),
            }
        })
        .collect()
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of this type is True.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// The instant without its fraction of a second, as Kubernetes writes times.
pub fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn a_time_is_kept_while_the_status_is_unchanged() {
        let first = merge(&[], vec![Verdict::no(kind::READY, reason::PENDING, "waits")], Some(1), at(10));
        let same =
            merge(&first, vec![Verdict::no(kind::READY, reason::HUB_UNREACHABLE, "down")], Some(2), at(20));
        assert_eq!(same[0].last_transition_time, Time(at(10)));
        assert_eq!(same[0].observed_generation, Some(2));
        let turned = merge(&same, vec![Verdict::yes(kind::READY, reason::SHARED, "shared")], Some(2), at(30));
        assert_eq!(turned[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn what_nobody_says_any_more_is_gone() {
        let stalled =
            merge(&[], vec![Verdict::yes(kind::STALLED, reason::INVALID_CREDENTIALS, "key")], None, at(1));
        assert!(is_true(&stalled, kind::STALLED));
        assert!(merge(&stalled, vec![], None, at(2)).is_empty());
    }
}
