//! Hubs that keep no share to its end: whole hours only, a longest life, no changes. What we say and do about it.

use anyhow::{Result, ensure};
use connect_crds::condition::{kind, reason};
use connect_tests::control_plane;
use connect_tests::vendor_hub::VendorHub;
use connect_tests::wait::{PATIENTLY, SOON, eventually};
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_share_that_outlives_the_hubs_longest_gets_a_new_code_before_the_old_one_ends() -> Result<()> {
    let hub = vendor_hub("renewal", &[("HUB_LONGEST_SECONDS", "30")]).await?;
    let world = World::at_hub("renewal", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", json!({ "expires": "1h" })).await?;
    world.share_says("demo", kind::ACTIVE, "True", reason::JOINABLE).await?;
    let first = world.code("demo", "code").await?;
    let second = eventually("the share has a new code", PATIENTLY, || async {
        let code = world.code("demo", "code").await?;
        let known = preview(&hub, &code).await?;
        // What was read before the change may be void after it; what is still there must not be.
        let still = world.code("demo", "code").await? == code;
        ensure!(known == StatusCode::OK || !still, "the code in the Secret is void: {known}");
        ensure!(code != first, "it has the first");
        Ok(code)
    })
    .await?;
    assert_eq!(preview(&hub, &second).await?, StatusCode::OK);
    eventually("the first code is closed", SOON, || async {
        let said = preview(&hub, &first).await?;
        ensure!(said == StatusCode::NOT_FOUND, "the hub answers {said}");
        Ok(())
    })
    .await?;
    assert!(!world.events("CodeChanged").await?.is_empty());
    world.share_says("demo", kind::ACTIVE, "True", reason::JOINABLE).await.map(drop)
}

#[tokio::test]
async fn a_limit_of_joins_over_more_than_the_hubs_longest_is_refused() -> Result<()> {
    let hub = vendor_hub("too-long", &[]).await?;
    let world = World::at_hub("too-long", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", json!({ "expires": "14d", "maxJoins": 2 })).await?;
    world.share_says("demo", kind::ACCEPTED, "False", reason::EXPIRATION_TOO_LONG).await?;
    world.code("demo", "code").await.expect_err("it has no code");
    // Without the limit it can be kept to its end.
    world.apply_share("demo", json!({ "expires": "14d" })).await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await.map(drop)
}

#[tokio::test]
async fn a_share_ends_at_its_second_though_the_hub_knows_hours_only() -> Result<()> {
    let hub = vendor_hub("hours-only", &[]).await?;
    let world = World::at_hub("hours-only", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    let end = Timestamp::from_second((Timestamp::now() + SignedDuration::from_secs(10)).as_second())?;
    world.apply_share("demo", json!({ "expirationTime": end.to_string() })).await?;
    let code = eventually("the share has a code", SOON, || world.code("demo", "code")).await?;
    let ended = eventually("the hub refuses the code", SOON, || async {
        let said = preview(&hub, &code).await?;
        ensure!(said == StatusCode::NOT_FOUND, "the hub answers {said}");
        Ok(Timestamp::now())
    });
    assert!(ended.await? >= end, "it was closed before its end");
    world.share_says("demo", kind::READY, "True", reason::EXPIRED).await.map(drop)
}

async fn vendor_hub(purpose: &str, environment: &[(&str, &str)]) -> Result<VendorHub> {
    VendorHub::start(&control_plane::shared().await?.folder(&format!("{purpose}-hub"))?, environment).await
}

/// What the hub says to whoever types the code.
async fn preview(hub: &VendorHub, code: &str) -> Result<StatusCode> {
    Ok(reqwest::get(format!("{}/v1/env-shares/{code}", hub.url())).await?.status())
}
