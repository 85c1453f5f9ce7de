//! The whole path: share, join, bytes, and the end, which is real and touches nobody else.

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{kind, reason};
use connect_tests::plugin;
use connect_tests::services::transfer::{Running, download};
use connect_tests::services::{self, Postgres, Redis, redis};
use connect_tests::teammate::Teammate;
use connect_tests::wait::{SOON, eventually};
use jiff::{SignedDuration, Timestamp};

use crate::world::{API, World};

/// A transfer that nobody waits for to complete.
const LONG: &str = "/paced/256/2048";

#[tokio::test]
async fn a_teammate_with_nothing_but_the_code_uses_every_exposed_service() -> Result<()> {
    let world = World::start("whole-path").await?;
    let logs = world.cluster.logs();
    let postgres = Postgres::start(world.service("postgres", 5432).await?, &logs).await?;
    let redis_address = world.service("redis", 6379).await?;
    let _redis = Redis::start(redis_address, &logs).await?;
    let api = world.exposed_api().await?;
    plugin::expose(&world.kubectl, "postgres:5432").await?;
    plugin::expose(&world.kubectl, "redis:6379").await?;

    let shared = plugin::share(&world.kubectl, &["--name", "demo"]).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &shared.join, &["postgres", "redis", API]).await?;

    let seed = "CREATE TABLE greeting AS SELECT 'hello' AS words";
    services::select(postgres.programs(), postgres.address(), seed).await?;
    let read =
        services::select(postgres.programs(), alice.address("postgres")?, "SELECT words FROM greeting");
    assert_eq!(read.await?, "hello");

    redis::set(alice.address("redis")?, "greeting", "hello").await?;
    assert_eq!(redis::get(redis_address, "greeting").await?, "hello");

    let straight = download(api.address(), "/bytes/16", |_| {}).await?;
    let joined = download(alice.address(API)?, "/bytes/16", |_| {}).await?;
    assert_eq!(straight.checksum()?, joined.checksum()?);

    eventually("the join is in the status", SOON, || async {
        let joins = world.only_share().await?.status.and_then(|status| status.joins).unwrap_or_default();
        ensure!(
            joins.count == 1 && joins.recent.first().is_some_and(|join| join.agent == "alice"),
            "{joins:?}"
        );
        Ok(())
    })
    .await?;
    let list = plugin::list(&world.kubectl).await?;
    assert!(list.stdout.contains("Routes: 3 | Joined: 1"), "{}", list.report());
    assert!(alice.leave()?.success());
    Ok(())
}

#[tokio::test]
async fn the_code_is_in_its_secret_and_nowhere_else() -> Result<()> {
    let world = World::start("secret-code").await?;
    let _api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--name", "demo"]).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &shared.join, &[API]).await?;
    download(alice.address(API)?, "/bytes/1", |_| {}).await?.checksum()?;
    plugin::revoke(&world.kubectl, &shared.code).await?;

    let public = world.all_that_is_public().await?;
    // What was looked at is not empty.
    assert!(public.contains("EnvironmentShare") && public.contains(world.namespace.name()));
    let (handle, secret) = shared.code.split_once('+').context("the code has a secret")?;
    for part in [handle, secret, &secret.replace('-', "")] {
        let place = public.lines().find(|line| line.to_lowercase().contains(part));
        assert_eq!(place, None);
    }
    Ok(())
}

#[tokio::test]
async fn expiry_cuts_a_running_transfer_and_leaves_those_of_others_whole() -> Result<()> {
    let world = World::start("expiry").await?;
    let api = world.exposed_api().await?;
    world.apply_share("stays", serde_json::json!({ "expires": "1h" })).await?;
    let carol = Teammate::join(&world.kubectl, "carol", &world.join_words("stays").await?, &[API]).await?;
    let survivor = Running::start(carol.address(API)?, "/paced/32/2048").await?;

    let end = Timestamp::from_second((Timestamp::now() + SignedDuration::from_secs(8)).as_second())?;
    world.apply_share("short", serde_json::json!({ "expirationTime": end.to_string() })).await?;
    let words = world.join_words("short").await?;
    let mut bob = Teammate::join(&world.kubectl, "bob", &words, &[API]).await?;
    Running::start(bob.address(API)?, LONG).await?.cut().await?;
    assert!(Timestamp::now() >= end, "cut before its end");
    ensure!(!survivor.has_ended(), "the other transfer ended before this one was cut, so it shows nothing");
    must_say(&mut bob, "\nShare expired.\n").await?;

    world.share_says("short", kind::ACTIVE, "False", reason::EXPIRED).await?;
    world.share_says("short", kind::READY, "True", reason::EXPIRED).await?;
    must_be_refused(&world, &words).await?;
    let whole = download(api.address(), "/bytes/32", |_| {}).await?;
    assert_eq!(survivor.end().await?.checksum()?, whole.checksum()?);
    Ok(())
}

#[tokio::test]
async fn revocation_cuts_a_running_transfer_and_leaves_those_of_others_whole() -> Result<()> {
    let world = World::start("revocation").await?;
    let api = world.exposed_api().await?;
    world.apply_share("stays", serde_json::json!({})).await?;
    let carol = Teammate::join(&world.kubectl, "carol", &world.join_words("stays").await?, &[API]).await?;
    let survivor = Running::start(carol.address(API)?, "/paced/24/2048").await?;

    let shared = plugin::share(&world.kubectl, &["--name", "short"]).await?;
    let mut alice = Teammate::join(&world.kubectl, "alice", &shared.join, &[API]).await?;
    let running = Running::start(alice.address(API)?, LONG).await?;
    let said = plugin::revoke(&world.kubectl, &shared.code).await?;
    assert!(said.stdout.contains(&format!("[ok] Share {} revoked.", shared.code)), "{}", said.report());
    running.cut().await?;
    must_say(&mut alice, "\nShare revoked.\n").await?;
    must_be_refused(&world, &shared.join).await?;

    let whole = download(api.address(), "/bytes/24", |_| {}).await?;
    assert_eq!(survivor.end().await?.checksum()?, whole.checksum()?);
    Ok(())
}

#[tokio::test]
async fn a_deleted_share_is_cut_and_takes_its_secret_along() -> Result<()> {
    let world = World::start("deletion").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", serde_json::json!({})).await?;
    let words = world.join_words("demo").await?;
    let mut alice = Teammate::join(&world.kubectl, "alice", &words, &[API]).await?;
    let running = Running::start(alice.address(API)?, LONG).await?;
    world.kubectl.run(["delete", "environmentshare", "demo", "--timeout=60s"]).await?.success()?;
    running.cut().await?;
    must_say(&mut alice, "\nShare closed by its owner.\n").await?;
    must_be_refused(&world, &words).await?;
    eventually("the Secret is gone", SOON, || async {
        world.code("demo", "code").await.err().map(drop).context("it is there")
    })
    .await
}

/// A teammate leaves by themselves, with success and this as their last words.
async fn must_say(teammate: &mut Teammate, last: &str) -> Result<()> {
    let status = teammate.end(SOON).await?;
    let said = teammate.said();
    ensure!(status.success() && said.ends_with(last), "{status}: {said}");
    Ok(())
}

/// The code of an ended share is refused with the words for every code that is none.
async fn must_be_refused(world: &World, words: &[String]) -> Result<()> {
    let refused = world.kubectl_elsewhere()?.run(words).await?.fails_with(1)?;
    assert!(refused.stderr.starts_with("[x] Share not found or expired\n"), "{}", refused.report());
    Ok(())
}
