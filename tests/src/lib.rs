//! What a test needs to read like the sentence it checks: a real control plane, hub, operator and plugin as processes, and
//! real services behind them.
//!
//! `lab` (the binary beside this library) shows the same parts to people; the tests are in `tests/it`.

#![allow(
    clippy::too_many_lines,
    reason = "what a test does at random, or keeps running, is one list of cases"
)]

pub mod api_server;
pub mod between;
pub mod control_plane;
pub mod demo;
pub mod faults;
pub mod helm;
pub mod hub;
#[cfg(test)]
mod killed;
pub mod lab;
pub mod namespace;
pub mod operator;
pub mod plugin;
pub mod process;
mod reaper;
pub mod recording_proxy;
pub mod rights;
pub mod scratch;
pub mod services;
pub mod teammate;
pub mod toolchain;
pub mod vendor_hub;
pub mod wait;

pub use connect_tools::{self as tools, progress};
