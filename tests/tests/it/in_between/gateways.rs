//! Gateways in front of a hub that let its calls through and spoil its websockets: a join that fails uses up none of the joins
//! that a share allows, and an operator opens no share.

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::kind;
use connect_tests::between::{Between, Trust};
use connect_tests::control_plane;
use connect_tests::hub::Hub;
use connect_tests::plugin;
use connect_tests::recording_proxy::RecordingProxy;
use connect_tests::wait::{PATIENTLY, eventually};
use serde_json::json;

use super::{address, joins, said, written};
use crate::world::World;

/// What nginx does to let everything through.
fn passing(hub: &str) -> String {
    format!(
        "proxy_http_version 1.1; proxy_set_header Host $http_host;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $wish;\n\
         location / {{ proxy_pass {hub}; }}"
    )
}

#[tokio::test]
async fn no_join_is_used_up_before_the_way_is_known_to_work() -> Result<()> {
    let world = World::beside_a_hub("gateways").await?;
    let hub = world.hub.as_ref().context("there is one")?;
    let _api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--name", "demo", "--max-joins", "1"]).await?;
    let (url, silent) = (hub.url(), tokio::net::TcpListener::bind("127.0.0.1:0").await?);
    let backends = format!(
        "backend hub\n server hub {}\nbackend silence\n server silent {}",
        address(hub)?,
        silent.local_addr()?
    );
    let calls = |rest: &str| {
        format!("location /v1 {{ proxy_pass {url}; }} location /health {{ proxy_pass {url}; }} {rest}")
    };
    let login = "location /socket.io { return 302 https://login.corp.example/; }";
    let page = "location /socket.io { default_type text/html; return 200 '<html>Log in</html>'; }";
    let everything = |rest: &str| format!("location / {{ {rest} }}");
    let websocket = "the hub answers, but ";
    let gateways = [
        (
            "no headers to upgrade",
            Between::nginx(&everything(&format!("proxy_pass {url};"))).await?,
            websocket,
        ),
        (
            "the headers of HTTP/1.0",
            Between::nginx(&everything(&format!("proxy_http_version 1.0; proxy_pass {url};"))).await?,
            websocket,
        ),
        (
            "websockets to a page to log in",
            Between::nginx(&calls(login)).await?,
            "https://login.corp.example",
        ),
        ("websockets answered by a page", Between::nginx(&calls(page)).await?, "status 200"),
        (
            "everything to a page to log in",
            Between::nginx(&everything("return 302 https://login.corp.example/;")).await?,
            "https://login.corp.example",
        ),
        (
            "websockets that wait for ever",
            Between::haproxy(" use_backend silence if { path_beg /socket.io }", &backends).await?,
            websocket,
        ),
        (
            "websockets that are refused",
            Between::haproxy(" http-request deny if { path_beg /socket.io }", &backends).await?,
            "status 403",
        ),
    ];
    for (what, gateway, sentence) in &gateways {
        let token = format!("http://{}/#{}", gateway.address(), shared.code);
        let failed = said(&world.kubectl_elsewhere()?, &["join", &token], &[]).await?.fails_with(1)?;
        let (first, advice) = failed.stderr.split_once('\n').context("a sentence and advice")?;
        ensure!(
            first.starts_with("[x] ") && first.contains(sentence) && !advice.is_empty(),
            "{what}: {}",
            failed.report()
        );
    }
    // TLS that is not the hub's: nobody has said to trust it.
    let stranger = Trust::new()?.before(address(hub)?, "localhost", None).await?;
    let ca = written(&Trust::new()?, &world.cluster.folder("gateways-ca")?)?;
    let token = format!("https://localhost:{stranger}/#{}", shared.code);
    let variables = [("SSL_CERT_FILE", ca.to_str().context("a path")?)];
    let failed = said(&world.kubectl_elsewhere()?, &["join", &token], &variables).await?.fails_with(1)?;
    ensure!(failed.stderr.contains("certificate"), "{}", failed.report());

    joins(&world, "gateways-right", &shared.join, &[]).await?;
    let words: Vec<&str> = shared.join.iter().skip(1).map(String::as_str).collect();
    said(&world.kubectl_elsewhere()?, &words, &[]).await?.fails_with(1).map(drop)
}

#[tokio::test]
async fn no_share_is_opened_at_a_hub_whose_websocket_cannot_be_had() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let hub = Hub::start(&cluster.folder("no-socket")?, &cluster.logs()).await?;
    let calls = RecordingProxy::start(hub.url()).await?;
    let strips = format!("proxy_http_version 1.1; location / {{ proxy_pass {}; }}", calls.url());
    let mut gateway = Between::nginx(&strips).await?;
    let url = format!("http://{}", gateway.address());
    let world = World::at_hub("no-socket", &url, hub.key_file()).await?;
    let _api = world.service("api", 8080).await?;
    plugin::expose(&world.kubectl, "api:8080").await?;
    world.apply_share("demo", json!({})).await?;
    let shares = world.shares().await?;
    eventually("the share says what is in the way", PATIENTLY, || async {
        let status = shares.get("demo").await?.status.unwrap_or_default();
        let ready = status.conditions.iter().find(|condition| condition.type_ == kind::READY);
        let said = ready.map(|ready| format!("{} {}", ready.reason, ready.message)).unwrap_or_default();
        ensure!(said.contains("websocket"), "{said}");
        Ok(())
    })
    .await?;
    let asked = calls.requests();
    ensure!(asked.iter().any(|call| call == "POST /v1/agents/register"), "the hub was reached: {asked:?}");
    ensure!(!asked.iter().any(|call| call == "POST /v1/env-shares"), "{asked:?}");

    gateway.become_nginx(&passing(calls.url())).await?;
    eventually("the share is open", PATIENTLY, || async {
        world.share_says("demo", kind::READY, "True", "Shared").await
    })
    .await
    .map(drop)
}
