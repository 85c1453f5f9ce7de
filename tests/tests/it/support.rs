//! The control plane of these tests is a real one, and what they start does not stay.

use connect_tests::control_plane;
use connect_tests::namespace::Namespace;
use connect_tests::services::{self, Postgres, Redis, http, transfer};

#[tokio::test]
async fn kubectl_talks_to_a_real_api_server() -> anyhow::Result<()> {
    let cluster = control_plane::shared().await?;
    let version = cluster.kubectl().run(["version", "-o", "json"]).await?.success()?;
    let version: serde_json::Value = serde_json::from_str(&version.stdout)?;
    assert_eq!(version["clientVersion"]["gitVersion"], version["serverVersion"]["gitVersion"], "{version}");
    let kinds = cluster.kubectl().run(["get", "connect", "--all-namespaces"]).await?.success();
    kinds.map(drop)
}

#[tokio::test]
async fn real_services_answer_on_the_addresses_of_their_services() -> anyhow::Result<()> {
    let cluster = control_plane::shared().await?;
    let namespace = Namespace::create(cluster, "services").await?;
    let kubectl = namespace.kubectl();
    let logs = cluster.logs();

    let postgres = Postgres::start(services::service(&kubectl, "postgres", 5432).await?, &logs).await?;
    assert_eq!(services::select(postgres.programs(), postgres.address(), "SELECT 6 * 7").await?, "42");

    let redis = services::service(&kubectl, "redis", 6379).await?;
    let _redis = Redis::start(redis, &logs).await?;
    services::redis::set(redis, "greeting", "hello").await?;
    assert_eq!(services::redis::get(redis, "greeting").await?, "hello");

    let api = services::service(&kubectl, "api", 8080).await?;
    let _api = http::start(api).await?;
    let transfer = transfer::download(api, "/bytes/3", |_| {}).await?;
    assert_eq!(transfer.bytes, 3 * 1024 * 1024);
    Ok(())
}
