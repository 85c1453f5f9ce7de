//! Hubs whose plan allows few services and that delete none: what ended shares had is used again, and nothing else is.

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{find, kind, reason};
use connect_tests::control_plane;
use connect_tests::plugin;
use connect_tests::services::{http, transfer::download};
use connect_tests::teammate::Teammate;
use connect_tests::vendor_hub::VendorHub;
use connect_tests::wait::{SOON, eventually};
use serde_json::{Value, json};

use crate::world::World;

/// How many services the plan allows.
const LIMIT: usize = 2;

/// How a share is ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Revoked,
    Deleted,
}

async fn hub(purpose: &str, limit: usize) -> Result<VendorHub> {
    let folder = control_plane::shared().await?.folder(&format!("{purpose}-hub"))?;
    VendorHub::start(&folder, &[("HUB_MAX_SERVICES", &limit.to_string())]).await
}

/// How many services the hub has.
async fn services(hub: &VendorHub) -> Result<usize> {
    let key = std::fs::read_to_string(hub.key_file())?;
    let request = reqwest::Client::new().get(format!("{}/v1/services", hub.url()));
    let rows: Vec<Value> = request.header("x-api-key", key.trim()).send().await?.json().await?;
    Ok(rows.len())
}

/// Ends a share and waits until it is over.
async fn end(world: &World, name: &str, how: End) -> Result<()> {
    match how {
        End::Deleted => world.delete_share(name).await,
        End::Revoked => {
            world
                .apply_share(
                    name,
                    json!({ "expires": "1h", "revoked": true, "routes": { "names": ["api"] } }),
                )
                .await?;
            world.share_says(name, kind::READY, "True", reason::REVOKED).await.map(drop)
        }
    }
}

async fn apply(world: &World, name: &str, route: &str) -> Result<()> {
    world.apply_share(name, json!({ "expires": "1h", "routes": { "names": [route] } })).await
}

/// What the share says of being ready.
async fn ready_message(world: &World, name: &str) -> Result<String> {
    let share = world.shares().await?.get(name).await?;
    let conditions = share.status.unwrap_or_default().conditions;
    Ok(find(&conditions, kind::READY).map(|ready| ready.message.clone()).unwrap_or_default())
}

/// Bytes pass for whoever joins with the share's code.
async fn carries(world: &World, hub: &VendorHub, name: &str) -> Result<()> {
    let mut words = world.join_words(name).await?;
    let key_file = hub.key_file().to_str().context("a path in UTF-8")?;
    words.extend(["--api-key-file", key_file].map(str::to_owned));
    let teammate = Teammate::join(&world.kubectl, name, &words, &["api"]).await?;
    download(teammate.address("api")?, "/bytes/1", |_| {}).await?.checksum()?;
    teammate.leave().map(drop)
}

#[tokio::test]
async fn more_shares_than_the_plan_has_services_work_one_after_the_other() -> Result<()> {
    let hub = hub("one-by-one", LIMIT).await?;
    let mut world = World::at_hub("one-by-one", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    for number in 0..LIMIT + 3 {
        let name = format!("share-{number}");
        apply(&world, &name, "api").await?;
        world.share_says(&name, kind::READY, "True", reason::SHARED).await?;
        let is_reused = number >= LIMIT;
        eventually("it says whose services it uses", SOON, || async {
            let said = ready_message(&world, &name).await?;
            ensure!(said.contains("services of ended shares are used for api") == is_reused, "{said}");
            Ok(())
        })
        .await?;
        carries(&world, &hub, &name).await?;
        let code = world.code(&name, "code").await?;
        if number == LIMIT + 1 {
            // Which services are used again is known after a start, also while the share is there that they were made for.
            world = world.kill_and_restart_the_operator().await?;
            let look = ["annotate", "environmentshare", "share-0", "test/looks=again", "--overwrite"];
            world.kubectl.run(look).await?.success()?;
            world.share_says(&name, kind::READY, "True", reason::SHARED).await?;
            carries(&world, &hub, &name).await?;
            assert_eq!(world.code(&name, "code").await?, code, "teammates need no other code");
        }
        end(&world, &name, if number == 1 { End::Deleted } else { End::Revoked }).await?;
        let previewed = reqwest::get(format!("{}/v1/env-shares/{code}", hub.url())).await?.status();
        assert_eq!(previewed, reqwest::StatusCode::NOT_FOUND);
        assert_eq!(services(&hub).await?, LIMIT.min(number + 1));
    }
    Ok(())
}

#[tokio::test]
async fn one_share_too_many_says_why_and_is_ready_once_another_of_its_routes_has_ended() -> Result<()> {
    let hub = hub("too-many", LIMIT).await?;
    let world = World::at_hub("too-many", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    for number in 0..LIMIT {
        let name = format!("share-{number}");
        apply(&world, &name, "api").await?;
        world.share_says(&name, kind::READY, "True", reason::SHARED).await?;
    }
    apply(&world, "late", "api").await?;
    world.share_says("late", kind::STALLED, "True", reason::SERVICE_LIMIT_REACHED).await?;
    let said = ready_message(&world, "late").await?;
    ensure!(said.contains("Service limit reached") && said.contains("end a share"), "{said}");
    carries(&world, &hub, "share-0").await?;
    end(&world, "share-1", End::Revoked).await?;
    world.share_says("late", kind::READY, "True", reason::SHARED).await?;
    carries(&world, &hub, "late").await?;
    carries(&world, &hub, "share-0").await?;
    // A share of the name that the service was made for finds it in use, and waits for another.
    world.delete_share("share-1").await?;
    apply(&world, "share-1", "api").await?;
    world.share_says("share-1", kind::STALLED, "True", reason::SERVICE_LIMIT_REACHED).await?;
    let said = ready_message(&world, "share-1").await?;
    ensure!(said.contains("deletes none; end a share of the same routes in this namespace"), "{said}");
    carries(&world, &hub, "late").await?;
    end(&world, "share-0", End::Deleted).await?;
    world.share_says("share-1", kind::READY, "True", reason::SHARED).await?;
    carries(&world, &hub, "share-1").await?;
    carries(&world, &hub, "late").await
}

#[tokio::test]
async fn what_an_ended_share_had_is_used_for_the_same_route_only() -> Result<()> {
    let hub = hub("other-route", 1).await?;
    let world = World::at_hub("other-route", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    let _web = http::start(world.service("web", 8081).await?).await?;
    plugin::expose(&world.kubectl, "web:8081").await?;
    apply(&world, "first", "api").await?;
    world.share_says("first", kind::READY, "True", reason::SHARED).await?;
    end(&world, "first", End::Revoked).await?;
    apply(&world, "second", "web").await?;
    world.share_says("second", kind::STALLED, "True", reason::SERVICE_LIMIT_REACHED).await?;
    let said = ready_message(&world, "second").await?;
    ensure!(said.contains("take a larger plan there"), "{said}");
    apply(&world, "third", "api").await?;
    world.share_says("third", kind::READY, "True", reason::SHARED).await?;
    carries(&world, &hub, "third").await
}

#[tokio::test]
async fn a_hub_that_does_not_keep_agents_apart_is_said_to_want_a_workspace_of_its_own() -> Result<()> {
    const OWN: &str = "so the operator wants a workspace of its own";
    let hub = hub("own-workspace", LIMIT).await?;
    let theirs = World::at_hub("own-workspace", hub.url(), hub.key_file()).await?;
    let ours = World::beside_a_hub("own-workspace-ours").await?;
    for (world, is_said) in [(&theirs, true), (&ours, false)] {
        let _api = world.exposed_api().await?;
        apply(world, "demo", "api").await?;
        world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
        let said = ready_message(world, "demo").await?;
        assert_eq!(said.contains(OWN), is_said, "{said}");
        end(world, "demo", End::Revoked).await?;
        let said = ready_message(world, "demo").await?;
        ensure!(!said.contains(OWN), "an ended share has nobody to warn: {said}");
    }
    Ok(())
}
