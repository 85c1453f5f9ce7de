//! Who an operator is at its hub, and whose is what there: codes in wrong Secrets, hubs that have forgotten us.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{kind, reason};
use connect_tests::control_plane;
use connect_tests::hub::Hub;
use connect_tests::services::transfer::download;
use connect_tests::teammate::Teammate;
use connect_tests::wait::{PATIENTLY, eventually};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use reqwest::StatusCode;
use serde_json::json;

use crate::world::{API, World};

/// The Secret of the operator's identity.
const IDENTITY: &str = "private-connect-identity";

#[tokio::test]
async fn a_foreign_code_in_somebodys_secret_closes_nothing() -> Result<()> {
    let mut world = World::beside_a_hub("foreign-code").await?;
    let _api = world.exposed_api().await?;
    let names = ["victim", "deleted", "rotated", "revoked"];
    for name in names {
        world.apply_share(name, json!({})).await?;
        world.share_says(name, kind::ACTIVE, "True", reason::JOINABLE).await?;
    }
    let code = world.code("victim", "code").await?;
    let mut own = Vec::new();
    for name in &names[1..] {
        own.push(world.code(name, "code").await?);
    }
    // While nobody looks, each writes the code of another into the own Secret, and ends the own share in every way.
    world.operator.process().kill()?;
    let secrets: Api<Secret> = Api::namespaced(world.cluster.client().await?, world.namespace.name());
    for name in &names[1..] {
        let foreign = json!({ "stringData": { "code": code } });
        let name = format!("{name}-share-code");
        secrets.patch(&name, &PatchParams::default(), &Patch::Merge(&foreign)).await?;
    }
    world.kubectl.run(["delete", "environmentshare", "deleted", "--wait=false"]).await?.success()?;
    let rotate = "connect.privateconnect.co/rotate=now";
    world.kubectl.run(["annotate", "environmentshare", "rotated", rotate]).await?.success()?;
    world.apply_share("revoked", json!({ "revoked": true })).await?;

    let world = world.start_the_operator_again().await?;
    world
        .kubectl
        .run(["wait", "--for=delete", "environmentshare/deleted", "--timeout=60s"])
        .await?
        .success()?;
    world.share_says("revoked", kind::READY, "True", reason::REVOKED).await?;
    world.share_says("rotated", kind::ACTIVE, "True", reason::JOINABLE).await?;
    for code in own {
        eventually("the own code is void", PATIENTLY, || async {
            let said = preview(&world, &code).await?;
            ensure!(said == StatusCode::NOT_FOUND, "the hub answers {said}");
            Ok(())
        })
        .await?;
    }
    assert_eq!(preview(&world, &code).await?, StatusCode::OK, "the victim's share was closed");
    world.share_says("victim", kind::READY, "True", reason::SHARED).await?;
    assert_eq!(world.code("victim", "code").await?, code);
    assert_ne!(world.code("rotated", "code").await?, code);
    Teammate::join(&world.kubectl, "alice", &world.join_words("victim").await?, &[API]).await.map(drop)
}

#[tokio::test]
async fn a_hub_that_was_set_back_to_an_older_copy_is_entered_again() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let folder = cluster.folder("set-back")?;
    let mut hub = Hub::start(&folder, &cluster.logs()).await?;
    // The copy knows the key, and nothing of any operator.
    hub.process().kill()?;
    copy(hub.data(), &folder.join("copy"))?;
    let mut hub = hub.restart(&cluster.logs()).await?;
    let mut world = World::at_hub("set-back", hub.url(), hub.key_file()).await?;
    let api = world.exposed_api().await?;
    world.apply_share("demo", json!({})).await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    let (before, agent) = (world.code("demo", "code").await?, agent(&world).await?);

    hub.process().kill()?;
    copy(&folder.join("copy"), hub.data())?;
    let hub = hub.restart(&cluster.logs()).await?;
    let after = eventually("the share has a code that the hub knows", PATIENTLY, || async {
        let code = world.code("demo", "code").await?;
        ensure!(code != before, "it is the old one");
        let said = preview_at(hub.url(), &code).await?;
        ensure!(said == StatusCode::OK, "the hub answers {said}");
        Ok(code)
    });
    after.await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    assert_eq!(self::agent(&world).await?, agent, "the hub takes the same agent again");
    world.operator.process().must_run()?;
    let alice = Teammate::join(&world.kubectl, "alice", &world.join_words("demo").await?, &[API]).await?;
    let whole = download(api.address(), "/bytes/1", |_| {}).await?;
    assert_eq!(download(alice.address(API)?, "/bytes/1", |_| {}).await?.checksum()?, whole.checksum()?);
    Ok(())
}

#[tokio::test]
async fn a_hub_that_knows_an_older_token_or_none_is_entered_again() -> Result<()> {
    let mut world = World::beside_a_hub("older-token").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", json!({})).await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    let (code, agent) = (world.code("demo", "code").await?, agent(&world).await?);
    let identity = secret(&world).await?;
    let token = identity.get("token").context("it has a token")?.0.clone();
    let unknown = "0".repeat(64);

    // As after a rotation of which the hub's copy knows nothing.
    let previous = format!("{}\n{}", "1".repeat(64), String::from_utf8(token)?);
    world.operator.process().kill()?;
    write(&world, json!({ "token": unknown, "previousTokens": previous })).await?;
    let mut world = world.start_the_operator_again().await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    assert_eq!(self::agent(&world).await?, agent);
    assert_eq!(world.code("demo", "code").await?, code);
    Teammate::join(&world.kubectl, "alice", &world.join_words("demo").await?, &[API]).await?;

    // The hub knows none of them.
    world.operator.process().kill()?;
    write(&world, json!({ "token": unknown, "previousTokens": "2".repeat(64) })).await?;
    let world = world.start_the_operator_again().await?;
    eventually("the share has a code of the new agent", PATIENTLY, || async {
        ensure!(world.code("demo", "code").await? != code, "it is the old one");
        Ok(())
    })
    .await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    assert_ne!(self::agent(&world).await?, agent);
    Teammate::join(&world.kubectl, "bob", &world.join_words("demo").await?, &[API]).await.map(drop)
}

#[tokio::test]
async fn hub_secrets_that_are_rewritten_leave_nothing_behind() -> Result<()> {
    /// How often the Secret is rewritten.
    const TIMES: usize = 5;
    let world = World::beside_a_hub("rewritten").await?;
    let _api = world.exposed_api().await?;
    let hub = world.hub.as_ref().context("it has a hub")?;
    let key = std::fs::read_to_string(hub.key_file())?;
    for time in 0..=TIMES {
        // The same hub and key, and yet another Secret.
        let ca = format!("# {time}\n");
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "team-hub" },
            "type": "connect.privateconnect.co/hub",
            "stringData": { "url": hub.url(), "apiKey": key.trim(), "ca.crt": ca },
        });
        world.kubectl.apply(&secret.to_string()).await?;
        if time == 0 {
            world.apply_share("demo", json!({ "hubRef": { "name": "team-hub" } })).await?;
        }
        let count = eventually("the share is at the hub by another agent", PATIENTLY, || async {
            let agents = agents_at(hub.url(), key.trim()).await?;
            ensure!(agents > time.min(1), "the hub knows {agents} agents");
            Ok(agents)
        });
        count.await?;
        world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    }
    let secrets: Api<Secret> = Api::namespaced(world.cluster.client().await?, world.namespace.name());
    eventually("one identity for the Secret and the operator's own are left", PATIENTLY, || async {
        let mut names: Vec<String> =
            secrets.list(&ListParams::default()).await?.iter().map(ResourceExt::name_any).collect();
        names.retain(|name| name.starts_with(IDENTITY));
        ensure!(names.len() == 2, "there are {names:?}");
        let agents = agents_at(hub.url(), key.trim()).await?;
        ensure!(agents == 2, "the hub knows {agents} agents");
        Ok(())
    })
    .await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    Teammate::join(&world.kubectl, "alice", &world.join_words("demo").await?, &[API]).await.map(drop)
}

/// How many agents the workspace has that are not guests.
async fn agents_at(hub: &str, key: &str) -> Result<usize> {
    let answer = reqwest::Client::new().get(format!("{hub}/v1/agents")).header("x-api-key", key);
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&answer.send().await?.error_for_status()?.text().await?)?;
    Ok(rows.len())
}

async fn preview(world: &World, code: &str) -> Result<StatusCode> {
    preview_at(world.operator.hub_url(), code).await
}

/// What the hub says to whoever types the code.
async fn preview_at(hub: &str, code: &str) -> Result<StatusCode> {
    Ok(reqwest::get(format!("{hub}/v1/env-shares/{code}")).await?.status())
}

async fn secret(world: &World) -> Result<BTreeMap<String, ByteString>> {
    let secrets: Api<Secret> = Api::namespaced(world.cluster.client().await?, world.namespace.name());
    Ok(secrets.get(IDENTITY).await?.data.unwrap_or_default())
}

async fn agent(world: &World) -> Result<String> {
    let data = secret(world).await?;
    Ok(String::from_utf8(data.get("agentId").context("it has an agent id")?.0.clone())?)
}

async fn write(world: &World, data: serde_json::Value) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(world.cluster.client().await?, world.namespace.name());
    let change = json!({ "stringData": data });
    secrets.patch(IDENTITY, &PatchParams::default(), &Patch::Merge(&change)).await?;
    Ok(())
}

/// Replaces the files of a folder by those of another.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for old in std::fs::read_dir(to)? {
        std::fs::remove_file(old?.path())?;
    }
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
