//! The real thing, armed by environment variables.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use kube::Client;
use kube::client::Body;
use tower::BoxError;

/// Where the process ends: `before` or `after`, a count, and the point's name, as in `after 2 writing status`.
const POINT: &str = "CONNECT_FAIL_POINT";

/// A file that gets a line with the name of every point that is passed.
const POINTS_LOG: &str = "CONNECT_FAIL_POINTS_LOG";

/// A file with the seconds by which our clock is ahead.
const CLOCK: &str = "CONNECT_CLOCK";

/// The same for the data plane; without it the data plane goes by [`CLOCK`].
const DATA_CLOCK: &str = "CONNECT_DATA_CLOCK";

/// When set, the bodies of requests that change something are logged at debug level, as no operator may do.
const LOG_BODIES: &str = "CONNECT_LOG_BODIES";

/// When set, periods of minutes take seconds.
const QUICK: &str = "CONNECT_QUICK";

/// By how much they are shortened.
const QUICKER: u32 = 30;

/// An armed point.
struct Armed {
    after: bool,
    /// Times that it is still passed unharmed, and once more.
    left: Mutex<usize>,
    name: String,
}

static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
    let text = env::var(POINT).ok()?;
    let mut words = text.splitn(3, ' ');
    let after = words.next()? == "after";
    let left = Mutex::new(words.next()?.parse().ok()?);
    Some(Armed { after, left, name: words.next()?.to_owned() })
});

static CLOCK_FILE: LazyLock<Option<String>> = LazyLock::new(|| env::var(CLOCK).ok());

static DATA_CLOCK_FILE: LazyLock<Option<String>> =
    LazyLock::new(|| env::var(DATA_CLOCK).ok().or_else(|| CLOCK_FILE.clone()));

static IS_QUICK: LazyLock<bool> = LazyLock::new(|| env::var_os(QUICK).is_some());

/// Runs a write or a call to a hub, and ends the process before or after it when that is armed.
pub async fn point<T>(name: &'static str, action: impl Future<Output = T>) -> T {
    note(name);
    let here = ARMED.as_ref().filter(|armed| armed.name == name && is_the_one(armed));
    if here.is_some_and(|armed| !armed.after) {
        std::process::abort();
    }
    let done = action.await;
    if here.is_some() {
        std::process::abort();
    }
    done
}

fn is_the_one(armed: &Armed) -> bool {
    let mut left = armed.left.lock().unwrap_or_else(PoisonError::into_inner);
    *left = left.saturating_sub(1);
    *left == 0
}

fn note(name: &str) {
    let Some(path) = env::var_os(POINTS_LOG) else { return };
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        // One write, so that lines of several tasks do not mix. A log that cannot be written fails the test that reads it.
        let _ = file.write_all(format!("{name}\n").as_bytes());
    }
}

/// How far our clock is off on purpose.
pub fn clock_offset() -> SignedDuration {
    offset(CLOCK_FILE.as_deref())
}

/// The same for the data plane, which can be told another offset.
pub fn data_clock_offset() -> SignedDuration {
    offset(DATA_CLOCK_FILE.as_deref())
}

fn offset(file: Option<&str>) -> SignedDuration {
    let read = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
    SignedDuration::from_secs(file.and_then(read).unwrap_or(0))
}

/// The same client, which can be made to log what it writes.
pub fn logged(client: Client) -> Client {
    if env::var_os(LOG_BODIES).is_none() {
        return client;
    }
    let inner = client.clone();
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let client = inner.clone();
        async move {
            if *request.method() == http::Method::GET {
                return client.send(request).await.map_err(BoxError::from);
            }
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            tracing::debug!(body = %String::from_utf8_lossy(&body), "writing");
            client.send(http::Request::from_parts(parts, Body::from(body))).await.map_err(BoxError::from)
        }
    });
    Client::new(service, client.default_namespace())
}

/// A period that tests need not wait for.
pub fn quick(period: Duration) -> Duration {
    if *IS_QUICK { period / QUICKER } else { period }
}
