//! What helm installs is enough and not too much: the real operator, started as the installed Deployment says, with the
//! token of the installed ServiceAccount and nothing else, shares a Service; and the API server tells what it asked for.
//!
//! There is no node, so the Pod's part is played here: the Deployment's arguments and environment, with only those replaced
//! that cannot exist on this machine (ports, mounted folders, the token's place).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connect_tests::control_plane::{ControlPlane, Kubectl, Options, install_crypto};
use connect_tests::process::Process;
use connect_tests::scratch::{private_file, private_folder};
use connect_tests::services;
use connect_tests::toolchain::{self, product};
use connect_tests::wait::{PATIENTLY, SOON, eventually};
use serde_json::{Value, json};

use super::audit::{Right, granted, used};
use super::helm::{Helm, RELEASE};
use super::observe;
use super::{CHARTS, OPERATOR, PREVIOUS};
use crate::guides::{self, code_blocks};

/// Rights that the operator needs and that this test cannot see used, with the reason.
const UNSEEN: [(&str, &str); 2] = [
    (
        "create secrets",
        "asked for when a server-side apply makes a code's Secret; the log calls that a patch",
    ),
    ("own patch secrets", "a rotated token is written when the hub's old one runs out, after weeks"),
];

/// How to keep a hub.
const HUB_GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../operator/hubd/README.md");

/// An uninstallation takes no longer, whatever the hub does.
const LONGEST_UNINSTALL: Duration = Duration::from_secs(60);

/// Where a Pod finds what is mounted.
const MOUNTED: [&str; 2] = ["/etc/private-connect", "/var/lib/private-connect"];

#[tokio::test]
async fn what_helm_installs_is_enough_and_not_too_much() -> Result<()> {
    let cluster = ControlPlane::start(Options { audit: true, without_definitions: true }).await?;
    let helm = Helm::of(cluster.kubeconfig()).await?;
    // The version before this one, by README's words.
    let packaged = |block: String| {
        let kinds = format!("{PREVIOUS}/private-connect-crds-0.1.0.tgz");
        let block = block.replace("charts/private-connect-crds", &kinds);
        block.replace("charts/private-connect ", &format!("{PREVIOUS}/private-connect-0.1.0.tgz "))
    };
    follow(&cluster, "helm install", packaged).await?;
    for kind in ["serviceexposes", "environmentshares"] {
        let crd = format!("crd/{kind}.connect.privateconnect.co");
        let words = ["wait", "--for=condition=Established", "--timeout=30s", &crd];
        cluster.kubectl().run(words).await?.success()?;
    }

    cluster_wide_with_its_own_hub(&cluster, &helm).await?;
    for_one_namespace_with_another_hub(&cluster, &helm).await?;

    helm.run(&["uninstall", "private-connect-crds"]).await?;
    // Objects are there, so the kinds must be too.
    let left =
        cluster.kubectl().run(["get", "connect", "--all-namespaces", "-o", "name"]).await?.success()?;
    assert!(left.stdout.contains("/kept"), "{}", left.report());
    Ok(())
}

/// Runs the block of commands in the chart's README that says this, changed by `here`.
async fn follow(cluster: &ControlPlane, says: &str, here: impl Fn(String) -> String) -> Result<()> {
    let readme =
        std::fs::read_to_string(format!("{OPERATOR}/README.md")).context("cannot read the README")?;
    let block = code_blocks(&readme).into_iter().find(|block| block.contains(says));
    let block = block.with_context(|| format!("README has no commands with {says}"))?;
    typed(cluster, &cluster.folder("guide")?, &here(block)).await
}

/// Runs commands as a person does who has kubectl, helm and our programs.
async fn typed(cluster: &ControlPlane, folder: &Path, commands: &str) -> Result<()> {
    let kubectl = cluster.kubectl().with_plugins(product().await?.folder());
    let kubectl = kubectl.with_plugins(toolchain::helm().await?.parent().context("a folder")?);
    let folder = folder.to_str().context("a path is text")?;
    guides::run(&kubectl, folder, &commands.replace(" charts/", &format!(" {CHARTS}/"))).await.map(drop)
}

/// The first installation of a stranger, with the version before this one, and the upgrade to this one.
async fn cluster_wide_with_its_own_hub(cluster: &ControlPlane, helm: &Helm) -> Result<()> {
    let namespace = "private-connect";
    let settings = ["--set", "embeddedHub.enabled=true,labelledServices.enabled=true"];
    let mut pod = Pod::start(cluster, namespace).await?;

    let team = cluster.kubectl().in_namespace("team-anywhere");
    cluster.kubectl().run(["create", "namespace", "team-anywhere"]).await?.success()?;
    expose(&team, "old").await?;
    make_share(&team, "old", json!({})).await?;
    is_joinable(&team, "old").await?;
    team.run(["label", "envshare", "old", "keep=me"]).await?.success()?;
    let before = what_is_kept(&team).await?;
    pod.process.terminate()?;

    let labelled = "--reset-then-reuse-values --set labelledServices.enabled=true";
    follow(cluster, "helm upgrade", |block| block.replace("--reset-then-reuse-values", labelled)).await?;
    let mut pod = Pod::start(cluster, namespace).await?;
    let url = pod.hub.clone();
    eventually("the share is there again with its code and labels", SOON, || async {
        let after = what_is_kept(&team).await?;
        ensure!(after == before, "{after} instead of {before}");
        join(&url, &team, "old", "eve").await
    })
    .await?;
    let story = async {
        use_everything(&team, &pod.hub).await?;
        label_a_service(&team).await?;
        observe::every_query_has_its_metric(helm, &pod.admin).await
    };
    let story = story.await;
    // A refusal of the API server, if there was one, says why the story ended early.
    rights(cluster, helm, namespace, &settings).await?;
    story?;
    uninstall(cluster, namespace).await?;
    // It gave way to the drain.
    pod.process.end(SOON).await?;
    is_exact(cluster, helm, namespace, &settings).await?;
    has_gone(cluster).await?;
    // Nobody is there to take a finalizer off.
    let codes = team.run(["get", "secrets", "-o", "name"]).await?.success()?;
    assert!(!codes.stdout.contains("share-code"), "{}", codes.report());
    let delete = ["delete", "envshare,svcexpose", "--all", "--timeout=20s"];
    team.run(delete).await?.success().map(drop)
}

/// What an upgrade must not change: a share's identity, labels and code.
async fn what_is_kept(team: &Kubectl) -> Result<String> {
    let share = "jsonpath={.metadata.uid} {.metadata.labels.keep} {.spec}";
    let share = team.run(["get", "envshare", "old", "-o", share]).await?.success()?.stdout;
    let code = ["get", "secret", "old-share-code", "-o", "jsonpath={.metadata.uid} {.data.code}"];
    Ok(format!("{share} {}", team.run(code).await?.success()?.stdout))
}

/// Uninstalls, while the operator runs and shares are alive.
async fn uninstall(cluster: &ControlPlane, namespace: &str) -> Result<()> {
    let theirs = format!("--namespace {namespace}");
    let here = |block: String| block.replace("--namespace private-connect", &theirs);
    let uninstalled = tokio::time::timeout(LONGEST_UNINSTALL, follow(cluster, "helm uninstall", here));
    let (told, drained) = tokio::join!(uninstalled, drain(cluster, namespace));
    drained?;
    told.context("the uninstallation takes longer than a minute")?
}

/// The hook's Pod, as the kubelet would run it.
async fn drain(cluster: &ControlPlane, namespace: &str) -> Result<()> {
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

/// Nothing of the release is left. What is being deleted has gone: a volume claim waits for a controller that is not here.
async fn has_gone(cluster: &ControlPlane) -> Result<()> {
    let kinds = "all,sa,role,rolebinding,pvc,clusterrole,clusterrolebinding";
    let words = ["get", kinds, "-A", "-o", "json", "-l", "app.kubernetes.io/instance=private-connect"];
    let left = cluster.kubectl().run(words).await?.success()?;
    let left: Value = serde_json::from_str(&left.stdout)?;
    let left = left["items"].as_array().context("a list has items")?;
    let left: Vec<_> = left.iter().filter(|it| it["metadata"]["deletionTimestamp"].is_null()).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// The installation of somebody who has one namespace, and a hub elsewhere. It is uninstalled with a share alive.
async fn for_one_namespace_with_another_hub(cluster: &ControlPlane, helm: &Helm) -> Result<()> {
    let namespace = "team-operator";
    for name in ["team-one", "team-other"] {
        cluster.kubectl().run(["create", "namespace", name]).await?.success()?;
    }
    let (hub, url) = hub_of_ones_own(cluster, namespace).await?;
    let settings = format!("hub.url={url},hub.apiKeySecret=hub");
    let settings = ["--set", &settings, "--set", "watchNamespaces={team-one}"];
    let mut pod = Pod::start(cluster, namespace).await?;

    let other = cluster.kubectl().in_namespace("team-other");
    expose(&other, "web").await?;
    let team = cluster.kubectl().in_namespace("team-one");
    let story = use_everything(&team, &url).await;
    rights(cluster, helm, namespace, &settings).await?;
    story?;
    let untouched = other.run(["get", "svcexpose", "web", "-o", "jsonpath={.status}"]).await?.success()?;
    assert_eq!(untouched.stdout, "", "the operator is not asked to serve team-other");

    // With the hub down.
    drop(hub);
    uninstall(cluster, namespace).await?;
    // It gave way to the drain.
    pod.process.end(SOON).await?;
    is_exact(cluster, helm, namespace, &settings).await?;
    let waiting = ["get", "connect", "-o", "jsonpath={.items[*].metadata.finalizers}"];
    let waiting = team.run(waiting).await?.success()?;
    ensure!(waiting.stdout.is_empty(), "waits for an operator: {}", waiting.stdout);
    let told = team.run(["get", "events", "-o", "jsonpath={.items[*].reason}"]).await?.success()?;
    ensure!(told.stdout.contains("HubCleanupAbandoned"), "nobody is told: {}", told.stdout);
    Ok(())
}

/// A hub and the operator that uses it, by the words of the hub's guide.
async fn hub_of_ones_own(cluster: &ControlPlane, namespace: &str) -> Result<(Process, String)> {
    let folder = cluster.folder("hub-guide")?;
    let guide = std::fs::read_to_string(HUB_GUIDE).context("cannot read the hub's guide")?;
    let here = guide
        .replace("/var/lib/connect-hub", &folder.join("data").to_string_lossy())
        .replace("0.0.0.0:3001", "127.0.0.1:0")
        .replace("namespace private-connect", &format!("namespace {namespace}"))
        .replace("hub.apiKeySecret=hub", "hub.apiKeySecret=hub --set watchNamespaces={team-one}");
    let blocks = code_blocks(&here);
    let [run, install, team] = &blocks[..] else { anyhow::bail!("the guide has {} blocks", blocks.len()) };
    let (key, serve) = run.trim().split_once('\n').context("a key, then the hub")?;
    typed(cluster, &folder, key).await?;
    let mut command = Command::new(product().await?.hub());
    command.args(serve.split_whitespace().skip(1)).arg("--print-addresses");
    let mut hub = Process::start("guide-hub", command, &cluster.logs())?;
    let url = hub.printed("the hub says where it listens", PATIENTLY, hub_url).await?;
    typed(cluster, &folder, &install.replace("https://hub.example.com", &url)).await?;
    typed(cluster, &folder, &team.replace("secret generic", "secret generic --namespace team-one")).await?;
    Ok((hub, url))
}

/// Where a hub listens, from the line that it prints.
fn hub_url(log: &str) -> Option<String> {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find_map(|line| line["hub"].as_str().map(str::to_owned))
}

/// The API server has refused nothing, and every right is used or explained.
async fn is_exact(cluster: &ControlPlane, helm: &Helm, namespace: &str, settings: &[&str]) -> Result<()> {
    let (granted, used) = rights(cluster, helm, namespace, settings).await?;
    let unused: BTreeSet<String> = granted.difference(&used).map(|right| right.told()).collect();
    let explained: BTreeSet<String> = UNSEEN.iter().map(|(right, _)| (*right).to_owned()).collect();
    println!(
        "{namespace}: {} rights granted, {} used, {} explained, {} unused, 0 refused",
        granted.len(),
        used.len(),
        explained.len(),
        unused.difference(&explained).count()
    );
    assert_eq!(unused, explained, "granted and not used, beside what is known to be");
    Ok(())
}

/// What the installed roles grant, and what the operator has used of it.
async fn rights(
    cluster: &ControlPlane,
    helm: &Helm,
    namespace: &str,
    settings: &[&str],
) -> Result<(BTreeSet<Right>, BTreeSet<Right>)> {
    let granted = granted(&helm.objects(namespace, settings).await?)?;
    let log = cluster.audit_log().context("this control plane keeps an audit log")?;
    let account = format!("system:serviceaccount:{namespace}:{RELEASE}");
    let used = used(log, &account, namespace, &granted)?;
    Ok((granted, used))
}

/// Has the operator do all that it can: a share that stays, with two teammates, and one that is revoked and goes.
async fn use_everything(team: &Kubectl, hub: &str) -> Result<()> {
    expose(team, "web").await?;
    for (share, more) in [("kept", json!({})), ("brief", json!({"ttlSecondsAfterFinished": 0}))] {
        make_share(team, share, more).await?;
        is_joinable(team, share).await?;
    }
    for teammate in ["ada", "bob"] {
        join(hub, team, "kept", teammate).await?;
    }
    let revoke = ["patch", "envshare", "brief", "--type=merge", "--patch", r#"{"spec":{"revoked":true}}"#];
    team.run(revoke).await?.success()?;
    team.run(["wait", "--for=delete", "envshare/brief", "--timeout=60s"]).await?.success().map(drop)
}

async fn expose(team: &Kubectl, name: &str) -> Result<()> {
    services::service(team, name, 8080).await?;
    let object = json!({
        "apiVersion": "connect.privateconnect.co/v1alpha1",
        "kind": "ServiceExpose",
        "metadata": {"name": name},
        // With this reach the hub is told of it without any share, so it leaves by a finalizer.
        "spec": {"serviceRef": {"name": name, "port": 8080}, "reach": "Workspace"},
    });
    team.apply(&object.to_string()).await.map(drop)
}

/// The label makes a ServiceExpose, and takes it along.
async fn label_a_service(team: &Kubectl) -> Result<()> {
    services::service(team, "labelled", 8080).await?;
    team.run(["label", "service", "labelled", "connect.privateconnect.co/expose=true"]).await?.success()?;
    let words = ["wait", "--for=create", "svcexpose/labelled", "--timeout=60s"];
    team.run(words).await?.success()?;
    team.run(["wait", "--for=condition=Ready", "svcexpose/labelled", "--timeout=60s"]).await?.success()?;
    team.run(["label", "service", "labelled", "connect.privateconnect.co/expose-"]).await?.success()?;
    team.run(["wait", "--for=delete", "svcexpose/labelled", "--timeout=60s"]).await?.success().map(drop)
}

async fn make_share(team: &Kubectl, name: &str, spec: Value) -> Result<()> {
    let object = json!({
        "apiVersion": "connect.privateconnect.co/v1alpha1",
        "kind": "EnvironmentShare",
        "metadata": {"name": name},
        "spec": spec,
    });
    team.apply(&object.to_string()).await.map(drop)
}

/// The share has a code, which teammates may use.
async fn is_joinable(team: &Kubectl, name: &str) -> Result<()> {
    let share = format!("envshare/{name}");
    let words = ["wait", "--for=condition=Active", "--timeout=90s", &share];
    if let Err(error) = team.run(words).await?.success() {
        let seen = team.run(["get", &share, "-o", "jsonpath={.status}"]).await?;
        return Err(error.context(seen.report()));
    }
    let words = ["get", "secret", &format!("{name}-share-code"), "-o", "jsonpath={.data.code}"];
    let code = team.run(words).await?.success()?;
    ensure!(!code.stdout.is_empty(), "{}", code.report());
    Ok(())
}

/// Joins as a teammate does, and waits until the share says so.
async fn join(hub: &str, team: &Kubectl, share: &str, teammate: &str) -> Result<()> {
    let words = ["get", "secret", &format!("{share}-share-code"), "-o", "jsonpath={.data.code}"];
    let code = STANDARD.decode(team.run(words).await?.success()?.stdout)?;
    let url = format!("{hub}/v1/env-shares/{}/join", String::from_utf8(code)?);
    let request = reqwest::Client::new().post(url).json(&json!({"agentLabel": teammate})).timeout(SOON);
    request.send().await?.error_for_status().context("the hub lets nobody in")?;
    eventually("the share names the teammate", SOON, || async {
        let recent = "jsonpath={.status.joins.recent}";
        let seen = team.run(["get", "envshare", share, "-o", recent]).await?.success()?;
        ensure!(seen.stdout.contains(teammate), "{}", seen.stdout);
        Ok(())
    })
    .await
}

/// The operator, as the kubelet would run it.
struct Pod {
    process: Process,
    hub: String,
    admin: String,
}

impl Pod {
    /// Starts the container of the installed Deployment and waits until its readiness probe succeeds.
    async fn start(cluster: &ControlPlane, namespace: &str) -> Result<Self> {
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
