//! What time it is by the API server, as the dates of its answers tell: ends and ages of objects are by its clock and the
//! operator's, and this machine's may be wrong.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::header::{DATE, HeaderMap};
use http::{Request, Response};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use tower::Service;

/// How far two clocks may differ without a word: the server's date has whole seconds, and its answer takes a while.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// By how much this machine's clock is ahead of the API server's, by its last answer. Clones learn together.
#[derive(Clone, Debug, Default)]
pub struct ServerClock {
    ahead: Arc<Mutex<Option<SignedDuration>>>,
}

/// Reads the date of every answer that passes.
#[derive(Clone)]
pub(super) struct Dated<S> {
    inner: S,
    clock: ServerClock,
}

// === impl ServerClock ===

impl ServerClock {
    /// By how much this machine's clock is ahead; nothing before the first answer. Right to a second or two.
    pub fn ahead(&self) -> Option<SignedDuration> {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time: this machine's, unless that differs from the server's by more than answers take.
    pub fn now(&self) -> Timestamp {
        self.correct(Timestamp::now())
    }

    fn correct(&self, now: Timestamp) -> Timestamp {
        let ahead = self.ahead().filter(|ahead| ahead.abs() > TOLERANCE).unwrap_or_default();
        now.checked_sub(ahead).unwrap_or(now)
    }

    fn hear(&self, headers: &HeaderMap, now: Timestamp) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let Some(server) = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok()) else {
            return;
        };
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(now.duration_since(server));
    }
}

// === impl Dated ===

impl<S> Dated<S> {
    pub(super) fn new(inner: S, clock: ServerClock) -> Self {
        Self { inner, clock }
    }
}

impl<S, B> Service<Request<Body>> for Dated<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (answer, clock) = (self.inner.call(request), self.clock.clone());
        Box::pin(async move {
            let answer = answer.await?;
            clock.hear(answer.headers(), Timestamp::now());
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_s_date_counts_where_the_clocks_do_not_agree() {
        let now: Timestamp = "2026-12-01T12:00:00Z".parse().expect("a time");
        for (date, corrected) in [
            (None, "2026-12-01T12:00:00Z"),
            (Some("Tue, 01 Dec 2026 12:00:00 GMT"), "2026-12-01T12:00:00Z"),
            (Some("Tue, 01 Dec 2026 11:59:56 GMT"), "2026-12-01T12:00:00Z"),
            (Some("Tue, 01 Dec 2026 12:00:04 GMT"), "2026-12-01T12:00:00Z"),
            (Some("Mon, 30 Nov 2026 11:00:00 GMT"), "2026-11-30T11:00:00Z"),
            (Some("Wed, 02 Dec 2026 13:00:00 GMT"), "2026-12-02T13:00:00Z"),
            (Some("yesterday"), "2026-12-01T12:00:00Z"),
            (Some(""), "2026-12-01T12:00:00Z"),
        ] {
            let clock = ServerClock::default();
            let headers = date.map(|date| (DATE, date.parse().expect("a value"))).into_iter().collect();
            clock.hear(&headers, now);
            assert_eq!(clock.correct(now).to_string(), corrected, "{date:?}");
        }
    }
}
