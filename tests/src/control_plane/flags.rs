//! How each program of the control plane is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::certificates::{ACCOUNTS_KEY, ACCOUNTS_PUBLIC_KEY, CA, SERVER_CERTIFICATE, SERVER_KEY};
use super::free_port;
use super::kubeconfig::Identity;
use crate::scratch::private_file;
use crate::toolchain::Kubernetes;

/// ClusterIPs are loopback addresses, so that a backend can be bound to the address which a Service got.
const SERVICE_RANGE: &str = "127.96.0.0/16";

/// The controllers that our objects and our tests rely on. The others would need nodes or do nothing for us.
const CONTROLLERS: &str = "clusterrole-aggregation-controller,endpointslice-controller,garbage-collector-controller,job-controller,namespace-controller,resourcequota-controller";

/// What is asked of the API server, without bodies: who did what to which resource, and the answer. What its
/// administrators ask, which the controllers are as well, is most of all and nobody's question.
const AUDIT_POLICY: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],"rules":[{"level":"None","userGroups":["system:masters"]},{"level":"Metadata"}]}"#;

/// From this size on, in MiB, the API server would go on in another file. All tests together must stay in one, or what
/// was done first is missed; its own limit is 100.
const AUDIT_LOG_MIB: u32 = 10_240;

/// Ports and files of one control plane.
pub(super) struct Flags {
    folder: PathBuf,
    audit: Option<PathBuf>,
    etcd_client: u16,
    etcd_peer: u16,
    secure_port: u16,
}

impl Flags {
    /// Chooses ports and writes the files that the flags name.
    pub(super) fn new(folder: &Path, admin: &Identity, audit: Option<&Path>) -> Result<Self> {
        let token = admin.bearer().context("the administrator has a token")?;
        let line = format!("{token},{name},{name},\"system:masters\"\n", name = admin.name());
        private_file(&folder.join("tokens.csv"), line)?;
        private_file(&folder.join("audit-policy.json"), AUDIT_POLICY)?;
        Ok(Self {
            folder: folder.to_owned(),
            audit: audit.map(Path::to_owned),
            etcd_client: free_port()?,
            etcd_peer: free_port()?,
            secure_port: free_port()?,
        })
    }

    /// The API server's URL.
    pub(super) fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.secure_port)
    }

    pub(super) fn etcd(&self, tools: &Kubernetes) -> Command {
        let client = format!("http://127.0.0.1:{}", self.etcd_client);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer);
        let mut command = Command::new(tools.etcd());
        command
            .arg("--data-dir")
            .arg(self.folder.join("etcd"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            // A crash of the machine may lose it all; nothing here is worth waiting for a disk.
            .arg("--unsafe-no-fsync");
        command
    }

    pub(super) fn api_server(&self, tools: &Kubernetes) -> Command {
        let file = |name: &str| self.folder.join(name);
        let mut command = Command::new(tools.api_server());
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_client))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .arg(format!("--secure-port={}", self.secure_port))
            .arg(flag("cert-dir", &self.folder))
            .arg(flag("tls-cert-file", &file(SERVER_CERTIFICATE)))
            .arg(flag("tls-private-key-file", &file(SERVER_KEY)))
            .arg(flag("client-ca-file", &file(CA)))
            .arg(flag("token-auth-file", &file("tokens.csv")))
            .arg(flag("service-account-key-file", &file(ACCOUNTS_PUBLIC_KEY)))
            .arg(flag("service-account-signing-key-file", &file(ACCOUNTS_KEY)))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"))
            .args(["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount"])
            // A loopback address is no endpoint for the Service `kubernetes`.
            .arg("--endpoint-reconciler-type=none");
        if let Some(log) = &self.audit {
            command
                .arg(flag("audit-policy-file", &file("audit-policy.json")))
                .arg(flag("audit-log-path", log))
                .arg(format!("--audit-log-maxsize={AUDIT_LOG_MIB}"))
                .arg("--audit-log-mode=blocking");
        }
        command
    }

    /// None for a control plane without controllers.
    pub(super) fn controller_manager(&self, tools: &Kubernetes, kubeconfig: &Path) -> Option<Command> {
        let mut command = Command::new(tools.controller_manager()?);
        command
            .arg(flag("kubeconfig", kubeconfig))
            .arg(format!("--controllers={CONTROLLERS}"))
            .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"))
            .args(["--leader-elect=false", "--secure-port=0"]);
        Some(command)
    }
}

fn flag(name: &str, path: &Path) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(format!("--{name}="));
    flag.push(path);
    flag
}
