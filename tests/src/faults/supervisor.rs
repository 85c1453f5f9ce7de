//! Keeps an operator running, as a cluster does: whatever ends is started again, unharmed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::baseline;
use super::relay::Kill;
use super::scenario::Fixture;
use crate::hub::Addresses;
use crate::process::Process;

/// Pause between two looks at whether it still runs.
const PAUSE: Duration = Duration::from_millis(20);

/// How long an operator may take to end when it is asked to.
const END: Duration = Duration::from_secs(20);

/// What is kept running.
#[derive(Clone)]
pub enum Subject {
    /// The operator.
    Operator {
        /// The program.
        program: PathBuf,
        /// Its environment, always.
        environment: Vec<(String, String)>,
        /// Its environment at the first start only.
        at_first: Vec<(String, String)>,
    },
    /// The baseline operator, in this process.
    Baseline,
}

/// An operator that is started again whenever it ends.
pub struct Supervisor {
    running: Arc<Mutex<Running>>,
    keeping: JoinHandle<Result<()>>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Running {
    pid: Option<u32>,
    task: Option<AbortHandle>,
    starts: usize,
    admin: Option<String>,
}

// === impl Supervisor ===

impl Supervisor {
    /// Starts it.
    ///
    /// # Errors
    /// Its files cannot be written.
    pub fn start(subject: Subject, fixture: Arc<Fixture>) -> Self {
        let running = Arc::<Mutex<Running>>::default();
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(keep(subject, fixture, running.clone(), stop.clone()));
        Self { running, keeping, stop }
    }

    /// Ends it at once; it is started again.
    pub fn kill(&self) -> Kill {
        let running = self.running.clone();
        Arc::new(move || {
            let running = running.lock().unwrap_or_else(PoisonError::into_inner);
            signal(running.pid, Signal::KILL);
            if let Some(task) = &running.task {
                task.abort();
            }
        })
    }

    /// Sends a signal to the process.
    pub fn signal(&self, what: Signal) {
        signal(self.running.lock().unwrap_or_else(PoisonError::into_inner).pid, what);
    }

    /// How often it was started.
    pub fn starts(&self) -> usize {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).starts
    }

    /// Where it serves metrics, once it says so.
    pub fn admin(&self) -> Option<String> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).admin.clone()
    }

    /// The process's id.
    pub fn pid(&self) -> Option<u32> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).pid
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// It could not be started, or does not end.
    pub async fn end(self) -> Result<()> {
        self.stop.cancel();
        self.keeping.await.context("the supervisor failed")?
    }
}

fn signal(pid: Option<u32>, what: Signal) {
    let group = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    // It may have ended a moment ago.
    let _ = group.map(|group| kill_process_group(group, what));
}

async fn keep(
    subject: Subject,
    fixture: Arc<Fixture>,
    running: Arc<Mutex<Running>>,
    stop: CancellationToken,
) -> Result<()> {
    let note =
        |change: &dyn Fn(&mut Running)| change(&mut running.lock().unwrap_or_else(PoisonError::into_inner));
    loop {
        let is_first = running.lock().unwrap_or_else(PoisonError::into_inner).starts == 0;
        match &subject {
            Subject::Operator { program, environment, at_first } => {
                let at_first = if is_first { at_first.as_slice() } else { &[] };
                let command = command(program, &fixture, environment.iter().chain(at_first))?;
                let mut process =
                    Process::start(&format!("operator-{}", fixture.namespace), command, &fixture.logs)?;
                let pid = process.id();
                note(&|running| {
                    running.pid = Some(pid);
                    running.admin = None;
                    running.starts += 1;
                });
                while process.status()?.is_none() {
                    if let Some(Addresses { admin: Some(admin), .. }) = Addresses::find(&process.stdout()) {
                        note(&|running| running.admin = Some(admin.clone()));
                    }
                    if stop.is_cancelled() {
                        signal(Some(pid), Signal::TERM);
                        process.end(END).await?;
                        return Ok(());
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Subject::Baseline => {
                let task = tokio::spawn(baseline::run(fixture.clone()));
                note(&|running| {
                    running.task = Some(task.abort_handle());
                    running.starts += 1;
                });
                tokio::select! {
                    // Killed, or failed: started again either way.
                    _ = task => tokio::time::sleep(PAUSE).await,
                    () = stop.cancelled() => {}
                }
            }
        }
        note(&|running| {
            if let Some(task) = running.task.take() {
                task.abort();
            }
            running.pid = None;
        });
        if stop.is_cancelled() {
            return Ok(());
        }
        free_lease(&fixture).await;
    }
}

fn command<'a>(
    program: &PathBuf,
    fixture: &Fixture,
    environment: impl Iterator<Item = &'a (String, String)>,
) -> Result<Command> {
    let kubeconfig = fixture.folder.join("operator.kubeconfig");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "relay", "cluster": { "server": fixture.api_url } }],
        "users": [{ "name": "operator", "user": {} }],
        "contexts": [{ "name": "relay", "context": { "cluster": "relay", "user": "operator" } }],
        "current-context": "relay",
    });
    fs::write(&kubeconfig, config.to_string()).context("cannot write the kubeconfig")?;
    let mut command = Command::new(program);
    command.args(["run", "--admin-listen", "127.0.0.1:0", "--print-addresses", "--allow-loopback-targets"]);
    command.args(["--namespace", &fixture.namespace, "--watch-namespaces", &fixture.namespace]);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.args(["--hub-url", &fixture.hub_url, "--hub-api-key-file"]).arg(&fixture.hub_key);
    command.envs(environment.map(|(name, value)| (name, value)));
    Ok(command)
}

/// A dead holder's Lease runs out in seconds; a matrix of hundreds of deaths does not wait for each.
async fn free_lease(fixture: &Fixture) {
    let leases: Api<Lease> = Api::namespaced(fixture.client.clone(), &fixture.namespace);
    let nobody = Patch::Merge(json!({ "spec": { "holderIdentity": null } }));
    // There may be none yet.
    let _ = leases.patch(connect_crds::OPERATOR_LEASE, &PatchParams::default(), &nobody).await;
}
