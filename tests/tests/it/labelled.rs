//! Services that are exposed by a label, and Services that must have one.

use anyhow::{Result, ensure};
use connect_crds::condition::{self, kind, reason};
use connect_crds::{PortRef, ServiceExpose};
use connect_tests::services;
use connect_tests::wait::{SOON, eventually};
use kube::Api;
use serde_json::json;

use crate::guides::yaml_with;
use crate::world::World;

/// What a reader of the front page types.
const README: &str = include_str!("../../../crds/README.md");

/// What asks for a route.
const LABEL: &str = "connect.privateconnect.co/expose=true";

/// Labels that nobody serves unasked.
const ASKED_FOR: (&str, &str) = ("CONNECT_LABELLED_SERVICES", "true");

#[tokio::test]
async fn a_label_makes_a_route_and_taking_it_off_removes_it_also_while_the_operator_is_away() -> Result<()> {
    let mut world = World::beside_a_hub_by("labelled", &[], &[ASKED_FOR]).await?;
    services::service(&world.kubectl, "api", 8080).await?;
    service(&world, ["label", "service/api", LABEL]).await?;
    let expose = says(&world, "api", kind::READY, "True", reason::EXPOSED).await?;
    let owner = &expose.metadata.owner_references.unwrap_or_default()[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str()), ("Service", "api"));
    world.apply_share("demo", json!({})).await?;
    world.share_says("demo", kind::ACTIVE, "True", reason::JOINABLE).await?;

    // What cannot be read shares nothing, and is said where people look.
    let annotation = "connect.privateconnect.co/local-port";
    service(&world, ["annotate", "service/api", &format!("{annotation}=never")]).await?;
    says(&world, "api", kind::ACCEPTED, "False", reason::INVALID_ANNOTATION).await?;
    told(&world, "ExposeRefused", "\"never\" is no port").await?;
    service(&world, ["annotate", "--overwrite", "service/api", &format!("{annotation}=9090")]).await?;
    eventually("the annotation is followed", SOON, || async {
        let expose = says(&world, "api", kind::READY, "True", reason::EXPOSED).await?;
        let port = expose.spec.local_port.map(connect_crds::LocalPort::get);
        ensure!(port == Some(9090), "its local port is {port:?}");
        Ok(())
    })
    .await?;

    // Another's name is not taken.
    services::service(&world.kubectl, "web", 80).await?;
    connect_tests::plugin::expose(&world.kubectl, "web:80").await?;
    service(&world, ["label", "service/web", LABEL]).await?;
    told(&world, "ExposeConflict", "ServiceExpose web is there already").await?;

    world.operator.process().kill()?;
    for name in ["service/api", "service/web"] {
        service(&world, ["label", name, "connect.privateconnect.co/expose-"]).await?;
    }
    let world = world.start_the_operator_again().await?;
    world.kubectl.run(["wait", "--for=delete", "svcexpose/api", "--timeout=60s"]).await?.success()?;
    // A person's stays.
    world.kubectl.run(["get", "svcexpose", "web"]).await?.success().map(drop)
}

#[tokio::test]
async fn the_label_in_the_readme_makes_the_route_that_it_says() -> Result<()> {
    let world = World::beside_a_hub_by("labelled-readme", &[], &[ASKED_FOR]).await?;
    let ports = json!([{"name": "web", "port": 8080}, {"name": "metrics", "port": 9090}]);
    let shop = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop-web"},
        "spec": {"selector": {"app": "shop"}, "ports": ports}});
    world.kubectl.apply(&shop.to_string()).await?;
    let asked = yaml_with(README, "labels: {connect.privateconnect.co/expose: \"true\"}")?;
    service(&world, ["patch", "service", "shop-web", "--type=merge", "--patch", asked]).await?;
    let spec = says(&world, "shop-web", kind::READY, "True", reason::EXPOSED).await?.spec;
    assert_eq!(spec.route_name.as_deref(), Some("shop"));
    assert_eq!(spec.service_ref.port, PortRef::name("web"));
    Ok(())
}

#[tokio::test]
async fn a_service_without_the_required_label_is_not_shared() -> Result<()> {
    let rule = ("CONNECT_REQUIRE_SERVICE_LABEL", "share=allowed");
    let world = World::beside_a_hub_by("required-label", &[], &[rule]).await?;
    services::service(&world.kubectl, "api", 8080).await?;
    let expose = json!({
        "apiVersion": "connect.privateconnect.co/v1alpha1",
        "kind": "ServiceExpose",
        "metadata": {"name": "api"},
        "spec": {"serviceRef": {"name": "api", "port": 8080}},
    });
    world.kubectl.apply(&expose.to_string()).await?;
    let refused = says(&world, "api", kind::ACCEPTED, "False", reason::TARGET_NOT_ALLOWED).await?;
    let conditions = refused.status.unwrap_or_default().conditions;
    let message = condition::find(&conditions, kind::ACCEPTED).map(|accepted| accepted.message.as_str());
    assert_eq!(
        message,
        Some("Service api cannot be shared: it lacks the label share=allowed, which is required here")
    );
    service(&world, ["label", "service/api", "share=allowed"]).await?;
    says(&world, "api", kind::READY, "True", reason::EXPOSED).await.map(drop)
}

/// Changes a Service as a person does.
async fn service<const N: usize>(world: &World, words: [&str; N]) -> Result<()> {
    world.kubectl.run(words).await?.success().map(drop)
}

/// Waits until a condition of a ServiceExpose has this status and reason.
async fn says(world: &World, name: &str, kind: &str, status: &str, reason: &str) -> Result<ServiceExpose> {
    let exposes: Api<ServiceExpose> = Api::namespaced(world.cluster.client().await?, world.namespace.name());
    eventually(&format!("ServiceExpose {name} says {kind}={status} ({reason})"), SOON, || async {
        let expose = exposes.get(name).await?;
        let conditions = expose.status.clone().unwrap_or_default().conditions;
        let found = condition::find(&conditions, kind);
        let said = found.is_some_and(|found| found.status == status && found.reason == reason);
        ensure!(said, "it says {conditions:?}");
        Ok(expose)
    })
    .await
}

/// Waits for an Event with this reason and sentence, and that it is told once.
async fn told(world: &World, reason: &str, sentence: &str) -> Result<()> {
    eventually(&format!("an Event {reason} says {sentence}"), SOON, || async {
        let notes = world.events(reason).await?;
        let telling = notes.iter().filter(|note| note.contains(sentence)).count();
        ensure!(telling == 1, "{notes:?}");
        Ok(())
    })
    .await
}
