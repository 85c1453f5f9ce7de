//! The Pods that the chart makes, as the kubelet would run them: there is no node, so their containers are started here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connect_tests::control_plane::{ControlPlane, Kubectl, install_crypto};
use connect_tests::process::Process;
use connect_tests::scratch::{private_file, private_folder};
use connect_tests::toolchain::product;
use connect_tests::wait::{PATIENTLY, SOON, eventually};
use serde_json::{Value, json};

use connect_tests::helm::RELEASE;

/// Where a Pod finds what is mounted.
const MOUNTED: [&str; 2] = ["/etc/private-connect", "/var/lib/private-connect"];

/// The operator, as the kubelet would run it.
pub(super) struct Pod {
    pub(super) process: Process,
    pub(super) hub: String,
    pub(super) admin: String,
}

impl Pod {
    /// Starts the container of the installed Deployment and waits until its readiness probe succeeds.
    pub(super) async fn start(cluster: &ControlPlane, namespace: &str) -> Result<Self> {
        let kubectl = cluster.kubectl().in_namespace(namespace);
        let deployment = kubectl.run(["get", "deployment", RELEASE, "-o", "json"]).await?.success()?;
        let deployment: Value = serde_json::from_str(&deployment.stdout)?;
        let pod = &deployment["spec"]["template"]["spec"];
        let folder = cluster.folder(&format!("pod-{namespace}"))?;
        mount_secrets(&kubectl, pod, &folder).await?;
        let kubeconfig = kubeconfig(cluster, &kubectl, pod, &folder).await?;
        let command = command(pod, namespace, &folder, &kubeconfig).await?;
        let mut process = Process::start(&format!("pod-{namespace}"), command, &cluster.logs())?;
        let (admin, hub) = process.printed("the operator says where it listens", PATIENTLY, urls).await?;
        let probe = pod["containers"][0]["readinessProbe"]["httpGet"]["path"].as_str().context("a probe")?;
        is_ready(&mut process, &format!("{admin}{probe}")).await?;
        Ok(Self { process, hub, admin })
    }
}

async fn is_ready(process: &mut Process, url: &str) -> Result<()> {
    install_crypto();
    let http = reqwest::Client::builder().timeout(SOON).build().context("no HTTP client")?;
    let ready = eventually("the readiness probe succeeds", PATIENTLY, || {
        let running = process.must_run();
        let request = http.get(url).send();
        async move {
            running?;
            request.await?.error_for_status().context("it is not ready").map(drop)
        }
    });
    ready.await.map_err(|error| error.context(process.failure("it is not ready")))
}

/// The admin server and the hub, if it is embedded, from the line that the operator prints once it listens.
fn urls(log: &str) -> Option<(String, String)> {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lines.find_map(|line| line["admin"].is_string().then(|| (text(&line["admin"]), text(&line["hub"]))))
}

/// The container's command on this machine.
async fn command(pod: &Value, namespace: &str, folder: &Path, kubeconfig: &Path) -> Result<Command> {
    let container = &pod["containers"][0];
    let arguments: Vec<String> =
        serde_json::from_value(container["args"].clone()).context("the container has arguments")?;
    let mut command = Command::new(product().await?.operator());
    command.env_clear();
    for argument in arguments {
        command.arg(here(&argument, folder));
    }
    for variable in container["env"].as_array().context("the container has an environment")? {
        let name = variable["name"].as_str().context("a variable has a name")?;
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("metadata.namespace") => namespace,
            Some("metadata.name") => "private-connect-0",
            Some("status.podIP") => "127.0.0.9",
            _ => variable["value"].as_str().with_context(|| format!("{variable} has a value"))?,
        };
        command.env(name, value);
    }
    // What a Pod has by its place: the token, an address of its own; and Services that are not on a loopback address.
    command.arg("--kubeconfig").arg(kubeconfig);
    if container["args"][0] == "run" {
        command.args(["--print-addresses", "--allow-loopback-targets"]);
    }
    Ok(command)
}

/// An argument with what cannot exist on this machine replaced: fixed ports of all addresses, and folders at the root.
fn here(argument: &str, folder: &Path) -> String {
    match argument.split_once('=') {
        Some((flag @ ("--admin-listen" | "--hub-listen"), _)) => format!("{flag}=127.0.0.1:0"),
        Some((flag, value)) if MOUNTED.iter().any(|root| value.starts_with(root)) => {
            format!("{flag}={}{value}", folder.display())
        }
        _ => argument.to_owned(),
    }
}

/// Puts the Secrets that the Pod mounts where the container looks for them.
async fn mount_secrets(kubectl: &Kubectl, pod: &Value, folder: &Path) -> Result<()> {
    let mounts = pod["containers"][0]["volumeMounts"].as_array();
    for mount in mounts.into_iter().flatten() {
        let path = mount["mountPath"].as_str().context("a mount has a path")?;
        let inside = private_folder(&folder.join(path.trim_start_matches('/')))?;
        let mut volumes = pod["volumes"].as_array().into_iter().flatten();
        let volume = volumes.find(|volume| volume["name"] == mount["name"]).context("it has a volume")?;
        let Some(name) = volume["secret"]["secretName"].as_str() else { continue };
        let secret = kubectl.run(["get", "secret", name, "-o", "json"]).await?.success()?;
        let secret: Value = serde_json::from_str(&secret.stdout)?;
        for (key, value) in secret["data"].as_object().context("the Secret has keys")? {
            let value = STANDARD.decode(value.as_str().context("a value is text")?)?;
            private_file(&inside.join(key), value)?;
        }
    }
    Ok(())
}

/// The Pod's only credential: a token of its ServiceAccount, by TokenRequest.
async fn kubeconfig(
    cluster: &ControlPlane,
    kubectl: &Kubectl,
    pod: &Value,
    folder: &Path,
) -> Result<PathBuf> {
    let account = pod["serviceAccountName"].as_str().context("the Pod has an account")?;
    ensure!(pod["automountServiceAccountToken"] == true, "the Pod would have no token");
    let token = kubectl.run(["create", "token", account]).await?.success()?.stdout;
    let admin = std::fs::read_to_string(cluster.kubeconfig()).context("cannot read the kubeconfig")?;
    let mut config: Value = serde_json::from_str(&admin).context("our kubeconfigs are JSON")?;
    config["users"][0]["user"] = json!({"token": token.trim()});
    let path = folder.join("kubeconfig");
    private_file(&path, config.to_string())?;
    Ok(path)
}

/// The hook's Pod, as the kubelet would run it.
pub(super) async fn drain(cluster: &ControlPlane, namespace: &str) -> Result<()> {
    let kubectl = cluster.kubectl().in_namespace(namespace);
    let words = ["get", "pods", "-l", "app.kubernetes.io/name=private-connect-drain", "-o", "json"];
    let pod = eventually("the Job has made its Pod", SOON, || async {
        let pods: Value = serde_json::from_str(&kubectl.run(words).await?.success()?.stdout)?;
        pods["items"].get(0).cloned().context("there is none yet")
    })
    .await?;
    let spec = &pod["spec"];
    let folder = cluster.folder(&format!("drain-{namespace}"))?;
    mount_secrets(&kubectl, spec, &folder).await?;
    let kubeconfig = kubeconfig(cluster, &kubectl, spec, &folder).await?;
    let mut command = tokio::process::Command::from(command(spec, namespace, &folder, &kubeconfig).await?);
    let ended = command.kill_on_drop(true).output().await.context("cannot start the container")?;
    let log = [ended.stderr, ended.stdout].concat();
    let log = String::from_utf8_lossy(&log);
    ensure!(ended.status.success(), "the drain failed:\n{log}");
    let name = pod["metadata"]["name"].as_str().context("a Pod has a name")?;
    let succeeded = ["patch", "pod", name, "--subresource=status", "--type=merge", "-p"];
    let status = r#"{"status":{"phase":"Succeeded"}}"#;
    kubectl.run([&succeeded[..], &[status]].concat()).await?.success().map(drop)
}
