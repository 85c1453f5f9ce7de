//! What a cluster's installed definition of a kind lacks of the one that this version was built with.
//!
//! The API server publishes the definitions to every account at [`published_at`], so that no right is needed to compare.

use std::fmt;

use kube::{CustomResourceExt, Resource};
use serde_json::Value;

use crate::{GROUP, VERSION, manifest};

/// Where a schema has its rules.
const RULES: &str = "x-kubernetes-validations";

/// Something that the installed definition does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The field at this path: names joined by dots, items of a list without a name of their own. What is written there
    /// is dropped.
    Field(String),
    /// This value of an enumeration, which is refused.
    Value {
        /// The value, as JSON.
        value: String,
        /// Where.
        path: String,
    },
    /// A rule: what it forbids is accepted.
    Rule {
        /// The field that it is a rule of.
        path: String,
    },
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(path) => f.write_str(path),
            Self::Value { value, path } => write!(f, "value {value} of {path}"),
            Self::Rule { path } => write!(f, "a rule of {path}"),
        }
    }
}

/// The path of the API server's document (OpenAPI v3) about both kinds.
pub fn published_at() -> String {
    format!("/openapi/v3/apis/{GROUP}/{VERSION}")
}

/// What the published document lacks of a kind's spec and status; `None` if it does not know the kind at all.
pub fn lacks<K>(document: &Value) -> Option<Vec<Lack>>
where
    K: CustomResourceExt + Resource<DynamicType = ()>,
{
    let kind = K::kind(&());
    let is_it = |schema: &&Value| {
        schema["x-kubernetes-group-version-kind"]
            .as_array()
            .is_some_and(|names| names.iter().any(|name| name["kind"] == *kind && name["group"] == GROUP))
    };
    let theirs = document["components"]["schemas"].as_object()?.values().find(is_it)?;
    let ours = manifest::<K>().unwrap_or_default();
    let ours = &ours["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut lacks = Vec::new();
    for part in ["spec", "status"] {
        compare(part, &ours["properties"][part], &theirs["properties"][part], &mut lacks);
    }
    Some(lacks)
}

/// Collects what `ours` has and `theirs` lacks.
fn compare(path: &str, ours: &Value, theirs: &Value, lacks: &mut Vec<Lack>) {
    if theirs["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    let entries = |schema: &Value, key: &str| schema[key].as_array().cloned().unwrap_or_default();
    let known = entries(theirs, "enum");
    let unknown = entries(ours, "enum").into_iter().filter(|value| !known.contains(value));
    lacks.extend(unknown.map(|value| Lack::Value { value: value.to_string(), path: path.to_owned() }));
    let known = entries(theirs, RULES);
    let is_known = |rule: &Value| known.iter().any(|theirs| theirs["rule"] == rule["rule"]);
    if !entries(ours, RULES).iter().all(is_known) {
        lacks.push(Lack::Rule { path: path.to_owned() });
    }
    if ours["items"].is_object() {
        compare(path, &ours["items"], &theirs["items"], lacks);
    }
    for (name, field) in ours["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match &theirs["properties"][name] {
            Value::Null => lacks.push(Lack::Field(path)),
            known => compare(&path, field, known, lacks),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{EnvironmentShare, ServiceExpose};

    /// What an API server publishes of the definition of this version, changed.
    fn published(change: impl FnOnce(&mut Value)) -> Value {
        let manifest = manifest::<EnvironmentShare>().expect("a definition");
        let mut schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        schema["x-kubernetes-group-version-kind"] =
            json!([{ "group": GROUP, "version": VERSION, "kind": "EnvironmentShare" }]);
        change(&mut schema);
        json!({ "components": { "schemas": { "one": schema } } })
    }

    fn lacks_without(pointer: &str) -> Vec<String> {
        let document = published(|schema| {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            let parent = schema.pointer_mut(parent).and_then(Value::as_object_mut).expect("there");
            assert!(parent.remove(name).is_some(), "{pointer}");
        });
        lacks::<EnvironmentShare>(&document).expect("known").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_definition_of_this_version_lacks_nothing() {
        let document = published(|_| ());
        assert_eq!(lacks::<EnvironmentShare>(&document), Some(Vec::new()));
        assert_eq!(lacks::<ServiceExpose>(&document), None, "a kind that is not there");
        assert_eq!(lacks::<EnvironmentShare>(&json!({})), None);
    }

    #[test]
    fn fields_are_missed_wherever_they_are() {
        assert_eq!(lacks_without("/properties/spec/properties/maxJoins"), ["spec.maxJoins"]);
        let recent = "/properties/status/properties/joins/properties/recent";
        assert_eq!(lacks_without(recent), ["status.joins.recent"]);
        let agent = format!("{recent}/items/properties/agent");
        assert_eq!(lacks_without(&agent), ["status.joins.recent.agent"]);
    }

    #[test]
    fn values_and_rules_are_missed() {
        let document = published(|schema| {
            let spec = &mut schema["properties"]["spec"];
            spec[RULES] = json!([]);
            let membership = &mut spec["properties"]["routes"]["properties"]["membership"]["enum"];
            membership.as_array_mut().expect("values").pop();
        });
        assert_eq!(
            lacks::<EnvironmentShare>(&document).expect("known"),
            [
                Lack::Rule { path: "spec".into() },
                Lack::Value { value: "\"Live\"".into(), path: "spec.routes.membership".into() },
            ]
        );
    }

    #[test]
    fn what_takes_anything_lacks_nothing() {
        let document = published(|schema| {
            schema["properties"]["spec"] = json!({ "x-kubernetes-preserve-unknown-fields": true });
        });
        assert_eq!(lacks::<EnvironmentShare>(&document), Some(Vec::new()));
    }
}
