//! Everything said to a hub, and nothing of Kubernetes.
//!
//! The operator and the plugin both talk to a Private Connect hub: over HTTP to register agents, services and
//! shares, and over one Socket.IO namespace to carry bytes. Keeping all of it in one crate without a cluster in
//! sight lets it be read, tested and fuzzed alone.
//!
//! ```text
//! control  client -> HTTP API (agents, services, shares)
//! expose   tunnel -> session -> routes.authorize(serviceId) -> link -> TcpStream -> Service
//! join     TcpListener -> connection -> session -> hub -> the exposing side
//! data     the bytes of both, beside the session where the hub has data connections
//! dial     the way of all of them: straight, or through a proxy
//! ```

#![cfg_attr(test, allow(clippy::too_many_lines, reason = "a test is a table of cases"))]

mod agent;
pub mod backoff;
mod budget;
pub mod client;
pub mod clock;
pub mod code_key;
mod data;
pub mod descriptors;
pub mod dial;
mod e2e;
pub mod error;
pub mod identity;
pub mod join;
pub mod join_token;
mod links;
mod liveness;
mod permission;
pub mod protocol;
mod pump;
pub mod routes;
pub mod sentences;
pub mod socketio;
mod stats;
pub mod tls;
pub mod tunnel;
pub mod url;

pub use error::Error;
