//! `proxy-url` of a kubeconfig: the verbs that ask the cluster reach a real API server that only proxies reach.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use connect_tests::between::{Between, Trust, guarded};
use connect_tests::plugin;
use serde_json::{Value, json};

use super::{LOGIN, OUTSIDE, Proxies, said, written};
use crate::world::World;

/// The administrator's kubeconfig for the API server at this port, with this in its cluster.
fn kubeconfig(world: &World, name: &str, port: u16, more: &Value) -> Result<PathBuf> {
    let text = std::fs::read_to_string(world.cluster.kubeconfig())?;
    let mut config: Value = serde_json::from_str(&text)?;
    let cluster = config["clusters"][0]["cluster"].as_object_mut().context("a cluster")?;
    cluster.insert("server".to_owned(), json!(format!("https://127.0.0.1:{port}")));
    cluster.extend(more.as_object().cloned().unwrap_or_default());
    let path = world.cluster.folder("proxy-url")?.join(name);
    std::fs::write(&path, config.to_string())?;
    Ok(path)
}

#[tokio::test]
async fn verbs_reach_an_api_server_that_only_proxies_reach() -> Result<()> {
    let world = World::start("proxy-url").await?;
    world.service("api", 8080).await?;
    let trust = Trust::new()?;
    let proxies = Proxies::start(&trust).await?;
    let server = world.cluster.server().strip_prefix("https://").context("https")?.parse()?;
    let port = guarded(server, OUTSIDE).await?;
    let ca = written(&trust, &world.cluster.folder("proxy-url")?)?;
    // What the environment says stands below what the kubeconfig says.
    let environment = [
        ("SSL_CERT_FILE", ca.to_str().context("a path")?),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("NO_PROXY", "*"),
    ];
    for (row, proxy) in proxies.urls(LOGIN).iter().enumerate() {
        let path = kubeconfig(&world, &format!("{row}.yaml"), port, &json!({"proxy-url": proxy}))?;
        let kubectl = plugin::with_plugin(&world.namespace.kubectl().as_user(path)).await?;
        let name = format!("route-{row}");
        let share = format!("share-{row}");
        for words in [
            &["expose", "api:8080", "--name", &name][..],
            &["share", "--name", &share, "--expires", "1h"],
            &["status", &share],
            &["doctor", "--operator-namespace", world.namespace.name()],
            &["rotate", &share],
            &["revoke", &share],
            &["unexpose", &name],
        ] {
            let done = said(&kubectl, words, &environment).await?;
            done.success().with_context(|| format!("{proxy}: {words:?}"))?;
        }
    }
    let straight = kubeconfig(&world, "straight.yaml", port, &json!({}))?;
    let kubectl = plugin::with_plugin(&world.namespace.kubectl().as_user(straight)).await?;
    said(&kubectl, &["status"], &[]).await?.fails_with(1).map(drop)
}

#[tokio::test]
async fn a_proxy_of_the_kubeconfig_that_refuses_is_named() -> Result<()> {
    let world = World::start("proxy-url-refused").await?;
    let trust = Trust::new()?;
    let proxies = Proxies::start(&trust).await?;
    let strict = Between::tinyproxy("ConnectPort 443").await?;
    let server: std::net::SocketAddr =
        world.cluster.server().strip_prefix("https://").context("https")?.parse()?;
    let ca = written(&trust, &world.cluster.folder("proxy-url-refused")?)?;
    let environment = [("SSL_CERT_FILE", ca.to_str().context("a path")?)];
    let [wrong, wrong_tls, wrong_socks] = proxies.urls("mia:wrong-1@");
    let [missing, _, missing_socks] = proxies.urls("");
    let strict = format!("http://{}", strict.address());
    for (row, (proxy, sentence)) in [
        (wrong, "refused the user and password"),
        (wrong_tls, "refused the user and password"),
        (wrong_socks, "refused the user and password"),
        (missing, "requires a user and a password"),
        (missing_socks, "requires a user and a password"),
        (strict, "does not allow connections to 127.0.0.1:"),
        ("http://127.0.0.1:1".to_owned(), "cannot connect to the proxy http://127.0.0.1:1"),
        ("ftp://proxy".to_owned(), "is not the URL of a proxy"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("refused-{row}.yaml");
        let path = kubeconfig(&world, &name, server.port(), &json!({"proxy-url": proxy}))?;
        let kubectl = plugin::with_plugin(&world.namespace.kubectl().as_user(path)).await?;
        let failed = said(&kubectl, &["status"], &environment).await?.fails_with(1)?;
        ensure!(
            failed.stderr.starts_with("[x] ") && failed.stderr.contains(sentence),
            "{proxy}: {}",
            failed.report()
        );
        ensure!(!failed.stderr.contains("wrong-1"), "{}", failed.report());
    }
    Ok(())
}
