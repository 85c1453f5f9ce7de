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
use crate::wait::PATIENTLY;

/// A Service's name and port.
pub(super) const POSTGRES: (&str, u16) = ("postgres", 5432);
pub(super) const REDIS: (&str, u16) = ("redis", 6379);
pub(super) const API: (&str, u16) = ("api", 8080);

/// The same three as Deployments, for clusters that run Pods.
pub const DEPLOYMENTS: &str = include_str!("backends.yaml");

/// Longest wait for images to be pulled and Pods to be ready.
const ROLLOUT: &str = "--timeout=110s";

/// The line in which kubectl says where a forward begins.
const FORWARDS: &str = "Forwarding from 127.0.0.1:";

/// Where we reach the three without a join, and what runs them.
pub(super) struct Backends {
    pub(super) postgres: SocketAddr,
    pub(super) redis: SocketAddr,
    pub(super) api: SocketAddr,
    /// The folder with psql.
    pub(super) programs: PathBuf,
    local: Option<Local>,
    /// Ways through the API server, where ClusterIPs are no addresses of this machine.
    forwards: Vec<Process>,
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
        if !postgres.ip().is_loopback() {
            deploy(kubectl).await?;
            return Self::forwarded(kubectl, programs, logs).await;
        }
        let local = Local {
            postgres: Postgres::start(postgres, logs).await?,
            redis: Redis::start(redis, logs).await?,
            http: serve(api, logs)?,
        };
        Ok(Self { postgres, redis, api, programs, local: Some(local), forwards: Vec::new() })
    }

    /// The three in a cluster whose ClusterIPs are not reached from here.
    async fn forwarded(kubectl: &Kubectl, programs: PathBuf, logs: &Path) -> Result<Self> {
        let (postgres, first) = forward(kubectl, POSTGRES, logs).await?;
        let (redis, second) = forward(kubectl, REDIS, logs).await?;
        let (api, third) = forward(kubectl, API, logs).await?;
        Ok(Self { postgres, redis, api, programs, local: None, forwards: vec![first, second, third] })
    }

    /// Lets the processes go on after we have ended; their ids and folders.
    pub(super) fn release(self) -> (Vec<u32>, Vec<PathBuf>) {
        // Nobody needs the forwards but the demo's own steps.
        drop(self.forwards);
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

/// A port of this machine that leads to a Service, and the kubectl that holds it open.
async fn forward(kubectl: &Kubectl, (name, port): (&str, u16), logs: &Path) -> Result<(SocketAddr, Process)> {
    let command = kubectl.command(["port-forward", &format!("service/{name}"), &format!(":{port}")]);
    let mut process = Process::start(&format!("port-forward-{name}"), command, logs)?;
    let begin = |said: &str| {
        said.lines().find_map(|line| line.strip_prefix(FORWARDS)?.split(' ').next()?.parse().ok())
    };
    let port: u16 = process.printed("kubectl says where the forward begins", PATIENTLY, begin).await?;
    Ok((SocketAddr::from(([127, 0, 0, 1], port)), process))
}

async fn deploy(kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(DEPLOYMENTS).await?;
    for (name, _) in [POSTGRES, REDIS, API] {
        let deployment = format!("deployment/{name}");
        kubectl.run(["rollout", "status", &deployment, ROLLOUT]).await?.success()?;
    }
    Ok(())
}
