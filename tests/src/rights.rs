//! What operators may do in tests: what the chart's roles grant, and nothing else. What they did of it is in the API
//! server's audit log.

pub mod audit;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use self::audit::{Actor, Right, granted, used};
use crate::control_plane::{Kubectl, OPERATORS, kept_log};
use crate::helm::Helm;
use connect_tools::say;

/// Purpose of the namespace that a test deletes under its operator: what that goes on asking there is refused.
pub const DELETED: &str = "ending-goes";

/// Every part of the chart that needs rights of its own.
const SWITCHES: [&str; 4] = [
    "--set=labelledServices.enabled=true",
    "--set=embeddedHub.enabled=true",
    "--set=embeddedHub.publicUrl=https://hub.example.com",
    "--set=aggregateRoles=false",
];

/// Lets `user` do what the chart's roles grant to an operator in `namespace` that serves `watched`; all when that is empty.
///
/// # Errors
/// helm cannot be had, or the API server refuses the roles.
pub async fn grant(kubectl: &Kubectl, user: &str, namespace: &str, watched: &[String]) -> Result<()> {
    let mut roles = rendered(namespace, watched).await?;
    for role in &mut roles {
        if let Some(subjects) = role.get_mut("subjects") {
            *subjects = json!([{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }]);
        }
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": roles });
    kubectl.apply(&list.to_string()).await.map(drop)
}

/// The roles of the chart and their bindings.
async fn rendered(namespace: &str, watched: &[String]) -> Result<Vec<Value>> {
    // Names of a cluster's roles are the cluster's.
    let name = format!("--set=fullnameOverride=operator-{namespace}");
    let served = format!("--set=watchNamespaces={{{}}}", watched.join(","));
    let mut settings = SWITCHES.to_vec();
    settings.push(&name);
    if !watched.is_empty() {
        settings.push(&served);
    }
    let mut objects = Helm::new().await?.objects(namespace, &settings).await?;
    objects
        .retain(|object| object["apiVersion"].as_str().is_some_and(|version| version.starts_with("rbac.")));
    Ok(objects)
}

/// Whether an operator was refused where it had rights until the namespace and its Role in it were deleted.
fn has_lost_its_role(entry: &Value) -> bool {
    let namespace = entry["objectRef"]["namespace"].as_str().unwrap_or_default();
    entry["responseStatus"]["code"] == 403 && namespace.starts_with(DELETED)
}

/// Compares what operators did in the tests that ran last with what the chart grants.
///
/// # Errors
/// Something was refused, something was done that the chart does not grant, or a right was not used.
pub async fn compare() -> Result<()> {
    let log = kept_log();
    ensure!(log.is_file(), "there is no {}: run the tests of the whole product first", log.display());
    let granted = granted(&rendered("one", &["two".to_owned()]).await?)?;
    // Every operator of a test is called as its namespace.
    let used = used(&log, &granted, |entry| {
        let user = &entry["user"];
        let is_operator = user["groups"].as_array().is_some_and(|groups| groups.contains(&json!(OPERATORS)));
        let own = user["username"].as_str().filter(|_| is_operator && !has_lost_its_role(entry))?.to_owned();
        Some(Actor { own, serves_own: true })
    })?;
    let unused: Vec<String> = granted.difference(&used).map(Right::told).collect();
    say(format_args!(
        "The chart's roles over all tests: {} rules granted, {} used, {} unused, 0 refused (403)",
        granted.len(),
        used.len(),
        unused.len(),
    ));
    if !unused.is_empty() {
        bail!("granted and never used: {}", unused.join(", "));
    }
    Ok(())
}
