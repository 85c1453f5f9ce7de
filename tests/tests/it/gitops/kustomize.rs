//! kustomize's prefixes, suffixes, hashes and labels reach every field that names another object, by the file that we ship.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use connect_tests::control_plane;
use connect_tests::scratch::Scratch;
use serde_json::{Value, json};

/// What teaches kustomize our kinds.
const CONFIGURATION: &str = include_str!("../../../../crds/gitops/kustomizeconfig.yaml");

/// The definitions, whose fields that name something must each be known to the configuration or be listed below.
const DEFINITIONS: [&str; 2] = [
    include_str!("../../../../crds/connect.privateconnect.co_environmentshares.yaml"),
    include_str!("../../../../crds/connect.privateconnect.co_serviceexposes.yaml"),
];

/// Names that stay as they are: what people see, and a name of a port.
const FREE: [&str; 3] = ["displayName", "routeName", "serviceRef.port"];

/// A base that uses every field that names something.
const BASE: &str = r#"
{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec": {"selector": {"app": "db"}, "ports": [{"port": 5432}]}}
---
{"apiVersion": "connect.privateconnect.co/v1alpha1", "kind": "ServiceExpose", "metadata": {"name": "postgres"},
 "spec": {"serviceRef": {"name": "db", "port": 5432}, "hubRef": {"name": "team-hub"}, "routeName": "postgres"}}
---
{"apiVersion": "connect.privateconnect.co/v1alpha1", "kind": "EnvironmentShare", "metadata": {"name": "named"},
 "spec": {"codeSecretName": "the-code", "hubRef": {"name": "team-hub"}, "displayName": "named", "routes": {"names": ["postgres"]}}}
---
{"apiVersion": "connect.privateconnect.co/v1alpha1", "kind": "EnvironmentShare", "metadata": {"name": "selected"},
 "spec": {"routes": {"selector": {"matchLabels": {"tier": "db"}}}}}
"#;

/// An overlay: what it says, and what must come of it. `HASHED` stands for the generated Secret's whole name.
fn overlays() -> [(Value, Value, Value, Value); 4] {
    let expose = |prefix: &str, suffix: &str| json!({"serviceRef": {"name": format!("{prefix}db{suffix}"), "port": 5432}, "hubRef": {"name": "HASHED"}, "routeName": "postgres"});
    let named = |prefix: &str, suffix: &str| {
        json!({"codeSecretName": format!("{prefix}the-code{suffix}"), "hubRef": {"name": "HASHED"}, "displayName": "named",
            "routes": {"names": [format!("{prefix}postgres{suffix}")]}})
    };
    let selected = |labels: Value| json!({"routes": {"selector": {"matchLabels": labels}}});
    let plain = || selected(json!({"tier": "db"}));
    [
        (json!({}), expose("", ""), named("", ""), plain()),
        (
            json!({"namePrefix": "pr-7-", "namespace": "123"}),
            expose("pr-7-", ""),
            named("pr-7-", ""),
            plain(),
        ),
        (json!({"namePrefix": "a-", "nameSuffix": "-b"}), expose("a-", "-b"), named("a-", "-b"), plain()),
        (
            json!({"labels": [{"pairs": {"env": "pr-7"}, "includeSelectors": true}]}),
            expose("", ""),
            named("", ""),
            selected(json!({"tier": "db", "env": "pr-7"})),
        ),
    ]
}

#[tokio::test]
async fn prefixes_suffixes_hashes_and_labels_reach_what_is_named() -> Result<()> {
    let kubectl = control_plane::shared().await?.kubectl();
    for (overlay, expose, named, selected) in overlays() {
        let scratch = Scratch::new("kustomize")?;
        let mut kustomization = json!({
            "resources": ["base.yaml"],
            "configurations": ["kustomizeconfig.yaml"],
            "secretGenerator": [{"name": "team-hub", "literals": ["url=https://hub.example.com"], "type": "connect.privateconnect.co/hub"}],
        });
        kustomization
            .as_object_mut()
            .context("an object")?
            .extend(overlay.as_object().context("an object")?.clone());
        fs::write(scratch.path().join("base.yaml"), BASE)?;
        fs::write(scratch.path().join("kustomizeconfig.yaml"), CONFIGURATION)?;
        fs::write(scratch.path().join("kustomization.yaml"), kustomization.to_string())?;
        let said = kubectl.run(["kustomize", &scratch.path().to_string_lossy()]).await?.success()?.stdout;
        let objects: Vec<Value> =
            said.split("\n---\n").map(serde_saphyr::from_str).collect::<Result<_, _>>()?;
        let secret = objects.iter().find(|it| it["kind"] == "Secret").context("a Secret")?;
        let hashed = secret["metadata"]["name"].as_str().context("a name")?;
        for (kind, name, expected) in [
            ("ServiceExpose", "postgres", &expose),
            ("EnvironmentShare", "named", &named),
            ("EnvironmentShare", "selected", &selected),
        ] {
            let is_it = |it: &&Value| {
                it["kind"] == kind && it["metadata"]["name"].as_str().is_some_and(|it| it.contains(name))
            };
            let found = objects.iter().find(is_it).with_context(|| format!("{kind} {name} in {said}"))?;
            let expected: Value = serde_json::from_str(&expected.to_string().replace("HASHED", hashed))?;
            ensure!(found["spec"] == expected, "{overlay}: {} instead of {expected}", found["spec"]);
        }
    }
    Ok(())
}

#[test]
fn every_field_that_names_something_is_known() -> Result<()> {
    for definition in DEFINITIONS {
        let definition: Value = serde_saphyr::from_str(definition)?;
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut names = Vec::new();
        collect("", spec, &mut names);
        ensure!(!names.is_empty(), "no field names anything");
        for name in names.iter().filter(|name| !FREE.contains(&name.as_str())) {
            let path = format!("path: spec/{}}}", name.replace('.', "/"));
            ensure!(CONFIGURATION.contains(&path), "kustomizeconfig.yaml does not know spec.{name}");
        }
    }
    Ok(())
}

/// The paths of fields called `name`, `names` or `...Name`.
fn collect(path: &str, schema: &Value, names: &mut Vec<String>) {
    for (key, part) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if key == "name" || key == "names" || key.ends_with("Name") {
            names.push(path.clone());
        }
        collect(&path, part, names);
    }
}
