//! What can go wrong when talking to a hub, with a bounded reason and whether trying again can help.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::dial::Obstacle;
use crate::sentences;
use crate::url::HubUrl;

/// A call to a hub that did not succeed. The message never holds a code, a key or a token.
#[derive(Debug, Error)]
pub enum Error {
    /// No connection, or it broke.
    #[error("cannot connect to hub at {url}")]
    Unreachable {
        /// The hub.
        url: HubUrl,
        /// What the network said.
        #[source]
        source: Cause,
    },
    /// Something in between kept us from it.
    #[error("cannot reach hub at {url}: {obstacle}")]
    Obstructed {
        /// The hub.
        url: HubUrl,
        /// What is in between, and what to do about it.
        obstacle: Obstacle,
    },
    /// The hub did not answer in time.
    #[error("hub at {url} did not answer {call} within {} seconds", after.as_secs())]
    TimedOut {
        /// The hub.
        url: HubUrl,
        /// What was asked, without identifiers.
        call: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// The hub answered with an error status.
    #[error("{0}")]
    Rejected(Rejection),
    /// The hub answered with something that is not the answer.
    #[error("hub at {url} gave an answer to {call} that cannot be read")]
    Malformed {
        /// The hub.
        url: HubUrl,
        /// What was asked, without identifiers.
        call: &'static str,
        /// What is wrong with the answer.
        #[source]
        source: Cause,
    },
    /// The request could not be made at all, for instance because a key holds a line break.
    #[error("building the request {call}")]
    Unsendable {
        /// What was to be asked.
        call: &'static str,
        /// Why not.
        #[source]
        source: Cause,
    },
}

/// How a hub whose range of tunnel ports is used up begins its 400 (`operator/hub/PROTOCOL.md`, part 1).
const NO_TUNNEL_PORTS: &str = "No available tunnel ports";

/// The error underneath, whatever library it came from.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A hub's refusal. As text it has the hub's own words only where they are a known sentence.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("hub refused {call} with status {status}{}", self.said().map(|said| format!(": {said}")).unwrap_or_default())]
pub struct Rejection {
    /// The HTTP status.
    pub status: u16,
    /// What was asked, without identifiers.
    pub call: &'static str,
    /// The hub's message, on one line and cut to a readable length: anything that anybody may have written. To be logged and
    /// compared; what may be shown is [`Self::said`].
    pub message: String,
    /// How long the hub asked us to stay away.
    pub retry_after: Option<Duration>,
}

// === impl Rejection ===

impl Rejection {
    /// What the hub says, if that is a sentence that hubs are known to say.
    pub fn said(&self) -> Option<&str> {
        sentences::known(&self.message)
    }
}

// === impl Error ===

impl Error {
    /// A bounded PascalCase name for conditions, Events and metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Obstructed { .. } | Self::TimedOut { .. } => "HubUnreachable",
            Self::Malformed { .. } | Self::Unsendable { .. } => "HubRejected",
            Self::Rejected(rejection) => match rejection.status {
                401 | 403 => "InvalidCredentials",
                402 => "ServiceLimitReached",
                400 if rejection.message.starts_with(NO_TUNNEL_PORTS) => "ServiceLimitReached",
                404 => "NotFound",
                429 => "RateLimited",
                500.. => "HubUnreachable",
                _ => "HubRejected",
            },
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Obstructed { .. }
            | Self::TimedOut { .. }
            | Self::Malformed { .. } => true,
            Self::Unsendable { .. } => false,
            Self::Rejected(rejection) => matches!(rejection.status, 408 | 425 | 429 | 500..),
        }
    }

    /// How long the hub asked us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejection) => rejection.retry_after,
            _ => None,
        }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Rejected(rejection) => Some(rejection.status),
            _ => None,
        }
    }

    /// A time at which the certificate would have been valid that a call was refused for, when its time is what was wrong.
    pub fn certificate_valid_at(&self) -> Option<Timestamp> {
        let second = SignedDuration::from_secs(1);
        match self {
            Self::Obstructed { obstacle: Obstacle::Expired { at, .. }, .. } => at.checked_sub(second).ok(),
            Self::Obstructed { obstacle: Obstacle::NotYetValid { from, .. }, .. } => {
                from.checked_add(second).ok()
            }
            _ => None,
        }
    }
}

/// The message and the messages of everything underneath it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let part = cause.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(status: u16) -> Error {
        Error::Rejected(Rejection { status, call: "list shares", message: "no".into(), retry_after: None })
    }

    #[test]
    fn every_status_has_its_reason_and_tells_whether_to_retry() {
        for (status, reason, retryable) in [
            (400, "HubRejected", false),
            (401, "InvalidCredentials", false),
            (402, "ServiceLimitReached", false),
            (403, "InvalidCredentials", false),
            (404, "NotFound", false),
            (409, "HubRejected", false),
            (413, "HubRejected", false),
            (429, "RateLimited", true),
            (500, "HubUnreachable", true),
            (503, "HubUnreachable", true),
        ] {
            let error = rejected(status);
            assert_eq!((error.reason(), error.is_retryable()), (reason, retryable), "{status}");
            assert_eq!(error.status(), Some(status));
        }
    }

    #[test]
    fn as_text_a_refusal_has_no_words_that_anybody_may_have_written() {
        for (message, text) in [
            ("Share not found", "hub refused list shares with status 500: Share not found"),
            ("<b>\u{1b}[2J</b>", "hub refused list shares with status 500"),
        ] {
            let rejection =
                Rejection { status: 500, call: "list shares", message: message.into(), retry_after: None };
            assert_eq!(chain(&Error::Rejected(rejection)), text);
        }
    }

    #[test]
    fn a_hub_without_tunnel_ports_has_no_room_for_services() {
        let message = "No available tunnel ports. Delete services that are no longer needed.".to_owned();
        let full = Rejection { status: 400, call: "register service", message, retry_after: None };
        assert_eq!(Error::Rejected(full).reason(), "ServiceLimitReached");
    }
}
