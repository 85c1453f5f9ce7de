//! A real Kubernetes control plane as child processes: etcd, the API server and the controller manager.
//!
//! There are no nodes, so no Pod ever runs; everything else is what a cluster does: admission, CEL, RBAC, watches, garbage
//! collection, namespaces. Services get their ClusterIPs from a loopback range, so a test binds a real server to the address
//! that the API server gave, and no network has to be made.

mod certificates;
pub(crate) mod definitions;
mod flags;
mod kubeconfig;
mod kubectl;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use kube::config::KubeConfigOptions;
use kube::{Client, Config};
use tokio::sync::OnceCell;

pub use kubeconfig::Identity;
pub use kubeconfig::random_hex;
pub use kubectl::shown;
pub use kubectl::{Kubectl, Output};

use crate::process::Process;
use crate::scratch::Scratch;
use crate::toolchain::{self, Kubernetes, Need};
use crate::wait::{PATIENTLY, eventually};
use certificates::Authority;
use connect_tools::say;

/// The group of all operators that were granted the chart's roles and nothing else.
pub const OPERATORS: &str = "lab-operators";

/// Where the tests' control plane logs what was asked of it, to be looked at when they have ended.
pub fn kept_log() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).join("target/audit/tests.log")
}

/// How often a start is tried when another process took a port that was free a moment before.
const ATTEMPTS: usize = 3;

/// The user who may do everything; its group is bound to `cluster-admin` from the start.
pub const ADMIN: &str = "lab-admin";

/// What a control plane has beyond the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Write every request to an audit log.
    pub audit: bool,
    /// Keep that log, in place of the one of an earlier run; see [`kept_log`].
    pub keep_audit: bool,
    /// Leave out the controllers, and be content with any API server that the machine has.
    pub without_controllers: bool,
    /// Leave out our CustomResourceDefinitions.
    pub without_definitions: bool,
}

impl Options {
    fn need(self) -> Need {
        if self.without_controllers { Need::ApiServer } else { Need::Everything }
    }
}

/// A running control plane; it ends when this value is dropped or we end.
pub struct ControlPlane {
    // Dropped in this order: whoever talks to another goes first.
    controller_manager: Option<Process>,
    api_server: Process,
    etcd: Process,
    tools: Kubernetes,
    server: String,
    authority: Authority,
    admin: Identity,
    admin_config: PathBuf,
    audit: Option<PathBuf>,
    scratch: Scratch,
}

/// Where a program runs that needs a cluster: who it is there, and where its files go.
#[derive(Clone)]
pub struct ClusterAccess {
    /// Its kubeconfig; none means the usual one of this machine.
    pub kubeconfig: Option<PathBuf>,
    /// The context, when it is not the current one.
    pub context: Option<String>,
    /// Its user, when that must be granted what it may do.
    pub needs_rights: Option<String>,
    /// kubectl for preparations.
    pub kubectl: Kubectl,
    /// Its own files.
    pub folder: PathBuf,
    /// Where it logs.
    pub logs: PathBuf,
}

/// The control plane that all tests of this process share.
///
/// # Errors
/// It does not start.
pub async fn shared() -> Result<&'static ControlPlane> {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    // Audited, so that any test can count what its own operator asked for.
    let options = Options { audit: true, keep_audit: true, ..Options::default() };
    SHARED.get_or_try_init(|| ControlPlane::start(options)).await
}

impl ControlPlane {
    /// Starts one and waits until it serves and knows our kinds.
    ///
    /// # Errors
    /// Its programs are missing and cannot be built, or it is not ready in time.
    pub async fn start(options: Options) -> Result<Self> {
        let tools = toolchain::kubernetes(options.need()).await?;
        say("Starting a control plane");
        let mut attempt = 1;
        loop {
            match Self::try_start(&tools, options).await {
                Err(error)
                    if attempt < ATTEMPTS && format!("{error:#}").contains("address already in use") =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_start(tools: &Kubernetes, options: Options) -> Result<Self> {
        let scratch = Scratch::new("control-plane")?;
        let logs = scratch.folder("logs")?;
        let folder = scratch.folder("kubernetes")?;
        let authority = Authority::write(&folder)?;
        let admin = Identity::token(ADMIN)?;
        let audit = options.audit.then(|| folder.join("audit.log"));
        let audit = if options.keep_audit { Some(fresh(kept_log())?) } else { audit };
        let flags = flags::Flags::new(&folder, &admin, audit.as_deref())?;

        let mut etcd = Process::start("etcd", flags.etcd(tools), &logs)?;
        let mut api_server = Process::start("kube-apiserver", flags.api_server(tools), &logs)?;
        let admin_config = folder.join("admin.kubeconfig");
        kubeconfig::write(&admin_config, &flags.server(), &authority.ca_pem, &admin)?;
        let ready = wait_until_ready(&admin_config, &mut api_server).await;
        // An API server without a store says little of the reason; etcd knows it.
        ready.map_err(|error| match etcd.must_run() {
            Ok(()) => error,
            Err(ended) => error.context(ended),
        })?;
        if !options.without_definitions {
            // Before the controllers, so that garbage collection knows both kinds from the start.
            definitions::install(&client(&admin_config).await?).await?;
        }
        let controller_manager = flags
            .controller_manager(tools, &admin_config)
            .map(|command| Process::start("kube-controller-manager", command, &logs))
            .transpose()?;
        let server = flags.server();
        let tools = tools.clone();
        Ok(Self {
            controller_manager,
            api_server,
            etcd,
            tools,
            server,
            authority,
            admin,
            admin_config,
            audit,
            scratch,
        })
    }

    /// A client that may do everything. Made anew for each test, because its connections belong to the test's runtime.
    ///
    /// # Errors
    /// The kubeconfig cannot be read.
    pub async fn client(&self) -> Result<Client> {
        client(&self.admin_config).await
    }

    /// A client of an operator that may do what the chart's roles grant and nothing else.
    ///
    /// # Errors
    /// Its kubeconfig cannot be written or used.
    pub async fn operators_client(&self, user: &str) -> Result<Client> {
        client(&self.kubeconfig_for(user, &[OPERATORS])?).await
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.admin_config
    }

    /// kubectl as the administrator, with the plugin's folder on `PATH` once [`Kubectl::with_plugins`] names it.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.tools.kubectl().to_owned(), Some(self.admin_config.clone()))
    }

    /// kubectl for somebody who has no kubeconfig.
    pub fn kubectl_without_config(&self) -> Kubectl {
        Kubectl::new(self.tools.kubectl().to_owned(), None)
    }

    /// A kubeconfig for another user, who may do what RBAC grants to the user or to one of the groups.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let identity = self.authority.user(user, groups)?;
        let path = self.scratch.folder("users")?.join(format!("{user}.kubeconfig"));
        kubeconfig::write(&path, &self.server, &self.authority.ca_pem, &identity)?;
        Ok(path)
    }

    /// The API server's URL.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The administrator's credentials.
    pub fn admin(&self) -> &Identity {
        &self.admin
    }

    /// The audit log, when it was asked for.
    pub fn audit_log(&self) -> Option<&Path> {
        self.audit.as_deref()
    }

    /// The API server's process, to freeze it or to see why it ended.
    pub fn api_server(&mut self) -> &mut Process {
        &mut self.api_server
    }

    /// A folder of this control plane, for whoever runs beside it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        self.scratch.folder(name)
    }

    /// The folder for logs.
    pub fn logs(&self) -> PathBuf {
        self.scratch.path().join("logs")
    }

    /// The folder that everything of this control plane is in.
    pub fn root(&self) -> &Path {
        self.scratch.path()
    }

    /// How a program that runs beside this control plane reaches it.
    ///
    /// # Errors
    /// The folder for its files cannot be made.
    pub fn access(&self, user: &str) -> Result<ClusterAccess> {
        self.access_of(user, &["system:masters"], false)
    }

    /// As [`Self::access`], for an operator that may do what the chart's roles grant and nothing else.
    ///
    /// # Errors
    /// As [`Self::access`].
    pub fn operator_access(&self, user: &str) -> Result<ClusterAccess> {
        self.access_of(user, &[OPERATORS], true)
    }

    fn access_of(&self, user: &str, groups: &[&str], needs_rights: bool) -> Result<ClusterAccess> {
        Ok(ClusterAccess {
            kubeconfig: Some(self.kubeconfig_for(user, groups)?),
            context: None,
            needs_rights: needs_rights.then(|| user.to_owned()),
            kubectl: self.kubectl(),
            folder: self.scratch.folder(user)?,
            logs: self.logs(),
        })
    }

    /// Lets it go on after we have ended; the ids of its processes and its folder.
    pub fn release(self) -> (Vec<u32>, PathBuf) {
        let Self { controller_manager, api_server, etcd, scratch, .. } = self;
        let processes = controller_manager.into_iter().chain([api_server, etcd]);
        (processes.map(Process::release).collect(), scratch.release())
    }
}

/// The path of a file that is not there, in a folder that is.
fn fresh(path: PathBuf) -> Result<PathBuf> {
    let folder = path.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(path),
    }
}

/// A TCP port that is free now. Another process may take it, which a start that is tried again survives.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr().context("a listener without address")?.port())
}

/// A client for the current context of a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    install_crypto();
    let read = kube::config::Kubeconfig::read_from(kubeconfig).context("cannot read the kubeconfig")?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .context("cannot use the kubeconfig")?;
    Client::try_from(config).context("cannot make a client")
}

/// Chooses the TLS provider for this process; the second and later calls change nothing.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

async fn wait_until_ready(kubeconfig: &Path, api_server: &mut Process) -> Result<()> {
    let client = client(kubeconfig).await?;
    let ready = eventually("the API server is ready", PATIENTLY, || {
        let running = api_server.must_run();
        let client = client.clone();
        async move {
            if let Err(ended) = running {
                return Ok(Err(ended));
            }
            let request = http::Request::get("/readyz").body(Vec::new()).context("a GET of a fixed path")?;
            let said = client.request_text(request).await?;
            if said == "ok" { Ok(Ok(())) } else { Err(anyhow!("/readyz says {said}")) }
        }
    });
    match ready.await {
        Ok(verdict) => verdict,
        Err(error) => Err(error.context(api_server.failure("it is not ready"))),
    }
}
