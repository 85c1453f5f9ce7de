//! Two replicas: one leads, the other takes over, and teammates are reached by whoever leads.

use anyhow::{Context as _, Result, ensure};
use connect_crds::OPERATOR_LEASE;
use connect_crds::condition::{kind, reason};
use connect_tests::operator::StandBy;
use connect_tests::teammate::Teammate;
use connect_tests::wait::{PATIENTLY, SOON, eventually};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use serde_json::json;
use tokio::time::timeout;

use crate::restart::{reaches_again, shares_at_the_hub};
use crate::world::{API, World};

#[tokio::test]
async fn a_leader_that_is_asked_to_end_hands_over_at_once() -> Result<()> {
    let (mut world, second, alice, code) = two("hand-over").await?;
    let leases = leases(&world).await?;
    let lease = leases.get(OPERATOR_LEASE).await?;
    let version = lease.metadata.resource_version.clone().context("it has a version")?;
    let first = holder(&lease).context("somebody leads")?;
    let named = format!("metadata.name={OPERATOR_LEASE}");
    let mut changes = Box::pin(leases.watch(&WatchParams::default().fields(&named), &version).await?);

    let ended = world.operator.process().terminate()?;
    ensure!(ended.success(), "it ended with {ended}");
    world.operator = second.leads().await?;
    // Not by running out: the first gave it back, and the second took what was free.
    let mut holders = vec![Some(first)];
    while holders.last().is_some_and(|last| *last == holders[0] || last.is_none()) {
        let change = timeout(PATIENTLY, changes.next()).await.context("nobody takes the Lease")?;
        if let WatchEvent::Modified(lease) = change.context("the watch ended")?? {
            let holder = holder(&lease);
            if holders.last() != Some(&holder) {
                holders.push(holder);
            }
        }
    }
    assert_eq!(holders.len(), 3, "{holders:?}");
    assert_eq!(holders[1], None, "{holders:?}");
    goes_on(&world, &alice, &code).await
}

#[tokio::test]
async fn a_frozen_leader_is_replaced_and_does_nothing_when_it_thaws() -> Result<()> {
    let (mut world, second, alice, code) = two("resumed").await?;
    world.operator.process().freeze()?;
    let mut resumed = std::mem::replace(&mut world.operator, second.leads().await?);
    reaches_again(&alice).await?;

    resumed.process().resume()?;
    let ended = resumed.process().end(PATIENTLY).await?;
    let said = resumed.process().stderr();
    let last = said.lines().rev().take(20).collect::<Vec<_>>().join("\n");
    ensure!(!ended.success(), "it ended with {ended}, as if nothing had happened:\n{last}");
    goes_on(&world, &alice, &code).await
}

/// A share with a teammate, an operator that leads and one that waits.
async fn two(purpose: &str) -> Result<(World, StandBy, Teammate, String)> {
    let world = World::beside_a_hub(purpose).await?;
    let api = world.exposed_api().await?;
    // It serves for as long as the test runs.
    std::mem::forget(api);
    world.apply_share("demo", json!({})).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &world.join_words("demo").await?, &[API]).await?;
    let code = world.code("demo", "code").await?;
    let second = world.operator.stand_by().await?;
    Ok((world, second, alice, code))
}

/// The new leader has what the old one had, and acts.
async fn goes_on(world: &World, alice: &Teammate, code: &str) -> Result<()> {
    reaches_again(alice).await?;
    assert_eq!(world.code("demo", "code").await?, code);
    assert_eq!(shares_at_the_hub(world).await?, [code]);
    world.apply_share("demo", json!({ "revoked": true })).await?;
    world.share_says("demo", kind::READY, "True", reason::REVOKED).await?;
    eventually("the hub has no share", SOON, || async {
        let left = shares_at_the_hub(world).await?.len();
        ensure!(left == 0, "it has {left}");
        Ok(())
    })
    .await
}

async fn leases(world: &World) -> Result<Api<Lease>> {
    Ok(Api::namespaced(world.cluster.client().await?, world.namespace.name()))
}

fn holder(lease: &Lease) -> Option<String> {
    lease.spec.clone()?.holder_identity.filter(|holder| !holder.is_empty())
}
