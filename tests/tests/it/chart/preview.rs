//! The chart of a pull request's environment: what it renders, refuses, and lets the pipeline do.

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{kind, reason};
use serde_json::{Value, json};

use super::PREVIEW;
use crate::world::World;
use connect_tests::helm::{Helm, of_kind, the};

/// A release for pull request 7, by values that turn every switch.
const SETTINGS: [&str; 4] = [
    "services[0].name=api,services[0].port=8080,services[1].name=db,services[1].port=sql,services[1].routeName=postgres",
    "services[1].localPort=15432,services[1].protocol=TCP,share.displayName=PR-7,share.maxJoins=3,share.expires=4h",
    "namespace.create=true,namespace.labels.a=b,namespace.annotations.c=d,ci.serviceAccount=ci",
    "ci.subjects[0].kind=User,ci.subjects[0].name=pipeline,ci.subjects[0].apiGroup=rbac.authorization.k8s.io",
];

fn set<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    settings.iter().flat_map(|it| ["--set", *it]).collect()
}

#[tokio::test]
async fn a_pull_request_s_environment_is_shared_and_its_pipeline_may_do_that_and_no_more() -> Result<()> {
    let world = World::start("preview-chart").await?;
    let namespace = world.namespace.name();
    let helm = Helm::new().await?;
    helm.run(&["lint", "--strict", PREVIEW]).await?;
    let mut objects = helm.objects_of(PREVIEW, "pr-7", namespace, &set(&SETTINGS)).await?;
    let made = the(&objects, "Namespace")?;
    assert_eq!(
        (&made["metadata"]["name"], &made["metadata"]["labels"]["a"]),
        (&json!(namespace), &json!("b"))
    );
    // It is here already, and its labels belong to the test.
    objects.retain(|object| object["kind"] != "Namespace");
    world.service("api", 8080).await?;
    let db = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec":
        {"selector": {"app": "db"}, "ports": [{"name": "sql", "port": 5432}]}});
    objects.push(db);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    world.kubectl.run_with_input(["apply", "--validate=strict", "-f", "-"], &list).await?.success()?;
    let share = world.share_says("pr-7", kind::READY, "True", reason::SHARED).await?;
    assert_eq!(share.spec.max_joins, Some(3));
    let mut routes: Vec<String> =
        share.status.unwrap_or_default().routes.into_iter().map(|it| it.name).collect();
    routes.sort();
    assert_eq!(routes, ["api", "postgres"]);

    let pipeline = format!("--as=system:serviceaccount:{namespace}:ci");
    for (words, allowed) in [
        (["create", "environmentshares"].as_slice(), true),
        (&["patch", "environmentshares"], true),
        (&["delete", "environmentshares"], true),
        (&["create", "serviceexposes"], true),
        (&["get", "secrets/pr-7-share-code"], true),
        (&["get", "secrets/other-share-code"], false),
        (&["get", "secrets"], false),
        (&["list", "secrets"], false),
        (&["create", "secrets"], false),
        (&["get", "pods"], false),
        (&["update", "environmentshares/status"], false),
        (&["create", "rolebindings"], false),
    ] {
        for who in [pipeline.as_str(), "--as=pipeline"] {
            let said = world.kubectl.run([["auth", "can-i"].as_slice(), words, &[who]].concat()).await?;
            assert_eq!(said.stdout.trim(), if allowed { "yes" } else { "no" }, "{words:?} {who}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn switches_turn_off_and_bad_values_are_named() -> Result<()> {
    let helm = Helm::new().await?;
    let plain = helm.objects_of(PREVIEW, "pr-7", "pr-7", &[]).await?;
    assert_eq!(plain.iter().map(|it| it["kind"].clone()).collect::<Vec<_>>(), ["EnvironmentShare"]);
    let spec = &plain[0]["spec"];
    assert_eq!(*spec, json!({"displayName": "pr-7", "expires": "7d", "routes": {"membership": "Live"}}));
    let dated = set(&["share.expirationTime=2026-12-01T18:00:00Z,share.revoked=true,share.hubSecret=team"]);
    let dated = helm.objects_of(PREVIEW, "pr-7", "pr-7", &dated).await?;
    let spec = &the(&dated, "EnvironmentShare")?["spec"];
    ensure!(
        spec["expires"].is_null() && spec["revoked"] == true && spec["hubRef"]["name"] == "team",
        "{spec}"
    );
    let off = helm.objects_of(PREVIEW, "pr-7", "pr-7", &set(&["share.enabled=false"])).await?;
    assert_eq!(of_kind(&off, "EnvironmentShare"), [] as [&Value; 0]);
    for (setting, words) in [
        ("share.expires=2weeks", "share/expires"),
        ("share.membership=Some", "share/membership"),
        ("services[0].name=api", "port"),
        ("services[0].name=Api,services[0].port=1", "services/0/name"),
        ("share.lifetime=7d", "lifetime"),
        ("services[0].name=api,services[0].port=70000", "services/0/port"),
        (
            "services[0].name=a,services[0].port=1,services[1].name=b,services[1].port=1,services[1].routeName=a",
            "services[0] and services[1] are both called a: give one of them another routeName",
        ),
        (
            "services[0].name=a,services[0].port=1,services[1].name=a,services[1].port=1,services[2].name=a,services[2].port=1",
            "services[1] and services[2] are both called a-1",
        ),
        ("ci.subjects[0].kind=Robot,ci.subjects[0].name=x", "ci/subjects/0/kind"),
    ] {
        let said = helm.refusal_of(PREVIEW, &["--set", setting]).await.with_context(|| setting)?;
        ensure!(said.contains(words), "{setting}: {said}");
    }
    Ok(())
}
