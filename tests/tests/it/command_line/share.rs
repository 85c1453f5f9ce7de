//! `share`: every example of the page, and every line of its troubleshooting part.

use anyhow::{Context as _, Result, ensure};
use connect_tests::wait::{SOON, eventually};
use jiff::{SignedDuration, Timestamp};
use snapbox::str;

use super::{Names, connect, expose, json};
use crate::world::World;

const THREE: [(&str, u16); 3] = [("postgres", 5432), ("redis", 6379), ("api", 8080)];

#[tokio::test]
async fn the_first_share() -> Result<()> {
    let world = World::start("first-share").await?;
    expose(&world, &THREE).await?;
    let output = connect(&world, &["share"]).await?;
    let share = world.only_share().await?.metadata.name.context("a name")?;
    let code = world.full_code(&share).await?;
    ensure!(code.len() == 30, "the code has {} characters", code.len());
    Names::of(&world).and(&code, "abc123").check(
        &output,
        str![[r#"
🤝 Creating environment share...

[ok] Environment share created!

  Share Code: HUB/#abc123

  Your teammate can join with:

    kubectl connect join 'HUB/#abc123'

  Routes being shared:
    • api → localhost:8080
    • postgres → localhost:5432
    • redis → localhost:6379

  Expires in 24 hours ([..] GMT)
---
exit 0

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn a_person_at_a_terminal_sees_the_box() -> Result<()> {
    let world = World::start("terminal").await?;
    expose(&world, &[("api", 8080)]).await?;
    // `script` gives the command a terminal and copies what appears there.
    let inner = world.kubectl.command(["connect", "share"]);
    let words =
        inner.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &format!("{} {words}", inner.get_program().to_string_lossy()), "/dev/null"]);
    script.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    script.env("TERM", "xterm").stdin(std::process::Stdio::null());
    let output =
        tokio::process::Command::from(script).output().await.context("`script` of util-linux is needed")?;
    let shown = String::from_utf8(output.stdout)?.replace('\r', "");
    let share = world.only_share().await?.metadata.name.context("a name")?;
    let code = world.full_code(&share).await?;
    let title = format!("Share Code: {}/#{code}", world.operator.hub_url());
    // As wide as the page's, or as what is copied as one word.
    let width = 49.max(title.len() + 3);
    let border = "─".repeat(width);
    let box_of_the_page = format!("  ┌{border}┐\n  │  {title:<0$}│\n  └{border}┘\n", width - 2);
    ensure!(shown.contains(&box_of_the_page), "no box: {shown}");
    ensure!(shown.contains("Waiting until the share can be joined"), "no spinner: {shown}");
    ensure!(shown.contains("\u{1b}[32m[ok]"), "no colour: {shown}");
    Ok(())
}

#[tokio::test]
async fn a_named_share() -> Result<()> {
    let world = World::start("named-share").await?;
    expose(&world, &[("api", 8080)]).await?;
    let output = connect(&world, &["share", "--name", "staging-env"]).await?;
    let share = world.only_share().await?.metadata.name.context("a name")?;
    ensure!(share.starts_with("staging-env-"), "the object is called {share}");
    let code = world.full_code(&share).await?;
    Names::of(&world).and(&code, "xyz789").check(
        &output,
        str![[r#"
🤝 Creating environment share...

[ok] Environment share created!

  Share Code: HUB/#xyz789

  Your teammate can join with:

    kubectl connect join 'HUB/#xyz789'

  Routes being shared:
    • api → localhost:8080

  Name: staging-env
  Expires in 24 hours
---
exit 0

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn each_duration_of_the_page() -> Result<()> {
    let world = World::start("durations").await?;
    expose(&world, &[("api", 8080)]).await?;
    for (words, hours) in [
        (["share"].as_slice(), 24),
        (&["share", "--expires", "1h", "--name", "sales-demo"], 1),
        (&["share", "--expires", "4h", "--name", "pairing-session"], 4),
        (&["share", "--expires", "24h", "--name", "PR-1234"], 24),
        (&["share", "--expires", "7d", "--name", "dev-environment"], 7 * 24),
        (&["share", "--expires", "14d"], 14 * 24),
    ] {
        let share = json(&world, &[words, &["-o", "json"]].concat()).await?;
        let time = |field: &str| -> Result<Timestamp> {
            Ok(share[field].as_str().with_context(|| format!("no {field}: {share}"))?.parse()?)
        };
        let life = time("expirationTime")?.duration_since(time("creationTime")?);
        assert_eq!(life, SignedDuration::from_hours(hours), "{words:?}");
        assert_eq!(share["joinable"], true, "{share}");
    }
    Ok(())
}

#[tokio::test]
async fn the_list_of_active_shares() -> Result<()> {
    let world = World::start("list").await?;
    let empty = connect(&world, &["share", "--list"]).await?;
    Names::of(&world).check(
        &empty,
        str![[r#"
No active shares.
Create one with: kubectl connect share
---
exit 0

"#]],
    );
    expose(&world, &THREE).await?;
    let staging = json(&world, &["share", "--name", "staging-env", "-o", "json"]).await?;
    let demo =
        json(&world, &["share", "--name", "demo-environment", "--expires", "7d", "-o", "json"]).await?;
    let code = |share: &serde_json::Value| share["code"].as_str().unwrap_or_default().to_owned();
    let names = Names::of(&world).and(&code(&staging), "abc123").and(&code(&demo), "xyz789");
    let list = connect(&world, &["share", "--list", "-l", "!hidden"]).await?;
    // By name: demo-environment-... stands before staging-env-...
    let text = names.transcript(&list);
    ensure!(text.starts_with("📋 Active Environment Shares\n\n"), "{text}");
    ensure!(text.contains("\n  abc123 (staging-env)\n    Routes: 3 | Joined: 0 | Expires: 24h\n"), "{text}");
    ensure!(text.find("xyz789") < text.find("abc123"), "{text}");
    ensure!(
        text.contains("\n  xyz789 (demo-environment)\n    Routes: 3 | Joined: 0 | Expires: 7d\n"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn a_share_is_revoked_by_its_code_and_by_its_name() -> Result<()> {
    let world = World::start("revoke").await?;
    expose(&world, &[("api", 8080)]).await?;
    let first = json(&world, &["share", "-o", "json"]).await?;
    let code = first["code"].as_str().context("a code")?;
    let revoked = connect(&world, &["share", "--revoke", code]).await?;
    Names::of(&world).and(code, "abc123").check(
        &revoked,
        str![[r#"
[ok] Share abc123 revoked.
---
  Nobody was connected.
exit 0

"#]],
    );
    connect(&world, &["share", "--name", "second"]).await?.success()?;
    let revoked = connect(&world, &["revoke", "second"]).await?;
    Names::of(&world).check(
        &revoked,
        str![[r#"
[ok] Share second revoked.
---
  Nobody was connected.
exit 0

"#]],
    );
    let unknown = connect(&world, &["share", "--revoke", "zzzzzzzzzz"]).await?;
    Names::of(&world).check(
        &unknown,
        str![[r#"
---
[x] No share zzzzzzzzzz in namespace NAMESPACE
See the active shares with: kubectl connect share --list
exit 1

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn nothing_to_share() -> Result<()> {
    let world = World::start("nothing").await?;
    let output = connect(&world, &["share"]).await?;
    let share = world.only_share().await?.metadata.name.context("a name")?;
    let code = world.full_code(&share).await?;
    Names::of(&world).and(&code, "abc123").check(
        &output,
        str![[r#"
🤝 Creating environment share...

[ok] Environment share created!

  Share Code: HUB/#abc123

  Your teammate can join with:

    kubectl connect join 'HUB/#abc123'

  Routes being shared: (none)

  Expose services first: kubectl connect expose SERVICE:PORT, then kubectl connect share

  Expires in 24 hours ([..] GMT)
---
exit 0

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn a_hub_that_is_down() -> Result<()> {
    let mut world = World::beside_a_hub("page-hub-down").await?;
    expose(&world, &[("api", 8080)]).await?;
    let Some(mut hub) = world.hub.take() else { unreachable!("it has a hub of its own") };
    hub.process().kill()?;
    let output = connect(&world, &["share", "--timeout", "30s"]).await?;
    Names::of(&world).check(
        &output,
        str![[r#"
🤝 Creating environment share...

---
[x] Cannot connect to hub at HUB
Make sure the hub is running and accessible.
exit 1

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn an_unusable_duration() -> Result<()> {
    let world = World::start("two-weeks").await?;
    let output = connect(&world, &["share", "--expires", "2weeks"]).await?;
    Names::of(&world).check(
        &output,
        str![[r#"
---
[x] Invalid expires format. Use: 1h, 4h, 24h, 7d, etc.
exit 1

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn another_hub_is_named_by_its_url_or_its_secret() -> Result<()> {
    let world = World::beside_a_hub("other-hub").await?;
    expose(&world, &[("api", 8080)]).await?;
    let url = world.operator.hub_url().to_owned();
    let unknown =
        connect(&world, &["share", "--hub", "https://hub.privateconnect.co"]).await?.fails_with(1)?;
    ensure!(
        unknown.stderr.contains("is for the hub https://hub.privateconnect.co\n"),
        "{}",
        unknown.report()
    );
    let key = std::fs::read_to_string(world.hub.as_ref().context("its hub")?.key_file())?;
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "team-hub"}, "type": "connect.privateconnect.co/hub",
        "stringData": {"url": url, "apiKey": key.trim()},
    });
    world.kubectl.apply(&secret.to_string()).await?;
    let config = world.cluster.folder("configs")?.join("other-hub.json");
    std::fs::write(&config, serde_json::json!({"hubUrl": url}).to_string())?;
    let config = config.to_string_lossy().into_owned();
    for flag in [["--hub", &url], ["--hub", "team-hub"], ["--config", &config]] {
        let share = json(&world, &[&["share", "-o", "json"], flag.as_slice()].concat()).await?;
        let name = share["name"].as_str().context("a name")?;
        let stored = world.shares().await?.get(name).await?;
        assert_eq!(stored.spec.hub_ref.map(|hub| hub.name).as_deref(), Some("team-hub"), "{flag:?}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_but_names_ports_and_protocols_is_shared() -> Result<()> {
    let world = World::start("preview").await?;
    expose(&world, &[("api", 8080)]).await?;
    let secret = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"api-password"},"stringData":{"password":"hunter2"}}"#;
    world.kubectl.apply(secret).await?;
    let share = json(&world, &["share", "--name", "demo", "-o", "json"]).await?;
    let code = share["code"].as_str().and_then(|code| code.split('+').next()).context("a code")?;
    connect_tests::control_plane::install_crypto();
    let url = format!("{}/v1/env-shares/{code}", world.operator.hub_url());
    let preview = reqwest::get(url).await?.text().await?;
    ensure!(preview.contains(r#""serviceName":"api""#), "{preview}");
    for private in ["hunter2", "password", "apiKey", "token", world.namespace.name()] {
        ensure!(!preview.contains(private), "{private} is in {preview}");
    }
    let routes = serde_json::json!([{"name": "api", "protocol": "Auto", "port": 8080, "ready": true}]);
    assert_eq!(share["routes"], routes);
    Ok(())
}

#[tokio::test]
async fn services_are_shared_without_being_exposed_and_go_with_the_share() -> Result<()> {
    let world = World::start("services").await?;
    for (name, port) in THREE {
        world.service(name, port).await?;
    }
    expose(&world, &[("postgres", 5432)]).await?;
    let words = ["share", "--service", "postgres", "--service", "svc/redis:6379", "-o", "json"];
    let share = json(&world, &words).await?;
    let names = |share: &serde_json::Value| -> Vec<String> {
        let routes = share["routes"].as_array().cloned().unwrap_or_default();
        routes.iter().filter_map(|route| route["name"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(names(&share), ["postgres", "redis"]);

    world.kubectl.run(["label", "service", "redis", "api", "preview=pr-1234"]).await?.success()?;
    let labelled = json(&world, &["share", "-l", "preview=pr-1234", "-o", "json"]).await?;
    assert_eq!(names(&labelled), ["api", "redis"]);

    let exposed = || async {
        let words = ["get", "serviceexposes", "-o", "jsonpath={.items[*].status.routeName}"];
        let said = world.kubectl.run(words).await?.success()?.stdout;
        let mut routes: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
        routes.sort();
        anyhow::Ok(routes)
    };
    let delete = |share: &serde_json::Value| {
        let name = share["name"].as_str().unwrap_or_default().to_owned();
        let kubectl = world.kubectl.clone();
        async move { kubectl.run(["delete", "environmentshare", &name]).await?.success().map(drop) }
    };
    // The second share has taken a share in the first one's redis, which therefore stays with it.
    delete(&share).await?;
    assert_eq!(exposed().await?, ["api", "postgres", "redis"]);
    delete(&labelled).await?;
    eventually("only what was exposed by hand is left", SOON, || async {
        let left = exposed().await?;
        ensure!(left == ["postgres"], "{left:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_deadline_says_what_it_waited_for_and_how_to_go_on() -> Result<()> {
    let world = World::start("deadline").await?;
    let output = connect(&world, &["share", "--service", "nowhere"]).await?;
    Names::of(&world).check(
        &output,
        str![[r#"
---
[x] Service nowhere does not exist in namespace NAMESPACE
See them with: kubectl get services -n NAMESPACE
exit 1

"#]],
    );
    // An operator that is frozen looks at nothing.
    let mut world = world;
    world.operator.process().freeze()?;
    let output = connect(&world, &["share", "--timeout", "2s"]).await?;
    Names::of(&world).check(
        &output,
        str![[r#"
🤝 Creating environment share...

---
[x] No operator has looked at the share within 2s
Check that it runs: kubectl connect doctor
Wait longer with --timeout 5m, or keep the share while it waits with --no-wait.
exit 1

"#]],
    );
    let kept = connect(&world, &["share", "--name", "kept", "--no-wait", "-o", "name"]).await?.success()?;
    ensure!(kept.stdout.starts_with("environmentshare.connect.privateconnect.co/kept-"), "{}", kept.report());
    Ok(())
}
