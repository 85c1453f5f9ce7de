//! A real PostgreSQL server, and a real psql.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::control_plane::shown;
use crate::process::Process;
use crate::scratch::{Scratch, private_file, private_folder};
use crate::toolchain;
use crate::wait::{PATIENTLY, eventually};

/// The database user of teammates, its password and its database. A share tells none of them to anybody.
const USER: &str = "teammate";
const PASSWORD: &str = "not-part-of-the-share";
const DATABASE: &str = "postgres";

/// PostgreSQL refuses to run as root; these users own nothing that it could harm. The first that exists is taken.
const OTHER_USERS: [&str; 2] = ["postgres", "nobody"];

/// A running server.
pub struct Postgres {
    process: Process,
    programs: PathBuf,
    address: SocketAddr,
    scratch: Scratch,
}

impl Postgres {
    /// Makes a new database cluster and serves it on this address.
    ///
    /// # Errors
    /// PostgreSQL is missing and cannot be installed, or it does not answer in time.
    pub async fn start(address: SocketAddr, logs: &Path) -> Result<Self> {
        let programs = toolchain::postgresql().await?;
        let scratch = Scratch::new("postgres")?;
        let data = private_folder(&scratch.path().join("data"))?;
        let owner = Owner::find(&data).await?;
        let password = scratch.path().join("password");
        private_file(&password, PASSWORD)?;
        owner.give(&password)?;
        owner.give(&data)?;

        let mut initdb = owner.command(&programs.join("initdb"));
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password);
        initdb.args(["--username", USER, "--auth", "scram-sha-256", "--no-sync", "--no-instructions"]);
        finish(initdb).await?;

        let mut server = owner.command(&programs.join("postgres"));
        server.arg("-D").arg(&data).args(["-p", &address.port().to_string(), "-F"]);
        server.args(["-c", &format!("listen_addresses={}", address.ip())]);
        server.args(["-c", "unix_socket_directories="]);
        let process = Process::start("postgres", server, logs)?;
        let mut postgres = Self { process, programs, address, scratch };
        postgres.wait_until_ready().await?;
        Ok(postgres)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let (programs, address) = (self.programs.clone(), self.address);
        let process = &mut self.process;
        eventually("PostgreSQL answers", PATIENTLY, || {
            let running = process.must_run();
            let answer = select(&programs, address, "SELECT 1");
            async move {
                running?;
                answer.await
            }
        })
        .await
        .map_err(|error| error.context(self.process.failure("it does not answer")))
        .map(drop)
    }

    /// Where the server programs and psql are.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, to stop or freeze it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Lets it go on after we have ended; its process and its folder.
    pub fn release(self) -> (u32, PathBuf) {
        (self.process.release(), self.scratch.release())
    }
}

/// Asks psql for the answer to this statement, as the teammate.
///
/// # Errors
/// psql fails; the message holds what it printed.
pub async fn select(programs: &Path, address: SocketAddr, statement: &str) -> Result<String> {
    let mut psql = Command::new(programs.join("psql"));
    psql.env("PGPASSWORD", PASSWORD).env("PGCONNECT_TIMEOUT", "10");
    psql.args(["--host", &address.ip().to_string(), "--port", &address.port().to_string()]);
    psql.args(["--username", USER, "--dbname", DATABASE, "--no-psqlrc", "--tuples-only", "--no-align"]);
    psql.args(["--command", statement]);
    Ok(finish(psql).await?.trim().to_owned())
}

/// Whom the server runs as.
enum Owner {
    /// Us.
    Ourselves,
    /// Somebody else, because we are root.
    Other { name: &'static str, user: u32, group: u32 },
}

impl Owner {
    async fn find(ours: &Path) -> Result<Self> {
        if std::fs::metadata(ours).context("the folder we made is gone")?.uid() != 0 {
            return Ok(Self::Ourselves);
        }
        for name in OTHER_USERS {
            if let (Ok(user), Ok(group)) = (number("-u", name).await, number("-g", name).await) {
                return Ok(Self::Other { name, user, group });
            }
        }
        anyhow::bail!(
            "PostgreSQL does not run as root, and there is no user postgres or nobody: run as another user"
        )
    }

    fn give(&self, path: &Path) -> Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { name, user, group } => chown(path, Some(*user), Some(*group))
                .with_context(|| format!("cannot give {} to {name}", path.display())),
        }
    }

    fn command(&self, program: &Path) -> Command {
        match self {
            Self::Ourselves => Command::new(program),
            Self::Other { user, group, .. } => {
                use std::os::unix::process::CommandExt;
                let mut command = Command::new(program);
                command.uid(*user).gid(*group).current_dir("/");
                command
            }
        }
    }
}

async fn number(kind: &str, user: &str) -> Result<u32> {
    let mut id = Command::new("id");
    id.args([kind, user]);
    finish(id).await?.trim().parse().context("id printed no number")
}

async fn finish(command: Command) -> Result<String> {
    let shown = shown(&command);
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(output.status.success(), "`{shown}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
