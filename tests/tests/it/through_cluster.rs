//! `join --through-cluster`: a hub that lives only inside a cluster, reached through the API server.
//!
//! The control plane here has no nodes: its API server refuses at the last hop, and that sentence is seen. Bytes are seen
//! through a server that speaks the same protocol.

use anyhow::{Context as _, Result, ensure};
use connect_tests::api_server::ApiServer;
use connect_tests::plugin;
use connect_tests::process::Process;
use connect_tests::services::transfer::download;
use connect_tests::wait::PATIENTLY;

use crate::world::World;

/// A hub's Service and its Pod, which nobody runs.
const HUB: &str = r"
apiVersion: v1
kind: Service
metadata: {name: hub}
spec:
  selector: {app: hub}
  ports: [{name: hub, port: 3001, targetPort: hub}]
---
apiVersion: v1
kind: Pod
metadata: {name: hub-0, labels: {app: hub}}
spec:
  automountServiceAccountToken: false
  containers: [{name: hub, image: hub, ports: [{name: hub, containerPort: 3001}]}]
";

#[tokio::test]
async fn bytes_pass_through_a_server_that_forwards_ports() -> Result<()> {
    let world = World::start("through").await?;
    let api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--name", "demo"]).await?;
    let hub = world.operator.hub_url().strip_prefix("http://").context("it speaks http")?.parse()?;
    let server = ApiServer::start(hub).await?;
    let folder = world.cluster.folder("through")?;
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    let kubectl = world.kubectl_elsewhere()?.as_user(kubeconfig);
    let inside = "http://hub.team.svc.cluster.local:3001";
    let words = ["connect", "join", &shared.code, "--through-cluster", "--hub", inside];
    let mut joined = Process::start("through", kubectl.command(words), &folder)?;
    let port: u16 = joined
        .printed("the route is a port of this machine", PATIENTLY, |said| {
            let (_, rest) = said.split_once("[ok] api → localhost:")?;
            rest.split_once('\n')?.0.split(' ').next()?.parse().ok()
        })
        .await?;
    let sentence = "[!] Going to Service hub in namespace team through the cluster's API server: slower";
    ensure!(joined.stderr().starts_with(sentence), "{}", joined.stderr());
    let straight = download(api.address(), "/bytes/8", |_| {}).await?;
    let through = download(([127, 0, 0, 1], port).into(), "/bytes/8", |_| {}).await?;
    assert_eq!(straight.checksum()?, through.checksum()?);
    assert!(joined.terminate()?.success());
    Ok(())
}

#[tokio::test]
async fn what_is_in_the_way_is_one_sentence() -> Result<()> {
    let world = World::start("through-wrong").await?;
    let namespace = world.namespace.name();
    let words = ["connect", "join", "abc123", "--through-cluster", "--service", "hub"];
    let refused = async |sentence: &str| {
        let output = world.kubectl.run(words).await?.fails_with(1)?;
        let said = output.stderr.lines().nth(1).unwrap_or_default().to_owned();
        ensure!(said.starts_with(sentence), "expected {sentence}: {}", output.report());
        anyhow::Ok(())
    };
    refused(&format!("[x] Service hub does not exist in namespace {namespace}")).await?;
    world.kubectl.apply(HUB).await?;
    refused(&format!("[x] No Pod behind Service hub is ready in namespace {namespace}")).await?;
    let ready = r#"{"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}"#;
    world
        .kubectl
        .run(["patch", "pod", "hub-0", "--subresource=status", "--patch", ready])
        .await?
        .success()?;
    refused("[x] The cluster refuses the port-forward to Pod hub-0: ").await?;

    let user = "through-user";
    let kubectl = world.namespace.kubectl();
    let verbs = ["create", "role", user, "--verb=get,list", "--resource=services,pods"];
    kubectl.run(verbs).await?.success()?;
    kubectl.run(["create", "rolebinding", user, "--role", user, "--user", user]).await?.success()?;
    let allowed_less = world.kubectl.clone().as_user(world.cluster.kubeconfig_for(user, &[])?);
    let output = allowed_less.run(words).await?.fails_with(1)?;
    let sentence =
        format!("[x] You do not have permission to create pods/portforward in namespace {namespace}\n");
    ensure!(output.stderr.contains(&sentence), "{}", output.report());
    Ok(())
}
