//! Flux's two ways to see how an object is, by Flux's own code: CEL expressions of ours, and the rules of kstatus that hold for every
//! kind. The versions are those of `tests/control-plane/flux/go.mod`.

use anyhow::{Context as _, Result, bail};
use connect_tests::toolchain;
use serde_json::{Value, json};

use super::ask::ask;
use super::kit;

/// How an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Failed,
    Current,
}

/// By the expressions that the guide gives to a Kustomization.
pub(super) async fn by_expressions(object: &Value) -> Result<Status> {
    let kustomization = kit("flux.yaml")?;
    let checks = kustomization["spec"]["healthCheckExprs"].as_array().cloned().unwrap_or_default();
    let is_ours =
        |check: &&Value| check["kind"] == object["kind"] && check["apiVersion"] == object["apiVersion"];
    let check = checks.iter().find(is_ours).context("expressions for the kind")?;
    status(json!({ "object": object, "expressions": check })).await
}

/// By kstatus, which `helm --wait` asks as well.
pub(super) async fn by_kstatus(object: &Value) -> Result<Status> {
    status(json!({ "object": object })).await
}

async fn status(question: Value) -> Result<Status> {
    let answer =
        ask(&toolchain::flux_rules().await?, &question).await.with_context(|| question.to_string())?;
    Ok(match answer["status"].as_str() {
        Some("InProgress") => Status::InProgress,
        Some("Failed") => Status::Failed,
        Some("Current") => Status::Current,
        _ => bail!("another status: {answer}"),
    })
}
