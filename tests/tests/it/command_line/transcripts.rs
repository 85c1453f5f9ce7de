//! Whole outputs that people see or paste: a comment for a pull request, and a join from its first line to its last.

use anyhow::{Result, ensure};
use connect_tests::teammate::Teammate;
use connect_tests::wait::{SOON, eventually};
use snapbox::{Data, assert_data_eq, str};

use super::{Names, connect, expose};
use crate::world::{API, World};

#[tokio::test]
async fn a_comment_for_a_pull_request() -> Result<()> {
    let world = World::start("comment").await?;
    expose(&world, &[("postgres", 5432), (API, 8080)]).await?;
    let words = ["share", "--name", "PR-1234", "-o", "md"];
    let output = connect(&world, &words).await?;
    let share = world.only_share().await?.metadata.name.unwrap_or_default();
    Names::of(&world).and(&share, "SHARE").check(
        &output,
        str![[r#"
### Environment share PR-1234

| Route | Protocol | After joining |
|---|---|---|
| api | Auto | `localhost:8080` |
| postgres | Auto | `localhost:5432` |

```shell
kubectl connect join 'HUB/#CODE'
```

The code: `kubectl connect status SHARE -n NAMESPACE`

Expires in 24 hours ([..] GMT)
---
exit 0

"#]],
    );
    world.delete_share(&share).await?;
    let output = connect(&world, &[&words, ["--show-code"].as_slice()].concat()).await?;
    let share = world.only_share().await?.metadata.name.unwrap_or_default();
    let code = world.full_code(&share).await?;
    Names::of(&world).and(&share, "SHARE").and(&code, "abc123").check(
        &output,
        str![[r#"
### Environment share PR-1234

| Route | Protocol | After joining |
|---|---|---|
| api | Auto | `localhost:8080` |
| postgres | Auto | `localhost:5432` |

```shell
kubectl connect join 'HUB/#abc123'
```

Expires in 24 hours ([..] GMT)
---
exit 0

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn a_join_is_told_of_a_later_end_and_of_the_end_itself() -> Result<()> {
    let world = World::start("transcript").await?;
    expose(&world, &[(API, 8080)]).await?;
    world.apply_share("demo", serde_json::json!({"displayName": "PR-1234"})).await?;
    let words = world.join_words("demo").await?;
    world.share_says("demo", "Active", "True", "Joinable").await?;
    let mut alice = Teammate::join(&world.kubectl, "alice", &words, &[API]).await?;
    connect(&world, &["extend", "demo", "4h"]).await?.success()?;
    eventually("the teammate is told", SOON, || async {
        ensure!(alice.said().contains("now ends in"), "{}", alice.said());
        Ok(())
    })
    .await?;
    connect(&world, &["revoke", "demo"]).await?.success()?;
    let status = alice.end(SOON).await?;
    // What is talk, as the later end, is on stderr, which comes second here.
    let said = format!("{}exit {}\n", alice.said(), status.code().unwrap_or(-1));
    assert_data_eq!(
        Data::text(said),
        str![[r#"
🔗 Joining environment share: ***

[ok] Connected to shared environment!

  Name: PR-1234
  Expires in 24 hours

  Establishing tunnels...

    [ok] api → localhost:[..]

[ok] 1 tunnel(s) active

  Example connections:
    • api: localhost:[..]

  Press Ctrl+C to disconnect all tunnels


Share revoked.
[ok] The share now ends in 28 hours ([..] GMT)
exit 0

"#]]
    );
    Ok(())
}
