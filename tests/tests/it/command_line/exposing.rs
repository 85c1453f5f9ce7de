//! `expose` and `unexpose`: what they print, as whom and in which form.

use anyhow::{Result, ensure};
use snapbox::str;

use super::{Names, connect};
use crate::world::World;

#[tokio::test]
async fn a_route_from_its_manifest_to_its_end() -> Result<()> {
    let world = World::start("exposing").await?;
    world.service("api", 8080).await?;
    let names = Names::of(&world);
    let manifest =
        connect(&world, &["expose", "api:8080", "--name", "web", "-o", "yaml", "--dry-run=client"]).await?;
    names.check(
        &manifest,
        str![[r#"
apiVersion: connect.privateconnect.co/v1alpha1
kind: ServiceExpose
metadata:
  name: web
  namespace: NAMESPACE
spec:
  routeName: web
  serviceRef:
    name: api
    port: 8080
---
exit 0

"#]],
    );
    for (words, expected) in [
        (
            ["expose", "api", "--dry-run=client"].as_slice(),
            str![[r#"
serviceexpose.connect.privateconnect.co/api created (dry run)
---
exit 0

"#]],
        ),
        (
            &["expose", "api", "--dry-run=server"],
            str![[r#"
serviceexpose.connect.privateconnect.co/api created (server dry run)
---
exit 0

"#]],
        ),
        (
            &["expose", "api", "--dry-run", "-o", "name"],
            str![[r#"
serviceexpose.connect.privateconnect.co/api
---
exit 0

"#]],
        ),
        (
            &["unexpose", "web"],
            str![[r#"
---
[x] No route web in namespace NAMESPACE; nothing is exposed there
exit 1

"#]],
        ),
    ] {
        names.check(&connect(&world, words).await?, expected);
    }
    let kubectl = world.namespace.kubectl();
    kubectl.apply(&manifest.stdout).await?;
    let again = kubectl.apply(&manifest.stdout).await?;
    assert_eq!(again.stdout.matches(" unchanged").count(), 1, "{}", again.report());
    kubectl.run_with_input(["diff", "-f", "-"], &manifest.stdout).await?.success()?;
    for (words, expected) in [
        (
            ["expose", "api"].as_slice(),
            str![[r#"
🔗 Exposing api:8080 as "api"...

[ok] Exposed api:8080 as "api"
---
exit 0

"#]],
        ),
        (
            &["expose", "api", "--dry-run=server"],
            str![[r#"
serviceexpose.connect.privateconnect.co/api configured (server dry run)
---
exit 0

"#]],
        ),
        (
            &["expose", "api", "-o", "name"],
            str![[r#"
serviceexpose.connect.privateconnect.co/api
---
exit 0

"#]],
        ),
        (
            &["expose", "api", "--wait=false"],
            str![[r#"
🔗 Exposing api:8080 as "api"...

[ok] Route "api" is stored
---
exit 0

"#]],
        ),
        (
            &["expose", "nowhere"],
            str![[r#"
---
[x] Service nowhere does not exist in namespace NAMESPACE
See them with: kubectl get services -n NAMESPACE
exit 1

"#]],
        ),
        (
            &["unexpose", "web", "--dry-run=server"],
            str![[r#"
serviceexpose.connect.privateconnect.co/web deleted (server dry run)
---
exit 0

"#]],
        ),
        (
            &["unexpose", "web"],
            str![[r#"
[ok] "web" is no longer exposed.
---
exit 0

"#]],
        ),
        (
            &["unexpose", "api", "-o", "name"],
            str![[r#"
serviceexpose.connect.privateconnect.co/api
---
exit 0

"#]],
        ),
    ] {
        names.check(&connect(&world, words).await?, expected);
    }
    let shown = connect(&world, &["expose", "api", "-o", "json"]).await?.success()?;
    let object: serde_json::Value = serde_json::from_str(&shown.stdout)?;
    assert_eq!(
        (&object["kind"], &object["status"]["routeName"]),
        (&"ServiceExpose".into(), &"api".into()),
        "{object}"
    );
    ensure!(object["metadata"]["managedFields"].is_null(), "{object}");
    Ok(())
}

#[tokio::test]
async fn the_port_and_the_protocol_are_those_that_the_service_means() -> Result<()> {
    let world = World::start("exposing-ports").await?;
    let service = |name: &str, ports: serde_json::Value| {
        serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": ports}})
        .to_string()
    };
    let dns = serde_json::json!([
        {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]);
    let web = serde_json::json!([{"name": "http", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 9000}]);
    world.kubectl.apply(&service("dns", dns)).await?;
    world.kubectl.apply(&service("web", web)).await?;
    let names = Names::of(&world);
    for (words, expected) in [
        (
            ["expose", "dns:53"].as_slice(),
            str![[r#"
🔗 Exposing dns:53 as "dns"...

[ok] Exposed dns:53 as "dns"
---
exit 0

"#]],
        ),
        (
            &["expose", "dns:dns", "--name", "udp"],
            str![[r#"
---
[x] Port 53 of Service dns is UDP and cannot be exposed: hubs carry TCP connections only
exit 1

"#]],
        ),
        (
            &["expose", "web:80"],
            str![[r#"
🔗 Exposing web:80 as "web"...

[ok] Exposed web:80 as "web"

  Protocol: HTTP, because the port is named http. Where that is wrong: --protocol tcp
---
exit 0

"#]],
        ),
        (
            &["expose", "web:admin"],
            str![[r#"
---
[x] Route web is web:80 already
Give this one another name: kubectl connect expose web:admin --name web-admin
Or let it take the place of web:80: kubectl connect expose web:admin --name web
exit 1

"#]],
        ),
    ] {
        names.check(&connect(&world, words).await?, expected);
    }
    let web = connect(&world, &["expose", "web:80", "-o", "json"]).await?.success()?;
    let web: serde_json::Value = serde_json::from_str(&web.stdout)?;
    assert_eq!(web["spec"]["protocol"], "HTTP", "{web}");
    let two = ["share", "--service", "web:80", "--service", "web:admin", "-o", "json"];
    let share = connect(&world, &two).await?.success()?;
    let share: serde_json::Value = serde_json::from_str(&share.stdout)?;
    let routes: Vec<_> =
        share["routes"].as_array().into_iter().flatten().map(|route| route["port"].clone()).collect();
    assert_eq!(routes, [80, 9000], "both are shared: {share}");
    Ok(())
}
