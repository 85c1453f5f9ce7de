//! Hubs that keep no share to its end: whole hours only, a longest life, no changes. What we say and do about it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use connect_crds::EnvironmentShare;
use connect_crds::condition::{find, kind, reason};
use connect_tests::control_plane;
use connect_tests::plugin;
use connect_tests::services::transfer::download;
use connect_tests::teammate::Teammate;
use connect_tests::vendor_hub::VendorHub;
use connect_tests::wait::{PATIENTLY, SOON, eventually};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
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

/// Which code a share has at a moment of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    First,
    Second,
    None,
}

#[tokio::test]
async fn a_share_of_two_weeks_says_on_which_day_its_code_changes_and_keeps_its_word() -> Result<()> {
    let clock = Clock::new("two-weeks").await?;
    let hub = vendor_hub("two-weeks", &[("HUB_CLOCK", clock.path()?)]).await?;
    let world = World::at_hub_by_clock("two-weeks", hub.url(), hub.key_file(), clock.path()?).await?;
    let _api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--expires", "14d"]).await?;
    let share = world.only_share().await?;
    let (name, first) = (share.name_any(), shared.code.clone());
    let created = share.creation_timestamp().context("it was created")?.0;
    let change = code_change(&share).context("status says when the code changes")?;
    let week = created + SignedDuration::from_hours(168);
    ensure!(
        change < week && week.duration_since(change) < SignedDuration::from_mins(5),
        "{change}, not {week}"
    );
    let said = format!("The code changes on {}, because the hub cannot keep it longer.", date(change));
    ensure!(shared.output.stdout.contains(&said), "{}", shared.output.stdout);
    ensure!(
        active(&share).contains(&format!("; the code changes at {change}, because")),
        "{}",
        active(&share)
    );
    let wide = world.kubectl.run(["connect", "status", "-o", "wide"]).await?.success()?.stdout;
    ensure!(wide.contains(&said), "{wide}");

    let hours = SignedDuration::from_hours;
    for (age, has) in [
        (hours(1), Has::First),
        (hours(24 * 6), Has::First),
        // A moment after the change and before the hub's own end of the first code.
        (change.duration_since(created) + SignedDuration::from_secs(15), Has::Second),
        (hours(24 * 10), Has::Second),
        (hours(24 * 14 - 1), Has::Second),
        (hours(24 * 14) + SignedDuration::from_secs(5), Has::None),
    ] {
        clock.step(created + age)?;
        // A clock that is stepped wakes no timer.
        let look = format!("test/looks={}", age.as_secs());
        world.kubectl.run(["annotate", "environmentshare", &name, &look, "--overwrite"]).await?.success()?;
        eventually(&format!("it has {has:?} at {age:#}"), PATIENTLY, || async {
            let found = world.shares().await?.get(&name).await?;
            let code = world.code(&name, "code").await.ok();
            ensure!(preview(&hub, &first).await?.is_success() == (has == Has::First), "the first code");
            ensure!(code_change(&found).is_some() == (has == Has::First), "status: {:?}", found.status);
            ensure!(active(&found).contains("the code changes") == (has == Has::First), "{}", active(&found));
            let Some(code) = code else {
                let is_over = has == Has::None && active(&found).starts_with("the share ended at ");
                ensure!(is_over, "it has no code: {}", active(&found));
                return Ok(());
            };
            let is_due = (code == first) == (has == Has::First) && has != Has::None;
            ensure!(is_due, "it has {code}: {:?}", found.status);
            ensure!(preview(&hub, &code).await?.is_success(), "the code in the Secret is void");
            Ok(())
        })
        .await?;
    }
    assert_eq!(world.events("CodeChanged").await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_later_end_than_the_hub_keeps_says_when_the_code_changes() -> Result<()> {
    let hub = vendor_hub("later", &[]).await?;
    let world = World::at_hub("later", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--expires", "4h"]).await?;
    ensure!(!shared.output.stdout.contains("The code changes"), "{}", shared.output.stdout);
    let share = world.only_share().await?;
    assert_eq!(code_change(&share), None);
    let name = share.name_any();
    let extended = world.kubectl.run(["connect", "extend", &name, "10d"]).await?.success()?.stdout;
    let share = world.only_share().await?;
    let change = code_change(&share).context("status says when the code changes")?;
    let created = share.creation_timestamp().context("it was created")?.0;
    let old_end = created + SignedDuration::from_hours(4);
    ensure!(change < old_end && old_end.duration_since(change) < SignedDuration::from_mins(5), "{change}");
    let said =
        format!("Its code changes before, on {}, because the hub cannot keep it longer.", date(change));
    ensure!(extended.contains(&said), "{extended}");
    // It is still the one that teammates have.
    assert_eq!(world.code(&name, "code").await?, shared.code);
    assert_eq!(preview(&hub, &shared.code).await?, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_hub_that_takes_fewer_hours_is_asked_for_as_many_as_it_takes() -> Result<()> {
    let hub = vendor_hub("fewer-hours", &[("HUB_MAX_HOURS", "24")]).await?;
    let world = World::at_hub("fewer-hours", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    world.apply_share("limited", json!({ "expires": "2d", "maxJoins": 2 })).await?;
    let refused = world.share_says("limited", kind::ACCEPTED, "False", reason::EXPIRATION_TOO_LONG).await?;
    let conditions = refused.status.unwrap_or_default().conditions;
    let why = find(&conditions, kind::ACCEPTED).context("it says so")?;
    ensure!(why.message.contains("after 24 hours") && why.message.contains("24h or less"), "{}", why.message);
    world.code("limited", "code").await.expect_err("it has no code");
    world.apply_share("demo", json!({ "expires": "2d" })).await?;
    let share = world.share_says("demo", kind::ACTIVE, "True", reason::JOINABLE).await?;
    let change = code_change(&share).context("status says when the code changes")?;
    let day = share.creation_timestamp().context("it was created")?.0 + SignedDuration::from_hours(24);
    ensure!(change.duration_since(day).abs() < SignedDuration::from_mins(5), "{change}, not {day}");
    Ok(())
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

#[tokio::test]
async fn a_teammate_who_is_idle_leaves_at_the_end_that_the_hub_does_not_know() -> Result<()> {
    let hub = vendor_hub("idle", &[]).await?;
    let world = World::at_hub("idle", hub.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    let end = Timestamp::from_second((Timestamp::now() + SignedDuration::from_secs(25)).as_second())?;
    world.apply_share("demo", json!({ "expirationTime": end.to_string() })).await?;
    let mut words = world.join_words("demo").await?;
    let key_file = hub.key_file().to_str().context("a path in UTF-8")?;
    words.extend(["--api-key-file", key_file].map(str::to_owned));
    let mut mia = Teammate::join(&world.kubectl, "mia", &words, &["api"]).await?;
    download(mia.address("api")?, "/bytes/1", |_| {}).await?.checksum()?;
    let status = mia.end(PATIENTLY).await?;
    ensure!(status.success() && mia.said().contains("Share expired."), "{}", mia.said());
    ensure!(Timestamp::now() >= end, "it left before the end");
    Ok(())
}

/// The clock of a hub and an operator, as a file.
struct Clock(PathBuf);

impl Clock {
    async fn new(purpose: &str) -> Result<Self> {
        let clock = Self(control_plane::shared().await?.folder(&format!("{purpose}-clock"))?.join("seconds"));
        clock.step(Timestamp::now())?;
        Ok(clock)
    }

    fn path(&self) -> Result<&str> {
        self.0.to_str().context("a path in UTF-8")
    }

    /// Makes it this time now.
    fn step(&self, time: Timestamp) -> Result<()> {
        let ahead = time.duration_since(Timestamp::now()).as_secs();
        // Whoever reads meanwhile reads the one or the other.
        let written = self.0.with_extension("new");
        std::fs::write(&written, ahead.to_string())?;
        Ok(std::fs::rename(written, &self.0)?)
    }
}

/// When a share says that its code changes.
fn code_change(share: &EnvironmentShare) -> Option<Timestamp> {
    share.status.as_ref()?.code_change_time.as_ref().map(|time| time.0)
}

/// What a share says of being joinable.
fn active(share: &EnvironmentShare) -> String {
    let conditions = share.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    find(conditions, kind::ACTIVE).map(|active| active.message.clone()).unwrap_or_default()
}

/// A date as the plugin prints it where the zone is UTC.
fn date(time: Timestamp) -> String {
    time.strftime("%a %b %d %Y %H:%M:%S GMT").to_string()
}

async fn vendor_hub(purpose: &str, environment: &[(&str, &str)]) -> Result<VendorHub> {
    VendorHub::start(&control_plane::shared().await?.folder(&format!("{purpose}-hub"))?, environment).await
}

/// What the hub says to whoever types the code.
async fn preview(hub: &VendorHub, code: &str) -> Result<StatusCode> {
    Ok(reqwest::get(format!("{}/v1/env-shares/{code}", hub.url())).await?.status())
}
