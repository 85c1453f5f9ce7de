//! Bad input: one sentence that says what to do, exit code 1, and nothing half made.

use anyhow::{Result, ensure};
use connect_crds::EnvironmentShare;
use connect_crds::condition::{kind, reason};
use connect_tests::control_plane::{ControlPlane, Options};
use connect_tests::plugin;
use connect_tests::services::http::Http;
use connect_tests::teammate::Teammate;
use connect_tests::wait::{PATIENTLY, eventually};
use kube::api::ListParams;
use serde_json::json;

use crate::world::{API, World};

/// An address at which nobody listens: port 9 is kept for discarding, and no system serves it any more.
const NOBODY: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn mistakes_on_the_command_line_make_nothing() -> Result<()> {
    let world = World::start("mistakes").await?;
    let _api: Http = world.exposed_api().await?;
    let namespace = world.namespace.name();
    let rows: [(&[&str], String); 5] = [
        (
            &["connect", "share", "--expires", "2weeks"],
            "[x] Invalid expires format. Use: 1h, 4h, 24h, 7d, etc.".to_owned(),
        ),
        (
            &["connect", "expose", "nowhere:80"],
            format!("[x] Service nowhere does not exist in namespace {namespace}"),
        ),
        (&["connect", "expose", "api:81"], "[x] Service api has no port 81".to_owned()),
        (&["connect", "share", "--revoke", "zzzzzzzzzz"], "[x] ".to_owned()),
        (
            &["connect", "share", "--list", "--revoke", "zzzzzzzzzz"],
            "[x] Cannot use --list and --revoke together".to_owned(),
        ),
    ];
    for (words, sentence) in rows {
        let failed = world.kubectl.run(words).await?.fails_with(1)?;
        ensure!(failed.stderr.starts_with(&sentence), "expected {sentence}: {}", failed.report());
    }
    let exposes = world.kubectl.run(["get", "serviceexposes", "--output", "name"]).await?.success()?;
    assert_eq!(exposes.stdout.lines().count(), 1, "{}", exposes.report());
    assert!(world.shares().await?.list(&ListParams::default()).await?.items.is_empty());
    Ok(())
}

#[tokio::test]
async fn joining_with_a_wrong_code_or_hub_says_so() -> Result<()> {
    let world = World::start("wrong-join").await?;
    let hub = world.operator.hub_url().to_owned();
    let rows: [(&[&str], String); 4] = [
        (&["connect", "join", "zzzzzzzzzz", "--hub", &hub], "[x] Share not found or expired".to_owned()),
        (&["connect", "join", "../../health", "--hub", &hub], "[x] ".to_owned()),
        (
            &["connect", "join", "zzzzzzzzzz", "--hub", NOBODY],
            format!("[x] Cannot connect to hub at {NOBODY}"),
        ),
        (&["connect", "join", "zzzzzzzzzz", "--hub", "not a url"], "[x] --hub cannot be used".to_owned()),
    ];
    for (words, sentence) in rows {
        let failed = world.kubectl_elsewhere()?.run(words).await?.fails_with(1)?;
        ensure!(failed.stderr.starts_with(&sentence), "expected {sentence}: {}", failed.report());
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_without_the_definitions_is_told_how_to_get_them() -> Result<()> {
    let bare = ControlPlane::start(Options { without_definitions: true, ..Options::default() }).await?;
    let kubectl = plugin::with_plugin(&bare.kubectl()).await?;
    for words in [
        ["connect", "share"].as_slice(),
        &["connect", "expose", "kubernetes:443"],
        &["connect", "share", "--list"],
    ] {
        let failed = kubectl.run(words).await?.fails_with(1)?;
        let sentence = "its CustomResourceDefinitions are not installed";
        ensure!(failed.stderr.starts_with("[x] ") && failed.stderr.contains(sentence), "{}", failed.report());
        ensure!(failed.stderr.contains("kubectl apply -f crds/"), "{}", failed.report());
    }
    Ok(())
}

#[tokio::test]
async fn a_hub_that_is_down_is_named_and_the_share_begins_when_it_is_back() -> Result<()> {
    let mut world = World::beside_a_hub("hub-down").await?;
    let _api = world.exposed_api().await?;
    let Some(mut hub) = world.hub.take() else { unreachable!("it has a hub of its own") };
    hub.process().kill()?;

    let url = hub.url().to_owned();
    let failed =
        world.kubectl.run(["connect", "share", "--name", "demo", "--timeout", "10s"]).await?.fails_with(1)?;
    ensure!(failed.stderr.starts_with(&format!("[x] Cannot connect to hub at {url}")), "{}", failed.report());

    // What was begun is taken back, also from a hub that does not answer.
    eventually("no share is left", PATIENTLY, || async {
        let left = world.shares().await?.list(&ListParams::default()).await?.items;
        ensure!(left.is_empty(), "half made: {left:?}");
        Ok(())
    })
    .await?;

    world.apply_share("later", json!({})).await?;
    world.share_says("later", kind::READY, "False", reason::HUB_UNREACHABLE).await?;
    world.hub = Some(hub.restart(&world.cluster.logs()).await?);
    world.share_says("later", kind::READY, "True", reason::SHARED).await?;
    Teammate::join(&world.kubectl, "alice", &world.join_words("later").await?, &[API]).await.map(drop)
}

#[tokio::test]
async fn a_key_that_the_hub_does_not_know_needs_a_human() -> Result<()> {
    let world = World::beside_a_hub("wrong-key").await?;
    let _api = world.exposed_api().await?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "team-hub" },
        "type": "connect.privateconnect.co/hub",
        "stringData": {
            "url": world.operator.hub_url(),
            "apiKey": "pc_000000000000000000000000000000000000000000000000",
        },
    });
    world.kubectl.apply(&secret.to_string()).await?;
    world.apply_share("demo", json!({ "hubRef": { "name": "team-hub" } })).await?;
    let share: EnvironmentShare =
        world.share_says("demo", kind::STALLED, "True", reason::INVALID_CREDENTIALS).await?;
    ensure!(!format!("{share:?}").contains("pc_0000"), "the key is in the object");
    Ok(())
}
