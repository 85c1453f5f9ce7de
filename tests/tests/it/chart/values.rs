//! Values that platform teams set, and names that are numbers: where they arrive.

use anyhow::{Context as _, Result, ensure};
use connect_hub::url::{HubUrl, InsecureHttp};
use connect_tests::control_plane;
use connect_tests::namespace::Namespace;
use serde_json::{Value, json};

use super::{KINDS, OPERATOR, PREVIEW};
use connect_tests::helm::{Helm, the};

/// Settings, a kind, where in the object of that kind, and what is there.
fn rows() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    vec![
        (
            "extraEnv[0].name=TZ,extraEnv[0].value=UTC",
            "Deployment",
            "/spec/template/spec/containers/0/env/3/name",
            json!("TZ"),
        ),
        (
            "extraEnv[0].name=TZ,extraEnv[0].value=UTC",
            "Job",
            "/spec/template/spec/containers/0/env/3/value",
            json!("UTC"),
        ),
        ("commonLabels.team=a", "Deployment", "/metadata/labels/team", json!("a")),
        ("commonLabels.team=a", "Deployment", "/spec/template/metadata/labels/team", json!("a")),
        ("commonLabels.team=a", "Deployment", "/spec/selector/matchLabels/team", Value::Null),
        ("commonLabels.team=a", "Job", "/spec/template/metadata/labels/team", json!("a")),
        ("commonLabels.team=a", "ServiceAccount", "/metadata/labels/team", json!("a")),
        ("deploymentAnnotations.a=b", "Deployment", "/metadata/annotations/a", json!("b")),
        ("podAnnotations.a=b", "Deployment", "/spec/template/metadata/annotations/a", json!("b")),
        (
            "podSecurityContext.runAsUser=null",
            "Deployment",
            "/spec/template/spec/securityContext/runAsUser",
            Value::Null,
        ),
        (
            "podSecurityContext.runAsUser=null",
            "Job",
            "/spec/template/spec/securityContext/runAsUser",
            Value::Null,
        ),
        (
            "podSecurityContext.runAsUser=null",
            "Deployment",
            "/spec/template/spec/securityContext/runAsNonRoot",
            json!(true),
        ),
        (
            "securityContext.runAsUser=7",
            "Job",
            "/spec/template/spec/containers/0/securityContext/runAsUser",
            json!(7),
        ),
        ("dnsPolicy=Default", "Deployment", "/spec/template/spec/dnsPolicy", json!("Default")),
        ("dnsConfig.searches[0]=a", "Job", "/spec/template/spec/dnsConfig/searches/0", json!("a")),
        ("hostAliases[0].ip=1.2.3.4", "Job", "/spec/template/spec/hostAliases/0/ip", json!("1.2.3.4")),
        (
            "topologySpreadConstraints[0].topologyKey=zone",
            "Deployment",
            "/spec/template/spec/topologySpreadConstraints/0/labelSelector/matchLabels/app.kubernetes.io~1name",
            json!("private-connect"),
        ),
        (
            "topologySpreadConstraints[0].topologyKey=zone,topologySpreadConstraints[0].labelSelector.matchLabels.a=b",
            "Deployment",
            "/spec/template/spec/topologySpreadConstraints/0/labelSelector",
            json!({"matchLabels": {"a": "b"}}),
        ),
        (
            "embeddedHub.enabled=true,embeddedHub.persistence.annotations.a=b",
            "PersistentVolumeClaim",
            "/metadata/annotations/a",
            json!("b"),
        ),
        (
            "embeddedHub.enabled=true,embeddedHub.ingress.enabled=true,embeddedHub.publicUrl=https://[2001:db8::1]:8443",
            "Ingress",
            "/spec/rules/0/host",
            Value::Null,
        ),
        (
            "embeddedHub.enabled=true,embeddedHub.ingress.enabled=true,embeddedHub.publicUrl=https://a.example.com:8443",
            "Ingress",
            "/spec/rules/0/host",
            json!("a.example.com"),
        ),
        (
            "embeddedHub.enabled=true,embeddedHub.gateway.enabled=true,embeddedHub.gateway.parentRefs[0].name=a,embeddedHub.publicUrl=http://10.0.0.1",
            "HTTPRoute",
            "/spec/hostnames",
            Value::Null,
        ),
    ]
}

#[tokio::test]
async fn what_platform_teams_set_arrives() -> Result<()> {
    let helm = Helm::new().await?;
    for (settings, kind, place, expected) in rows() {
        let objects = helm.objects("own", &["--set", settings]).await?;
        let found = the(&objects, kind)?.pointer(place).cloned().unwrap_or_default();
        ensure!(found == expected, "{settings}: {kind} has {found} at {place}");
    }
    let last = helm.objects("own", &["--set", "extraArgs={--a=b: c}"]).await?;
    let arguments = &the(&last, "Deployment")?["spec"]["template"]["spec"]["containers"][0]["args"];
    ensure!(arguments.as_array().and_then(|it| it.last()) == Some(&json!("--a=b: c")), "{arguments}");
    Ok(())
}

/// Variables of a proxy, by settings: what `proxy` says, and what `extraEnv` says in its place.
#[tokio::test]
async fn the_proxy_arrives_in_every_pod_that_talks_to_hubs() -> Result<()> {
    let helm = Helm::new().await?;
    let inside = ".svc,.cluster.local";
    let secret = "extraEnv[0].name=HTTPS_PROXY,extraEnv[0].valueFrom.secretKeyRef.name=proxy,extraEnv[0].valueFrom.secretKeyRef.key=url";
    for (settings, expected) in [
        ("", vec![]),
        ("proxy.httpsProxy=http://p:1", vec![("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", inside)]),
        ("proxy.httpProxy=http://p:1", vec![("HTTP_PROXY", "http://p:1"), ("NO_PROXY", inside)]),
        (
            "proxy.httpsProxy=socks5://p:1,proxy.httpProxy=http://p:2,proxy.noProxy=.corp\\,10.0.0.0/8",
            vec![
                ("HTTPS_PROXY", "socks5://p:1"),
                ("HTTP_PROXY", "http://p:2"),
                ("NO_PROXY", ".svc,.cluster.local,.corp,10.0.0.0/8"),
            ],
        ),
        ("proxy.noProxy=.corp", vec![("NO_PROXY", ".svc,.cluster.local,.corp")]),
        (secret, vec![("NO_PROXY", inside), ("HTTPS_PROXY", "")]),
        (
            "extraEnv[0].name=all_proxy,extraEnv[0].value=socks5://p,proxy.noProxy=.corp",
            vec![("NO_PROXY", ".svc,.cluster.local,.corp"), ("all_proxy", "socks5://p")],
        ),
        (
            "proxy.httpsProxy=http://p:1,extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=http://q:2",
            vec![("NO_PROXY", inside), ("HTTPS_PROXY", "http://q:2")],
        ),
        (
            "proxy.httpsProxy=http://p:1,proxy.noProxy=a,extraEnv[0].name=no_proxy,extraEnv[0].value=b",
            vec![("HTTPS_PROXY", "http://p:1"), ("no_proxy", "b")],
        ),
    ] {
        for more in ["", "networkPolicy.enabled=true", "embeddedHub.enabled=true"] {
            let set =
                [settings, more].iter().filter(|it| !it.is_empty()).copied().collect::<Vec<_>>().join(",");
            let words = ["--set", set.as_str()];
            let objects = helm.objects("own", if set.is_empty() { &[] } else { &words }).await?;
            for kind in ["Deployment", "Job"] {
                let container = &the(&objects, kind)?["spec"]["template"]["spec"]["containers"][0];
                let variables = container["env"].as_array().context("an environment")?;
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let found: Vec<_> = variables
                    .iter()
                    .map(|it| (text(&it["name"]), text(&it["value"])))
                    .filter(|(name, _)| name.to_ascii_uppercase().ends_with("_PROXY"))
                    .collect();
                let found: Vec<_> =
                    found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                ensure!(found == expected, "{set}: {kind} has {found:?}");
            }
            // The way to a proxy is not closed.
            let policies = connect_tests::helm::of_kind(&objects, "NetworkPolicy");
            ensure!(
                policies.iter().all(|it| it["spec"]["policyTypes"] == json!(["Ingress"])),
                "{policies:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_hub_may_be_an_ipv6_address() -> Result<()> {
    let url = "https://[2001:db8::1]:8443";
    let parsed = HubUrl::parse(url, InsecureHttp::Refused).context(url)?;
    ensure!(parsed.as_str() == url, "{parsed:?}");
    Ok(())
}

/// Names that YAML would take for something else.
const ODD_NAMES: [(&str, &str); 4] =
    [("456", "123"), ("0x1f", "1e3"), ("null", "true"), ("1-0", "2026-12-01")];

/// Everything that can be told by a name, with names that are numbers.
const NUMBERS: &str =
    "embeddedHub.enabled=true,networkPolicy.enabled=true,policies.enabled=true,dashboard.enabled=true";

#[tokio::test]
async fn names_may_be_numbers() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let helm = Helm::new().await?;
    let quoted = [
        "--set-string",
        "fullnameOverride=,serviceAccount.name=123,embeddedHub.persistence.existingClaim=456",
    ];
    let preview = ["--set", "services[0].name=api,services[0].port=80,namespace.create=true", "--set-string"];
    let preview = [
        preview.as_slice(),
        &["share.name=789,ci.serviceAccount=123,share.hubSecret=7,services[0].routeName=42"],
    ]
    .concat();
    let operator =
        [["--set", NUMBERS].as_slice(), &quoted, &["--set-string", "priorityClassName=1"]].concat();
    let teams = [
        "--set-string",
        "watchNamespaces={123,456},hub.apiKeySecret=1,hub.caSecret=2,imagePullSecrets[0].name=3",
    ];
    for (release, namespace) in ODD_NAMES {
        let made = Namespace::named(cluster.kubectl(), namespace).await?;
        for (chart, settings) in [
            (OPERATOR, operator.as_slice()),
            (OPERATOR, &["--set", "replicas=2"]),
            (OPERATOR, &teams),
            (KINDS, &[]),
            (PREVIEW, &preview),
        ] {
            let mut objects = helm.objects_of(chart, release, namespace, settings).await?;
            for object in &mut objects {
                let name = &object["metadata"]["name"];
                ensure!(name.is_string(), "{chart}: the name of {object}");
                let home = &object["metadata"]["namespace"];
                ensure!(home.is_null() || home.is_string(), "{chart}: the namespace of {object}");
            }
            // The namespaces of the list are not there.
            objects.retain(|it| {
                it["metadata"]["namespace"].is_null() || it["metadata"]["namespace"] == json!(namespace)
            });
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
            let words = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
            let said = cluster.kubectl().run_with_input(words, &list).await?;
            said.success().with_context(|| format!("{chart} as {release} in {namespace}"))?;
        }
        drop(made);
    }
    Ok(())
}

#[tokio::test]
async fn two_ports_of_a_service_are_two_routes() -> Result<()> {
    let helm = Helm::new().await?;
    let rows = [
        ("services[0].name=api,services[0].port=80", vec![("api", Value::Null, json!(80))]),
        (
            "services[0].name=api,services[0].port=80,services[1].name=api,services[1].port=metrics",
            vec![("api", Value::Null, json!(80)), ("api-metrics", json!("api-metrics"), json!("metrics"))],
        ),
        (
            "services[0].name=api,services[0].port=80,services[1].name=api,services[1].port=9090,services[1].routeName=admin",
            vec![("api", Value::Null, json!(80)), ("admin", json!("admin"), json!(9090))],
        ),
        (
            "services[0].name=api,services[0].port=80,services[0].routeName=web,services[1].name=api,services[1].port=9090",
            vec![("web", json!("web"), json!(80)), ("api", Value::Null, json!(9090))],
        ),
    ];
    for (settings, expected) in rows {
        let objects = helm.objects_of(PREVIEW, "pr-7", "pr-7", &["--set", settings]).await?;
        let exposes = connect_tests::helm::of_kind(&objects, "ServiceExpose");
        let found: Vec<_> = exposes
            .iter()
            .map(|it| {
                (
                    it["metadata"]["name"].clone(),
                    it["spec"]["routeName"].clone(),
                    it["spec"]["serviceRef"]["port"].clone(),
                )
            })
            .collect();
        let expected: Vec<_> =
            expected.into_iter().map(|(name, route, port)| (json!(name), route, port)).collect();
        ensure!(found == expected, "{settings}: {found:?}");
    }
    Ok(())
}
