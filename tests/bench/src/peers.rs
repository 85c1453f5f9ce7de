//! Other tunnels on the same path, when they were asked for: bore and rathole, from crates.io, in pinned versions.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::net::TcpStream;

use super::paths::Route;
use connect_tests::control_plane::{free_port, random_hex};
use connect_tests::process::Process;
use connect_tests::progress::say;
use connect_tests::scratch::private_file;
use connect_tests::toolchain::cache;
use connect_tests::wait::{SOON, eventually};

/// The names of their paths.
pub(super) const BORE: &str = "bore";
pub(super) const RATHOLE: &str = "rathole";

/// Where bore's server listens for its clients; it cannot be told another port.
const BORE_CONTROL: u16 = 7835;

/// Bytes of the secret that both of rathole's ends share.
const TOKEN_BYTES: usize = 16;

/// How long a peer may take to be built.
const BUILD: Duration = Duration::from_secs(15 * 60);

/// A peer's package.
struct Package {
    name: &'static str,
    version: &'static str,
    program: &'static str,
    options: &'static [&'static str],
}

const BORE_PACKAGE: Package =
    Package { name: "bore-cli", version: "0.6.0", program: "bore", options: &["--locked"] };

/// Without TLS and Noise: we compare what carries bytes. Not locked: its lock file names a version of `time` that today's
/// compiler refuses.
const RATHOLE_PACKAGE: Package = Package {
    name: "rathole",
    version: "0.5.0",
    program: "rathole",
    options: &["--no-default-features", "--features", "server,client"],
};

/// Peers that run.
#[derive(Default)]
pub(super) struct Peers {
    routes: Vec<Route>,
    _processes: Vec<Process>,
}

impl Peers {
    /// The ways through them.
    pub(super) fn routes(&self) -> impl Iterator<Item = Route> {
        self.routes.iter().copied()
    }
}

/// Installs and builds what is missing.
///
/// # Errors
/// Never: a peer that cannot be had is left out, and said to be.
pub(super) async fn install() {
    for package in [&BORE_PACKAGE, &RATHOLE_PACKAGE] {
        if let Err(error) = program(package).await {
            say(format_args!("{} is left out: {error:#}", package.name));
        }
    }
}

/// Starts every peer that can be had. One that does not start is left out, and said to be.
pub(super) async fn start(service: SocketAddr, logs: &Path) -> Result<Peers> {
    let mut peers = Peers::default();
    for (name, started) in [(BORE, bore(service, logs).await), (RATHOLE, rathole(service, logs).await)] {
        match started {
            Ok((address, processes)) => {
                peers.routes.push(Route { name, address });
                peers._processes.extend(processes);
            }
            Err(error) => say(format_args!("  {name} is left out: {error:#}")),
        }
    }
    Ok(peers)
}

async fn bore(service: SocketAddr, logs: &Path) -> Result<(SocketAddr, Vec<Process>)> {
    let program = program(&BORE_PACKAGE).await?;
    let port = free_port()?;
    let mut server = Command::new(&program);
    server.args(["server", "--bind-addr", "127.0.0.1"]);
    let mut processes = vec![Process::start("bore-server", server, logs)?];
    listens(SocketAddr::from(([127, 0, 0, 1], BORE_CONTROL)), &mut processes).await?;
    let mut client = Command::new(program);
    client.args(["local", &service.port().to_string(), "--local-host", &service.ip().to_string()]);
    client.args(["--to", "127.0.0.1", "--port", &port.to_string()]);
    processes.push(Process::start("bore-client", client, logs)?);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    listens(address, &mut processes).await?;
    Ok((address, processes))
}

async fn rathole(service: SocketAddr, logs: &Path) -> Result<(SocketAddr, Vec<Process>)> {
    let program = program(&RATHOLE_PACKAGE).await?;
    let (control, port) = (free_port()?, free_port()?);
    let token = random_hex::<TOKEN_BYTES>()?;
    let start = |name: &str, text: String| -> Result<Process> {
        let file = logs.join(format!("{name}.toml"));
        private_file(&file, text)?;
        let mut command = Command::new(&program);
        command.arg(file);
        Process::start(name, command, logs)
    };
    let server = format!(
        "[server]\nbind_addr = \"127.0.0.1:{control}\"\ndefault_token = \"{token}\"\n\n\
         [server.services.bench]\nbind_addr = \"127.0.0.1:{port}\"\n"
    );
    let client = format!(
        "[client]\nremote_addr = \"127.0.0.1:{control}\"\ndefault_token = \"{token}\"\n\n\
         [client.services.bench]\nlocal_addr = \"{service}\"\n"
    );
    let mut processes = vec![start("rathole-server", server)?, start("rathole-client", client)?];
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    listens(address, &mut processes).await?;
    Ok((address, processes))
}

async fn listens(address: SocketAddr, processes: &mut [Process]) -> Result<()> {
    eventually("it listens", SOON, || {
        let running = processes.iter_mut().try_for_each(Process::must_run);
        async move {
            running?;
            TcpStream::connect(address).await.context("nobody listens").map(drop)
        }
    })
    .await
}

/// The program, installed into the cache when it is not there.
async fn program(package: &'static Package) -> Result<PathBuf> {
    let Package { name, version, program, options } = package;
    let root = cache()?.join(format!("{name}-{version}"));
    let path = root.join("bin").join(program);
    if path.is_file() {
        return Ok(path);
    }
    say(format_args!("Installing {name} {version} from crates.io, once, into {} ...", root.display()));
    let mut cargo = tokio::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["install", "--quiet", name, "--version", version]).args(*options);
    cargo.arg("--root").arg(&root).stdin(Stdio::null()).kill_on_drop(true);
    let built = tokio::time::timeout(BUILD, cargo.status()).await;
    let status =
        built.with_context(|| format!("{name} was not built in time"))?.context("cannot start cargo")?;
    ensure!(status.success(), "cargo install {name} ended with {status}; what it said is above");
    if !path.is_file() {
        bail!("cargo installed {name}, and {} is not there", path.display());
    }
    Ok(path)
}
