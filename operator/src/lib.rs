//! The operator: reconciles ServiceExpose and EnvironmentShare into a hub's shares, and carries the bytes.
//!
//! ```text
//! control  API server -watch-> reconcile: dereference -> validate -> plan -> apply -> report -> status
//!                                                                     | HTTP  hub::Client
//!                                                                     ` routes of the tunnel
//! data     teammate -> hub -websocket-> session -> routes.authorize(serviceId) -> link -> TcpStream -> Service
//!          teammate <- hub <-websocket- session <------------------------------- link <- TcpStream <- Service
//! ```
//!
//! [`run`] takes the lease and starts the hub and the admin server; [`wiring`] starts watches and controllers. The first of them to
//! end stops all.
//!
//! No module imports one of a layer above its own:
//!
//! | layer | modules |
//! |---|---|
//! | the command | [`process`], [`run`], [`drain`] |
//! | what runs | [`wiring`], [`admin`], [`connections`], [`hub_users`], [`metrics`], [`namespaces`], [`sweeper`], [`watches`] |
//! | reconcilers | [`controllers`], [`context`], [`finalizer`] |
//! | hubs | [`embedded`], [`settings`], [`tunnels`] |
//! | plain data | [`own_writes`], [`state`], [`triggers`] |
//! | the API server | [`cluster`], [`credentials`], [`definitions`], [`lease`], [`origin`] |
//! | the ground | [`allowed_hubs`], [`args`], [`clock`], [`error`], [`faults`], [`labels`], [`names`], [`retry_delays`], [`target`], [`telemetry`] |

pub mod admin;
pub mod allowed_hubs;
pub mod args;
pub mod clock;
pub mod cluster;
pub mod connections;
pub mod context;
pub mod controllers;
pub mod credentials;
pub mod definitions;
pub mod drain;
pub mod embedded;
pub mod error;
pub mod faults;
pub mod finalizer;
pub mod hub_users;
pub mod labels;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod namespaces;
pub mod origin;
pub mod own_writes;
pub mod process;
pub mod retry_delays;
pub mod run;
pub mod settings;
pub mod state;
pub mod sweeper;
pub mod target;
pub mod telemetry;
pub mod triggers;
pub mod tunnels;
pub mod watches;
pub mod wiring;
