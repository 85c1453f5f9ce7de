//! `extend`, `rotate` and `revoke`, and what they do to a share that a GitOps tool manages.

use anyhow::{Context as _, Result, ensure};
use connect_tests::services::transfer::{Running, download};
use connect_tests::teammate::Teammate;
use connect_tests::wait::{SOON, eventually};
use snapbox::str;

use super::{Names, connect, expose};
use crate::world::{API, World};

#[tokio::test]
async fn a_share_ends_later() -> Result<()> {
    let world = World::start("extend").await?;
    expose(&world, &[(API, 8080)]).await?;
    world.apply_share("demo", serde_json::json!({"expires": "24h"})).await?;
    world.apply_share("dated", serde_json::json!({"expirationTime": "2099-12-01T18:00:00Z"})).await?;
    world.share_says("demo", "Active", "True", "Joinable").await?;
    world.share_says("dated", "Active", "True", "Joinable").await?;
    let names = Names::of(&world);
    names.check(
        &connect(&world, &["extend", "demo", "4h"]).await?,
        str![[r#"
[ok] Share demo now ends in 28 hours ([..] GMT)
---
exit 0

"#]],
    );
    let extended = connect(&world, &["extend", "dated", "4h"]).await?.success()?;
    ensure!(extended.stdout.ends_with("(Tue Dec 01 2099 22:00:00 GMT)\n"), "{}", extended.report());
    let stored = world.shares().await?.get("demo").await?;
    assert_eq!(stored.spec.expires.as_deref(), Some("28h"));
    let told = stored.status.and_then(|status| status.expiration_time).context("an end")?;
    let secret = world.code("demo", "expirationTime").await?;
    assert_eq!(secret.parse::<jiff::Timestamp>()?, told.0, "the Secret says the later end as well");
    connect(&world, &["revoke", "demo"]).await?.success()?;
    names.check(
        &connect(&world, &["extend", "demo", "4h"]).await?,
        str![[r#"
---
[x] Share demo has ended and cannot be opened again
Create a new one: kubectl connect share
exit 1

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn a_new_code_makes_the_old_one_void() -> Result<()> {
    let world = World::start("rotate").await?;
    let api = world.exposed_api().await?;
    world.apply_share("demo", serde_json::json!({})).await?;
    world.apply_share("other", serde_json::json!({})).await?;
    let old = world.join_words("demo").await?;
    let mallory = Teammate::join(&world.kubectl, "mallory", &old, &[API]).await?;
    let other = Teammate::join(&world.kubectl, "carol", &world.join_words("other").await?, &[API]).await?;
    let running = Running::start(mallory.address(API)?, "/paced/256/2048").await?;
    let survivor = Running::start(other.address(API)?, "/paced/24/2048").await?;
    let uid = world.shares().await?.get("demo").await?.metadata.uid;
    eventually("the join is counted", SOON, || async {
        let joins = world.shares().await?.get("demo").await?.status.and_then(|status| status.joins);
        let counted = joins.as_ref().map(|joins| (joins.count, joins.connected));
        ensure!(counted == Some((1, Some(1))), "{joins:?}");
        Ok(())
    })
    .await?;

    let rotated = connect(&world, &["rotate", "demo"]).await?;
    let code = world.full_code("demo").await?;
    Names::of(&world).and(&code, "abc123").check(
        &rotated,
        str![[r#"
[ok] Share demo has a new code; the old one is refused

  Share Code: HUB/#abc123

  Your teammate can join with:

    kubectl connect join 'HUB/#abc123'

  Routes being shared:
    • api → localhost:8080

  Expires in 24 hours ([..] GMT)
---
  When last counted, 1 teammate was connected with the old code, and needs the new one.
exit 0

"#]],
    );
    running.cut().await?;
    let refused = world.kubectl_elsewhere()?.run(&old).await?.fails_with(1)?;
    ensure!(refused.stderr.starts_with("[x] Share not found or expired\n"), "{}", refused.report());
    let new = world.join_words("demo").await?;
    ensure!(new != old, "the code is the old one");
    let alice = Teammate::join(&world.kubectl, "alice", &new, &[API]).await?;
    let straight = download(api.address(), "/bytes/24", |_| {}).await?;
    let whole = straight.checksum()?;
    assert_eq!(download(alice.address(API)?, "/bytes/24", |_| {}).await?.checksum()?, whole);
    assert_eq!(survivor.end().await?.checksum()?, whole, "another share's transfer is whole");
    let share = world.shares().await?.get("demo").await?;
    assert_eq!(share.metadata.uid, uid, "it is the same object");
    eventually("the joins are those of the new code", SOON, || async {
        let joins = world
            .shares()
            .await?
            .get("demo")
            .await?
            .status
            .and_then(|status| status.joins)
            .unwrap_or_default();
        let names: Vec<&str> = joins.recent.iter().map(|join| join.agent.as_str()).collect();
        ensure!(joins.count == 1 && names == ["alice"], "{joins:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_git_holds_is_changed_there() -> Result<()> {
    let world = World::start("managed").await?;
    expose(&world, &[(API, 8080)]).await?;
    let share = |name: &str, mark: serde_json::Value, spec: serde_json::Value| {
        let mut metadata = mark;
        metadata["name"] = name.into();
        serde_json::json!({"apiVersion": "connect.privateconnect.co/v1alpha1", "kind": "EnvironmentShare",
            "metadata": metadata, "spec": spec})
        .to_string()
    };
    let argo = serde_json::json!({"annotations": {"argocd.argoproj.io/tracking-id": "app:x/y:z/demo"}});
    let flux = serde_json::json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}});
    world
        .kubectl
        .apply(&share("argo", argo, serde_json::json!({"expirationTime": "2099-12-01T18:00:00Z"})))
        .await?;
    world.kubectl.apply(&share("flux", flux, serde_json::json!({"expires": "24h"}))).await?;
    world.share_says("argo", "Active", "True", "Joinable").await?;
    world.share_says("flux", "Active", "True", "Joinable").await?;
    let names = Names::of(&world);
    let before = world.code("flux", "code").await?;
    names.check(
        &connect(&world, &["extend", "argo", "4h"]).await?,
        str![[r#"
spec:
  expirationTime: "2099-12-01T22:00:00Z"
---
[x] Argo CD manages share argo and would revert the change: nothing was changed
Commit the lines above to its manifest, or change it here anyway with --force.
exit 1

"#]],
    );
    names.check(
        &connect(&world, &["rotate", "flux"]).await?,
        str![[r#"
metadata:
  annotations:
    connect.privateconnect.co/rotate: [..]
---
[x] Flux manages share flux and would revert the change: nothing was changed
Commit the lines above to its manifest, or change it here anyway with --force.
exit 1

"#]],
    );
    assert_eq!(world.code("flux", "code").await?, before, "nothing was changed");
    let unchanged = world.shares().await?.get("flux").await?;
    ensure!(
        unchanged
            .metadata
            .annotations
            .is_none_or(|all| !all.contains_key("connect.privateconnect.co/rotate"))
    );
    names.check(
        &connect(&world, &["extend", "flux", "4h", "--force"]).await?,
        str![[r#"
[ok] Share flux now ends in 28 hours ([..] GMT)
---
[!] Flux manages share flux and may revert this change
exit 0

"#]],
    );
    Ok(())
}
