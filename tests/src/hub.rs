//! The embedded hub's stand-alone binary as a process: a hub that is not in the operator's process.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::process::Process;
use crate::scratch::{private_file, private_folder};
use crate::toolchain::product;
use crate::wait::PATIENTLY;

/// The workspace that the operator's key belongs to.
const WORKSPACE: &str = "lab";

/// A running hub.
pub struct Hub {
    process: Process,
    url: String,
    data: PathBuf,
    key_file: PathBuf,
    flags: Vec<String>,
}

/// The line that our programs print once they listen.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Addresses {
    /// The hub's URL, when the program is or embeds one.
    pub(crate) hub: Option<String>,
    /// Where health and metrics are served.
    pub(crate) admin: Option<String>,
}

impl Addresses {
    /// The first such line in a log.
    pub(crate) fn find(log: &str) -> Option<Self> {
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Self>(line).ok());
        lines.find(|addresses| addresses.hub.is_some() || addresses.admin.is_some())
    }
}

impl Hub {
    /// Starts a hub with its state in `folder`, and makes an API key for an operator.
    ///
    /// # Errors
    /// The binary cannot be built, or it does not listen in time.
    pub async fn start(folder: &Path, logs: &Path) -> Result<Self> {
        Self::start_with(folder, logs, &[]).await
    }

    /// As [`Self::start`], with flags of its own.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(folder: &Path, logs: &Path, flags: &[&str]) -> Result<Self> {
        let data = private_folder(&folder.join("hub-data"))?;
        let key_file = folder.join("hub-api-key");
        create_key(&data, &key_file).await?;
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self::listen(data, key_file, logs, "127.0.0.1:0", flags).await
    }

    async fn listen(
        data: PathBuf,
        key_file: PathBuf,
        logs: &Path,
        address: &str,
        flags: Vec<String>,
    ) -> Result<Self> {
        let mut command = Command::new(product().await?.hub());
        command.args(["serve", "--listen", address, "--print-addresses", "--data"]).arg(&data).args(&flags);
        // Its folder tells it from other hubs that log beside it.
        let owner =
            data.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let mut process = Process::start(&format!("connect-hubd-{owner}"), command, logs)?;
        let url = process
            .printed("the hub says where it listens", PATIENTLY, |log| Addresses::find(log)?.hub)
            .await?;
        Ok(Self { process, url, data, key_file, flags })
    }

    /// The hub's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A file with an API key for the operator.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// The folder of its state.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The process, to kill or freeze it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts the hub again after its process has ended: same state, same address.
    ///
    /// # Errors
    /// It does not listen in time.
    pub async fn restart(self, logs: &Path) -> Result<Self> {
        let Self { process, url, data, key_file, flags } = self;
        drop(process);
        let address = url.strip_prefix("http://").context("the hub speaks http on this machine")?;
        Self::listen(data, key_file, logs, address, flags).await
    }

    /// Lets it go on after we have ended.
    pub fn release(self) -> u32 {
        self.process.release()
    }
}

async fn create_key(data: &Path, key_file: &Path) -> Result<()> {
    let output = tokio::process::Command::new(product().await?.hub())
        .args(["key", "create", "--workspace", WORKSPACE, "--data"])
        .arg(data)
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot start connect-hubd")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let key = printed.split_whitespace().find(|word| word.starts_with("pc_"));
    ensure!(output.status.success(), "connect-hubd made no key: {}", String::from_utf8_lossy(&output.stderr));
    private_file(key_file, key.context("connect-hubd printed no key")?)
}
