//! Error bodies. The recorded hub has three shapes, by who threw: a handler, a guard, or nobody in particular; clients
//! read `message` in all of them.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, Method, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::store::StoreError;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub enum ApiError {
    /// `{"statusCode","message"}`
    Text { status: StatusCode, message: String },
    /// `{"message","error","statusCode"}`, `error` being the reason phrase
    Guard { status: StatusCode, message: String },
    /// 429: too many of something, and how long to wait
    TooMany { what: &'static str, wait: Duration },
    /// 503 and how long to wait
    Busy { wait: Duration },
    /// 500; what it was is in our log only
    Store(StoreError),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TextBody<'a> {
    status_code: u16,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GuardBody<'a> {
    message: &'a str,
    error: &'a str,
    status_code: u16,
}

// === impl ApiError ===

impl ApiError {
    pub fn text(status: u16, message: impl Into<String>) -> Self {
        Self::Text { status: code(status), message: message.into() }
    }

    pub fn guard(status: u16, message: impl Into<String>) -> Self {
        Self::Guard { status: code(status), message: message.into() }
    }

    /// The one answer for every code that does not open anything.
    pub fn share_not_found() -> Self {
        Self::text(404, "Share not found")
    }

    /// The one answer for whoever is not a known agent of a known workspace.
    pub fn unauthorized() -> Self {
        Self::text(401, "Unauthorized")
    }

    /// `instead` is what to do instead, where that is known.
    pub fn no_such_route(method: &Method, path: &str, instead: Option<&str>) -> Self {
        let instead = instead.map(|sentence| format!(": {sentence}")).unwrap_or_default();
        Self::guard(404, format!("Cannot {method} {path}{instead}"))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Text { status, message } => text(status, &message),
            Self::Guard { status, message } => {
                let error = status.canonical_reason().unwrap_or("Error");
                let body = GuardBody { message: &message, error, status_code: status.as_u16() };
                (status, Json(body)).into_response()
            }
            Self::TooMany { what, wait } => {
                // Rounded up, so that whoever waits as told is let in.
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let message = format!("Too many {what}. Try again in {seconds} seconds.");
                let mut response = text(StatusCode::TOO_MANY_REQUESTS, &message);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
                response
            }
            Self::Busy { wait } => {
                let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "Too many connections are waiting");
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
                response
            }
            Self::Store(error) => {
                tracing::error!(error = crate::error_chain(&error), "a request failed");
                text(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
            }
        }
    }
}

fn text(status: StatusCode, message: &str) -> Response {
    (status, Json(TextBody { status_code: status.as_u16(), message })).into_response()
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
