//! A request's JSON, as the recorded hub takes it: at most 100 KiB, and `{}` when there is none. And the one variable
//! part of its path.

use std::convert::Infallible;

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{header::CONTENT_TYPE, request::Parts},
};
use serde_json::Value;

use super::error::ApiError;
use crate::limits::{BODY_BYTES, OPEN_BODY_BYTES, OPEN_BODY_TIMEOUT};

/// A parsed body.
#[derive(Debug)]
pub struct Body(pub Value);

/// A parsed body of somebody who has shown no key: a few words, and soon.
#[derive(Debug)]
pub struct OpenBody(pub Value);

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        read(request, BODY_BYTES).await.map(Self)
    }
}

impl<S: Sync> FromRequest<S> for OpenBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = tokio::time::timeout(OPEN_BODY_TIMEOUT, read(request, OPEN_BODY_BYTES)).await;
        body.unwrap_or_else(|_| Err(ApiError::text(408, "Request took too long"))).map(Self)
    }
}

async fn read(request: Request, most: usize) -> Result<Value, ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|text| text.trim_start().starts_with("application/json"));
    let bytes = to_bytes(request.into_body(), most).await.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit"));
        if too_large {
            ApiError::text(413, "request entity too large")
        } else {
            ApiError::guard(400, "request aborted")
        }
    })?;
    if !is_json || bytes.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let body = serde_json::from_slice::<Value>(&bytes)
        .map_err(|error| ApiError::guard(400, format!("Body is not JSON: {error}")))?;
    match body {
        Value::Object(_) | Value::Array(_) => Ok(body),
        _ => Err(ApiError::guard(400, "Body is not a JSON object")),
    }
}

/// An id or code in the path. One that is not even text is as unknown as any other: it becomes empty.
#[derive(Debug)]
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.map(|Path(text)| text).unwrap_or_default()))
    }
}
