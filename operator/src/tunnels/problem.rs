//! What can be said of a hub: the one place where what went wrong there becomes what objects say of it.

use connect_crds::condition::{Verdict, kind, reason};
use connect_hub::url::HubUrl;

use crate::error::{Error, chain};

/// What can be said of a hub now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubState {
    /// Nothing is known yet.
    Starting,
    /// Entered, listed, tunnel up.
    Ready,
    /// It does not answer, or it answers no.
    Down(HubProblem),
}

/// What a hub that is not as it should be means for an object: reason and sentence, and whether a human is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubProblem {
    /// HubUnreachable or HubRejected.
    pub reason: &'static str,
    /// The sentence.
    pub message: String,
    /// Reason of the condition Stalled, when only a human can help.
    pub stalled: Option<&'static str>,
}

// === impl HubState ===

impl HubState {
    /// What is wrong, if anything is.
    pub fn problem(&self) -> Option<HubProblem> {
        match self {
            HubState::Starting | HubState::Ready => None,
            HubState::Down(problem) => Some(problem.clone()),
        }
    }
}

// === impl HubProblem ===

impl HubProblem {
    /// What a call that failed means. A hub in trouble, or one that asks for patience, counts as one that does not answer:
    /// it is tried again, and nobody is called.
    pub fn of(url: &HubUrl, error: &connect_hub::Error) -> Self {
        let refused = error.status().is_some_and(|status| status < 500 && status != 429);
        if !refused {
            return Self::unreachable(url, chain(error));
        }
        let (message, stalled) = match error.reason() {
            reason::SERVICE_LIMIT_REACHED => (no_room(url, error), Some(reason::SERVICE_LIMIT_REACHED)),
            reason::INVALID_CREDENTIALS => (refusal(url, error), Some(reason::INVALID_CREDENTIALS)),
            reason::HUB_REJECTED => (refusal(url, error), Some(reason::HUB_REJECTED)),
            _ => (refusal(url, error), None),
        };
        Self { reason: reason::HUB_REJECTED, message, stalled }
    }

    /// What a failed attempt to enter the hub means; the fault may be at the API server, which keeps our identity.
    pub fn of_entering(url: &HubUrl, error: &Error) -> Self {
        match error {
            Error::Hub { source, .. } => Self::of(url, source),
            other => Self {
                reason: reason::HUB_UNREACHABLE,
                message: format!("the operator cannot enter the hub at {url}: {}", chain(other)),
                stalled: None,
            },
        }
    }

    /// The hub does not answer.
    pub fn unreachable(url: &HubUrl, why: impl std::fmt::Display) -> Self {
        let message = format!("cannot reach the hub at {url}: {why}");
        Self { reason: reason::HUB_UNREACHABLE, message, stalled: None }
    }

    /// The hub does not take our agent's token.
    pub fn token_refused(url: &HubUrl, why: &str) -> Self {
        let message = format!("the hub at {url} refuses the operator's agent token: {why}");
        Self { reason: reason::HUB_REJECTED, message, stalled: Some(reason::INVALID_CREDENTIALS) }
    }

    /// Whether the hub has room for no more services.
    pub fn is_no_room(&self) -> bool {
        self.stalled == Some(reason::SERVICE_LIMIT_REACHED)
    }

    /// The condition Stalled, while a human is needed.
    pub fn stalled(&self) -> Option<Verdict> {
        self.stalled.map(|why| Verdict::yes(kind::STALLED, why, self.message.clone()))
    }
}

fn refusal(url: &HubUrl, error: &connect_hub::Error) -> String {
    format!("the hub at {url} refuses: {}", chain(error))
}

/// A hub's limit of services, with the ways out.
fn no_room(url: &HubUrl, error: &connect_hub::Error) -> String {
    let said = match error {
        connect_hub::Error::Rejected(rejection) => rejection.message.trim_end_matches('.'),
        _ => "no reason given",
    };
    format!(
        "the hub at {url} has no room for another service ({said}); end a share that is not needed any more, run the operator with --share-isolation=shared, which needs fewer services, or use a hub that allows more; it is tried again as soon as there is room"
    )
}

#[cfg(test)]
mod tests {
    use connect_hub::error::Rejection;
    use connect_hub::url::InsecureHttp;

    use super::*;

    fn problem(status: u16, message: &str) -> HubProblem {
        let url = HubUrl::parse("https://hub.example.com", InsecureHttp::Refused).expect("a URL");
        let rejection =
            Rejection { status, call: "register service", message: message.to_owned(), retry_after: None };
        HubProblem::of(&url, &connect_hub::Error::Rejected(rejection))
    }

    #[test]
    fn every_refusal_has_its_reason_and_says_whether_a_human_is_needed() {
        for (status, message, reason, stalled) in [
            (402, "Service limit reached. Upgrade to PRO.", "HubRejected", Some("ServiceLimitReached")),
            (400, "No available tunnel ports", "HubRejected", Some("ServiceLimitReached")),
            (400, "name: too long", "HubRejected", Some("HubRejected")),
            (401, "Invalid API key", "HubRejected", Some("InvalidCredentials")),
            (404, "Cannot POST /v1/env-shares", "HubRejected", None),
            (429, "Too Many Requests", "HubUnreachable", None),
            (503, "restarting", "HubUnreachable", None),
        ] {
            let found = problem(status, message);
            assert_eq!((found.reason, found.stalled), (reason, stalled), "{status} {message}");
            assert!(found.message.contains(message.trim_end_matches('.')), "{}", found.message);
        }
    }

    #[test]
    fn a_limit_names_the_ways_out() {
        let found = problem(402, "Service limit reached. Upgrade to PRO for more services.");
        assert!(found.message.contains("--share-isolation=shared"), "{}", found.message);
        assert!(found.message.contains("PRO for more services); end a share"), "{}", found.message);
        assert!(found.is_no_room());
    }
}
