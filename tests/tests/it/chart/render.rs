//! What the charts render: accepted by a real API server, with every switch; and what they refuse, with which sentence.

use anyhow::{Context as _, Result, ensure};
use connect_tests::control_plane;
use connect_tests::namespace::Namespace;
use connect_tests::toolchain::product;
use serde_json::{Value, json};

use super::{KINDS, OPERATOR};
use connect_tests::helm::{Helm, of_kind, the};

/// Namespaces of a chart that is not cluster-wide.
const TEAMS: &str = "watchNamespaces={team-a,team-b}";

/// Kinds of others, which the control plane of the tests does not know.
const OF_OTHERS: [&str; 3] = ["HTTPRoute", "PrometheusRule", "ServiceMonitor"];

/// Each way to install, by name. Together they turn every switch.
fn ways() -> Vec<(&'static str, Vec<&'static str>)> {
    let set = |settings: &[&'static str]| settings.iter().flat_map(|it| ["--set", *it]).collect::<Vec<_>>();
    vec![
        ("defaults", vec![]),
        ("embedded", set(&["embeddedHub.enabled=true", "embeddedHub.publicUrl=https://hub.example.com"])),
        (
            "embedded, everything on",
            set(&[
                "embeddedHub.enabled=true,embeddedHub.publicUrl=https://hub.example.com:8443",
                "embeddedHub.ingress.enabled=true,embeddedHub.ingress.className=nginx,embeddedHub.ingress.tlsSecret=tls",
                "embeddedHub.ingress.annotations.a=b,embeddedHub.service.annotations.a=b",
                "embeddedHub.service.type=LoadBalancer,embeddedHub.persistence.storageClass=fast",
                "networkPolicy.enabled=true,serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus",
                "prometheusRule.enabled=true,prometheusRule.labels.a=b,dashboard.enabled=true",
                "networkPolicy.hubFrom[0].ipBlock.cidr=10.0.0.0/8",
            ]),
        ),
        (
            "embedded, behind a Gateway",
            set(&[
                "embeddedHub.enabled=true,embeddedHub.publicUrl=https://hub.example.com,embeddedHub.gateway.enabled=true",
                "embeddedHub.gateway.parentRefs[0].name=public,embeddedHub.gateway.annotations.a=b,drain.enabled=false",
            ]),
        ),
        (
            "embedded, without a volume",
            set(&["embeddedHub.enabled=true,embeddedHub.persistence.enabled=false"]),
        ),
        (
            "embedded, with a volume of one's own",
            set(&["embeddedHub.enabled=true,embeddedHub.persistence.existingClaim=kept"]),
        ),
        ("namespaces", set(&[TEAMS])),
        (
            "another hub, everything on",
            set(&[
                "hub.url=http://hub.example.com,hub.apiKeySecret=hub,hub.caSecret=ca,hub.allowInsecure=true",
                "replicas=2,allowSelectorlessTargets=true,log.format=text,log.filter=debug",
                "image.digest=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "imagePullSecrets[0].name=registry,serviceAccount.annotations.a=b,podLabels.a=b,podAnnotations.a=b",
                "networkPolicy.enabled=true,networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.a=b",
                "serviceMonitor.enabled=true,priorityClassName=high,nodeSelector.disk=ssd,tolerations[0].operator=Exists",
                "topologySpreadConstraints[0].maxSkew=1,topologySpreadConstraints[0].topologyKey=zone",
                "topologySpreadConstraints[0].whenUnsatisfiable=ScheduleAnyway,fullnameOverride=other",
                "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=host",
                "aggregateRoles=false,labelledServices.enabled=true,bufferMiB=256",
                "requiredServiceLabels={share,payments:example.com/share=allowed}",
            ]),
        ),
        (
            "policies",
            set(&[
                "policies.enabled=true,labelledServices.enabled=true,policies.maxExpiration=7d,policies.forbiddenNamespaces={kube-system,payments}",
            ]),
        ),
        (
            "policies that forbid nothing",
            set(&[
                "policies.enabled=true,policies.forbiddenNamespaces=null",
                "policies.requireServiceAccess=false,policies.forbidPublic=false",
            ]),
        ),
        (
            "embedded, what platform teams ask for",
            set(&[
                "embeddedHub.enabled=true,embeddedHub.publicUrl=https://[2001:db8::1]:8443,embeddedHub.ingress.enabled=true",
                "embeddedHub.ingress.tlsSecret=tls,embeddedHub.gateway.enabled=true,embeddedHub.gateway.parentRefs[0].name=public",
                "embeddedHub.service.type=NodePort,embeddedHub.service.nodePort=30080,embeddedHub.persistence.annotations.a=b",
                "listenAddress=[::],extraArgs={--print-addresses},extraEnv[0].name=TZ,extraEnv[0].value=Europe/Berlin",
                "extraVolumes[0].name=certificates,extraVolumes[0].configMap.name=certificates",
                "extraVolumeMounts[0].name=certificates,extraVolumeMounts[0].mountPath=/etc/more,extraVolumeMounts[0].readOnly=true",
                "commonLabels.team=platform,deploymentAnnotations.a=b,dnsPolicy=None,dnsConfig.nameservers[0]=10.0.0.10",
                "hostAliases[0].ip=10.0.0.7,hostAliases[0].hostnames[0]=hub.internal",
                "podSecurityContext.fsGroup=null,securityContext.runAsNonRoot=true",
            ]),
        ),
        ("another account", set(&["serviceAccount.create=false,serviceAccount.name=somebody"])),
    ]
}

#[tokio::test]
async fn helm_finds_nothing_wrong() -> Result<()> {
    Helm::new().await?.run(&["lint", "--strict", OPERATOR, KINDS]).await.map(drop)
}

#[tokio::test]
async fn what_is_rendered_is_accepted_by_a_real_api_server() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let helm = Helm::new().await?;
    let namespace = Namespace::create(cluster, "chart").await?;
    for (way, settings) in ways() {
        let objects = helm.objects(namespace.name(), &settings).await?;
        // The namespaces of the list are not there; a Role is judged alike in another.
        let list: Vec<Value> = objects.iter().filter(|it| is_known(it)).cloned().collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": list}).to_string();
        let list = list.replace("\"team-a\"", &json!(namespace.name()).to_string());
        let list = list.replace("\"team-b\"", &json!(namespace.name()).to_string());
        let words = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let said = cluster.kubectl().run_with_input(words, &list).await?;
        said.success().with_context(|| way)?;
        belongs_together(&objects).with_context(|| way)?;
    }
    Ok(())
}

fn is_known(object: &Value) -> bool {
    object["kind"].as_str().is_some_and(|kind| !OF_OTHERS.contains(&kind))
}

/// Whatever selects Pods selects the operator's, names ports that they have, and is never dialled by the operator itself.
fn belongs_together(objects: &[Value]) -> Result<()> {
    let pod = &the(objects, "Deployment")?["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    let container = &pod["spec"]["containers"][0];
    let ports = container["ports"].as_array().context("the container has ports")?;
    let has_port = |name: &Value| ports.iter().any(|port| port["name"] == *name);
    let services = of_kind(objects, "Service");
    for service in &services {
        ensure!(is_part_of(&service["spec"]["selector"], labels), "{service}");
        ensure!(has_port(&service["spec"]["ports"][0]["targetPort"]), "{service}");
        // By this label the operator knows its own Services and refuses to share them.
        ensure!(service["metadata"]["labels"]["app.kubernetes.io/name"] == "private-connect", "{service}");
    }
    for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
        for object in of_kind(objects, kind) {
            let selector = object["spec"].get("selector").unwrap_or(&object["spec"]["podSelector"]);
            ensure!(is_part_of(&selector["matchLabels"], labels), "{object}");
            let rules = object["spec"]["ingress"].as_array().into_iter().flatten();
            ensure!(rules.map(|rule| &rule["ports"][0]["port"]).all(has_port), "{object}");
        }
    }
    for monitor in of_kind(objects, "ServiceMonitor") {
        let selector = &monitor["spec"]["selector"]["matchLabels"];
        let found: Vec<_> =
            services.iter().filter(|it| is_part_of(selector, &it["metadata"]["labels"])).collect();
        let [service] = found[..] else { anyhow::bail!("{monitor} selects {found:?}") };
        ensure!(service["spec"]["ports"][0]["name"] == monitor["spec"]["endpoints"][0]["port"], "{monitor}");
    }
    for route in of_kind(objects, "HTTPRoute") {
        let backend = &route["spec"]["rules"][0]["backendRefs"][0];
        let is_it = |service: &&&Value| {
            service["metadata"]["name"] == backend["name"]
                && service["spec"]["ports"][0]["port"] == backend["port"]
        };
        ensure!(services.iter().filter(is_it).count() == 1, "{route}");
    }
    for job in of_kind(objects, "Job") {
        let labels = &job["spec"]["template"]["metadata"]["labels"];
        ensure!(
            !services.iter().any(|it| is_part_of(&it["spec"]["selector"], labels)),
            "{job} looks like an operator"
        );
    }
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        ensure!(has_port(&container[probe]["httpGet"]["port"]), "{probe}");
    }
    let mounted = container["volumeMounts"].as_array().into_iter().flatten().map(|mount| &mount["name"]);
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten().map(|volume| &volume["name"]);
    ensure!(mounted.eq(volumes), "{pod}");
    Ok(())
}

fn is_part_of(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|wanted| {
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}

#[tokio::test]
async fn a_list_of_namespaces_makes_nothing_cluster_wide() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let words = ["api-resources", "--namespaced=true", "--no-headers"];
    let said = cluster.kubectl().run(words).await?.success()?.stdout;
    let namespaced: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let helm = Helm::new().await?;
    for (way, settings) in ways() {
        // Policies are refused with a list, which another test sees.
        let settings = [settings, vec!["--set", TEAMS, "--set", "policies.enabled=false"]].concat();
        let objects = helm.objects("own", &settings).await?;
        for object in objects.iter().filter(|object| is_known(object)) {
            let kind = object["kind"].as_str().unwrap_or_default();
            assert!(namespaced.contains(&kind), "{way}: {kind} is cluster-wide");
        }
        let mut roles: Vec<_> =
            of_kind(&objects, "Role").iter().map(|role| role["metadata"]["namespace"].clone()).collect();
        roles.sort_by_key(Value::to_string);
        assert_eq!(roles, ["own", "team-a", "team-b"], "{way}");
        assert!(objects.iter().all(|object| object["metadata"]["namespace"].is_string()), "{way}");
    }
    Ok(())
}

#[tokio::test]
async fn pods_are_accepted_where_pod_security_is_restricted() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let namespace = Namespace::create(cluster, "restricted").await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    cluster.kubectl().run(["label", "namespace", namespace.name(), label]).await?.success()?;
    let words = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    let helm = Helm::new().await?;
    for (way, settings) in ways() {
        let objects = helm.objects(namespace.name(), &settings).await?;
        for owner in ["Deployment", "Job"].iter().flat_map(|kind| of_kind(&objects, kind)) {
            let mut pod = owner["spec"]["template"].clone();
            (pod["apiVersion"], pod["kind"]) = (json!("v1"), json!("Pod"));
            pod["metadata"]["name"] = json!("operator");
            // The class is not there, and admission would ask for it.
            pod["spec"].as_object_mut().context("a Pod has a spec")?.remove("priorityClassName");
            let said = namespace.kubectl().run_with_input(words, &pod.to_string()).await?;
            said.success().with_context(|| way)?;

            pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
            let said = namespace.kubectl().run_with_input(words, &pod.to_string()).await?.fails_with(1)?;
            assert!(said.stderr.contains("allowPrivilegeEscalation"), "{}", said.report());
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_operator_knows_every_argument() -> Result<()> {
    let helm = Helm::new().await?;
    let mut seen = Vec::new();
    for (way, settings) in ways() {
        let objects = helm.objects("own", &settings).await?;
        for owner in ["Deployment", "Job"].iter().flat_map(|kind| of_kind(&objects, kind)) {
            let arguments = &owner["spec"]["template"]["spec"]["containers"][0]["args"];
            let arguments: Vec<String> = serde_json::from_value(arguments.clone())?;
            // With --help the operator says what it would do, or which argument it does not know.
            let output = tokio::process::Command::new(product().await?.operator())
                .args(&arguments)
                .arg("--help")
                .output()
                .await
                .context("cannot start the operator")?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{way}: {arguments:?}: {said}");
            let help = String::from_utf8_lossy(&output.stdout).into_owned();
            for flag in arguments.iter().filter_map(|argument| argument.split('=').next()).skip(1) {
                assert!(help.contains(&format!(" {flag}")), "{way}: {flag}");
                seen.push(flag.to_owned());
            }
        }
    }
    for flag in ["--embedded-hub", "--hub-api-key-file", "--hub-ca-file", "--allow-insecure-hub"] {
        assert!(seen.iter().any(|it| it == flag), "no way to install says {flag}");
    }
    Ok(())
}

#[tokio::test]
async fn the_embedded_hub_knows_how_many_proxies_stand_in_front_of_it() -> Result<()> {
    let helm = Helm::new().await?;
    let embedded = "embeddedHub.enabled=true,embeddedHub.publicUrl=https://hub.example.com";
    let gateway = "embeddedHub.gateway.enabled=true,embeddedHub.gateway.parentRefs[0].name=public";
    for (more, expected) in [
        ("", None),
        ("embeddedHub.trustedProxies=2", Some("2")),
        ("embeddedHub.ingress.enabled=true", Some("1")),
        ("embeddedHub.ingress.enabled=true,embeddedHub.trustedProxies=0", Some("1")),
        ("embeddedHub.ingress.enabled=true,embeddedHub.trustedProxies=2", Some("2")),
        (gateway, Some("1")),
    ] {
        let settings = format!("{embedded},{more}");
        let objects = helm.objects("default", &["--set", settings.trim_end_matches(',')]).await?;
        let container = &the(&objects, "Deployment")?["spec"]["template"]["spec"]["containers"][0];
        let mut flags = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let said = flags.find_map(|flag| flag.strip_prefix("--hub-trusted-proxies="));
        ensure!(said == expected, "{more}: {said:?}");
    }
    Ok(())
}

#[tokio::test]
async fn values_that_cannot_work_are_refused_with_a_sentence() -> Result<()> {
    let helm = Helm::new().await?;
    let rows = [
        ("replica=2", "additional properties 'replica' not allowed"),
        ("hub.uri=https://hub.example.com", "additional properties 'uri' not allowed"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("replicas=two", "at '/replicas': got string, want integer"),
        ("watchNamespaces=team-a", "at '/watchNamespaces': got string, want array"),
        ("watchNamespaces={Team_A}", "at '/watchNamespaces/0': 'Team_A' does not match pattern"),
        ("watchNamespaces={a,a}", "at '/watchNamespaces': items at 0 and 1 are equal"),
        ("hub.url=hub.example.com", "at '/hub/url': 'hub.example.com' does not match pattern"),
        ("hub.url=https://me:secret@hub.example.com", "at '/hub/url'"),
        ("image.digest=latest", "at '/image/digest': 'latest' does not match pattern"),
        ("log.format=xml", "at '/log/format': value must be one of 'json', 'text'"),
        ("log.filter=verbose", "at '/log/filter': 'verbose' does not match pattern"),
        ("log.filter=info\\,connect_hub", "at '/log/filter'"),
        ("serviceMonitor.interval=often", "at '/serviceMonitor/interval'"),
        ("policies.maxExpiration=2weeks", "at '/policies/maxExpiration': '2weeks' does not match pattern"),
        ("policies.forbiddenNamespaces={Team_A}", "at '/policies/forbiddenNamespaces/0'"),
        ("requiredServiceLabels={a=b=c}", "at '/requiredServiceLabels/0': 'a=b=c' does not match pattern"),
        ("bufferMiB=0", "at '/bufferMiB': minimum: got 0, want 1"),
        ("policies.enabled=true,watchNamespaces={a}", "policies.enabled is for a cluster-wide installation"),
        ("embeddedHub.persistence.size=big", "at '/embeddedHub/persistence/size'"),
        ("embeddedHub.enabled=true,replicas=2", "replicas must be 1 with embeddedHub.enabled"),
        ("embeddedHub.enabled=true,hub.apiKeySecret=hub", "hub.apiKeySecret is for another hub"),
        ("embeddedHub.enabled=true,hub.caSecret=ca", "hub.caSecret is for another hub"),
        ("embeddedHub.ingress.enabled=true", "embeddedHub.ingress.enabled needs embeddedHub.enabled"),
        (
            "embeddedHub.enabled=true,embeddedHub.ingress.enabled=true",
            "embeddedHub.ingress.enabled needs embeddedHub.publicUrl",
        ),
        (
            "embeddedHub.enabled=true,embeddedHub.publicUrl=https://example.com,embeddedHub.gateway.enabled=true",
            "embeddedHub.gateway.enabled needs embeddedHub.gateway.parentRefs",
        ),
        (
            "embeddedHub.enabled=true,embeddedHub.ingress.enabled=true,embeddedHub.publicUrl=https://example.com/hub",
            "embeddedHub.publicUrl must have no path",
        ),
        ("embeddedHub.publicUrl=https://2001:db8::1", "at '/embeddedHub/publicUrl'"),
        ("embeddedHub.service.nodePort=70000", "at '/embeddedHub/service/nodePort'"),
        ("extraArgs={print}", "at '/extraArgs/0': 'print' does not match pattern"),
        ("extraEnv[0].value=x", "at '/extraEnv/0': missing property 'name'"),
        ("extraVolumeMounts[0].name=x", "at '/extraVolumeMounts/0': missing property 'mountPath'"),
        ("dnsPolicy=Mine", "at '/dnsPolicy': value must be one of"),
        ("listenAddress=::", "at '/listenAddress'"),
        ("commonLabels.helm\\.sh/chart=x", "invalid propertyName 'helm.sh/chart'"),
        ("serviceAccount.create=false", "set serviceAccount.name to the ServiceAccount to use"),
    ];
    for (setting, sentence) in rows {
        let said = helm.refusal(&["--set", setting]).await?;
        assert!(said.contains(sentence), "{setting}: {said}");
    }
    Ok(())
}
