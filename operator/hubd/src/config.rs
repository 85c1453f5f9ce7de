//! What a hub is started with. One value, so that the operator's flags and ours cannot drift apart.

use std::{net::SocketAddr, path::PathBuf};

use crate::Limits;

/// How a hub is started.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How people reach this hub, for its front page. `None`: nobody said.
    pub public_url: Option<String>,
    /// The folder of the database: one that holds a hub, or an empty one. [`crate::init`] makes one.
    pub data: PathBuf,
    /// What one agent, workspace or address may use.
    pub limits: Limits,
}
