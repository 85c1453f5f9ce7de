//! Hubs with few services: what shares have in common there, and what is said when there is no room.

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{self, kind, reason};
use connect_tests::plugin;
use connect_tests::services::http;
use connect_tests::services::transfer::{Running, download};
use connect_tests::teammate::Teammate;
use connect_tests::wait::{SOON, eventually};
use serde_json::{Value, json};

use crate::world::{API, World};

/// A transfer that nobody waits for to complete.
const LONG: &str = "/paced/256/2048";

#[tokio::test]
async fn shares_in_common_take_a_service_for_each_route_and_still_end_one_by_one() -> Result<()> {
    let flags = ["--services-per-workspace", "2"];
    let shared = [("CONNECT_SHARE_ISOLATION", "shared")];
    let world = World::beside_a_hub_by("in-common", &flags, &shared).await?;
    let api = world.exposed_api().await?;
    let _web = http::start(world.service("web", 80).await?).await?;
    plugin::expose(&world.kubectl, "web:80").await?;
    for name in ["one", "two", "three"] {
        world.apply_share(name, json!({})).await?;
        world.share_says(name, kind::READY, "True", reason::SHARED).await?;
    }
    let namespace = world.namespace.name().to_owned();
    assert_eq!(services_at_the_hub(&world).await?, [format!("{namespace}/api"), format!("{namespace}/web")]);

    let mut bob = Teammate::join(&world.kubectl, "bob", &world.join_words("one").await?, &[API]).await?;
    let carol = Teammate::join(&world.kubectl, "carol", &world.join_words("two").await?, &[API]).await?;
    let running = Running::start(bob.address(API)?, LONG).await?;
    let survivor = Running::start(carol.address(API)?, "/paced/24/2048").await?;
    world.apply_share("one", json!({ "revoked": true })).await?;
    running.cut().await?;
    bob.end(SOON).await?;
    world.share_says("one", kind::READY, "True", reason::REVOKED).await?;
    let whole = download(api.address(), "/bytes/24", |_| {}).await?;
    assert_eq!(survivor.end().await?.checksum()?, whole.checksum()?);

    // The last one takes the services along.
    world.delete_share("three").await?;
    assert_eq!(services_at_the_hub(&world).await?.len(), 2);
    let last = Running::start(carol.address(API)?, LONG).await?;
    world.delete_share("two").await?;
    last.cut().await?;
    assert!(services_at_the_hub(&world).await?.is_empty());

    // And the next makes them anew.
    world.apply_share("four", json!({})).await?;
    let dora = Teammate::join(&world.kubectl, "dora", &world.join_words("four").await?, &[API]).await?;
    assert_eq!(download(dora.address(API)?, "/bytes/24", |_| {}).await?.checksum()?, whole.checksum()?);
    Ok(())
}

#[tokio::test]
async fn a_share_keeps_what_it_was_opened_with_when_the_operator_is_started_otherwise() -> Result<()> {
    let world = World::beside_a_hub_by("kept", &[], &[("CONNECT_SHARE_ISOLATION", "shared")]).await?;
    let api = world.exposed_api().await?;
    world.apply_share("demo", json!({})).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &world.join_words("demo").await?, &[API]).await?;
    let code = world.code("demo", "code").await?;
    let world = world.restart_the_operator_by(&[("CONNECT_SHARE_ISOLATION", "route")]).await?;
    let whole = download(api.address(), "/bytes/1", |_| {}).await?.checksum()?.to_owned();
    eventually("the teammate reaches the service again", SOON, || async {
        let again = download(alice.address(API)?, "/bytes/1", |_| {}).await?;
        ensure!(again.checksum()? == whole, "other bytes");
        Ok(())
    })
    .await?;
    assert_eq!(world.code("demo", "code").await?, code);
    world.apply_share("next", json!({})).await?;
    world.share_says("next", kind::READY, "True", reason::SHARED).await?;
    let namespace = world.namespace.name().to_owned();
    assert_eq!(
        services_at_the_hub(&world).await?,
        [format!("{namespace}/api"), format!("{namespace}/next/api")]
    );
    Ok(())
}

#[tokio::test]
async fn a_hub_without_room_is_said_once_and_left_by_itself_when_there_is_room() -> Result<()> {
    let world = World::beside_a_hub_with("no-room", &["--services-per-workspace", "1"]).await?;
    let api = world.exposed_api().await?;
    world.apply_share("first", json!({})).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &world.join_words("first").await?, &[API]).await?;

    world.apply_share("second", json!({})).await?;
    let second = world.share_says("second", kind::STALLED, "True", reason::SERVICE_LIMIT_REACHED).await?;
    let conditions = second.status.unwrap_or_default().conditions;
    let ready = condition::find(&conditions, kind::READY).context("it says whether it is ready")?;
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", reason::HUB_REJECTED));
    assert!(ready.message.contains("--share-isolation=shared"), "{}", ready.message);
    let told = eventually("an Event tells of it", SOON, || async {
        let told = world.events(reason::SERVICE_LIMIT_REACHED).await?;
        ensure!(!told.is_empty(), "none does");
        Ok(told)
    });
    assert_eq!(told.await?.len(), 1);

    // Nobody else is touched.
    world.share_says("first", kind::READY, "True", reason::SHARED).await?;
    let whole = download(api.address(), "/bytes/1", |_| {}).await?;
    assert_eq!(download(alice.address(API)?, "/bytes/1", |_| {}).await?.checksum()?, whole.checksum()?);

    world.delete_share("first").await?;
    let second = world.share_says("second", kind::READY, "True", reason::SHARED).await?;
    let conditions = second.status.unwrap_or_default().conditions;
    assert!(condition::find(&conditions, kind::STALLED).is_none(), "{conditions:?}");
    assert_eq!(world.events(reason::SERVICE_LIMIT_REACHED).await?.len(), 1);
    Ok(())
}

/// The names of all services that the hub has for the operator, sorted.
async fn services_at_the_hub(world: &World) -> Result<Vec<String>> {
    let hub = world.hub.as_ref().context("it has a hub of its own")?;
    let key = std::fs::read_to_string(hub.key_file())?;
    let answer = reqwest::Client::new().get(format!("{}/v1/services", hub.url())).header("x-api-key", key);
    let rows: Value = serde_json::from_str(&answer.send().await?.error_for_status()?.text().await?)?;
    let rows = rows.as_array().with_context(|| format!("{rows}"))?;
    // Who has made them is at the end, and other tests' business.
    let own = |name: &str| name.rsplit_once('@').map(|(own, _maker)| own.to_owned());
    let names = rows.iter().map(|row| {
        let name = row["name"].as_str().context("a service has a name")?;
        own(name).with_context(|| format!("{name} does not say who made it"))
    });
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}
