//! Ways to log in to a cluster that kubeconfigs know.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context as _, Result, ensure};
use connect_tests::control_plane::Kubectl;
use connect_tests::plugin;
use serde_json::{Value, json};
use snapbox::str;

use super::{Names, expose};
use crate::world::{API, World};

/// kubectl with the plugin, logging in by this way.
async fn logging_in(world: &World, way: &str, user: Value) -> Result<Kubectl> {
    let text = std::fs::read_to_string(world.cluster.kubeconfig())?;
    let mut config: Value = serde_json::from_str(&text)?;
    config["users"][0]["user"] = user;
    let path = world.cluster.folder(way)?.join("config.yaml");
    std::fs::write(&path, config.to_string())?;
    plugin::with_plugin(&world.namespace.kubectl().as_user(&path)).await
}

#[tokio::test]
async fn a_program_gives_the_token() -> Result<()> {
    let world = World::start("exec").await?;
    expose(&world, &[(API, 8080)]).await?;
    let token = world.cluster.admin().bearer().context("the administrator has a token")?;
    let program = world.cluster.folder("exec")?.join("token.sh");
    let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": token}});
    std::fs::write(&program, format!("#!/bin/sh\ncat <<'END'\n{credential}\nEND\n"))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700))?;
    let user = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1",
        "command": program, "interactiveMode": "Never"}});
    let kubectl = logging_in(&world, "exec-config", user).await?;
    let shared = kubectl.run(["connect", "share", "-o", "name"]).await?.success()?;
    ensure!(
        shared.stdout.starts_with("environmentshare.connect.privateconnect.co/share-"),
        "{}",
        shared.report()
    );
    std::fs::write(&program, "#!/bin/sh\necho 'log in first' >&2\nexit 1\n")?;
    let refused = kubectl.run(["connect", "status"]).await?;
    Names::of(&world).and(&program.to_string_lossy(), "PROGRAM").check(
        &refused,
        str![[r#"
---
[x] Cannot log in to the cluster: the program that the kubeconfig names ended with exit code 1: log in first
Log in again with the tool of your cluster, or choose another --context.
exit 1

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn a_token_of_a_login_provider_is_used_while_it_lasts() -> Result<()> {
    let world = World::start("oidc").await?;
    expose(&world, &[(API, 8080)]).await?;
    // What a provider issues is a token with claims and an end, as a service account's is.
    let admin = world.namespace.kubectl();
    admin.run(["create", "serviceaccount", "grace"]).await?.success()?;
    let subject = format!("--serviceaccount={}:grace", world.namespace.name());
    admin
        .run(["create", "rolebinding", "grace", "--clusterrole=cluster-admin", &subject])
        .await?
        .success()?;
    let token = admin.run(["create", "token", "grace"]).await?.success()?.stdout;
    let provider = json!({"name": "oidc", "config": {"id-token": token.trim(), "client-id": "c",
        "idp-issuer-url": "https://127.0.0.1:9"}});
    let kubectl = logging_in(&world, "oidc-config", json!({"auth-provider": provider})).await?;
    let shared = kubectl.run(["connect", "share", "-o", "name"]).await?.success()?;
    ensure!(
        shared.stdout.starts_with("environmentshare.connect.privateconnect.co/share-"),
        "{}",
        shared.report()
    );
    Ok(())
}

#[tokio::test]
async fn what_does_not_log_in_is_one_sentence_and_what_to_do() -> Result<()> {
    let world = World::start("logging-in").await?;
    // As kubectl has kept it since before programs gave tokens: header, claims that are long over, and a signature.
    let expired = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl";
    let oidc = |config: Value| json!({"auth-provider": {"name": "oidc", "config": config}});
    let issuer = "https://127.0.0.1:9";
    for (user, expected) in [
        (
            oidc(json!({"id-token": expired})),
            str![[r#"
---
[x] Cannot log in to the cluster: the login provider of the kubeconfig: missing field idp-issuer-url
Log in again with the tool of your cluster, or choose another --context.
exit 1

"#]],
        ),
        (
            oidc(json!({"id-token": expired, "refresh-token": "r", "client-id": "c", "client-secret": "s",
                "idp-issuer-url": issuer})),
            str![[r#"
---
[x] Cannot log in to the cluster: the login provider of the kubeconfig: connection refused
Log in again with the tool of your cluster, or choose another --context.
exit 1

"#]],
        ),
        (
            json!({"auth-provider": {"name": "azure", "config": {}}}),
            str![[r#"
---
[x] Cannot log in to the cluster: The azure auth plugin is not supported; use https://github.com/Azure/kubelogin instead
Log in again with the tool of your cluster, or choose another --context.
exit 1

"#]],
        ),
        (
            json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "kubelogin-that-is-not-here",
            "interactiveMode": "Never"}}),
            str![[r#"
---
[x] Cannot log in to the cluster: the program that the kubeconfig names cannot be run: not found
Log in again with the tool of your cluster, or choose another --context.
exit 1

"#]],
        ),
        (
            json!({"token": "wrong"}),
            str![[r#"
---
[x] The cluster does not accept your credentials: log in again, or choose another --context
exit 1

"#]],
        ),
    ] {
        let kubectl = logging_in(&world, "no-login", user).await?;
        Names::of(&world)
            .and(world.cluster.server(), "SERVER")
            .check(&kubectl.run(["connect", "status"]).await?, expected);
    }
    Ok(())
}
