//! Users with some permissions: those who may read shares but not Secrets see shares without codes, and are told why in one
//! line.

use anyhow::{Context as _, Result, ensure};
use connect_tests::plugin;
use connect_tests::wait::{SOON, eventually};
use snapbox::str;

use super::{Names, connect, expose};
use crate::guides::yaml_with;
use crate::world::{API, World};

/// The page about who can do what.
const SECURITY: &str = include_str!("../../../../charts/private-connect/SECURITY.md");

#[tokio::test]
async fn who_may_not_read_secrets_sees_no_code() -> Result<()> {
    let world = World::start("viewer").await?;
    expose(&world, &[(API, 8080)]).await?;
    world.apply_share("demo", serde_json::json!({"displayName": "staging"})).await?;
    world.share_says("demo", "Active", "True", "Joinable").await?;
    let code = world.code("demo", "code").await?;
    let role = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "shares"}, "rules": [
            {"apiGroups": ["connect.privateconnect.co"], "resources": ["environmentshares", "serviceexposes"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "shares"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "shares"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "victor"}]}]});
    world.kubectl.apply(&role.to_string()).await?;
    let victor = world.cluster.kubeconfig_for("victor", &[])?;
    let kubectl = plugin::with_plugin(&world.namespace.kubectl().as_user(victor)).await?;
    let names = Names::of(&world);
    names.check(
        &kubectl.run(["connect", "share", "--list"]).await?,
        str![[r#"
📋 Active Environment Shares

  demo (staging)
    Routes: 1 | Joined: 0 | Expires: 24h
---
[!] Codes are not shown where you do not have permission to read the Secret
exit 0

"#]],
    );
    names.check(
        &kubectl.run(["connect", "status", "demo"]).await?,
        str![[r#"
Name:          demo
Friendly name: staging
Namespace:     NAMESPACE
State:         Joinable
Encryption:    Verified
Expires:       in 24 hours ([..] GMT)

Routes:
    NAME   PROTOCOL   LOCAL PORT   STATE
    api    Auto       8080         Ready

Joined: never
---
[!] The code is not shown: you do not have permission to read Secret demo-share-code
exit 0

"#]],
    );
    let made = kubectl.run(["connect", "share", "--name", "mine"]).await?.success()?;
    ensure!(
        made.stdout.contains("  Share: mine-") && !made.stdout.contains("Share Code"),
        "{}",
        made.report()
    );
    assert_eq!(made.stderr.lines().count(), 1, "{}", made.report());
    for words in [
        ["connect", "status", "-o", "json"].as_slice(),
        &["connect", "status", "-o", "wide"],
        &["connect", "status", "demo", "-o", "yaml"],
        &["connect", "share", "--list", "-o", "json"],
        &["connect", "status", "demo", "-o", "md", "--show-code"],
        &["connect", "rotate", "demo"],
    ] {
        let output = kubectl.run(words).await?.success()?;
        let all = format!("{}{}", output.stdout, output.stderr);
        ensure!(!all.contains(&code), "the code is shown: {}", output.report());
        let why = output.stderr.lines().filter(|line| line.contains("not shown")).count();
        assert_eq!(why, 1, "why is said once: {}", output.report());
    }
    // The owner of the code still sees it, and a name is enough to end a share.
    kubectl.run(["connect", "revoke", "demo"]).await?.success().map(drop)
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() -> Result<()> {
    let world = World::start("nobody").await?;
    let names = Names::of(&world);
    names.check(
        &connect(&world, &["share", "--as", "nobody"]).await?,
        str![[r#"
🤝 Creating environment share...

---
[x] You do not have permission to create environmentshares.connect.privateconnect.co in namespace NAMESPACE
Ask for the verb create on environmentshares.connect.privateconnect.co.
exit 1

"#]],
    );
    names.check(
        &connect(&world, &["status", "--as", "nobody", "--as-group", "dev"]).await?,
        str![[r#"
---
[x] You do not have permission to list environmentshares.connect.privateconnect.co in namespace NAMESPACE
Ask for the verb list on environmentshares.connect.privateconnect.co.
exit 1

"#]],
    );
    let checked = connect(&world, &["doctor", "--as", "nobody", "-o", "json"]).await?.fails_with(1)?;
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).context("JSON")?;
    let rights =
        report["sections"].as_array().into_iter().flatten().find(|section| section["name"] == "permissions");
    let failed = rights.and_then(|rights| rights["checks"].as_array()).map(Vec::len);
    assert_eq!(failed, Some(6), "{report}");
    Ok(())
}

#[tokio::test]
async fn a_quota_bounds_the_shares_of_a_namespace() -> Result<()> {
    let world = World::start("quota").await?;
    expose(&world, &[(API, 8080)]).await?;
    let quota = yaml_with(SECURITY, "kind: ResourceQuota")?.replace("\"5\"", "\"1\"");
    world.kubectl.apply(&quota).await?;
    eventually("the quota is counted", SOON, || async {
        let used =
            world.kubectl.run(["get", "resourcequota", "shares", "-o", "jsonpath={.status.used}"]).await?;
        ensure!(used.success()?.stdout.contains("environmentshares"), "not yet");
        Ok(())
    })
    .await?;
    connect(&world, &["share", "--name", "first"]).await?.success()?;
    Names::of(&world).check(
        &connect(&world, &["share", "--name", "second", "-o", "name"]).await?,
        str![[r#"
---
[x] The cluster refuses EnvironmentShare[..]: [..]exceeded quota: shares, requested: count/environmentshares.connect.privateconnect.co=1, used: count/environmentshares.connect.privateconnect.co=1, limited: count/environmentshares.connect.privateconnect.co=1
exit 1

"#]],
    );
    Ok(())
}
