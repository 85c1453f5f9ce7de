//! The control plane of these tests is a real one, and what they start does not stay.

use connect_tests::control_plane;

#[tokio::test]
async fn kubectl_talks_to_a_real_api_server() -> anyhow::Result<()> {
    let cluster = control_plane::shared().await?;
    let version = cluster.kubectl().run(["version", "-o", "json"]).await?.success()?;
    let version: serde_json::Value = serde_json::from_str(&version.stdout)?;
    assert_eq!(version["clientVersion"]["gitVersion"], version["serverVersion"]["gitVersion"], "{version}");
    let kinds = cluster.kubectl().run(["get", "connect", "--all-namespaces"]).await?.success();
    kinds.map(drop)
}
