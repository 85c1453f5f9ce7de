//! What the API server accepts and refuses, and with which sentence: the schema and CEL rules of both kinds.
//!
//! Each row is an object as a user could write it. Creations are dry runs, which pass through everything but the store.

use anyhow::{Context as _, Result};
use connect_tests::control_plane::{self, ControlPlane};
use connect_tests::namespace::Namespace;
use connect_tests::wait::{SOON, eventually};
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, CustomResourceExt};
use serde_json::{Value, json};

/// What the API server says to a row.
enum Verdict {
    /// It takes the object.
    Accepted,
    /// It refuses it because of this field, with this sentence at the end of its message.
    Refused(&'static str, &'static str),
}
use Verdict::{Accepted, Refused};

const EXPIRES_FORMAT: &str = "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc.";
const EXPIRES_TOO_LONG: &str = "expires must be at most 99999d: at most five digits, then h or d";
const NAME_OF_AN_EXPOSE: &str = "the name of a ServiceExpose has 1 to 63 characters";
const NAME_OF_A_SECRET: &str = "codeSecretName must be the name of a Secret: 1 to 253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends";
const NAME_OF_A_SERVICE: &str = "the name of a Service has 1 to 63 characters";
const PROTOCOL: &str = "protocol must be Auto, TCP, HTTP or HTTPS, written like this";
const EXPIRES_TOO_SHORT: &str = "expires must be at least 1h";
const ONE_END: &str = "set either expires or expirationTime, not both";
const ONE_SELECTION: &str = "set either routes.names or routes.selector, not both";
const ONE_WAY: &str =
    "revoked is one-way: a revoked share cannot be opened again; create a new EnvironmentShare";
const SECRET_NAME_STAYS: &str = "codeSecretName is immutable";
const PORT: &str =
    "port must be a number from 1 to 65535, without quotes, or the name of one of the Service's ports";
const ROUTE_NAME_STAYS: &str =
    "routeName is immutable: teammates and shares know the route by it; create a new ServiceExpose instead";
const ROUTE_NAME_PATTERN: &str =
    "routeName must have 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends";
const NO_UDP: &str = "UDP cannot be exposed: hubs carry TCP connections only; use TCP, HTTP, HTTPS or Auto";
const PUBLIC_IMPLIES_WORKSPACE: &str =
    "public implies reach: Workspace; remove reach: Shared or set public to false";

#[tokio::test]
async fn environment_shares_are_judged_at_admission() -> Result<()> {
    let rows = [
        (json!({}), Accepted),
        (json!({ "displayName": "x".repeat(100) }), Accepted),
        (
            json!({ "displayName": "x".repeat(101) }),
            Refused("spec.displayName", "displayName must have at most 100 characters"),
        ),
        // Characters, not bytes and not what JavaScript counts.
        (json!({ "displayName": "\u{1f680}".repeat(100) }), Accepted),
        (
            json!({ "displayName": "\u{1f680}".repeat(101) }),
            Refused("spec.displayName", "displayName must have at most 100 characters"),
        ),
        // Routes: by name or by label.
        (json!({ "routes": {} }), Accepted),
        (json!({ "routes": { "names": ["postgres", "redis"] } }), Accepted),
        (json!({ "routes": { "selector": { "matchLabels": { "preview": "pr-1" } } } }), Accepted),
        (json!({ "routes": { "membership": "Live" } }), Accepted),
        (
            json!({ "routes": { "names": ["postgres"], "selector": { "matchLabels": { "a": "b" } } } }),
            Refused("spec.routes", ONE_SELECTION),
        ),
        (
            json!({ "routes": { "names": [] } }),
            Refused("spec.routes.names", "spec.routes.names in body should have at least 1 items"),
        ),
        (
            json!({ "routes": { "names": ["a", "a"] } }),
            Refused("spec.routes.names[1]", "Duplicate value: \"a\""),
        ),
        (json!({ "routes": { "names": [""] } }), Refused("spec.routes.names", NAME_OF_AN_EXPOSE)),
        (json!({ "routes": { "names": ["x".repeat(64)] } }), Refused("spec.routes.names", NAME_OF_AN_EXPOSE)),
        (json!({ "routes": { "allowEmpty": true } }), Accepted),
        (
            json!({ "routes": { "membership": "Sometimes" } }),
            Refused("spec.routes.membership", "supported values: \"Snapshot\", \"Live\""),
        ),
        // The end: a duration or a date.
        (json!({ "expires": "1h" }), Accepted),
        (json!({ "expires": "14d" }), Accepted),
        (json!({ "expires": "99999h" }), Accepted),
        (json!({ "expirationTime": "2026-12-01T18:00:00Z" }), Accepted),
        (json!({ "expirationTime": "2020-01-01T00:00:00+02:00" }), Accepted),
        (json!({ "expires": "1h", "expirationTime": "2026-12-01T18:00:00Z" }), Refused("spec", ONE_END)),
        (json!({ "expires": "0h" }), Refused("spec", EXPIRES_TOO_SHORT)),
        (json!({ "expires": "000d" }), Refused("spec", EXPIRES_TOO_SHORT)),
        (json!({ "expires": "2weeks" }), Refused("spec", EXPIRES_FORMAT)),
        (json!({ "expires": "1.5h" }), Refused("spec", EXPIRES_FORMAT)),
        (json!({ "expires": "1m" }), Refused("spec", EXPIRES_FORMAT)),
        (json!({ "expires": "-1h" }), Refused("spec", EXPIRES_FORMAT)),
        (json!({ "expires": "1H" }), Refused("spec", EXPIRES_FORMAT)),
        (json!({ "expires": " 1h" }), Refused("spec", EXPIRES_FORMAT)),
        (json!({ "expires": "" }), Refused("spec", EXPIRES_FORMAT)),
        (json!({ "expires": "30m" }), Refused("spec", EXPIRES_FORMAT)),
        (json!({ "expires": "99999d" }), Accepted),
        (json!({ "expires": "100000h" }), Refused("spec", EXPIRES_TOO_LONG)),
        (json!({ "expires": "9999999h" }), Refused("spec", EXPIRES_TOO_LONG)),
        (json!({ "expires": "99999999999999999999d" }), Refused("spec", EXPIRES_TOO_LONG)),
        (
            json!({ "expires": 24 }),
            Refused("spec.expires", "spec.expires in body must be of type string: \"integer\""),
        ),
        (
            json!({ "expirationTime": "tomorrow" }),
            Refused(
                "spec.expirationTime",
                "spec.expirationTime in body must be of type date-time: \"tomorrow\"",
            ),
        ),
        // Limits.
        (json!({ "maxJoins": 1 }), Accepted),
        (json!({ "maxJoins": 1_000_000 }), Accepted),
        (
            json!({ "maxJoins": 0 }),
            Refused("spec.maxJoins", "spec.maxJoins in body should be greater than or equal to 1"),
        ),
        (
            json!({ "maxJoins": 1_000_001 }),
            Refused("spec.maxJoins", "spec.maxJoins in body should be less than or equal to 1000000"),
        ),
        (json!({ "ttlSecondsAfterFinished": 0 }), Accepted),
        (
            json!({ "ttlSecondsAfterFinished": -1 }),
            Refused(
                "spec.ttlSecondsAfterFinished",
                "spec.ttlSecondsAfterFinished in body should be greater than or equal to 0",
            ),
        ),
        (
            json!({ "ttlSecondsAfterFinished": 31_536_001 }),
            Refused(
                "spec.ttlSecondsAfterFinished",
                "spec.ttlSecondsAfterFinished in body should be less than or equal to 31536000",
            ),
        ),
        // Names of Secrets.
        (json!({ "codeSecretName": "demo-code" }), Accepted),
        (json!({ "codeSecretName": "Demo_Code" }), Refused("spec.codeSecretName", NAME_OF_A_SECRET)),
        (json!({ "codeSecretName": "" }), Refused("spec.codeSecretName", NAME_OF_A_SECRET)),
        (json!({ "codeSecretName": "x".repeat(254) }), Refused("spec.codeSecretName", NAME_OF_A_SECRET)),
        (json!({ "hubRef": { "name": "team-hub" } }), Accepted),
        (json!({ "hubRef": {} }), Refused("spec.hubRef.name", "Required value")),
        (json!({ "revoked": true }), Accepted),
    ];
    check_creations::<connect_crds::EnvironmentShare>(rows).await
}

/// Selectors as core Kubernetes judges them, and those that can never match.
#[tokio::test]
async fn selectors_are_judged_at_admission() -> Result<()> {
    const KEY: &str = "at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends, after an optional DNS prefix and '/'";
    const VALUE: &str = "at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
    const BOTH: &str =
        "this selector can never match: it asks for a label both to be there and not to be there";
    const EXCLUDED: &str =
        "this selector can never match: matchExpressions excludes the value that matchLabels asks for";
    const NO_VALUE: &str = "this selector can never match: matchExpressions leaves no value for a label";
    let place = "spec.routes.selector";
    let first = "spec.routes.selector.matchExpressions[0]";
    let labels = |labels: Value| json!({ "routes": { "selector": { "matchLabels": labels } } });
    let one = |key: &str, operator: &str, values: &[&str]| json!({ "key": key, "operator": operator, "values": values });
    let all = |rows: &[Value]| json!({ "routes": { "selector": { "matchExpressions": rows } } });
    let mixed = |labels: Value, row: Value| json!({ "routes": { "selector": { "matchLabels": labels, "matchExpressions": [row] } } });
    let rows = [
        (json!({ "routes": { "selector": {} } }), Accepted),
        (labels(json!({ "app.kubernetes.io/name": "web", "tier": "" })), Accepted),
        (labels(json!({ "a b": "x" })), Refused(place, KEY)),
        (labels(json!({ "-a": "x" })), Refused(place, KEY)),
        (labels(json!({ "Example.com/a": "x" })), Refused(place, KEY)),
        (
            labels({
                let mut row = serde_json::Map::new();
                row.insert("x".repeat(64), json!("x"));
                Value::Object(row)
            }),
            Refused(place, KEY),
        ),
        (labels(json!({ "a": "x y" })), Refused(place, VALUE)),
        (labels(json!({ "a": "-x" })), Refused(place, VALUE)),
        (
            labels(json!({ "a": "x".repeat(64) })),
            Refused("spec.routes.selector.matchLabels.a", "may not be more than 63 bytes"),
        ),
        (all(&[one("a", "In", &["x", "z"]), one("b", "NotIn", &["x"]), one("c", "Exists", &[])]), Accepted),
        (all(&[one("a", "DoesNotExist", &[]), one("a", "NotIn", &["x"])]), Accepted),
        (
            all(&[one("a", "In", &[])]),
            Refused(first, "values must have at least one value with the operators In and NotIn"),
        ),
        (
            all(&[json!({"key": "a", "operator": "NotIn"})]),
            Refused(first, "values must have at least one value with the operators In and NotIn"),
        ),
        (
            all(&[one("a", "Exists", &["x"])]),
            Refused(first, "values must be left out with the operators Exists and DoesNotExist"),
        ),
        (
            all(&[one("a", "DoesNotExist", &["x"])]),
            Refused(first, "values must be left out with the operators Exists and DoesNotExist"),
        ),
        (
            all(&[one("a", "Matches", &["x"])]),
            Refused(
                "spec.routes.selector.matchExpressions[0].operator",
                "supported values: \"In\", \"NotIn\", \"Exists\", \"DoesNotExist\"",
            ),
        ),
        (all(&[one("a b", "Exists", &[])]), Refused(first, KEY)),
        (all(&[one("a", "In", &["x y"])]), Refused(first, VALUE)),
        (all(&[one("a", "Exists", &[]), one("a", "DoesNotExist", &[])]), Refused(place, BOTH)),
        (all(&[one("a", "In", &["x"]), one("a", "DoesNotExist", &[])]), Refused(place, BOTH)),
        (mixed(json!({ "a": "x" }), one("a", "DoesNotExist", &[])), Refused(place, BOTH)),
        (mixed(json!({ "a": "x" }), one("a", "In", &["z"])), Refused(place, EXCLUDED)),
        (mixed(json!({ "a": "x" }), one("a", "NotIn", &["x"])), Refused(place, EXCLUDED)),
        (mixed(json!({ "a": "x" }), one("a", "In", &["x", "z"])), Accepted),
        (all(&[one("a", "In", &["x"]), one("a", "In", &["z"])]), Refused(place, NO_VALUE)),
        (all(&[one("a", "In", &["x"]), one("a", "NotIn", &["x", "z"])]), Refused(place, NO_VALUE)),
        (all(&[one("a", "In", &["x", "z"]), one("a", "NotIn", &["x"])]), Accepted),
        (all(&[one("a", "In", &["x"]), one("b", "NotIn", &["x"])]), Accepted),
    ];
    check_creations::<connect_crds::EnvironmentShare>(rows).await
}

/// What is given up to server-side apply leaves nothing that is refused.
#[tokio::test]
async fn a_share_of_client_side_apply_can_be_applied_by_the_server() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let namespace = Namespace::create(cluster, "migrated").await?;
    for (name, spec) in [
        ("empty", json!({})),
        ("routes", json!({ "routes": {} })),
        ("selector", json!({ "routes": { "selector": {} } })),
        ("full", json!({ "expires": "4h", "routes": { "names": ["a"] } })),
    ] {
        let share = json!({"apiVersion": "connect.privateconnect.co/v1alpha1", "kind": "EnvironmentShare",
            "metadata": {"name": name}, "spec": spec})
        .to_string();
        namespace.kubectl().apply(&share).await?;
        for _ in 0..2 {
            let words = ["apply", "--server-side", "-f", "-"];
            let applied = namespace.kubectl().run_with_input(words, &share).await?.success()?;
            assert_eq!(applied.stderr, "", "{name}");
        }
    }
    Ok(())
}

/// Where a field takes some words only, `kubectl explain` says what each means.
#[test]
fn every_choice_is_explained() -> Result<()> {
    fn walk(path: &str, schema: &Value, silent: &mut Vec<String>) {
        let said = schema["description"].as_str().unwrap_or_default();
        let words = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        silent.extend(words.filter(|word| !said.contains(word)).map(|word| format!("{path}: {word}")));
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), field, silent);
        }
        if schema["items"].is_object() {
            walk(path, &schema["items"], silent);
        }
    }
    let mut silent = Vec::new();
    for manifest in [
        connect_crds::manifest::<connect_crds::ServiceExpose>()?,
        connect_crds::manifest::<connect_crds::EnvironmentShare>()?,
    ] {
        walk("", &manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut silent);
    }
    assert_eq!(silent, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn service_exposes_are_judged_at_admission() -> Result<()> {
    let with = |more: Value| -> Value {
        let mut spec = json!({ "serviceRef": { "name": "postgres", "port": 5432 } });
        merge(&mut spec, more);
        spec
    };
    let port = |port: Value| json!({ "serviceRef": { "name": "postgres", "port": port } });
    let rows = [
        (with(json!({})), Accepted),
        (json!({}), Refused("spec.serviceRef", "Required value")),
        (json!({ "serviceRef": { "name": "postgres" } }), Refused("spec.serviceRef.port", "Required value")),
        // Ports: a number or a name.
        (port(json!(1)), Accepted),
        (port(json!(65_535)), Accepted),
        (port(json!("http")), Accepted),
        (port(json!("a-name-of-15-ch")), Accepted),
        (port(json!(0)), Refused("spec.serviceRef.port", PORT)),
        (port(json!(-1)), Refused("spec.serviceRef.port", PORT)),
        (port(json!(65_536)), Refused("spec.serviceRef.port", PORT)),
        (port(json!("5432")), Refused("spec.serviceRef.port", PORT)),
        (port(json!("")), Refused("spec.serviceRef.port", PORT)),
        (port(json!("HTTP")), Refused("spec.serviceRef.port", PORT)),
        (port(json!("-http")), Refused("spec.serviceRef.port", PORT)),
        (port(json!("a-name-of-16-chr")), Refused("spec.serviceRef.port", PORT)),
        (with(json!({ "localPort": 1 })), Accepted),
        (with(json!({ "localPort": 65_535 })), Accepted),
        (
            with(json!({ "localPort": 0 })),
            Refused("spec.localPort", "spec.localPort in body should be greater than or equal to 1"),
        ),
        (
            with(json!({ "localPort": 65_536 })),
            Refused("spec.localPort", "spec.localPort in body should be less than or equal to 65535"),
        ),
        // Route names: as DNS labels.
        (with(json!({ "routeName": "x".repeat(63) })), Accepted),
        (with(json!({ "routeName": "x".repeat(64) })), Refused("spec.routeName", ROUTE_NAME_PATTERN)),
        (with(json!({ "routeName": "" })), Refused("spec.routeName", ROUTE_NAME_PATTERN)),
        (
            json!({ "serviceRef": { "name": "x".repeat(64), "port": 1 } }),
            Refused("spec.serviceRef.name", NAME_OF_A_SERVICE),
        ),
        (with(json!({ "routeName": "Postgres" })), Refused("spec.routeName", ROUTE_NAME_PATTERN)),
        (with(json!({ "routeName": "a_b" })), Refused("spec.routeName", ROUTE_NAME_PATTERN)),
        (with(json!({ "routeName": "-a" })), Refused("spec.routeName", ROUTE_NAME_PATTERN)),
        (with(json!({ "routeName": "a.b" })), Refused("spec.routeName", ROUTE_NAME_PATTERN)),
        // Protocols.
        (with(json!({ "protocol": "Auto" })), Accepted),
        (with(json!({ "protocol": "TCP" })), Accepted),
        (with(json!({ "protocol": "HTTP" })), Accepted),
        (with(json!({ "protocol": "HTTPS" })), Accepted),
        (with(json!({ "protocol": "UDP" })), Refused("spec", NO_UDP)),
        (with(json!({ "protocol": "SCTP" })), Refused("spec.protocol", PROTOCOL)),
        (with(json!({ "protocol": "tcp" })), Refused("spec.protocol", PROTOCOL)),
        (with(json!({ "protocol": "" })), Refused("spec.protocol", PROTOCOL)),
        // Who reaches it.
        (with(json!({ "reach": "Shared" })), Accepted),
        (with(json!({ "reach": "Workspace", "public": true })), Accepted),
        (with(json!({ "public": true })), Accepted),
        (with(json!({ "reach": "Shared", "public": true })), Refused("spec", PUBLIC_IMPLIES_WORKSPACE)),
        (
            with(json!({ "reach": "Everyone" })),
            Refused("spec.reach", "supported values: \"Shared\", \"Workspace\""),
        ),
        (
            with(json!({ "hubRef": { "name": "" } })),
            Refused("spec.hubRef.name", "spec.hubRef.name in body should be at least 1 chars long"),
        ),
    ];
    check_creations::<connect_crds::ServiceExpose>(rows).await
}

#[tokio::test]
async fn the_name_of_a_service_expose_fits_a_route_name() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let resource = connect_crds::ServiceExpose::api_resource();
    let exposes: Api<DynamicObject> = Api::namespaced_with(cluster.client().await?, "default", &resource);
    let spec = json!({ "serviceRef": { "name": "postgres", "port": 5432 } });
    let named = |length: usize| object(&resource, &"x".repeat(length), &spec);
    let dry_run = PostParams { dry_run: true, ..Default::default() };
    exposes.create(&dry_run, &named(63)).await?;
    let refused = exposes.create(&dry_run, &named(64)).await.expect_err("64 characters are too many");
    let sentence =
        "metadata.name must have at most 63 characters, because it is the default name of the route";
    assert!(refused.to_string().contains(sentence), "{refused}");
    Ok(())
}

#[tokio::test]
async fn what_may_change_later_and_what_may_not() -> Result<()> {
    let service_ref = json!({ "name": "postgres", "port": 5432 });
    let expose = |more: Value| {
        let mut spec = json!({ "serviceRef": service_ref });
        merge(&mut spec, more);
        spec
    };
    let exposes = [
        (expose(json!({})), expose(json!({ "localPort": 15_432, "protocol": "TCP" })), Accepted),
        (expose(json!({ "routeName": "db" })), expose(json!({ "routeName": "db" })), Accepted),
        (
            expose(json!({ "routeName": "db" })),
            expose(json!({ "routeName": "other" })),
            Refused("spec", ROUTE_NAME_STAYS),
        ),
        (expose(json!({ "routeName": "db" })), expose(json!({})), Refused("spec", ROUTE_NAME_STAYS)),
        (expose(json!({})), expose(json!({ "routeName": "db" })), Refused("spec", ROUTE_NAME_STAYS)),
    ];
    check_changes::<connect_crds::ServiceExpose>(exposes).await?;
    let shares = [
        (json!({}), json!({ "revoked": true, "displayName": "demo" }), Accepted),
        (json!({ "revoked": true }), json!({ "revoked": true }), Accepted),
        (json!({ "revoked": true }), json!({ "revoked": false }), Refused("spec", ONE_WAY)),
        // Left out means false.
        (json!({ "revoked": true }), json!({}), Refused("spec", ONE_WAY)),
        (json!({ "codeSecretName": "a" }), json!({ "codeSecretName": "a", "maxJoins": 3 }), Accepted),
        (
            json!({ "codeSecretName": "a" }),
            json!({ "codeSecretName": "b" }),
            Refused("spec", SECRET_NAME_STAYS),
        ),
        (json!({ "codeSecretName": "a" }), json!({}), Refused("spec", SECRET_NAME_STAYS)),
        (json!({}), json!({ "codeSecretName": "b" }), Refused("spec", SECRET_NAME_STAYS)),
    ];
    check_changes::<connect_crds::EnvironmentShare>(shares).await
}

#[tokio::test]
async fn kubectl_explains_every_field() -> Result<()> {
    let cluster = control_plane::shared().await?;
    explain::<connect_crds::ServiceExpose>(cluster).await?;
    explain::<connect_crds::EnvironmentShare>(cluster).await
}

/// `kubectl explain` of every object of the kind names each of its fields, and has prose for it.
async fn explain<K: CustomResourceExt>(cluster: &ControlPlane) -> Result<()> {
    let manifest = connect_crds::manifest::<K>()?;
    let schema = &manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut objects = Vec::new();
    for part in ["spec", "status"] {
        let path = format!("{}.{part}", K::api_resource().plural);
        collect_objects(path, &schema["properties"][part], &mut objects);
    }
    assert!(objects.len() > 3, "{objects:?}");
    // The documentation is published a moment after the kinds are served.
    eventually("kubectl explains the kind", SOON, || async {
        cluster.kubectl().run(["explain", &objects[0].0]).await?.success()
    })
    .await?;
    for (path, fields) in objects {
        let said = cluster.kubectl().run(["explain", &path]).await?.success()?.stdout;
        assert!(!said.contains("<no description>") && !said.contains("<empty>"), "{said}");
        for field in fields {
            let line = said.lines().position(|line| line.trim_start().starts_with(&format!("{field}\t")));
            let prose = line.and_then(|line| said.lines().nth(line + 1)).unwrap_or_default();
            assert!(prose.trim().len() > 10, "{path} says nothing of {field}:\n{said}");
        }
    }
    Ok(())
}

/// Every object in the schema with fields of its own, by its path.
fn collect_objects(path: String, schema: &Value, objects: &mut Vec<(String, Vec<String>)>) {
    if schema["items"].is_object() {
        return collect_objects(path, &schema["items"], objects);
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, property) in properties {
        collect_objects(format!("{path}.{name}"), property, objects);
    }
    objects.push((path, properties.keys().cloned().collect()));
}

async fn check_creations<K: CustomResourceExt>(
    rows: impl IntoIterator<Item = (Value, Verdict)>,
) -> Result<()> {
    let client = control_plane::shared().await?.client().await?;
    let resource = K::api_resource();
    let objects: Api<DynamicObject> = Api::namespaced_with(client, "default", &resource);
    let dry_run = PostParams { dry_run: true, ..Default::default() };
    let mut surprises = Vec::new();
    for (spec, expected) in rows {
        let answer = objects.create(&dry_run, &object(&resource, "row", &spec)).await;
        surprises.extend(surprise(&spec, &expected, answer)?);
    }
    assert!(surprises.is_empty(), "\n{}", surprises.join("\n"));
    Ok(())
}

async fn check_changes<K: CustomResourceExt>(
    rows: impl IntoIterator<Item = (Value, Value, Verdict)>,
) -> Result<()> {
    let cluster = control_plane::shared().await?;
    let namespace = Namespace::create(cluster, "changes").await?;
    let resource = K::api_resource();
    let objects: Api<DynamicObject> =
        Api::namespaced_with(cluster.client().await?, namespace.name(), &resource);
    let mut surprises = Vec::new();
    for (row, (before, after, expected)) in rows.into_iter().enumerate() {
        let name = format!("row-{row}");
        let mut stored = objects.create(&PostParams::default(), &object(&resource, &name, &before)).await?;
        stored.data["spec"] = after.clone();
        let answer = objects.replace(&name, &PostParams::default(), &stored).await;
        surprises.extend(surprise(&json!({ "from": before, "to": after }), &expected, answer)?);
    }
    assert!(surprises.is_empty(), "\n{}", surprises.join("\n"));
    Ok(())
}

/// A line when the answer is not the expected one.
fn surprise(row: &Value, expected: &Verdict, answer: kube::Result<DynamicObject>) -> Result<Option<String>> {
    let said = match answer {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status),
        Err(error) => return Err(error).context("the API server does not answer"),
    };
    Ok(match (expected, said) {
        (Accepted, None) => None,
        (Accepted, Some(status)) => Some(format!("{row} is refused: {}", status.message)),
        (Refused(field, sentence), None) => {
            Some(format!("{row} is accepted, not refused: {field}: {sentence}"))
        }
        (Refused(field, sentence), Some(status)) => {
            let causes = status.details.map(|details| details.causes).unwrap_or_default();
            let meant = |cause: &kube::core::response::StatusCause| {
                cause.field == *field && cause.message.ends_with(sentence)
            };
            (!causes.iter().any(meant))
                .then(|| format!("{row} is refused otherwise: {causes:?}, not {field}: {sentence}"))
        }
    })
}

fn object(resource: &ApiResource, name: &str, spec: &Value) -> DynamicObject {
    DynamicObject::new(name, resource).data(json!({ "spec": spec }))
}

/// Adds the fields of `more` to an object.
fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
