//! Whether the cluster knows both kinds as this plugin does: every field, value and rule. Read from the API's own
//! description, which everybody may read who may log in. An operator that is newer than the definitions says so itself.

use connect_crds::condition::{self, kind, reason};
use connect_crds::{EnvironmentShare, ServiceExpose};
use kube::ResourceExt;
use serde_json::Value;

use super::Check;
use crate::cluster::failure::{Call, Kind};
use crate::cluster::{Cluster, shares};

/// Missing fields that are named; more of them say nothing new.
const NAMED_FIELDS: usize = 3;

/// Where a schema has its rules.
const RULES: &str = "x-kubernetes-validations";

/// How to get newer definitions.
const HINT: &str = "Install them with the chart private-connect-crds, or: kubectl apply -f crds/";

pub(super) async fn look(cluster: &Cluster) -> Vec<Check> {
    let path = format!("/openapi/v3/apis/{}/{}", connect_crds::GROUP, connect_crds::VERSION);
    let Ok(request) = http::Request::get(path).body(Vec::new()) else { return Vec::new() };
    let call = Call { verb: "get", kind: Kind::EnvironmentShare, name: None, namespace: None };
    let schemas = match cluster.ask_maybe(&call, cluster.client().request::<Value>(request)).await {
        Ok(answer) => answer.map(|answer| answer["components"]["schemas"].clone()).unwrap_or_default(),
        Err(failure) => return vec![Check::of(&failure)],
    };
    let mut checks = vec![
        judge("EnvironmentShare", &schemas, connect_crds::manifest::<EnvironmentShare>().ok()),
        judge("ServiceExpose", &schemas, connect_crds::manifest::<ServiceExpose>().ok()),
    ];
    let listed = shares::list(cluster, Some(cluster.namespace()), None).await.unwrap_or_default();
    checks.extend(listed.iter().find_map(told_by_the_operator));
    checks
}

/// What an operator that is newer than the definitions says on its objects.
fn told_by_the_operator(share: &EnvironmentShare) -> Option<Check> {
    let conditions = &share.status.as_ref()?.conditions;
    let stalled = condition::find(conditions, kind::STALLED)?;
    (stalled.reason == reason::CRD_OUTDATED).then(|| {
        Check::failed(format!("the operator says on share {}: {}", share.name_any(), stalled.message), HINT)
    })
}

fn judge(kind: &str, schemas: &Value, ours: Option<Value>) -> Check {
    let is_ours = |(name, _): &(&String, &Value)| name.ends_with(&format!(".{kind}"));
    let Some((_, theirs)) = schemas.as_object().and_then(|schemas| schemas.iter().find(is_ours)) else {
        return Check::failed(format!("the cluster does not know {kind}"), HINT);
    };
    let ours =
        ours.map(|ours| ours["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()).unwrap_or_default();
    let mut missing = Vec::new();
    compare("", &ours, theirs, &mut missing);
    if missing.is_empty() {
        return Check::ok(format!("{kind} is installed with every field and rule that this plugin knows"));
    }
    let more = if missing.len() > NAMED_FIELDS { ", ..." } else { "" };
    missing.truncate(NAMED_FIELDS);
    Check::failed(format!("{kind} is older than this plugin: it lacks {}{more}", missing.join(", ")), HINT)
}

/// Names the fields, values and rules of `ours` that `theirs` has not.
fn compare(path: &str, ours: &Value, theirs: &Value, missing: &mut Vec<String>) {
    let entries = |schema: &Value, key: &str| schema[key].as_array().cloned().unwrap_or_default();
    let at = |what: String| if path.is_empty() { what } else { format!("{what} of {path}") };
    let known = entries(theirs, "enum");
    let unknown = entries(ours, "enum").into_iter().filter(|value| !known.contains(value));
    missing.extend(unknown.map(|value| at(format!("value {value}"))));
    let known = entries(theirs, RULES);
    let is_known = |rule: &Value| known.iter().any(|theirs| theirs["rule"] == rule["rule"]);
    if entries(ours, RULES).iter().any(|rule| !is_known(rule)) {
        missing.push(at("a rule".to_owned()));
    }
    if ours["items"].is_object() {
        compare(&format!("{path}[]"), &ours["items"], &theirs["items"], missing);
    }
    for (name, field) in ours["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match &theirs["properties"][name] {
            Value::Null => missing.push(path),
            known => compare(&path, field, known, missing),
        }
    }
}

/// The definition of a kind as this plugin knows it, for tests.
#[cfg(test)]
fn schema<K: kube::CustomResourceExt>() -> Value {
    let definition = connect_crds::manifest::<K>().expect("a definition");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_definition_that_lacks_fields_is_older() {
        let mut theirs = schema::<EnvironmentShare>();
        let judged = |theirs: &Value| {
            let schemas = json!({"co.privateconnect.connect.v1alpha1.EnvironmentShare": theirs});
            judge("EnvironmentShare", &schemas, connect_crds::manifest::<EnvironmentShare>().ok())
        };
        assert_eq!(judged(&theirs).result, super::super::Result::Ok);
        let spec = &mut theirs["properties"]["spec"];
        spec["properties"].as_object_mut().expect("fields").remove("maxJoins");
        spec["x-kubernetes-validations"] = json!([]);
        let membership = &mut spec["properties"]["routes"]["properties"]["membership"]["enum"];
        membership.as_array_mut().expect("values").pop();
        assert_eq!(
            judged(&theirs).description.as_str(),
            "EnvironmentShare is older than this plugin: it lacks a rule of spec, spec.maxJoins, value \"Live\" of spec.routes.membership"
        );
        assert_eq!(
            judge("EnvironmentShare", &json!({}), None).description.as_str(),
            "the cluster does not know EnvironmentShare"
        );
    }
}
