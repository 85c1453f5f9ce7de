//! Shares that select nothing yet, and objects that nobody has looked at: what tools wait for.

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{kind, reason};
use connect_tests::helm::Helm;
use connect_tests::namespace::Namespace;
use connect_tests::plugin;
use connect_tests::wait::{SOON, eventually};
use serde_json::json;

use super::read_kit;
use crate::world::{API, World};

#[tokio::test]
async fn a_share_that_selects_nothing_waits_for_its_routes_unless_it_may_be_empty() -> Result<()> {
    let world = World::start("empty").await?;
    world.service(API, 8080).await?;
    let rows = [
        ("all", json!({}), false),
        ("labelled", json!({"routes": {"selector": {"matchLabels": {"app": "web"}}}}), false),
        ("bare", json!({"routes": {"allowEmpty": true}}), true),
        ("live", json!({"routes": {"membership": "Live"}}), true),
    ];
    for (name, spec, opens) in &rows {
        world.apply_share(name, spec.clone()).await?;
        if *opens {
            world.share_says(name, kind::ACTIVE, "True", reason::JOINABLE).await?;
        } else {
            world.share_says(name, kind::ACCEPTED, "False", reason::NO_ROUTES).await?;
            world.share_says(name, kind::ACTIVE, "False", reason::PENDING).await?;
            world.share_says(name, kind::READY, "False", reason::PENDING).await?;
            world.code(name, "code").await.expect_err("it has no code yet");
        }
    }
    plugin::expose(&world.kubectl, "api:8080").await?;
    world.kubectl.run(["label", "serviceexpose", "api", "app=web"]).await?.success()?;
    for (name, routes) in [("all", "1/1"), ("labelled", "1/1"), ("live", "1/1"), ("bare", "0/0")] {
        eventually(&format!("share {name} has {routes} routes"), SOON, || async {
            let share = world.share_says(name, kind::ACTIVE, "True", reason::JOINABLE).await?;
            let said = share.status.unwrap_or_default().ready_routes;
            ensure!(said.as_deref() == Some(routes), "{said:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn helm_waits_for_an_operator_that_does_not_run() -> Result<()> {
    let world = World::start("helm-waits").await?;
    world.service("postgres", 5432).await?;
    let chart = world.cluster.folder("helm-waits-chart")?;
    std::fs::create_dir_all(chart.join("templates"))?;
    std::fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: shares\nversion: 0.1.0\n")?;
    std::fs::write(chart.join("templates/share.yaml"), read_kit("share.yaml")?)?;
    let chart = chart.to_str().context("a path")?.to_owned();
    let nobody = Namespace::create(world.cluster, "helm-nobody").await?;
    let helm = Helm::of(world.cluster.kubeconfig()).await?;
    let install = async |namespace: &str, patience: &str| {
        helm.run(&["install", "shares", &chart, "--namespace", namespace, "--wait", "--timeout", patience])
            .await
    };
    let refused = install(nobody.name(), "3s").await.expect_err("no operator serves that namespace");
    ensure!(format!("{refused:#}").contains("latest observed generation is -1"), "{refused:#}");
    let listed = helm.run(&["status", "shares", "--namespace", nobody.name()]).await?;
    ensure!(listed.contains("STATUS: failed"), "{listed}");
    install(world.namespace.name(), "30s").await?;
    world.share_says("staging", kind::READY, "True", reason::SHARED).await.map(drop)
}
