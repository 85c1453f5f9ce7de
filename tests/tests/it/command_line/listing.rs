//! Lists: in which order, what is left out, what is said while the hub is down, and in whose time.

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{kind, reason};
use connect_tests::control_plane::Output;
use connect_tests::process::Process;
use connect_tests::wait::PATIENTLY;
use serde_json::json;
use snapbox::str;

use super::{Names, connect, expose, json};
use crate::world::{API, World};

/// What a share of the far future ends at, and how people of some zones read it.
const END: &str = "2099-12-01T18:00:00Z";

#[tokio::test]
async fn a_list_while_the_hub_is_down_names_every_share_and_the_hub() -> Result<()> {
    let mut world = World::beside_a_hub("list-hub-down").await?;
    expose(&world, &[(API, 8080)]).await?;
    for name in ["one", "two"] {
        world.apply_share(name, json!({})).await?;
        world.share_says(name, kind::ACTIVE, "True", reason::JOINABLE).await?;
    }
    let Some(mut hub) = world.hub.take() else { unreachable!("it has a hub of its own") };
    hub.process().kill()?;
    // The operator notices when it next has something to say to the hub.
    for name in ["one", "two"] {
        let patch = r#"{"spec":{"expires":"48h"}}"#;
        world.kubectl.run(["patch", "envshare", name, "--type=merge", "-p", patch]).await?.success()?;
        world.share_says(name, kind::ACTIVE, "Unknown", reason::HUB_UNREACHABLE).await?;
    }
    Names::of(&world).check(
        &connect(&world, &["share", "--list"]).await?,
        str![[r#"
📋 Active Environment Shares

  one
    Routes: 1 | Joined: 0 | Expires: [..]
    State: HubUnreachable: [..]HUB[..]

  two
    Routes: 1 | Joined: 0 | Expires: [..]
    State: HubUnreachable: [..]HUB[..]
---
[x] Cannot connect to hub at HUB
Make sure the hub is running and accessible.
exit 1

"#]],
    );
    let listed = connect(&world, &["share", "--list", "-o", "json"]).await?.fails_with(1)?;
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout)?;
    let shares = listed["shares"].as_array().context("shares")?;
    ensure!(shares.len() == 2 && shares.iter().all(|share| share["code"].is_null()), "{listed}");
    Ok(())
}

#[tokio::test]
async fn ended_shares_are_left_out_and_counted_and_rows_are_sorted() -> Result<()> {
    let world = World::start("list-ended").await?;
    expose(&world, &[(API, 8080)]).await?;
    for name in ["zebra", "old", "ant", "past"] {
        world.apply_share(name, json!({"maxJoins": 5})).await?;
        world.share_says(name, kind::ACTIVE, "True", reason::JOINABLE).await?;
    }
    for name in ["old", "past"] {
        connect(&world, &["revoke", name]).await?.success()?;
    }
    let names = Names::of(&world);
    names.check(
        &connect(&world, &["status"]).await?,
        str![[r#"
NAME    STATE      ROUTES   JOINS   EXPIRES   AGE
ant     Joinable   1/1      0       24h       [..]s
zebra   Joinable   1/1      0       24h       [..]s
---
2 ended shares are not shown; to see them: kubectl connect status --all
exit 0

"#]],
    );
    names.check(
        &connect(&world, &["status", "--all"]).await?,
        str![[r#"
NAME    STATE      ROUTES   JOINS   EXPIRES   AGE
ant     Joinable   1/1      0       24h       [..]s
old     Revoked    1        0       ended     [..]s
past    Revoked    1        0       ended     [..]s
zebra   Joinable   1/1      0       24h       [..]s
---
exit 0

"#]],
    );
    let all = json(&world, &["status", "-o", "json"]).await?;
    assert_eq!(all["shares"].as_array().map(Vec::len), Some(4), "programs see all: {all}");
    let listed = connect(&world, &["share", "--list"]).await?.success()?;
    ensure!(
        !listed.stdout.contains("old") && listed.stderr.starts_with("2 ended shares"),
        "{}",
        listed.report()
    );
    names.check(
        &connect(&world, &["delete", "old"]).await?,
        str![[r#"
[ok] Share old deleted.
---
exit 0

"#]],
    );
    let left = connect(&world, &["status"]).await?.success()?;
    ensure!(left.stderr.starts_with("1 ended share is not shown"), "{}", left.report());
    Ok(())
}

#[tokio::test]
async fn a_table_that_goes_on_keeps_its_columns_and_says_nothing_twice() -> Result<()> {
    let world = World::start("list-watch").await?;
    expose(&world, &[(API, 8080)]).await?;
    let long = "a-share-with-a-very-long-name";
    for name in [long, "b"] {
        world.apply_share(name, json!({})).await?;
        world.share_says(name, kind::ACTIVE, "True", reason::JOINABLE).await?;
    }
    let command = world.kubectl.command(["connect", "status", "--watch"]);
    let mut table =
        Process::start(&format!("columns-{}", world.namespace.name()), command, &world.cluster.logs())?;
    let has = |text: &'static str| move |said: &str| said.contains(text).then_some(());
    table.printed("both are in the table", PATIENTLY, has("\nb  ")).await?;
    // Changes that no column shows, then one that a column does.
    for label in ["x=1", "x=2"] {
        world.kubectl.run(["annotate", "envshare", "b", "--overwrite", label]).await?.success()?;
    }
    connect(&world, &["revoke", "b"]).await?.success()?;
    table.printed("its end is in the table", PATIENTLY, has("Revoked")).await?;
    let said = table.stdout();
    let column = said.lines().next().and_then(|head| head.find("STATE")).context("a head")?;
    let of_b = said.lines().filter(|line| line.starts_with("b "));
    let mut states: Vec<&str> = of_b.filter_map(|row| row.get(column..)?.split_whitespace().next()).collect();
    // The wish may be seen before the operator has acted on it.
    states.retain(|state| *state != "Revoking");
    assert_eq!(states, ["Joinable", "Revoked"], "one row for each state, in its column: {said}");
    Ok(())
}

#[tokio::test]
async fn people_see_their_own_time_and_programs_utc() -> Result<()> {
    let world = World::start("zones").await?;
    expose(&world, &[(API, 8080)]).await?;
    world.apply_share("demo", json!({"expirationTime": END})).await?;
    world.share_says("demo", kind::ACTIVE, "True", reason::JOINABLE).await?;
    let said = async |zone: &str, words: &[&str]| -> Result<String> {
        let mut command = world.kubectl.command(["connect"].iter().chain(words));
        command.env("TZ", zone);
        let output = tokio::process::Command::from(command).output().await?;
        let output = String::from_utf8(output.stdout)?;
        ensure!(!output.is_empty(), "{words:?} in {zone} says nothing");
        Ok(output)
    };
    for (zone, end) in [
        ("UTC0", "Tue Dec 01 2099 18:00:00 GMT"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "Tue Dec 01 2099 19:00:00 CET"),
        ("EST5EDT,M3.2.0,M11.1.0", "Tue Dec 01 2099 13:00:00 EST"),
        ("<+0545>-5:45", "Tue Dec 01 2099 23:45:00 GMT+05:45"),
    ] {
        let shown = said(zone, &["status", "demo"]).await?;
        ensure!(shown.contains(&format!("({end})\n")), "{zone}: {shown}");
        let extended = said(zone, &["share", "--until", "2099-12-01 18:00", "--dry-run=server"]).await?;
        ensure!(extended.contains("Tue Dec 01 2099 18:00:00 "), "typed in {zone}: {extended}");
        for form in ["json", "yaml"] {
            let shown = said(zone, &["status", "demo", "-o", form]).await?;
            ensure!(shown.contains(END), "{form} in {zone}: {shown}");
        }
        let shown = said(zone, &["status", "demo", "-o", "md"]).await?;
        ensure!(shown.contains("(Tue Dec 01 2099 18:00:00 GMT)"), "{zone}: {shown}");
    }
    Ok(())
}

#[tokio::test]
async fn a_share_has_the_end_and_the_limits_that_were_asked_for() -> Result<()> {
    let world = World::start("limits").await?;
    expose(&world, &[(API, 8080)]).await?;
    let words = ["share", "--name", "demo", "--until", END, "--max-joins", "3", "--ttl", "7d", "-o", "json"];
    let share = json(&world, &words).await?;
    assert_eq!(share["expirationTime"], END);
    let stored = world.only_share().await?.spec;
    assert_eq!((stored.max_joins, stored.ttl_seconds_after_finished), (Some(3), Some(604_800)));
    assert_eq!(stored.expires, None);
    let faces = "\u{1f980}".repeat(100);
    let named: Output = connect(&world, &["share", "--name", &faces, "--dry-run=server"]).await?;
    named.success().map(drop)
}
