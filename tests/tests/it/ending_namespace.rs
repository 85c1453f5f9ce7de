//! A namespace of the operator's list that is deleted: it goes, what was shared from it ends, and the others go on.

use anyhow::{Context as _, Result, ensure};
use connect_tests::control_plane;
use connect_tests::namespace::Namespace;
use connect_tests::operator::{HubChoice, Operator, Setup};
use connect_tests::plugin;
use connect_tests::rights;
use connect_tests::services;
use connect_tests::services::http;
use connect_tests::teammate::Teammate;
use connect_tests::wait::{SOON, eventually};
use serde_json::json;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::restart::reaches_again;
use crate::world::{API, World};

#[tokio::test]
async fn a_namespace_is_not_held_up_by_what_was_shared_from_it() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let home = Namespace::create(cluster, "ending-home").await?;
    let (goes, stays) = (
        Namespace::create(cluster, rights::DELETED).await?,
        Namespace::create(cluster, "ending-stays").await?,
    );
    // Its rights are those of a Role in each of the two, which go with them.
    let operator = Operator::start(Setup {
        access: cluster.operator_access(home.name())?,
        hub: HubChoice::Embedded,
        namespace: home.name().to_owned(),
        watched: vec![goes.name().to_owned(), stays.name().to_owned()],
        environment: Vec::new(),
        is_faulty: false,
    })
    .await?;
    let other = plugin::with_plugin(&stays.kubectl()).await?;
    let _other_api = http::start(services::service(&other, API, 8080).await?).await?;
    plugin::expose(&other, "api:8080").await?;
    let lasting = plugin::share(&other, &["--name", "stays"]).await?;
    let bob = Teammate::join(&other, "bob", &lasting.join, &[API]).await?;

    let kubectl = plugin::with_plugin(&goes.kubectl()).await?;
    let world = World { operator, hub: None, namespace: goes, kubectl, cluster };
    let _api = world.exposed_api().await?;
    // Of this reach the hub is told without any share, so it has a finalizer, too.
    let expose = json!({
        "apiVersion": "connect.privateconnect.co/v1alpha1",
        "kind": "ServiceExpose",
        "metadata": {"name": "for-all"},
        "spec": {"serviceRef": {"name": API, "port": 8080}, "routeName": "for-all", "reach": "Workspace"},
    });
    world.kubectl.apply(&expose.to_string()).await?;
    let ready = ["wait", "--for=condition=Ready", "serviceexpose/for-all", "--timeout=60s"];
    world.kubectl.run(ready).await?.success()?;
    let brief = plugin::share(&world.kubectl, &["--name", "goes"]).await?;
    let mut alice = Teammate::join(&world.kubectl, "alice", &brief.join, &[API]).await?;

    let words = ["delete", "namespace", world.namespace.name(), "--timeout=60s"];
    cluster.kubectl().run(words).await?.success()?;
    let status = alice.end(SOON).await?;
    let said = alice.said();
    ensure!(status.success() && said.ends_with("\nShare closed by its owner.\n"), "{status}: {said}");
    let refused = world.kubectl_elsewhere()?.run(&brief.join).await?.fails_with(1)?;
    ensure!(refused.stderr.starts_with("[x] Share not found or expired\n"), "{}", refused.report());
    reaches_again(&bob).await?;

    // One namespace of the list that is gone keeps nobody from the others.
    let mut world = world.kill_and_restart_the_operator().await?;
    reaches_again(&bob).await?;
    assert!(bob.leave()?.success());
    ensure!(world.operator.process().terminate()?.success(), "it did not end in order");
    Ok(())
}

#[tokio::test]
async fn the_api_server_says_that_a_namespace_ends_in_the_way_that_the_operator_reads() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let namespace = Namespace::create(cluster, "ending-slowly").await?;
    let (kubectl, name) = (namespace.kubectl(), namespace.name().to_owned());
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    kubectl.apply(&held.to_string()).await?;
    cluster.kubectl().run(["delete", "namespace", &name, "--wait=false"]).await?.success()?;
    let secrets: Api<Secret> = Api::namespaced(cluster.client().await?, &name);
    let secret = Secret {
        metadata: ObjectMeta { name: Some("code".to_owned()), ..ObjectMeta::default() },
        ..Secret::default()
    };
    let refused = eventually("nothing new is taken there", SOON, || async {
        let made = secrets.create(&PostParams { dry_run: true, ..PostParams::default() }, &secret).await;
        made.err().context("it was taken")
    })
    .await;
    let patch = r#"{"metadata": {"finalizers": null}}"#;
    kubectl.run(["patch", "configmap", "held", "--type=merge", "--patch", patch]).await?.success()?;
    let kube::Error::Api(status) = refused? else { anyhow::bail!("no answer") };
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    ensure!(
        status.code == 403 && causes.iter().any(|cause| cause.reason == "NamespaceTerminating"),
        "{status:?}"
    );
    Ok(())
}
