//! What can go wrong while reconciling, with a bounded name for each for metrics and Events.

use std::time::Duration;

/// Longest wait that an API server's `Retry-After` may impose, so that one odd answer cannot park an object.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// An error that ends one reconciliation; the object is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("{doing}")]
    Kube {
        /// What we were doing.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("{doing}: no answer within {} s", deadline.as_secs())]
    Deadline {
        /// What we were doing.
        doing: &'static str,
        /// How long it had.
        deadline: Duration,
    },
    /// The hub refused or did not answer.
    #[error("{doing}")]
    Hub {
        /// What we were doing.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: connect_hub::Error,
    },
    /// An object lacks what the API server always sets.
    #[error("the object has no {0}")]
    Incomplete(&'static str),
    /// An object names a hub to which the operator does not go.
    #[error("{0}")]
    HubNotAllowed(String),
    /// This replica is not the leader, or no longer.
    #[error("this replica does not hold the lease")]
    NotLeader,
}

impl Error {
    /// A bounded PascalCase name: metric label and Event reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Kube { .. } => "ApiServerError",
            Error::Deadline { .. } => "ApiServerTimeout",
            Error::Hub { source, .. } => source.reason(),
            Error::Incomplete(_) => "IncompleteObject",
            Error::HubNotAllowed(_) => "HubNotAllowed",
            Error::NotLeader => "NotLeader",
        }
    }

    /// How long the other side asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Hub { source, .. } => source.retry_after().map(|wait| wait.min(MAX_RETRY_AFTER)),
            _ => None,
        }
    }

    /// Whether the API server said that the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Kube { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.code == 404))
    }

    /// Whether the API server refuses what was asked: it is invalid, or a policy forbids it. Asking again changes nothing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Error::Kube { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422)))
    }

    /// Whether the API server does not know a field of what was applied: it has no code for that, only a sentence.
    pub fn is_unknown_field(&self) -> bool {
        matches!(self, Error::Kube { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.message.contains("field not declared in schema")))
    }

    /// Whether the API server said that somebody else was faster.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Kube { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.code == 409))
    }
}

/// What an answer of the API server to a write means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The namespace is being deleted.
    NamespaceEnds,
    /// What is there may not be changed.
    Immutable,
    /// A quota, a policy, a Role or validation is against it; asking again changes nothing. With the API server's sentence.
    Refused(String),
    /// It did not work this time. With the reason.
    Failed(String),
}

impl Error {
    /// What the answer to a write means.
    pub fn refusal(&self) -> Refusal {
        let status = match self {
            Error::Kube { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => status,
                other => return Refusal::Failed(chain(other)),
            },
            other => return Refusal::Failed(chain(other)),
        };
        let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
        if causes.iter().any(|cause| cause.reason == "NamespaceTerminating") {
            return Refusal::NamespaceEnds;
        }
        if causes.iter().any(|cause| cause.message.contains("field is immutable when `immutable` is set")) {
            return Refusal::Immutable;
        }
        let answer = status.message.clone();
        if self.is_refusal() { Refusal::Refused(answer) } else { Refusal::Failed(answer) }
    }
}

/// The whole chain of causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
