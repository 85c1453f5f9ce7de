//! A stand-in for the part of GitHub's and GitLab's API that the preview scripts use.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::routing::{get, patch, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

/// The token that it takes.
pub(super) const TOKEN: &str = "forge-token";

/// Comments of others, more than fit onto one page.
const OTHERS: u64 = 130;

/// What the forge knows of one repository and its pull request 7.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) is_private: bool,
    /// What it says of the pull request, one after the other; the last one for ever.
    pub(super) states: Vec<&'static str>,
    pub(super) comments: Vec<(u64, String)>,
    /// Whether it refuses everything.
    pub(super) is_down: bool,
}

type Shared = Arc<Mutex<Known>>;

/// A running forge.
pub(super) struct Forge {
    pub(super) url: String,
    known: Shared,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Deserialize)]
struct Page {
    per_page: usize,
    page: usize,
}

#[derive(Deserialize)]
struct Comment {
    body: String,
}

// === impl Forge ===

impl Forge {
    pub(super) async fn start() -> Result<Self> {
        let comments = (1..=OTHERS).map(|id| (id, format!("comment {id}"))).collect();
        let known = Known { is_private: false, states: vec!["open"], comments, is_down: false };
        let known = Arc::new(Mutex::new(known));
        let github = Router::new()
            .route("/repos/acme/shop", get(project))
            .route("/repos/acme/shop/pulls/7", get(state))
            .route("/repos/acme/shop/issues/7/comments", get(list).post(add))
            .route("/repos/acme/shop/issues/comments/{id}", patch(change));
        let gitlab = Router::new()
            .route("/projects/1", get(project))
            .route("/projects/1/merge_requests/7", get(state))
            .route("/projects/1/merge_requests/7/notes", get(list).post(add))
            .route("/projects/1/merge_requests/7/notes/{id}", put(change));
        let guard = axum::middleware::from_fn_with_state(Arc::clone(&known), only_with_the_token);
        let app = github.merge(gitlab).layer(guard).with_state(Arc::clone(&known));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("no port")?;
        let url = format!("http://{}", listener.local_addr()?);
        // It ends with the test.
        let serving = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { url, known, serving })
    }

    /// Tells it something.
    pub(super) fn learn(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The comments that are not of others.
    pub(super) fn own(&self) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.comments.iter().filter(|(id, _)| *id > OTHERS).map(|(_, body)| body.clone()).collect()
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn only_with_the_token(
    State(known): State<Shared>,
    headers: HeaderMap,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Result<axum::response::Response, StatusCode> {
    let has = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    let is_down = known.lock().unwrap_or_else(PoisonError::into_inner).is_down;
    match has("authorization", &format!("Bearer {TOKEN}")) || has("private-token", TOKEN) {
        true if !is_down => Ok(next.run(request).await),
        _ => Err(StatusCode::FORBIDDEN),
    }
}

async fn project(State(known): State<Shared>) -> Json<Value> {
    let is_private = known.lock().unwrap_or_else(PoisonError::into_inner).is_private;
    Json(json!({"private": is_private, "visibility": if is_private { "private" } else { "public" }}))
}

async fn state(State(known): State<Shared>, uri: Uri) -> Json<Value> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let state = if known.states.len() > 1 { known.states.remove(0) } else { known.states[0] };
    let opened = uri.path().starts_with("/projects") && state == "open";
    Json(json!({"state": if opened { "opened" } else { state }}))
}

async fn list(State(known): State<Shared>, Query(Page { per_page, page }): Query<Page>) -> Json<Value> {
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let shown = known.comments.iter().skip((page - 1) * per_page).take(per_page);
    Json(shown.map(|(id, body)| json!({"id": id, "body": body})).collect())
}

async fn add(
    State(known): State<Shared>,
    method: Method,
    Json(Comment { body }): Json<Comment>,
) -> StatusCode {
    assert_eq!(method, Method::POST);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let id = known.comments.last().map_or(1, |(id, _)| id + 1);
    known.comments.push((id, body));
    StatusCode::CREATED
}

async fn change(
    State(known): State<Shared>,
    Path(id): Path<u64>,
    Json(Comment { body }): Json<Comment>,
) -> StatusCode {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    match known.comments.iter_mut().find(|(known, _)| *known == id) {
        Some(comment) => {
            comment.1 = body;
            StatusCode::OK
        }
        None => StatusCode::NOT_FOUND,
    }
}
