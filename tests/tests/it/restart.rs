//! An operator that is killed goes on where it was: the same code, one share at the hub, and teammates who reach again.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use connect_tests::services::transfer::download;
use connect_tests::teammate::Teammate;
use connect_tests::wait::{PATIENTLY, eventually};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::world::{API, World};

#[tokio::test]
async fn a_killed_operator_keeps_the_code_and_the_only_hub_share() -> Result<()> {
    let world = World::beside_a_hub("restart").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", serde_json::json!({})).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &world.join_words("demo").await?, &[API]).await?;
    let code = world.code("demo", "code").await?;
    assert_eq!(shares_at_the_hub(&world).await?, std::slice::from_ref(&code));

    let world = world.kill_and_restart_the_operator().await?;
    reaches_again(&alice).await?;
    assert_eq!(world.code("demo", "code").await?, code);
    assert_eq!(shares_at_the_hub(&world).await?, [code]);
    Ok(())
}

#[tokio::test]
async fn an_operator_killed_with_its_embedded_hub_keeps_the_code_and_the_joins() -> Result<()> {
    let world = World::start("restart-embedded").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", serde_json::json!({})).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &world.join_words("demo").await?, &[API]).await?;
    let code = world.code("demo", "code").await?;

    let world = world.kill_and_restart_the_operator().await?;
    // The teammate has not joined again: the hub knows it from before.
    reaches_again(&alice).await?;
    assert_eq!(world.code("demo", "code").await?, code);
    let joins = world.only_share().await?.status.and_then(|status| status.joins).unwrap_or_default();
    assert_eq!(joins.count, 1, "{joins:?}");
    Ok(())
}

#[tokio::test]
async fn a_hub_that_restarts_is_found_again() -> Result<()> {
    let mut world = World::beside_a_hub("hub-restart").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", serde_json::json!({})).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &world.join_words("demo").await?, &[API]).await?;
    let code = world.code("demo", "code").await?;

    let mut hub = world.hub.take().context("it has a hub")?;
    hub.process().kill()?;
    world.hub = Some(hub.restart(&world.cluster.logs()).await?);
    reaches_again(&alice).await?;
    assert_eq!(shares_at_the_hub(&world).await?, [code]);
    Ok(())
}

#[tokio::test]
async fn a_token_that_ends_soon_is_rotated_and_kept() -> Result<()> {
    // Less than the week before its end in which the operator rotates a token.
    let world = World::beside_a_hub_with("rotation", &["--agent-token-days", "2"]).await?;
    let _api = world.exposed_api().await?;
    eventually("the identity Secret holds a token that the hub made", PATIENTLY, || async {
        let identity = identity(&world).await?;
        identity.get("tokenExpiresAt").context("its token is the one it was made with").map(drop)
    })
    .await?;
    world.apply_share("demo", serde_json::json!({})).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &world.join_words("demo").await?, &[API]).await?;
    let code = world.code("demo", "code").await?;

    // The hub takes no other token for this agent: what was stored is what it made.
    let world = world.kill_and_restart_the_operator().await?;
    reaches_again(&alice).await?;
    assert_eq!(shares_at_the_hub(&world).await?, [code]);
    Ok(())
}

/// Waits until the teammate gets bytes from the Service.
pub(crate) async fn reaches_again(teammate: &Teammate) -> Result<()> {
    let address = teammate.address(API)?;
    eventually("the teammate reads from the Service again", PATIENTLY, || async {
        download(address, "/bytes/1", |_| {}).await?.checksum().map(drop)
    })
    .await
}

/// The codes of all live shares that the operator has at its hub.
pub(crate) async fn shares_at_the_hub(world: &World) -> Result<Vec<String>> {
    let hub = world.hub.as_ref().context("it has a hub of its own")?;
    let identity = identity(world).await?;
    let agent = identity.get("agentId").context("the identity has an agent id")?;
    let answer = reqwest::Client::new()
        .get(format!("{}/v1/env-shares", hub.url()))
        .header("x-api-key", std::fs::read_to_string(hub.key_file())?)
        .header("x-agent-id", std::str::from_utf8(&agent.0)?)
        .send()
        .await?;
    ensure!(answer.status().is_success(), "the hub answers {}", answer.status());
    let rows: serde_json::Value = serde_json::from_str(&answer.text().await?)?;
    let rows = rows.as_array().or_else(|| rows["shares"].as_array()).with_context(|| format!("{rows}"))?;
    rows.iter().map(|row| Ok(row["code"].as_str().context("a share has a code")?.to_owned())).collect()
}

/// What the operator's identity Secret holds.
async fn identity(world: &World) -> Result<BTreeMap<String, ByteString>> {
    let secrets: Api<Secret> = Api::namespaced(world.cluster.client().await?, world.namespace.name());
    Ok(secrets.get("private-connect-identity").await?.data.unwrap_or_default())
}
