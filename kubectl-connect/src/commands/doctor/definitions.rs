//! Whether the cluster knows both kinds as this plugin does: every field, value and rule. Read from the API's own
//! description, which everybody may read who may log in. An operator that is newer than the definitions says so itself.

use connect_crds::condition::{self, kind, reason};
use connect_crds::{EnvironmentShare, ServiceExpose, definition};
use kube::{CustomResourceExt, Resource, ResourceExt};
use serde_json::Value;

use super::Check;
use crate::cluster::failure::{Call, Kind};
use crate::cluster::{Cluster, shares};

/// Missing fields that are named; more of them say nothing new.
const NAMED_FIELDS: usize = 3;

/// How to get newer definitions.
const HINT: &str = "Install them with the chart private-connect-crds, or: kubectl apply -f crds/";

pub(super) async fn look(cluster: &Cluster) -> Vec<Check> {
    let Ok(request) = http::Request::get(definition::published_at()).body(Vec::new()) else {
        return Vec::new();
    };
    let call = Call { verb: "get", kind: Kind::EnvironmentShare, name: None, namespace: None };
    let document = match cluster.ask_maybe(&call, cluster.client().request::<Value>(request)).await {
        Ok(answer) => answer.unwrap_or_default(),
        Err(failure) => return vec![Check::of(&failure)],
    };
    let mut checks = vec![judge::<EnvironmentShare>(&document), judge::<ServiceExpose>(&document)];
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

fn judge<K>(document: &Value) -> Check
where
    K: CustomResourceExt + Resource<DynamicType = ()>,
{
    let kind = K::kind(&());
    let Some(lacks) = definition::lacks::<K>(document) else {
        return Check::failed(format!("the cluster does not know {kind}"), HINT);
    };
    if lacks.is_empty() {
        return Check::ok(format!("{kind} is installed with every field and rule that this plugin knows"));
    }
    let more = if lacks.len() > NAMED_FIELDS { ", ..." } else { "" };
    let named: Vec<_> = lacks.iter().take(NAMED_FIELDS).map(ToString::to_string).collect();
    Check::failed(format!("{kind} is older than this plugin: it lacks {}{more}", named.join(", ")), HINT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_definition_that_lacks_fields_is_older() {
        let manifest = connect_crds::manifest::<EnvironmentShare>().expect("a definition");
        let mut schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        schema["x-kubernetes-group-version-kind"] = json!([{"group": connect_crds::GROUP, "version": connect_crds::VERSION, "kind": "EnvironmentShare"}]);
        let judged =
            |schema: &Value| judge::<EnvironmentShare>(&json!({"components": {"schemas": {"one": schema}}}));
        assert_eq!(judged(&schema).result, super::super::Result::Ok);
        for field in ["expires", "maxJoins", "revoked", "ttlSecondsAfterFinished"] {
            let spec = &mut schema["properties"]["spec"]["properties"];
            spec.as_object_mut().expect("fields").remove(field).expect("there");
        }
        assert_eq!(
            judged(&schema).description.as_str(),
            "EnvironmentShare is older than this plugin: it lacks spec.expires, spec.maxJoins, spec.revoked, ..."
        );
        assert_eq!(
            judge::<EnvironmentShare>(&json!({})).description.as_str(),
            "the cluster does not know EnvironmentShare"
        );
    }
}
