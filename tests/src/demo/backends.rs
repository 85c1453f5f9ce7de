//! The three services that the demo shares: PostgreSQL, Redis and an HTTP server.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::control_plane::Kubectl;
use crate::process::Process;
use crate::services::{self, Postgres, Redis};
use crate::toolchain;

/// A Service's name and port.
pub(super) const POSTGRES: (&str, u16) = ("postgres", 5432);
pub(super) const REDIS: (&str, u16) = ("redis", 6379);
pub(super) const API: (&str, u16) = ("api", 8080);

/// The same three as Deployments, for clusters that run Pods.
const DEPLOYMENTS: &str = include_str!("backends.yaml");

/// Longest wait for images to be pulled and Pods to be ready.
const ROLLOUT: &str = "--timeout=110s";

/// Where the three are, and what runs them.
pub(super) struct Backends {
    pub(super) postgres: SocketAddr,
    pub(super) redis: SocketAddr,
    pub(super) api: SocketAddr,
    /// The folder with psql.
    pub(super) programs: PathBuf,
    local: Option<Local>,
}

/// The three as processes of this machine.
struct Local {
    postgres: Postgres,
    redis: Redis,
    http: Process,
}

impl Backends {
    /// Makes the three Services and what answers for them: processes on their ClusterIPs where these are addresses of this
    /// machine, else Deployments.
    pub(super) async fn start(kubectl: &Kubectl, logs: &Path) -> Result<Self> {
        let postgres = services::service(kubectl, POSTGRES.0, POSTGRES.1).await?;
        let redis = services::service(kubectl, REDIS.0, REDIS.1).await?;
        let api = services::service(kubectl, API.0, API.1).await?;
        let programs = toolchain::postgresql().await?;
        let local = if postgres.ip().is_loopback() {
            let postgres = Postgres::start(postgres, logs).await?;
            let redis = Redis::start(redis, logs).await?;
            Some(Local { postgres, redis, http: serve(api, logs)? })
        } else {
            deploy(kubectl).await?;
            None
        };
        Ok(Self { postgres, redis, api, programs, local })
    }

    /// Lets the processes go on after we have ended; their ids and folders.
    pub(super) fn release(self) -> (Vec<u32>, Vec<PathBuf>) {
        let Some(Local { postgres, redis, http }) = self.local else { return (Vec::new(), Vec::new()) };
        let (postgres, folder) = postgres.release();
        (vec![postgres, redis.release(), http.release()], vec![folder])
    }
}

/// `lab serve` as a process of its own, so that it can outlive us.
fn serve(address: SocketAddr, logs: &Path) -> Result<Process> {
    let mut command = Command::new(env::current_exe().context("we do not know our own program")?);
    command.args(["serve", &address.to_string()]);
    Process::start("http", command, logs)
}

async fn deploy(kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(DEPLOYMENTS).await?;
    for (name, _) in [POSTGRES, REDIS, API] {
        let deployment = format!("deployment/{name}");
        kubectl.run(["rollout", "status", &deployment, ROLLOUT]).await?.success()?;
    }
    Ok(())
}
