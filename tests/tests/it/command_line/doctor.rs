//! `doctor`: each check as it should be, and what is said when it is not.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use connect_tests::control_plane::{ControlPlane, Options};
use connect_tests::plugin;
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

definitions
-----------
[ok] EnvironmentShare is installed with every field and rule that this plugin knows
[ok] ServiceExpose is installed with every field and rule that this plugin knows

rights
------
[ok] you may see shares in namespace NAMESPACE
[ok] you may make, change and end shares in namespace NAMESPACE
[ok] you may see what is exposed in namespace NAMESPACE
[ok] you may expose Services in namespace NAMESPACE
[ok] you may see Services in namespace NAMESPACE
[ok] you may see codes in namespace NAMESPACE

operator
--------
[ok] operator [..] is at work: it renews its Lease
[ok] operator and plugin are of version VERSION

hub
---
[ok] hub HUB answers: connect-hubd VERSION

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
    let sentence = "[x] cannot connect to hub at http://127.0.0.1:9: Connection refused";
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
    command.env("CONNECT_API_KEY", key.trim());
    let said = tokio::process::Command::from(command).output().await?;
    let said = String::from_utf8(said.stdout)?;
    let sentence = "[!] the hub holds shares that no object here owns: ghost #deadbeef (until ";
    ensure!(said.contains(sentence) && !said.contains("owned #"), "{said}");
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
        "[!] no hub is known: nothing is shared in this namespace, or you may not read its Secrets\n     Name one with --hub URL.\n",
    ] {
        ensure!(output.stdout.contains(line), "no {line}: {}", output.report());
    }
    Ok(())
}
