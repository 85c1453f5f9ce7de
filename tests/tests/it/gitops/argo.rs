//! Argo CD's health checks and actions, run by Argo CD's own code: `util/lua` of the version that
//! `tests/control-plane/argo-cd/go.mod` names decides what a script may call.

use anyhow::{Context as _, Result};
use connect_tests::toolchain;
use serde_json::{Value, json};

use super::ask::ask;
use super::kit;

/// What Argo CD answers about an object, with what the guide puts into its ConfigMap.
async fn answer(object: &Value, action: &str) -> Result<Value> {
    let config = kit("argocd-cm.yaml")?;
    let question = json!({ "config": config["data"], "object": object, "action": action });
    ask(&toolchain::argo_rules().await?, &question).await
}

/// The health of an object, and why.
pub(super) async fn health(object: &Value) -> Result<(String, String)> {
    let answer = answer(object, "").await?;
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("message")))
}

/// Names of the actions that can be chosen now.
pub(super) async fn offered(object: &Value) -> Result<Vec<String>> {
    let answer = answer(object, "?").await?;
    let names = answer["offered"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

/// The object after an action.
pub(super) async fn perform(name: &str, object: &Value) -> Result<Value> {
    let answer = answer(object, name).await.with_context(|| format!("{name} of {object}"))?;
    Ok(answer["object"].clone())
}
