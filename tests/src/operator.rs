//! The operator as a process beside the control plane, as it runs in a cluster: with a kubeconfig of its own user.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::control_plane::{ClusterAccess, install_crypto};
use crate::hub::{Addresses, Hub};
use crate::process::Process;
use crate::rights;
use crate::scratch::private_folder;
use crate::toolchain::{faulty_operator, product};
use crate::wait::{PATIENTLY, eventually};

/// Longest wait for one answer of the admin server.
const ADMIN_ANSWER: Duration = Duration::from_secs(5);

/// Any free port of this machine.
const ANY_PORT: &str = "127.0.0.1:0";

/// Which hub the operator uses.
#[derive(Clone, Debug)]
pub enum HubChoice {
    /// One in its own process.
    Embedded,
    /// Another one.
    At {
        /// Its URL.
        url: String,
        /// A file with an API key of it.
        key_file: PathBuf,
    },
}

impl From<&Hub> for HubChoice {
    fn from(hub: &Hub) -> Self {
        Self::At { url: hub.url().to_owned(), key_file: hub.key_file().to_owned() }
    }
}

/// How an operator is started.
#[derive(Clone)]
pub struct Setup {
    /// Where it runs.
    pub access: ClusterAccess,
    /// Which hub it uses.
    pub hub: HubChoice,
    /// Namespace of its own objects; made when it is not there.
    pub namespace: String,
    /// Namespaces it serves; all when empty.
    pub watched: Vec<String>,
    /// More of its environment, such as fail points.
    pub environment: Vec<(String, String)>,
    /// Whether its clock can be stepped and its fail points armed, which those of the product cannot.
    pub is_faulty: bool,
}

/// A running operator.
pub struct Operator {
    process: Process,
    setup: Setup,
    hub_url: String,
    admin_url: String,
}

/// A replica that waits.
pub struct StandBy {
    process: Process,
    setup: Setup,
}

impl Operator {
    /// Starts the operator and waits until it is ready.
    ///
    /// # Errors
    /// The binary cannot be built, or it is not ready in time.
    pub async fn start(setup: Setup) -> Result<Self> {
        let namespace = format!(
            r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{}"}}}}"#,
            setup.namespace
        );
        setup.access.kubectl.apply(&namespace).await?;
        if let Some(user) = &setup.access.needs_rights {
            rights::grant(&setup.access.kubectl, user, &setup.namespace, &setup.watched).await?;
        }
        Self::listen(setup, ANY_PORT).await
    }

    /// Starts another replica of this operator, which waits until it leads.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn stand_by(&self) -> Result<StandBy> {
        let setup = self.setup.clone();
        let name = format!("connect-operator-{}-2", setup.namespace);
        let process = Process::start(&name, command(&setup, ANY_PORT).await?, &setup.access.logs)?;
        Ok(StandBy { process, setup })
    }

    async fn listen(setup: Setup, hub_address: &str) -> Result<Self> {
        let command = command(&setup, hub_address).await?;
        let name = format!("connect-operator-{}", setup.namespace);
        let process = Process::start(&name, command, &setup.access.logs)?;
        Self::leading(process, setup).await
    }

    async fn leading(mut process: Process, setup: Setup) -> Result<Self> {
        let addresses =
            process.printed("the operator says where it listens", PATIENTLY, Addresses::find).await?;
        let hub_url = match &setup.hub {
            HubChoice::Embedded => addresses.hub.context("the operator does not say where its hub is")?,
            HubChoice::At { url, .. } => url.clone(),
        };
        let admin_url = addresses.admin.context("the operator does not say where its admin server is")?;
        let mut operator = Self { process, setup, hub_url, admin_url };
        operator.wait_until_ready().await?;
        Ok(operator)
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz", self.admin_url);
        install_crypto();
        let http = reqwest::Client::builder().timeout(ADMIN_ANSWER).build().context("no HTTP client")?;
        let process = &mut self.process;
        let ready = eventually("the operator is ready", PATIENTLY, || {
            let running = process.must_run();
            let request = http.get(&url).send();
            async move {
                running?;
                let answer = request.await.context("its admin server does not answer")?;
                let status = answer.status();
                let said = answer.text().await.unwrap_or_default();
                ensure!(status.is_success(), "it answers {status}: {said}");
                Ok(())
            }
        });
        ready.await.map_err(|error| error.context(self.process.failure("it is not ready")))
    }

    /// The hub it uses.
    pub fn hub_url(&self) -> &str {
        &self.hub_url
    }

    /// Where it serves health and metrics.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// The process, to kill or freeze it or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again after its process has ended: same state, same addresses.
    ///
    /// # Errors
    /// It is not ready in time.
    pub async fn restart(self) -> Result<Self> {
        self.restart_with(&[]).await
    }

    /// As [`Self::restart`], with this in its environment as well; what is said last counts.
    ///
    /// # Errors
    /// As [`Self::restart`].
    pub async fn restart_with(self, environment: &[(&str, &str)]) -> Result<Self> {
        let Self { process, mut setup, hub_url, .. } = self;
        drop(process);
        setup
            .environment
            .extend(environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let address = match &setup.hub {
            HubChoice::Embedded => hub_url.strip_prefix("http://").context("an embedded hub speaks http")?,
            HubChoice::At { .. } => ANY_PORT,
        };
        Self::listen(setup, address).await
    }

    /// Lets it go on after we have ended.
    pub fn release(self) -> u32 {
        self.process.release()
    }
}

impl StandBy {
    /// Waits until it leads and is ready.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn leads(self) -> Result<Operator> {
        Operator::leading(self.process, self.setup).await
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

async fn command(setup: &Setup, hub_address: &str) -> Result<Command> {
    let Setup { access, hub, namespace, watched, environment, is_faulty } = setup;
    let program = if *is_faulty { faulty_operator().await? } else { product().await?.operator() };
    let mut command = Command::new(program);
    command.args(["run", "--admin-listen", ANY_PORT, "--print-addresses", "--allow-loopback-targets"]);
    command.args(["--namespace", namespace]);
    if let Some(kubeconfig) = &access.kubeconfig {
        command.arg("--kubeconfig").arg(kubeconfig);
    }
    if let Some(context) = &access.context {
        command.args(["--context", context]);
    }
    if !watched.is_empty() {
        command.arg("--watch-namespaces").arg(watched.join(","));
    }
    match hub {
        HubChoice::Embedded => {
            command.args(["--embedded-hub", "--hub-listen", hub_address, "--hub-data"]);
            command.arg(private_folder(&access.folder.join(format!("{namespace}-hub-data")))?);
        }
        HubChoice::At { url, key_file } => {
            command.args(["--hub-url", url, "--hub-api-key-file"]).arg(key_file);
        }
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(command)
}
