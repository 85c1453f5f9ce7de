//! Proxies of companies: the operator's tunnel and teammates' joins go through each kind, and one that refuses is named.

use anyhow::{Context as _, Result, ensure};
use connect_tests::between::{Between, Trust};
use connect_tests::control_plane;
use connect_tests::hub::Hub;
use connect_tests::plugin;

use super::{HERE, LOGIN, OUTSIDE, Proxies, address, joins, said, written};
use crate::world::World;

#[tokio::test]
async fn the_operator_and_teammates_reach_a_hub_that_only_proxies_reach() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let folder = cluster.folder("proxies")?;
    let hub = Hub::start(&folder, &cluster.logs()).await?;
    let trust = Trust::new()?;
    let proxies = Proxies::start(&trust).await?;
    let port = trust.before(address(&hub)?, HERE, Some(OUTSIDE)).await?;
    let ca = written(&trust, &folder)?;
    let ca = ("SSL_CERT_FILE", ca.to_str().context("a path")?);
    let urls = proxies.urls(LOGIN);

    let environment = [ca, ("HTTPS_PROXY", urls[0].as_str())];
    let url = format!("https://{HERE}:{port}");
    let mut world = World::at_hub_by("proxies", &url, hub.key_file(), &environment).await?;
    let _api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--name", "demo"]).await?;
    for (row, proxy) in urls.iter().enumerate() {
        if row > 0 {
            world = world.restart_the_operator_by(&[("HTTPS_PROXY", proxy)]).await?;
        }
        for name in ["HTTPS_PROXY", "ALL_PROXY"] {
            let environment = [ca, (name, proxy), ("NO_PROXY", "example.com,10.0.0.0/8")];
            joins(&world, &format!("proxies-{row}"), &shared.join, &environment)
                .await
                .with_context(|| format!("{name}={proxy}"))?;
        }
    }
    // Nobody gets there in another way: none of the above can have.
    let words: Vec<&str> = shared.join.iter().skip(1).map(String::as_str).collect();
    for straight in [vec![ca], vec![ca, ("HTTPS_PROXY", &urls[0]), ("NO_PROXY", HERE)]] {
        said(&world.kubectl_elsewhere()?, &words, &straight).await?.fails_with(1)?;
    }
    let log = proxies.http.log();
    ensure!(log.contains(&format!("CONNECT {HERE}:{port} ")), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_uses_up_no_join() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let folder = cluster.folder("refusing")?;
    let world = World::beside_a_hub("refusing").await?;
    let hub = world.hub.as_ref().context("there is one")?;
    let _api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--name", "demo", "--max-joins", "1"]).await?;
    let trust = Trust::new()?;
    let proxies = Proxies::start(&trust).await?;
    let strict = Between::tinyproxy("ConnectPort 443").await?;
    let port = trust.before(address(hub)?, HERE, Some(OUTSIDE)).await?;
    let ca = written(&trust, &folder)?;
    let ca = ("SSL_CERT_FILE", ca.to_str().context("a path")?);
    let token = format!("https://{HERE}:{port}/#{}", shared.code);
    let nobody = format!("http://127.0.0.1:{}", control_plane::free_port()?);
    let [wrong_http, wrong_tls, wrong_socks] = proxies.urls("mia:wrong-1@");
    let [no_http, no_tls, no_socks] = proxies.urls("");
    let strict = format!("http://{}", strict.address());
    let wants = "requires a user and a password";
    let refused = "refused the user and password";
    let forbids = format!("does not allow connections to {HERE}:{port}");
    for (proxy, sentence) in [
        (no_http.as_str(), wants),
        (&no_tls, wants),
        (&no_socks, wants),
        (&wrong_http, refused),
        (&wrong_tls, refused),
        (&wrong_socks, refused),
        (&strict, &forbids),
        (&nobody, "cannot connect to the proxy"),
        ("ftp://mia:wrong-1@proxy", "HTTPS_PROXY is not the URL of a proxy"),
    ] {
        let words = ["join", token.as_str()];
        let failed = said(&world.kubectl_elsewhere()?, &words, &[ca, ("HTTPS_PROXY", proxy)]).await?;
        let failed = failed.fails_with(1)?;
        let (first, advice) = failed.stderr.split_once('\n').context("a sentence and advice")?;
        ensure!(
            first.starts_with("[x] Cannot reach the hub") && first.contains(sentence) && !advice.is_empty(),
            "{proxy}: {}",
            failed.report()
        );
        ensure!(!failed.report().replace(proxy, "").contains("wrong-1"), "{}", failed.report());
    }
    // The only join is still there for whoever comes through.
    let right = proxies.urls(LOGIN);
    let words = ["connect".to_owned(), "join".to_owned(), token.clone()];
    joins(&world, "refusing-not", &words, &[ca, ("HTTPS_PROXY", &right[0])]).await?;
    let again =
        said(&world.kubectl_elsewhere()?, &["join", &token], &[ca, ("HTTPS_PROXY", &right[0])]).await?;
    again.fails_with(1).map(drop)
}
