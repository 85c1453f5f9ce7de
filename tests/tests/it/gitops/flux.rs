//! Flux's two ways to see how an object is: CEL expressions of ours, and the rules of kstatus that hold for every kind.

use anyhow::{Context as _, Result};
use cel::{Context, Program, Value as Cel};
use serde_json::Value;

use super::kit;

/// How an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Failed,
    Current,
}

/// By the expressions, in the order in which Flux asks them.
pub(super) fn by_expressions(object: &Value) -> Result<Status> {
    // Flux waits for a status without asking.
    if object["status"].is_null() {
        return Ok(Status::InProgress);
    }
    let kustomization = kit("flux.yaml")?;
    let checks = kustomization["spec"]["healthCheckExprs"].as_array().cloned().unwrap_or_default();
    let is_ours =
        |check: &&Value| check["kind"] == object["kind"] && check["apiVersion"] == object["apiVersion"];
    let check = checks.iter().find(is_ours).context("expressions for the kind")?;
    for (name, status) in
        [("inProgress", Status::InProgress), ("failed", Status::Failed), ("current", Status::Current)]
    {
        if holds(check[name].as_str().with_context(|| format!("{name} is an expression"))?, object)? {
            return Ok(status);
        }
    }
    Ok(Status::InProgress)
}

fn holds(expression: &str, object: &Value) -> Result<bool> {
    let program = Program::compile(expression).with_context(|| format!("no CEL: {expression}"))?;
    let mut context = Context::default();
    for (field, value) in object.as_object().context("an object")? {
        let value = cel::to_value(value).map_err(|error| anyhow::anyhow!("{field}: {error}"))?;
        context.add_variable_from_value(field.as_str(), value);
    }
    let answer = program.execute(&context).with_context(|| format!("it fails: {expression}"))?;
    Ok(answer == Cel::Bool(true))
}

/// By kstatus, written from its rules: an older status and a deletion are in progress; `Stalled` and `Reconciling` count while
/// they are True; else `Ready` decides, and an object without it is as it should be.
pub(super) fn by_kstatus(object: &Value) -> Status {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let status_of = |kind: &str| {
        conditions.iter().find(|condition| condition["type"] == kind).and_then(|it| it["status"].as_str())
    };
    let observed = object["status"]["observedGeneration"].as_i64();
    let is_old = observed.is_some_and(|observed| Some(observed) != object["metadata"]["generation"].as_i64());
    if !object["metadata"]["deletionTimestamp"].is_null() || is_old {
        return Status::InProgress;
    }
    match (status_of("Reconciling"), status_of("Stalled"), status_of("Ready")) {
        (Some("True"), ..) => Status::InProgress,
        (_, Some("True"), _) => Status::Failed,
        (.., Some("False" | "Unknown")) => Status::InProgress,
        _ => Status::Current,
    }
}
