//! As kubectl does it: its flags, its kubeconfigs, dry runs, and manifests that can be applied again and again.

use anyhow::{Result, ensure};
use connect_tests::wait::{SOON, eventually};
use kube::api::ListParams;
use snapbox::str;

use super::{Names, connect, expose, json};
use crate::world::{API, World};

/// An address at which nobody listens.
const NOBODY: &str = "https://127.0.0.1:9";

#[tokio::test]
async fn a_manifest_applies_twice_with_no_difference() -> Result<()> {
    let world = World::start("manifest").await?;
    world.service(API, 8080).await?;
    let words = [
        "share",
        "--name",
        "staging-env",
        "--expires",
        "7d",
        "--service",
        "api",
        "-o",
        "yaml",
        "--dry-run=client",
    ];
    let manifest = connect(&world, &words).await?;
    Names::of(&world).check(
        &manifest,
        str![[r#"
apiVersion: connect.privateconnect.co/v1alpha1
kind: ServiceExpose
metadata:
  name: staging-env-api
  namespace: NAMESPACE
spec:
  routeName: api
  serviceRef:
    name: api
    port: 8080
---
apiVersion: connect.privateconnect.co/v1alpha1
kind: EnvironmentShare
metadata:
  name: staging-env
  namespace: NAMESPACE
spec:
  displayName: staging-env
  expires: 7d
  routes:
    membership: Snapshot
    names:
    - staging-env-api
---
exit 0

"#]],
    );
    ensure!(world.shares().await?.list(&ListParams::default()).await?.items.is_empty(), "it was created");
    let kubectl = world.namespace.kubectl();
    kubectl.apply(&manifest.stdout).await?;
    let again = kubectl.apply(&manifest.stdout).await?;
    assert_eq!(again.stdout.matches(" unchanged").count(), 2, "{}", again.report());
    world.share_says("staging-env", "Active", "True", "Joinable").await?;
    kubectl.run_with_input(["diff", "-f", "-"], &manifest.stdout).await?.success()?;

    let json = json(&world, &["share", "--name", "x", "--service", "api", "-o", "json", "--dry-run"]).await?;
    assert_eq!(json["kind"], "EnvironmentShare", "api is exposed already, so that it is one object: {json}");
    Names::of(&world).check(
        &connect(&world, &["share", "--name", "x", "--dry-run"]).await?,
        str![[r#"
environmentshare.connect.privateconnect.co/x created (dry run)
---
exit 0

"#]],
    );
    Ok(())
}

#[tokio::test]
async fn the_cluster_judges_a_share_that_is_not_made() -> Result<()> {
    let world = World::start("forecast").await?;
    expose(&world, &[(API, 8080)]).await?;
    world.service("redis", 6379).await?;
    Names::of(&world).check(
        &connect(&world, &["share", "--name", "demo", "--expires", "4h", "--dry-run=server"]).await?,
        str![[r#"
[ok] The cluster accepts share demo (server dry run)

  Routes that would be shared:
    • api → localhost:8080

  Would expire in 4 hours ([..] GMT)
  Nothing was changed and no code was made.
---
exit 0

"#]],
    );
    let forecast = json(&world, &["share", "--service", "redis", "--dry-run=server", "-o", "json"]).await?;
    assert_eq!(forecast["accepted"], true);
    assert_eq!(forecast["routes"], serde_json::json!([{"name": "redis", "port": 6379, "ready": true}]));
    ensure!(world.shares().await?.list(&ListParams::default()).await?.items.is_empty(), "it was created");

    let policy = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": world.namespace.name()},
            "spec": {"failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{"apiGroups": ["connect.privateconnect.co"], "apiVersions": ["*"],
                    "operations": ["CREATE"], "resources": ["environmentshares"]}]},
                "validations": [{"expression": "!has(object.spec.expires) || !object.spec.expires.endsWith('d')",
                    "message": "shares live for hours here, not days"}]}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": world.namespace.name()},
            "spec": {"policyName": world.namespace.name(), "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace.name()}}}}}]});
    world.kubectl.apply(&policy.to_string()).await?;
    let refused = eventually("the policy is in force", SOON, || async {
        connect(&world, &["share", "--expires", "7d", "--dry-run=server"]).await?.fails_with(1)
    })
    .await;
    let kinds = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    world.cluster.kubectl().run(["delete", kinds, world.namespace.name()]).await?.success()?;
    let refused = refused?;
    ensure!(refused.stderr.contains("shares live for hours here, not days"), "{}", refused.report());
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_is_away_is_exit_1() -> Result<()> {
    let world = World::start("away").await?;
    let folder = world.cluster.folder("kubeconfigs")?;
    let config = folder.join("away.yaml");
    let text = serde_json::json!({"apiVersion": "v1", "kind": "Config", "current-context": "away",
        "clusters": [{"name": "away", "cluster": {"server": NOBODY}}], "users": [{"name": "away", "user": {}}],
        "contexts": [{"name": "away", "context": {"cluster": "away", "user": "away"}}]});
    std::fs::write(&config, text.to_string())?;
    let config = config.to_string_lossy().into_owned();
    for words in
        [["share", "--list"].as_slice(), &["status"], &["share"], &["extend", "x", "4h"], &["doctor"]]
    {
        let all = [words, &["--kubeconfig", &config, "--request-timeout", "5s"]].concat();
        let output = connect(&world, &all).await?.fails_with(1)?;
        let said = format!("{}{}", output.stdout, output.stderr);
        ensure!(said.contains(&format!("Cannot reach the cluster at {NOBODY}")), "{}", output.report());
    }
    let names = Names::of(&world).and(&config, "KUBECONFIG");
    names.check(
        &connect(&world, &["status", "--kubeconfig", &config, "--context", "nowhere"]).await?,
        str![[r#"
---
[x] The kubeconfig has no context nowhere
See them with: kubectl config get-contexts
exit 1

"#]],
    );
    Ok(())
}
