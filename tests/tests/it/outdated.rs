//! Definitions in the cluster that are older than the operator: noticed, said, and forgotten when they are mended.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use connect_crds::EnvironmentShare;
use connect_crds::condition::{self, kind, reason};
use connect_tests::control_plane::{ControlPlane, Options};
use connect_tests::namespace::Namespace;
use connect_tests::operator::{HubChoice, Operator, Setup};
use connect_tests::plugin;
use connect_tests::wait::{PATIENTLY, eventually};
use kube::Api;
use serde_json::Value;

/// The folder with this version's definitions.
const DEFINITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");

#[tokio::test]
async fn a_definition_that_lacks_a_field_is_said_on_its_objects_until_it_is_mended() -> Result<()> {
    let cluster = ControlPlane::start(Options { without_definitions: true, ..Options::default() }).await?;
    // One that people set, and one that the operator writes: a status with it is refused as a whole.
    install(&cluster, &["/properties/spec/properties/maxJoins", "/properties/status/properties/readyRoutes"])
        .await?;
    let namespace = Namespace::create(&cluster, "outdated").await?;
    let operator = Operator::start(Setup {
        access: cluster.operator_access(namespace.name())?,
        hub: HubChoice::Embedded,
        namespace: namespace.name().to_owned(),
        watched: vec![namespace.name().to_owned()],
        environment: Vec::new(),
        is_faulty: false,
    })
    .await?;
    let share = r#"{"apiVersion":"connect.privateconnect.co/v1alpha1","kind":"EnvironmentShare","metadata":{"name":"demo"},"spec":{}}"#;
    namespace.kubectl().apply(share).await?;

    let message = says(&cluster, &namespace, true).await?;
    assert!(
        message.contains("drops spec.maxJoins, status.readyRoutes;")
            && message.contains("kubectl apply -f crds/"),
        "{message}"
    );
    assert_eq!(missing_fields(&operator).await?, 2);
    let kubectl = plugin::with_plugin(&namespace.kubectl()).await?;
    let checked = kubectl.run(["connect", "doctor"]).await?.fails_with(1)?;
    for sentence in [
        "[x] EnvironmentShare is older than this plugin: it lacks spec.maxJoins, status.readyRoutes\n",
        "[x] the operator says on share demo: ",
    ] {
        ensure!(checked.stdout.contains(sentence), "no {sentence}: {}", checked.report());
    }

    install(&cluster, &[]).await?;
    says(&cluster, &namespace, false).await?;
    assert_eq!(missing_fields(&operator).await?, 0);
    Ok(())
}

/// Waits until the share says that its definition is outdated, or no longer does; the message.
async fn says(cluster: &ControlPlane, namespace: &Namespace, outdated: bool) -> Result<String> {
    let shares: Api<EnvironmentShare> = Api::namespaced(cluster.client().await?, namespace.name());
    eventually(&format!("the share says that it is outdated: {outdated}"), PATIENTLY, || async {
        let status = shares.get("demo").await?.status.context("it says nothing yet")?;
        let stalled = condition::find(&status.conditions, kind::STALLED);
        let said = stalled.is_some_and(|stalled| stalled.reason == reason::CRD_OUTDATED);
        ensure!(said == outdated, "it says {:?}", status.conditions);
        Ok(stalled.map(|stalled| stalled.message.clone()).unwrap_or_default())
    })
    .await
}

/// Applies this version's definitions without the fields of EnvironmentShare at these pointers, and waits until they are served.
async fn install(cluster: &ControlPlane, without: &[&str]) -> Result<()> {
    for (file, fields) in [("serviceexposes", &[] as &[&str]), ("environmentshares", without)] {
        let path = Path::new(DEFINITIONS).join(format!("connect.privateconnect.co_{file}.yaml"));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut definition: Value = serde_saphyr::from_str(&text)?;
        for field in fields {
            let (parent, name) = field.rsplit_once('/').context("a pointer")?;
            let parent = format!("/spec/versions/0/schema/openAPIV3Schema{parent}");
            let parent = definition.pointer_mut(&parent).and_then(Value::as_object_mut);
            ensure!(parent.context("it has properties")?.remove(name).is_some(), "there is no {field}");
        }
        let words = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        cluster.kubectl().run_with_input(words, &definition.to_string()).await?.success()?;
        let name = format!("crd/{file}.connect.privateconnect.co");
        let words = ["wait", "--for=condition=Established", "--timeout=30s", &name];
        cluster.kubectl().run(words).await?.success()?;
    }
    Ok(())
}

/// How many fields the definition of EnvironmentShare lacks, by the operator's metrics.
async fn missing_fields(operator: &Operator) -> Result<u64> {
    let metrics = reqwest::get(format!("{}/metrics", operator.admin_url())).await?.text().await?;
    let name = r#"private_connect_definition_missing_fields{kind="EnvironmentShare"} "#;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)).context("there is no such metric")?;
    line.parse().with_context(|| format!("it is {line:?}"))
}
