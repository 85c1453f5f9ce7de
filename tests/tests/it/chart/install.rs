//! What helm installs is enough and not too much: the real operator, started as the installed Deployment says, with the
//! token of the installed ServiceAccount and nothing else, shares a Service; and the API server tells what it asked for.
//!
//! There is no node, so the Pod's part is played here: the Deployment's arguments and environment, with only those replaced
//! that cannot exist on this machine (ports, mounted folders, the token's place).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connect_tests::control_plane::{ControlPlane, Kubectl, Options};
use connect_tests::process::Process;
use connect_tests::services;
use connect_tests::toolchain::{self, product};
use connect_tests::wait::{PATIENTLY, SOON, eventually};
use serde_json::{Value, json};

use super::observe;
use super::pod::{Pod, drain};
use super::{CHARTS, OPERATOR, PREVIOUS};
use crate::guides::{self, code_blocks};
use connect_tests::helm::{Helm, RELEASE};
use connect_tests::rights::audit::{Actor, Right, granted, used};

/// Rights that the operator needs and that this test cannot see used, with the reason.
const UNSEEN: [(&str, &str); 2] = [
    ("own delete secrets", "an identity Secret goes when no Secret of a user speaks of its hub any more"),
    ("own patch secrets", "a rotated token is written when the hub's old one runs out, after weeks"),
];

/// How to keep a hub.
const HUB_GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../operator/hubd/README.md");

/// An uninstallation takes no longer, whatever the hub does.
const LONGEST_UNINSTALL: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_helm_installs_is_enough_and_not_too_much() -> Result<()> {
    let cluster =
        ControlPlane::start(Options { audit: true, without_definitions: true, ..Options::default() }).await?;
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

    helm.run(&["uninstall", "private-connect-crds", "--namespace", "private-connect"]).await?;
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
    // The definition's own default, which says that nobody has looked.
    let fresh = r#"{"observedGeneration":-1}"#;
    assert_eq!(untouched.stdout, fresh, "the operator is not asked to serve team-other");

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
    let (first, serve) = run.trim().rsplit_once('\n').context("a folder and a key, then the hub")?;
    typed(cluster, &folder, first).await?;
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
    let used = used(log, &granted, |entry| {
        let is_operator = entry["user"]["username"] == account.as_str();
        // The first installation has this operator under the roles of the version before, which did not let it see where it is; it
        // goes on without.
        let of_old_roles = entry["requestURI"] == format!("/api/v1/namespaces/{namespace}")
            && entry["responseStatus"]["code"] == 403
            && namespace == "private-connect";
        (is_operator && !of_old_roles).then(|| Actor { own: namespace.to_owned(), serves_own: false })
    })?;
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
