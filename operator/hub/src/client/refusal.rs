//! Reads a hub's refusal: its message in every shape hubs use, and how long it wants us to stay away.

use std::time::Duration;

use hyper::header::HeaderMap;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;

use crate::error::Rejection;

/// Longer messages are cut: they end up in conditions and terminals.
const MAX_MESSAGE_CHARS: usize = 300;

/// Whatever a hub asks for, we come back within this time: a broken header must not silence us for a week.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The headers that may say how long to stay away; the longest wish wins.
const RETRY_AFTER_HEADERS: [&str; 4] =
    ["retry-after", "retry-after-short", "retry-after-medium", "retry-after-long"];

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    error: Option<Message>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    List(Vec<Message>),
    Issue(Issue),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Issue {
    message: String,
    #[serde(default)]
    path: Vec<PathStep>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PathStep {
    Name(String),
    Index(u64),
}

/// The refusal that an answer with an error status stands for.
pub(super) fn read(call: &'static str, status: u16, headers: &HeaderMap, body: &[u8]) -> Rejection {
    Rejection {
        status,
        call,
        message: message(body).unwrap_or_else(|| "no reason given".to_owned()),
        retry_after: retry_after(headers, Timestamp::now()),
    }
}

// === impl Rejection ===

impl Rejection {
    /// Whether the hub does not know the endpoint, as opposed to the thing asked for.
    pub(super) fn is_unknown_route(&self) -> bool {
        self.status == 405 || (self.status == 404 && self.message.starts_with("Cannot "))
    }

    /// The most hours that the hub takes for a share, when it has refused to make one for more. The vendor's validator names the
    /// field and ends its sentence with the number: `expiresInHours: Number must be less than or equal to 168`.
    pub fn longest_hours(&self) -> Option<u32> {
        let issues = (self.status == 400).then(|| self.message.split("; "))?;
        let issue = issues.filter_map(|issue| issue.strip_prefix("expiresInHours: ")).next()?;
        let says_at_most = ["less than", "at most", "<="].iter().any(|words| issue.contains(words));
        let number = issue.rsplit(|letter: char| !letter.is_ascii_digit()).next()?;
        number.parse().ok().filter(|_| says_at_most)
    }

    /// Whether the hub does not know the share; hubs say so with 403 or 404.
    pub(super) fn is_unknown_share(&self) -> bool {
        matches!(self.status, 403 | 404) && self.message.starts_with("Share ")
    }
}

// === impl Message ===

impl Message {
    fn text(self) -> Option<String> {
        match self {
            // Validation errors arrive as a JSON array printed into the text.
            Self::Text(text) if text.trim_start().starts_with('[') => match serde_json::from_str(&text) {
                Ok(Self::List(list)) => Self::List(list).text().or(Some(text)),
                _ => Some(text),
            },
            Self::Text(text) => Some(text),
            Self::List(list) => {
                let parts: Vec<String> = list.into_iter().filter_map(Self::text).collect();
                (!parts.is_empty()).then(|| parts.join("; "))
            }
            Self::Issue(issue) => Some(issue.text()),
            Self::Other(_) => None,
        }
    }
}

// === impl Issue ===

impl Issue {
    fn text(self) -> String {
        let Self { message, path } = self;
        if path.is_empty() {
            return message;
        }
        let steps: Vec<String> = path
            .into_iter()
            .map(|step| match step {
                PathStep::Name(name) => name,
                PathStep::Index(index) => index.to_string(),
            })
            .collect();
        format!("{}: {message}", steps.join("."))
    }
}

fn message(body: &[u8]) -> Option<String> {
    let Body { message, error } = serde_json::from_slice(body).ok()?;
    let text = message.and_then(Message::text).or_else(|| error.and_then(Message::text))?;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then(|| cut(line))
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    RETRY_AFTER_HEADERS
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .filter_map(|value| parse_retry_after(value.trim(), now))
        .max()
        .map(|wish| wish.min(MAX_RETRY_AFTER))
}

fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let instant = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(Duration::try_from(instant.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(body: &str) -> Option<String> {
        message(body.as_bytes())
    }

    #[test]
    fn every_shape_of_message_becomes_one_line() {
        assert_eq!(
            text(r#"{"statusCode":404,"message":"Share not found"}"#).as_deref(),
            Some("Share not found")
        );
        let zod = r#"{"message":"[\n {\"message\":\"too big\",\"path\":[\"routes\",0,\"port\"]},{\"message\":\"x\",\"path\":[]}]"}"#;
        assert_eq!(text(zod).as_deref(), Some("routes.0.port: too big; x"));
        assert_eq!(text(r#"{"message":["a","b"]}"#).as_deref(), Some("a; b"));
        assert_eq!(text(r#"{"message":"[not json"}"#).as_deref(), Some("[not json"));
        assert_eq!(text(r#"{"error":"expired_token"}"#).as_deref(), Some("expired_token"));
        assert_eq!(text(r#"{"message":42}"#), None);
        assert_eq!(text("<html>"), None);
        let long = format!(r#"{{"message":"{}"}}"#, "ä".repeat(1000));
        assert_eq!(text(&long).map(|text| text.chars().count()), Some(MAX_MESSAGE_CHARS + 3));
    }

    #[test]
    fn a_hub_says_how_long_its_shares_may_live() {
        let refused = |status, issues: &str| {
            let body = serde_json::json!({"statusCode": status, "message": issues}).to_string();
            read("create share", status, &HeaderMap::new(), body.as_bytes()).longest_hours()
        };
        let issue = |text: &str, path: &str| format!(r#"[{{"message":"{text}","path":["{path}"]}}]"#);
        for (status, text, path, longest) in [
            (400, "Number must be less than or equal to 168", "expiresInHours", Some(168)),
            (400, "Number must be less than or equal to 24", "expiresInHours", Some(24)),
            (400, "Too big: expected number to be <=24", "expiresInHours", Some(24)),
            (400, "Number must be greater than or equal to 1", "expiresInHours", None),
            (400, "Number must be less than or equal to a lot", "expiresInHours", None),
            (400, "Number must be less than or equal to 99999999999", "expiresInHours", None),
            (400, "Number must be less than or equal to 100", "maxJoins", None),
            (500, "Number must be less than or equal to 24", "expiresInHours", None),
        ] {
            assert_eq!(refused(status, &issue(text, path)), longest, "{status} {text} {path}");
        }
    }

    #[test]
    fn every_form_of_retry_after_is_honoured_and_the_longest_wins() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().expect("valid");
        let wish = |pairs: &[(&'static str, &str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (hyper::header::HeaderName::from_static(name), value.parse().expect("valid"))
            });
            retry_after(&headers.collect(), now)
        };
        assert_eq!(wish(&[]), None);
        assert_eq!(wish(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wish(&[("retry-after", "Mon, 23 Nov 2026 12:00:30 GMT")]), Some(Duration::from_secs(30)));
        assert_eq!(wish(&[("retry-after", "Mon, 23 Nov 2026 11:00:00 GMT")]), Some(Duration::ZERO));
        let three = [("retry-after-short", "1"), ("retry-after-medium", "42"), ("retry-after-long", "3")];
        assert_eq!(wish(&three), Some(Duration::from_secs(42)));
        assert_eq!(wish(&[("retry-after", "9999999999")]), Some(MAX_RETRY_AFTER));
        assert_eq!(wish(&[("retry-after", "soon")]), None);
    }

    proptest! {
        #[test]
        fn no_body_and_no_header_can_make_it_panic(body in any::<Vec<u8>>(), value in "\\PC*") {
            let _ = message(&body);
            let _ = parse_retry_after(&value, Timestamp::now());
        }
    }
}
