//! `doctor`: each check as it should be, and what is said when it is not.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use connect_tests::control_plane::{ControlPlane, Options, Output};
use connect_tests::namespace::Namespace;
use connect_tests::plugin;
use connect_tests::wait::{PATIENTLY, eventually};
use snapbox::str;

use super::{Names, connect, expose};
use crate::world::{API, World};

#[tokio::test]
async fn all_is_well() -> Result<()> {
    let world = World::start("doctor").await?;
    expose(&world, &[(API, 8080)]).await?;
    connect(&world, &["share", "--name", "demo"]).await?.success()?;
    let output = connect(&world, &["doctor", "--operator-namespace", world.namespace.name()]).await?;
    Names::of(&world).and(world.cluster.server(), "SERVER").and(env!("CARGO_PKG_VERSION"), "VERSION").check(
        &output,
        str![[r#"
cluster
-------
[ok] the API server at SERVER answers: v[..]
[ok] the clocks of this machine and of the API server agree
[ok] namespace NAMESPACE exists

definitions
-----------
[ok] EnvironmentShare is installed with every field and rule that this plugin knows
[ok] ServiceExpose is installed with every field and rule that this plugin knows

permissions
-----------
[ok] you can see shares in namespace NAMESPACE
[ok] you can make, change and end shares in namespace NAMESPACE
[ok] you can see what is exposed in namespace NAMESPACE
[ok] you can expose Services in namespace NAMESPACE
[ok] you can see Services in namespace NAMESPACE
[ok] you can see codes in namespace NAMESPACE

operator
--------
[ok] operator [..] is at work: it renews its Lease
[ok] operator and plugin are of version VERSION

hub
---
[ok] hub HUB answers: connect-hubd VERSION

shares and routes
-----------------
[ok] 1 share and 1 route, none of them in trouble

leftovers
---------
[ok] no deletion waits, and none was given up
[ok] the hub holds 1 share for the operator, none without an object here

[ok] Everything works
---
exit 0

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn a_hub_that_does_not_answer() -> Result<()> {
    let world = World::start("doctor-hub").await?;
    let words = ["doctor", "--operator-namespace", world.namespace.name(), "--hub", "http://127.0.0.1:9"];
    let output = connect(&world, &words).await?.fails_with(1)?;
    let sentence = "[x] cannot connect to hub at http://127.0.0.1:9: connection refused";
    ensure!(output.stdout.contains(sentence), "{}", output.report());
    ensure!(output.stdout.ends_with("[x] Something does not work\n"), "{}", output.report());
    assert_eq!(output.stderr, "[x] 1 check failed\n");
    Ok(())
}

#[tokio::test]
async fn a_share_at_the_hub_that_no_object_owns() -> Result<()> {
    let mut world = World::beside_a_hub("doctor-orphan").await?;
    expose(&world, &[(API, 8080)]).await?;
    connect(&world, &["share", "--name", "owned"]).await?.success()?;
    // Nobody closes it while we look.
    world.operator.process().kill()?;
    let hub = world.hub.as_ref().context("its hub")?;
    let key = std::fs::read_to_string(hub.key_file())?;
    let words = ["get", "secret", "private-connect-identity", "-o", "jsonpath={.data.agentId}"];
    let agent = world.kubectl.run(words).await?.success()?.stdout;
    let agent = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(agent)?)?;
    let body = serde_json::json!({"name": "ghost #deadbeef", "expiresInHours": 1, "routes": []});
    let made = reqwest::Client::new()
        .post(format!("{}/v1/env-shares", hub.url()))
        .header("x-api-key", key.trim())
        .header("x-agent-id", agent)
        .header("idempotency-key", "ghost")
        .json(&body)
        .send()
        .await?;
    ensure!(made.status().is_success(), "{}", made.text().await?);
    let doctor = ["doctor", "--operator-namespace", world.namespace.name()];
    let blind = connect(&world, &doctor).await?;
    ensure!(blind.stdout.contains("cannot be asked without an API key\n"), "{}", blind.report());
    let words: Vec<&str> = ["connect"].into_iter().chain(doctor).collect();
    let mut command = world.kubectl.command(words);
    command.env("CONNECT_API_KEY", key.trim()).env("CONNECT_API_KEY_HUB", hub.url());
    let said = tokio::process::Command::from(command).output().await?;
    let said = String::from_utf8(said.stdout)?;
    let sentence = "[!] the hub holds shares that no object here owns: ghost (until ";
    ensure!(said.contains(sentence) && !said.contains("owned (until"), "{said}");
    Ok(())
}

#[tokio::test]
async fn no_operator_and_no_definitions() -> Result<()> {
    let bare = ControlPlane::start(Options { without_definitions: true, ..Options::default() }).await?;
    let kubectl = plugin::with_plugin(&bare.kubectl()).await?;
    let output = kubectl.run(["connect", "doctor"]).await?.fails_with(1)?;
    for line in [
        "[x] The cluster does not know EnvironmentShare: its CustomResourceDefinitions are not installed\n     Install them with the chart private-connect-crds, or: kubectl apply -f crds/\n",
        "[x] no operator has ever run in namespace private-connect\n     Install it with the chart private-connect, or name its namespace with --operator-namespace.\n",
        "[!] no hub could be checked: nothing is shared in this namespace, or you have no permission to read its Secrets\n     Name one with --hub URL.\n",
    ] {
        ensure!(output.stdout.contains(line), "no {line}: {}", output.report());
    }
    Ok(())
}

/// What is broken, and every line that follows from it.
struct Broken<'a> {
    what: &'a str,
    output: Output,
    /// Lines that say it.
    says: Vec<String>,
}

impl Broken<'_> {
    /// It is said once, the last line follows from it, and nothing is as a library says it.
    fn check(&self) -> Result<()> {
        let Self { what, output, says } = self;
        let text = &output.stdout;
        for line in says {
            ensure!(
                text.matches(line.as_str()).count() == 1,
                "{what}: {line:?} is not there once: {}",
                output.report()
            );
        }
        let failed =
            text.lines().filter(|line| line.starts_with("[x] ") && !text.ends_with(&format!("{line}\n")));
        assert_eq!(failed.count(), says.len(), "{what}: one line for each cause: {}", output.report());
        ensure!(text.ends_with("[x] Something does not work\n"), "{what}: {}", output.report());
        for raw in ["os error", "deadline has elapsed", "Everything works", "error sending request"] {
            ensure!(!text.contains(raw), "{what}: says {raw}: {}", output.report());
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_is_broken_is_said_once_and_the_last_line_follows_from_it() -> Result<()> {
    let mut world = World::beside_a_hub("doctor-causes").await?;
    expose(&world, &[(API, 8080)]).await?;
    let operator = world.namespace.name().to_owned();
    let doctor = ["doctor", "--operator-namespace", &operator];
    let anywhere = plugin::with_plugin(&world.cluster.kubectl()).await?;
    let at = async |namespace: &str| {
        let kubectl = anywhere.clone().in_namespace(namespace);
        kubectl.run(["connect"].iter().chain(&doctor)).await?.fails_with(1)
    };

    let output = at("nowhere-at-all").await?;
    let says = vec!["[x] namespace nowhere-at-all does not exist\n".to_owned()];
    Broken { what: "no such namespace", output, says }.check()?;

    let other = Namespace::create(world.cluster, "not-served").await?;
    let output = at(other.name()).await?;
    let says = vec![format!(" does not serve namespace {}, only {operator}\n", other.name())];
    Broken { what: "an operator of other namespaces", output, says }.check()?;

    let key = "pc_000000000000000000000000000000000000000000000000";
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "team-hub"}, "type": "connect.privateconnect.co/hub",
        "stringData": {"url": world.operator.hub_url(), "apiKey": key}});
    world.kubectl.apply(&secret.to_string()).await?;
    for name in ["stalled-a", "stalled-b"] {
        world.apply_share(name, serde_json::json!({"hubRef": {"name": "team-hub"}})).await?;
        world.share_says(name, "Stalled", "True", "InvalidCredentials").await?;
    }
    let output = connect(&world, &doctor).await?.fails_with(1)?;
    let says = vec!["[x] share stalled-a, share stalled-b: InvalidCredentials: ".to_owned()];
    Broken { what: "a key that the hub does not know", output, says }.check()?;
    for name in ["stalled-a", "stalled-b"] {
        world.delete_share(name).await?;
    }
    world.kubectl.run(["delete", "secret", "team-hub"]).await?.success()?;

    world.apply_share("waiting", serde_json::json!({"routes": {"names": ["redis"]}})).await?;
    world.share_says("waiting", "ResolvedRefs", "False", "ExposeNotReady").await?;
    let output = connect(&world, &doctor).await?.fails_with(1)?;
    let says = vec!["[x] share waiting: ExposeNotReady: there is no ServiceExpose redis".to_owned()];
    Broken { what: "a share that waits for a route", output, says }.check()?;
    world.delete_share("waiting").await?;

    world.apply_share("live", serde_json::json!({})).await?;
    world.share_says("live", "Active", "True", "Joinable").await?;
    let Some(mut hub) = world.hub.take() else { unreachable!("it has a hub of its own") };
    hub.process().kill()?;
    let patch = r#"{"spec":{"expires":"48h"}}"#;
    world.kubectl.run(["patch", "envshare", "live", "--type=merge", "-p", patch]).await?.success()?;
    world.share_says("live", "Active", "Unknown", "HubUnreachable").await?;
    let output = connect(&world, &doctor).await?.fails_with(1)?;
    let says = vec![format!("[x] cannot connect to hub at {}: connection refused; ", hub.url())];
    Broken { what: "a hub that is down", output, says }.check()?;

    drop(hub);
    world.operator.process().kill()?;
    let gone = eventually("its Lease runs out", PATIENTLY, || async {
        let output = connect(&world, &doctor).await?.fails_with(1)?;
        ensure!(output.stdout.contains(" has been silent for "), "{}", output.report());
        Ok(output)
    })
    .await?;
    ensure!(gone.stdout.ends_with("[x] Something does not work\n"), "{}", gone.report());
    Ok(())
}

#[tokio::test]
async fn one_missing_definition_is_enough() -> Result<()> {
    let bare = ControlPlane::start(Options { without_definitions: true, ..Options::default() }).await?;
    let kubectl = plugin::with_plugin(&bare.kubectl()).await?;
    let shares = connect_crds::manifest::<connect_crds::EnvironmentShare>()?;
    kubectl.apply(&shares.to_string()).await?;
    let crd = "crd/environmentshares.connect.privateconnect.co";
    kubectl.run(["wait", "--for=condition=Established", crd, "--timeout=60s"]).await?.success()?;
    eventually("the other one is missed", PATIENTLY, || async {
        let output = kubectl.run(["connect", "doctor"]).await?.fails_with(1)?;
        let text = &output.stdout;
        ensure!(text.contains("[ok] EnvironmentShare is installed"), "{}", output.report());
        ensure!(text.matches("does not know ServiceExpose").count() == 1, "{}", output.report());
        ensure!(text.ends_with("[x] Something does not work\n"), "{}", output.report());
        Ok(())
    })
    .await
}
