//! `status` and what changes: routes, who joined when, what a share waits for.

use anyhow::{Context as _, Result, ensure};
use connect_tests::process::Process;
use connect_tests::teammate::Teammate;
use connect_tests::wait::{PATIENTLY, SOON, eventually};
use snapbox::str;

use super::{Names, connect, expose, json};
use crate::world::{API, World};

#[tokio::test]
async fn a_share_from_its_first_join_to_its_end() -> Result<()> {
    let world = World::start("life").await?;
    expose(&world, &[(API, 8080)]).await?;
    world.apply_share("demo", serde_json::json!({"displayName": "PR-1234", "expires": "4h"})).await?;
    let words = world.join_words("demo").await?;
    world.share_says("demo", "Active", "True", "Joinable").await?;
    // A snapshot: what is exposed later is not in it.
    expose(&world, &[("later", 9090)]).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &words, &[API]).await?;
    let _bob = Teammate::join(&world.kubectl, "bob", &words, &[API]).await?;
    eventually("both joins are in the status", SOON, || async {
        let share = json(&world, &["status", "demo", "-o", "json"]).await?;
        ensure!(share["joins"]["count"] == 2, "{share}");
        Ok(())
    })
    .await?;
    let code = world.full_code("demo").await?;
    let names = Names::of(&world).and(&code, "abc123");
    names.check(
        &connect(&world, &["status", "demo"]).await?,
        str![[r#"
Name:          demo
Friendly name: PR-1234
Namespace:     NAMESPACE
State:         Joinable
Code:          abc123
Join with:     kubectl connect join 'HUB/#abc123'
Encryption:    Verified
Expires:       in 4 hours ([..] GMT)

Routes:
    NAME   PROTOCOL   LOCAL PORT   STATE
    api    Auto       8080         Ready

Joined: 2 times, nobody is connected now
    WHO     WHEN                           AGO   NOW
    bob     [..] GMT   [..]s    -
    alice   [..] GMT   [..]s    -

Notes:
    RoutesCurrent is False (SnapshotOutdated): not in the snapshot: later; [..]
    Create another share for today's routes: kubectl connect share
---
exit 0

"#]],
    );
    names.check(
        &connect(&world, &["status"]).await?,
        str![[r#"
NAME   STATE      ROUTES   JOINS   EXPIRES   AGE
demo   Joinable   1/1      2       4h        [..]s
---
exit 0

"#]],
    );
    names.check(
        &connect(&world, &["status", "-o", "wide"]).await?,
        str![[r#"
NAME   STATE      ROUTES   JOINS   EXPIRES   AGE   ENCRYPTION   CODE[..]FRIENDLY NAME   MESSAGE
demo   Joinable   1/1      2       4h        [..]s[..]abc123[..]PR-1234         SnapshotOutdated: not in the snapshot: later; [..]
---
exit 0

"#]],
    );
    drop(alice);
    connect(&world, &["revoke", &code]).await?.success()?;
    names.check(
        &connect(&world, &["status", "PR-1234"]).await?,
        str![[r#"
Name:          demo
Friendly name: PR-1234
Namespace:     NAMESPACE
State:         Revoked
Ended:         [..]s ago ([..] GMT)

Routes:
    NAME   PROTOCOL   LOCAL PORT   STATE
    api    Auto       8080         Ended

Joined: 2 times
    WHO     WHEN                           AGO
    bob     [..] GMT   [..]s
    alice   [..] GMT   [..]s
---
exit 0

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn a_share_that_waits_says_for_what() -> Result<()> {
    let world = World::start("waits").await?;
    world.apply_share("demo", serde_json::json!({"routes": {"names": ["redis"]}})).await?;
    world.share_says("demo", "ResolvedRefs", "False", "ExposeNotReady").await?;
    Names::of(&world).check(
        &connect(&world, &["status", "demo"]).await?,
        str![[r#"
Name:      demo
Namespace: NAMESPACE
State:     Pending
Expires:   in 24 hours ([..] GMT)

Routes: (none)

Joined: never

Waits for:
    ResolvedRefs is False (ExposeNotReady): there is no ServiceExpose redis in this namespace
    See which route is not ready: kubectl get serviceexposes
---
exit 0

"#]],
    );
    Names::of(&world).check(
        &connect(&world, &["status", "nobody"]).await?,
        str![[r#"
---
[x] No share nobody in namespace NAMESPACE
See the active shares with: kubectl connect share --list
exit 1

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn every_form_says_the_same() -> Result<()> {
    let world = World::start("forms").await?;
    expose(&world, &[("postgres", 5432)]).await?;
    world.apply_share("demo", serde_json::json!({"displayName": "PR|1234"})).await?;
    world.share_says("demo", "Active", "True", "Joinable").await?;
    let code = world.full_code("demo").await?;
    let names = Names::of(&world).and(&code, "abc123");
    let json = json(&world, &["share", "--list", "-o", "json"]).await?;
    assert_eq!(json["shares"][0]["name"], "demo");
    assert_eq!(json["shares"][0]["code"], code);
    names.check(
        &connect(&world, &["status", "demo", "-o", "yaml"]).await?,
        str![[r#"
code: abc123
creationTime: [..]
displayName: PR|1234
encryption: Verified
expirationTime: [..]
joinCommand: kubectl connect join 'HUB/#abc123'
joinable: true
joins:
  connected: 0
  count: 0
  recent: []
name: demo
namespace: NAMESPACE
routes:
- name: postgres
  port: 5432
  protocol: Auto
  ready: true
state: Joinable
---
exit 0

"#]],
    );
    names.check(
        &connect(&world, &["status", "-o", "name"]).await?,
        str![[r#"
environmentshare.connect.privateconnect.co/demo
---
exit 0

"#]],
    );
    names.check(
        &connect(&world, &["status", "demo", "-o", "md"]).await?,
        str![[r#"
### Environment share PR/|1234

| Route | Protocol | After joining |
|---|---|---|
| postgres | Auto | `localhost:5432` |

```shell
kubectl connect join 'HUB/#CODE'
```

The code: `kubectl connect status demo -n NAMESPACE`

Expires in 24 hours ([..] GMT)
---
exit 0

"#]],
    );
    let shown = connect(&world, &["status", "demo", "-o", "md", "--show-code"]).await?.success()?;
    ensure!(shown.stdout.contains(&format!("/#{code}'")), "{}", shown.report());
    Ok(())
}

#[tokio::test]
async fn shares_are_chosen_by_labels_and_across_namespaces() -> Result<()> {
    let world = World::start("choice").await?;
    expose(&world, &[(API, 8080)]).await?;
    for name in ["one", "two"] {
        world.apply_share(name, serde_json::json!({})).await?;
        world.share_says(name, "Active", "True", "Joinable").await?;
    }
    world.kubectl.run(["label", "environmentshare", "two", "team=blue"]).await?.success()?;
    let chosen = connect(&world, &["status", "-l", "team=blue", "-o", "name"]).await?.success()?;
    assert_eq!(chosen.stdout, "environmentshare.connect.privateconnect.co/two\n");
    let listed = connect(&world, &["share", "--list", "-l", "team=blue", "-o", "name"]).await?.success()?;
    assert_eq!(listed.stdout, chosen.stdout);
    let everywhere = connect(&world, &["status", "-A"]).await?.success()?;
    ensure!(everywhere.stdout.starts_with("NAMESPACE"), "{}", everywhere.report());
    let ours = everywhere.stdout.lines().filter(|line| line.starts_with(world.namespace.name())).count();
    assert_eq!(ours, 2, "{}", everywhere.report());
    Ok(())
}

#[tokio::test]
async fn what_changes_is_shown_as_it_comes() -> Result<()> {
    let world = World::start("watch").await?;
    expose(&world, &[(API, 8080)]).await?;
    world.apply_share("demo", serde_json::json!({})).await?;
    world.share_says("demo", "Active", "True", "Joinable").await?;
    let watch = |name: &str, words: &[&str]| {
        let command = world.kubectl.command(["connect"].iter().chain(words));
        Process::start(&format!("{name}-{}", world.namespace.name()), command, &world.cluster.logs())
    };
    let mut table = watch("watch-table", &["status", "--watch"])?;
    let mut one = watch("watch-one", &["status", "demo", "-w"])?;
    let mut list = watch("watch-list", &["share", "--list", "-w"])?;
    let has = |text: &'static str| move |said: &str| said.contains(text).then_some(());
    table.printed("the share is in the table", PATIENTLY, has("Joinable")).await?;
    one.printed("the share is shown", PATIENTLY, has("State:      Joinable")).await?;
    list.printed("the share is in the list", PATIENTLY, has("(demo)")).await?;
    connect(&world, &["revoke", "demo"]).await?.success()?;
    table.printed("its end is in the table", PATIENTLY, has("Revoked")).await?;
    one.printed("its end is shown", PATIENTLY, has("State:     Revoked")).await?;
    list.printed("it has left the list", PATIENTLY, has("No active shares.")).await?;
    let heads = table.stdout().matches("NAME").count();
    assert_eq!(heads, 1, "a table that goes on has one head: {}", table.stdout());
    world.kubectl.run(["delete", "environmentshare", "demo"]).await?.success()?;
    let ended = one.end(SOON).await.context("there is nothing left to watch")?;
    assert_eq!(ended.code(), Some(1));
    ensure!(one.stderr().contains("[x] Share demo was deleted"), "{}", one.stderr());
    Ok(())
}
