//! Shares that Git holds: nothing generated in the spec, a share that is past at birth makes no code, and tools see each
//! state as what it is. What `crds/gitops` tells people to use is what runs here.

mod argo;
mod ask;
mod empty;
mod flux;
mod health;
mod kustomize;

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{kind, reason};
use connect_tests::control_plane;
use connect_tests::hub::Hub;
use connect_tests::recording_proxy::RecordingProxy;
use connect_tests::wait::{SOON, eventually};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::guides::{code_blocks, run};
use crate::world::{API, World};

/// How often a share that is over is deleted and made again.
const RESURRECTIONS: usize = 12;

/// The files for people.
const KIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/gitops");

fn read_kit(file: &str) -> Result<String> {
    std::fs::read_to_string(format!("{KIT}/{file}")).with_context(|| format!("cannot read {file}"))
}

/// A file of one YAML document.
fn kit(file: &str) -> Result<Value> {
    serde_saphyr::from_str(&read_kit(file)?).with_context(|| format!("{file} is not YAML"))
}

/// What a tool's object carries, and the name under which the tool writes.
const TOOLS: [(&str, &str, &str); 2] = [
    ("argocd-controller", "annotations", "argocd.argoproj.io/tracking-id"),
    ("kustomize-controller", "labels", "kustomize.toolkit.fluxcd.io/name"),
];

/// A share as a tool applies it.
fn tracked(name: &str, tool: usize, spec: &Value) -> Value {
    let (_, place, key) = TOOLS[tool];
    json!({"apiVersion": "connect.privateconnect.co/v1alpha1", "kind": "EnvironmentShare",
        "metadata": {"name": name, place: {key: "apps"}}, "spec": spec})
}

#[tokio::test]
async fn the_example_is_applied_by_both_tools_without_a_difference() -> Result<()> {
    let world = World::start("git-example").await?;
    world.service("postgres", 5432).await?;
    let example = read_kit("share.yaml")?;
    for (manager, ..) in TOOLS {
        let manager = format!("--field-manager={manager}");
        let apply = ["apply", "--server-side", "--force-conflicts", &manager, "-f", "-"];
        world.kubectl.run_with_input(apply, &example).await?.success()?;
        world.share_says("staging", kind::READY, "True", reason::SHARED).await?;
        let before = versions(&world).await?;
        world.kubectl.run_with_input(apply, &example).await?.success()?;
        assert_eq!(versions(&world).await?, before, "applied again, something was written");
        let diff = ["diff", "--server-side", "--force-conflicts", &manager, "-f", "-"];
        let differs = world.kubectl.run_with_input(diff, &example).await?.success()?;
        assert_eq!(differs.stdout, "");
    }
    Ok(())
}

#[tokio::test]
async fn the_guide_s_commands_do_what_it_says() -> Result<()> {
    let world = World::start("git-guide").await?;
    world.service("postgres", 5432).await?;
    world.kubectl.apply(&read_kit("share.yaml")?).await?;
    world.share_says("staging", kind::READY, "True", reason::SHARED).await?;
    let argo = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"}}]});
    world.cluster.kubectl().apply(&argo.to_string()).await?;
    let blocks = code_blocks(&read_kit("README.md")?);
    let [code, argo] = blocks.as_slice() else { anyhow::bail!("other blocks: {blocks:?}") };
    let here = code.replace("get secret", &format!("get -n {} secret", world.namespace.name()));
    let said = run(&world.kubectl, KIT, &here).await?;
    assert_eq!(said.trim(), world.code("staging", "joinCommand").await?);
    let patched = run(&world.kubectl, KIT, argo).await;
    world.cluster.kubectl().run(["delete", "namespace", "argocd", "--wait=false"]).await?.success()?;
    assert_eq!(patched?, "configmap/argocd-cm patched\n");
    Ok(())
}

/// Generation and version of what the example applies.
async fn versions(world: &World) -> Result<Vec<(Value, Value)>> {
    let words = ["get", "serviceexpose/postgres", "environmentshare/staging", "--output", "json"];
    let listed: Value = serde_json::from_str(&world.kubectl.run(words).await?.success()?.stdout)?;
    let items = listed["items"].as_array().cloned().unwrap_or_default();
    let version =
        |item: &Value| (item["metadata"]["generation"].clone(), item["metadata"]["resourceVersion"].clone());
    Ok(items.iter().map(version).collect())
}

#[tokio::test]
async fn a_share_that_is_over_does_not_come_back() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let hub = Hub::start(&cluster.folder("resurrection")?, &cluster.logs()).await?;
    let proxy = RecordingProxy::start(hub.url()).await?;
    let world = World::at_hub("resurrection", proxy.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    let past = tracked("past", 0, &json!({"expirationTime": "2024-01-15T10:30:00Z"})).to_string();
    for _ in 0..RESURRECTIONS {
        world.kubectl.apply(&past).await?;
        world.share_says("past", kind::READY, "True", reason::EXPIRED).await?;
        world.delete_share("past").await?;
    }
    let made: Vec<String> =
        proxy.requests().into_iter().filter(|request| request.starts_with("POST /v1/env-shares")).collect();
    assert_eq!(made, [""; 0], "the hub was asked for a share");
    // The same hub does see a share that lives.
    world.apply_share("alive", json!({})).await?;
    world.share_says("alive", kind::READY, "True", reason::SHARED).await?;
    ensure!(
        proxy.requests().iter().any(|request| request.starts_with("POST /v1/env-shares")),
        "{:?}",
        proxy.requests()
    );
    Ok(())
}

#[tokio::test]
async fn what_a_tool_manages_never_deletes_itself() -> Result<()> {
    let world = World::start("git-ttl").await?;
    world.service(API, 8080).await?;
    let over = json!({"expirationTime": "2024-01-15T10:30:00Z", "ttlSecondsAfterFinished": 1});
    for tool in 0..TOOLS.len() {
        world.kubectl.apply(&tracked(&format!("tracked-{tool}"), tool, &over).to_string()).await?;
    }
    world.share_says("tracked-0", kind::READY, "True", reason::EXPIRED).await?;
    world.share_says("tracked-1", kind::READY, "True", reason::EXPIRED).await?;
    // Made later and judged by the same clock: when it has gone, the others have been spared.
    world.apply_share("free", over).await?;
    let shares = world.shares().await?;
    eventually("the share that nobody manages has gone", SOON, || async {
        let names: Vec<String> = shares
            .list(&ListParams::default())
            .await?
            .items
            .into_iter()
            .filter_map(|it| it.metadata.name)
            .collect();
        ensure!(names == ["tracked-0", "tracked-1"], "{names:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_share_born_past_its_end_is_ready_expired_and_has_no_code() -> Result<()> {
    let world = World::start("born-expired").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("past", json!({ "expirationTime": "2024-01-15T10:30:00Z" })).await?;
    world.share_says("past", kind::ACTIVE, "False", reason::EXPIRED).await?;
    let share = world.share_says("past", kind::READY, "True", reason::EXPIRED).await?;
    let status = share.status.unwrap_or_default();
    assert_eq!(status.joins.unwrap_or_default().count, 0);
    let code = world.code("past", "code").await.expect_err("there is no Secret");
    ensure!(code.to_string().contains("not found"), "{code:#}");
    Ok(())
}

#[tokio::test]
async fn the_operator_writes_no_field_of_any_spec() -> Result<()> {
    let world = World::start("spec").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", json!({ "displayName": "demo" })).await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    for kind in ["environmentshares", "serviceexposes"] {
        let words = ["get", kind, "--output", "json", "--show-managed-fields"];
        let listed: Value = serde_json::from_str(&world.kubectl.run(words).await?.success()?.stdout)?;
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        assert_eq!(items.len(), 1, "{kind}");
        let managers = items[0]["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let operators: Vec<_> =
            managers.iter().filter(|entry| entry["subresource"] == "status" || !is_user(entry)).collect();
        assert!(!operators.is_empty(), "{kind}: the operator has written nothing: {managers:?}");
        for entry in operators {
            assert!(entry["fieldsV1"]["f:spec"].is_null(), "{kind}: {entry}");
        }
    }
    Ok(())
}

/// Whether a person wrote these fields, with kubectl or with the plugin.
fn is_user(entry: &Value) -> bool {
    entry["manager"].as_str().is_some_and(|manager| manager.starts_with("kubectl"))
}
