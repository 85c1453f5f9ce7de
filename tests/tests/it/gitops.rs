//! Shares that Git holds: nothing generated in the spec, and a share that is past at birth makes no code.

use anyhow::{Result, ensure};
use connect_crds::condition::{kind, reason};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn a_share_born_past_its_end_is_ready_expired_and_has_no_code() -> Result<()> {
    let world = World::start("born-expired").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("past", json!({ "expirationTime": "2024-01-15T10:30:00Z" })).await?;
    world.share_says("past", kind::ACTIVE, "False", reason::EXPIRED).await?;
    let share = world.share_says("past", kind::READY, "True", reason::EXPIRED).await?;
    let status = share.status.unwrap_or_default();
    assert_eq!(status.joins.unwrap_or_default().count, 0);
    let code = world.code("past", "code").await.expect_err("there is no Secret");
    ensure!(code.to_string().contains("not found"), "{code:#}");
    Ok(())
}

#[tokio::test]
async fn the_operator_writes_no_field_of_any_spec() -> Result<()> {
    let world = World::start("spec").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", json!({ "displayName": "demo" })).await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    for kind in ["environmentshares", "serviceexposes"] {
        let words = ["get", kind, "--output", "json", "--show-managed-fields"];
        let listed: Value = serde_json::from_str(&world.kubectl.run(words).await?.success()?.stdout)?;
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        assert_eq!(items.len(), 1, "{kind}");
        let managers = items[0]["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let operators: Vec<_> =
            managers.iter().filter(|entry| entry["subresource"] == "status" || !is_user(entry)).collect();
        assert!(!operators.is_empty(), "{kind}: the operator has written nothing: {managers:?}");
        for entry in operators {
            assert!(entry["fieldsV1"]["f:spec"].is_null(), "{kind}: {entry}");
        }
    }
    Ok(())
}

/// Whether a person wrote these fields, with kubectl or with the plugin.
fn is_user(entry: &Value) -> bool {
    entry["manager"].as_str().is_some_and(|manager| manager.starts_with("kubectl"))
}
