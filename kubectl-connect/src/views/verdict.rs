//! What an object's conditions mean to somebody who waits for it. Pure.

use std::fmt;
use std::time::Duration;

use connect_crds::EnvironmentShare;
use connect_crds::condition::{self, kind, reason};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::cluster::shares;
use crate::cluster::wait::Step;
use crate::failure::Failure;
use crate::views::standing::{DELETING, REVOKING, SECRET_NOT_WRITABLE};

/// How long a hub may be unreachable before `share` gives up on it: time for a hub that restarts, and for the operator
/// to try twice.
const HUB_PATIENCE: Duration = Duration::from_secs(10);

/// How long the operator may be unable to write the code before `share` gives up on it.
const SECRET_PATIENCE: Duration = Duration::from_secs(5);

/// What stands for a hub whose URL the operator did not name.
pub const OPERATORS_HUB: &str = "the URL that the operator was given";

/// The hub's URL in a message of the operator: `cannot reach the hub at URL: ...`.
pub fn hub_in(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("hub at ")?;
    let url = rest.split_whitespace().next()?.trim_end_matches([':', '.', ',', ';']);
    (!url.is_empty()).then_some(url)
}

/// The condition that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// Its type.
    pub condition: String,
    /// True, False or Unknown.
    pub status: String,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// Judges a share that somebody waits for to become joinable.
pub fn joinable(share: &EnvironmentShare) -> Step<Result<EnvironmentShare, Blocking>> {
    let Some(conditions) = current_conditions(share) else { return Step::Wait };
    let is_unwritten = conditions.iter().any(|found| found.reason == SECRET_NOT_WRITABLE);
    if condition::is_true(conditions, kind::ACTIVE) && !is_unwritten {
        return Step::Done(Ok(share.clone()));
    }
    match Blocking::first(conditions) {
        Some(blocking) if blocking.is_final() => Step::Done(Err(blocking)),
        // Whoever stands in its way may go again; the operator tries on.
        _ if is_unwritten => Step::WaitAtMost(SECRET_PATIENCE),
        Some(blocking) if blocking.is_hub_down() => Step::WaitAtMost(HUB_PATIENCE),
        _ => Step::Wait,
    }
}

/// Judges a share that somebody waits for to be over.
pub fn over(share: &EnvironmentShare) -> Step<()> {
    let ended = [reason::REVOKED, reason::EXPIRED];
    let is_over = current_conditions(share)
        .and_then(|conditions| condition::find(conditions, kind::ACTIVE))
        .is_some_and(|active| active.status == "False" && ended.contains(&active.reason.as_str()));
    if is_over { Step::Done(()) } else { Step::Wait }
}

/// The conditions, if they speak of the spec as it is now.
fn current_conditions(share: &EnvironmentShare) -> Option<&[Condition]> {
    shares::is_current(share).then_some(share.status.as_ref()?.conditions.as_slice())
}

// === impl Blocking ===

impl Blocking {
    /// The condition of this type, if its status is this.
    pub fn named(conditions: &[Condition], kind: &str, status: &str) -> Option<Self> {
        let found = condition::find(conditions, kind)?;
        (found.status == status).then(|| Self::from(found))
    }

    /// What stands in the way, the root of it first. A hub that is down makes several conditions untrue, of which only
    /// some say why.
    pub fn first(conditions: &[Condition]) -> Option<Self> {
        let untrue =
            |kind: &&str| condition::find(conditions, kind).filter(|condition| condition.status != "True");
        let own = [kind::ACCEPTED, kind::RESOLVED_REFS];
        let hub = [kind::PROGRAMMED, kind::ACTIVE, kind::READY];
        let of_hub = || hub.iter().filter_map(untrue);
        Self::named(conditions, kind::STALLED, "True").or_else(|| {
            let own = own.iter().find_map(untrue);
            let hub_down = || of_hub().find(|condition| condition.reason == reason::HUB_UNREACHABLE);
            own.or_else(hub_down).or_else(|| of_hub().next()).map(Self::from)
        })
    }

    /// What stands in the way of this share.
    pub fn of(share: Option<&EnvironmentShare>) -> Option<Self> {
        Self::first(&share?.status.as_ref()?.conditions)
    }

    /// The failure that says it, and what to do.
    pub fn into_failure(self, what: &str) -> Failure {
        if let Some(hub) = self.hub_down() {
            return Failure::hub_down(hub);
        }
        Failure::new(format!("{what}: {self}")).hint(self.advice())
    }

    /// Whether waiting longer cannot help.
    fn is_final(&self) -> bool {
        self.condition == kind::STALLED
            || self.condition == kind::ACCEPTED && self.status == "False"
            || [reason::HUB_SECRET_NOT_FOUND, reason::EXPIRED, reason::REVOKED]
                .contains(&self.reason.as_str())
    }

    /// Whether it is that the hub does not answer.
    pub fn is_hub_down(&self) -> bool {
        self.reason == reason::HUB_UNREACHABLE
    }

    /// The hub that does not answer, if it is that.
    pub fn hub_down(&self) -> Option<&str> {
        self.is_hub_down().then(|| hub_in(&self.message).unwrap_or(OPERATORS_HUB))
    }

    /// Whether it is the share's own affair and nothing that its hub would have to answer.
    pub fn is_of_the_share(&self) -> bool {
        [kind::ACCEPTED, kind::RESOLVED_REFS].contains(&self.condition.as_str())
            || self.reason == reason::JOIN_LIMIT_REACHED
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self.reason.as_str() {
            reason::NO_ROUTES => {
                "Expose services first: kubectl connect expose SERVICE:PORT, then kubectl connect share"
            }
            reason::INVALID_EXPIRATION | reason::EXPIRATION_TOO_LONG => "Choose another --expires.",
            reason::ROUTE_NAME_CONFLICT => "Rename one of the routes: kubectl get serviceexposes",
            reason::SERVICE_NOT_FOUND | reason::PORT_NOT_FOUND | reason::EXPOSE_NOT_READY => {
                "See which route is not ready: kubectl get serviceexposes"
            }
            reason::TARGET_NOT_ALLOWED => "Expose another Service.",
            reason::HUB_SECRET_NOT_FOUND => "Name a Secret with the keys url and apiKey by --hub.",
            reason::INVALID_CREDENTIALS => {
                "Give the operator, or the hub's Secret, a valid API key of the hub."
            }
            reason::SERVICE_LIMIT_REACHED => {
                "End a share that is not needed any more, or choose a larger plan or another --hub."
            }
            reason::NAME_TAKEN => {
                "Choose another name, or give each operator a workspace of its own at the hub."
            }
            reason::OBJECT_NOT_WRITABLE => {
                "Allow the operator to change shares: check policies, and its permissions with kubectl connect doctor"
            }
            reason::CRD_OUTDATED => "Install the CustomResourceDefinitions of the operator's version.",
            reason::JOIN_LIMIT_REACHED => {
                "Raise spec.maxJoins, or give the share a new code: kubectl connect rotate NAME"
            }
            reason::REPEATED => {
                "Give the share a new code: kubectl connect rotate NAME. If it comes again, distrust the hub."
            }
            reason::SNAPSHOT_OUTDATED => "Create another share for today's routes: kubectl connect share",
            reason::HUB_UNREACHABLE => {
                "Make sure the hub is running and accessible. See also: kubectl connect doctor"
            }
            SECRET_NOT_WRITABLE => {
                "Let the operator write the Secret (a quota, a policy or a Secret of that name may stand in its way)."
            }
            DELETING | REVOKING => "Check that the operator runs: kubectl connect doctor",
            reason::HUB_REJECTED => {
                "See what the operator's log says: kubectl logs -n private-connect -l app.kubernetes.io/name=private-connect"
            }
            _ => "Check the operator: kubectl connect doctor",
        }
    }
}

impl From<&Condition> for Blocking {
    fn from(condition: &Condition) -> Self {
        Self {
            condition: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        }
    }
}

impl fmt::Display for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { condition, status, reason, message } = self;
        write!(f, "{condition} is {status} ({reason}): {message}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(conditions: &[(&str, &str, &str, &str)]) -> EnvironmentShare {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason, message)| {
                serde_json::json!({"type": kind, "status": status, "reason": reason, "message": message,
                    "lastTransitionTime": "2024-01-15T10:30:00Z"})
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "demo", "generation": 2}, "spec": {},
            "status": {"observedGeneration": 2, "conditions": conditions}
        }))
        .expect("a share")
    }

    fn judged(conditions: &[(&str, &str, &str, &str)]) -> &'static str {
        match joinable(&share(conditions)) {
            Step::Done(Ok(_)) => "joinable",
            Step::Done(Err(_)) => "never",
            Step::Wait => "wait",
            Step::WaitAtMost(_) => "wait a little",
        }
    }

    #[test]
    fn each_state_is_judged() {
        for (conditions, verdict) in [
            ([("Active", "True", "Joinable", "")].as_slice(), "joinable"),
            (&[], "wait"),
            (&[("Accepted", "True", "Accepted", ""), ("Active", "False", "Pending", "")], "wait"),
            (&[("ResolvedRefs", "False", "ExposeNotReady", "")], "wait"),
            (&[("Accepted", "False", "NoRoutes", ""), ("Active", "False", "Pending", "")], "never"),
            (&[("Active", "False", "Pending", ""), ("Stalled", "True", "InvalidCredentials", "")], "never"),
            (&[("ResolvedRefs", "False", "HubSecretNotFound", "")], "never"),
            (&[("Active", "False", "Expired", ""), ("Ready", "True", "Expired", "")], "never"),
            (&[("Active", "Unknown", "HubUnreachable", "")], "wait a little"),
            (
                &[("Active", "False", "Pending", ""), ("Ready", "False", "HubUnreachable", "")],
                "wait a little",
            ),
        ] {
            assert_eq!(judged(conditions), verdict, "{conditions:?}");
        }
    }

    #[test]
    fn a_status_of_an_older_spec_says_nothing() {
        let mut share = share(&[("Active", "True", "Joinable", "")]);
        share.metadata.generation = Some(3);
        assert!(matches!(joinable(&share), Step::Wait));
    }

    #[test]
    fn a_share_is_over_when_the_operator_says_so() {
        for (conditions, is_over) in [
            ([("Active", "False", "Revoked", "")].as_slice(), true),
            (&[("Active", "False", "Expired", "")], true),
            (&[("Active", "False", "Pending", "")], false),
            (&[("Active", "True", "Joinable", "")], false),
        ] {
            assert_eq!(matches!(over(&share(conditions)), Step::Done(())), is_over, "{conditions:?}");
        }
    }

    #[test]
    fn the_failure_names_condition_reason_message_and_what_to_do() {
        let share = share(&[("Accepted", "False", "NoRoutes", "no ServiceExpose is selected")]);
        let Step::Done(Err(blocking)) = joinable(&share) else { panic!("must be final") };
        assert_eq!(
            blocking.into_failure("The share cannot be joined").render(),
            "[x] The share cannot be joined: Accepted is False (NoRoutes): no ServiceExpose is selected\n\
             Expose services first: kubectl connect expose SERVICE:PORT, then kubectl connect share\n"
        );
    }

    #[test]
    fn a_hub_that_is_down_is_named_as_the_operator_names_it() {
        for (message, url) in [
            (
                "cannot reach the hub at https://hub.example.com: connection refused",
                "https://hub.example.com",
            ),
            ("cannot reach the hub at http://127.0.0.1:3001: timed out", "http://127.0.0.1:3001"),
            ("it is down", "the URL that the operator was given"),
        ] {
            let blocking = Blocking {
                condition: "Active".into(),
                status: "Unknown".into(),
                reason: "HubUnreachable".into(),
                message: message.into(),
            };
            assert_eq!(
                blocking.into_failure("x").render(),
                format!("[x] Cannot connect to hub at {url}\nMake sure the hub is running and accessible.\n")
            );
        }
    }
}
