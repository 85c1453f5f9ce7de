//! What runs in a process of its own, so that every path has as many processes as it has for users.

mod control;
mod exposer;
mod relay;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use serde::{Deserialize, Serialize};

pub(super) use self::control::Controlled;
pub(super) use self::exposer::{Answer, Order, ROUTES_PER_CODE, StateChange};
use super::service;
use connect_tests::process::Process;
use connect_tests::wait::PATIENTLY;

/// A part of a measurement.
#[derive(Clone, Debug, Subcommand)]
pub enum Role {
    /// The Service
    #[command(hide = true)]
    Service {
        /// Where it listens; any free port of this machine when absent
        #[arg(long)]
        listen: Option<SocketAddr>,
    },
    /// A plain TCP relay
    #[command(hide = true)]
    Relay {
        /// Where it leads
        to: SocketAddr,
    },
    /// The exposing side, as it is in an operator
    #[command(hide = true)]
    Exposer,
}

/// What a role prints first.
#[derive(Serialize, Deserialize)]
struct Listening {
    listens: SocketAddr,
}

/// A running role and where it listens.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
}

// === impl Role ===

impl Role {
    /// Plays the role until the process is ended.
    ///
    /// # Errors
    /// It cannot listen, or what it depends on has gone.
    pub async fn play(self) -> Result<()> {
        match self {
            Self::Service { listen } => service::serve(listen, tell).await,
            Self::Relay { to } => relay::serve(to, tell).await,
            Self::Exposer => exposer::serve(tell).await,
        }
    }

    /// Starts a process that plays the role.
    pub(super) async fn start(&self, logs: &Path) -> Result<Running> {
        let program = std::env::current_exe().context("this program does not know where it is")?;
        let mut command = Command::new(program);
        let name = match self {
            Self::Service { .. } => "service",
            Self::Relay { .. } => "relay",
            Self::Exposer => "exposer",
        };
        command.arg(name);
        match self {
            Self::Service { listen: Some(address) } => {
                command.arg("--listen").arg(address.to_string());
            }
            Self::Relay { to: address } => {
                command.arg(address.to_string());
            }
            Self::Service { listen: None } | Self::Exposer => {}
        }
        let mut process = Process::start(name, command, logs)?;
        let listens = |said: &str| said.lines().find_map(|line| serde_json::from_str::<Listening>(line).ok());
        let Listening { listens: address } =
            process.printed("it says where it listens", PATIENTLY, listens).await?;
        Ok(Running { process, address })
    }
}

/// Tells whoever started this process where it listens.
fn tell(listens: SocketAddr) -> Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&Listening { listens })?).context("stdout is closed")?;
    stdout.flush().context("stdout is closed")
}
