//! What the user has permission to do, as the API server itself answers it.

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use super::Check;
use crate::cluster::Cluster;
use crate::cluster::failure::{Call, Kind};
use crate::failure::Outcome;

/// Questions asked at once.
const PARALLEL: usize = 8;

/// What a user may want to do, and the permissions it takes.
struct Need {
    what: &'static str,
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    /// Why one can do without.
    otherwise: Option<&'static str>,
}

const NEEDS: [Need; 6] = [
    Need {
        what: "see shares",
        group: connect_crds::GROUP,
        resource: "environmentshares",
        verbs: &["get", "list", "watch"],
        otherwise: None,
    },
    Need {
        what: "make, change and end shares",
        group: connect_crds::GROUP,
        resource: "environmentshares",
        verbs: &["create", "patch", "delete"],
        otherwise: None,
    },
    Need {
        what: "see what is exposed",
        group: connect_crds::GROUP,
        resource: "serviceexposes",
        verbs: &["get", "list", "watch"],
        otherwise: None,
    },
    Need {
        what: "expose Services",
        group: connect_crds::GROUP,
        resource: "serviceexposes",
        verbs: &["create", "patch", "delete"],
        otherwise: None,
    },
    Need { what: "see Services", group: "", resource: "services", verbs: &["get", "list"], otherwise: None },
    Need {
        what: "see codes",
        group: "",
        resource: "secrets",
        verbs: &["get", "list", "watch"],
        otherwise: Some("Shares are then shown without their codes."),
    },
];

pub(super) async fn look(cluster: &Cluster) -> Vec<Check> {
    let mut checks = Vec::new();
    for need in NEEDS {
        checks.push(match missing(cluster, &need).await {
            Ok(missing) => judge(&need, &missing, cluster.namespace()),
            Err(failure) => Check::of(&failure),
        });
    }
    checks
}

/// The verbs that the user lacks.
async fn missing(cluster: &Cluster, need: &Need) -> Outcome<Vec<&'static str>> {
    let answers: Vec<Outcome<Option<&'static str>>> = stream::iter(need.verbs)
        .map(|verb| async move { Ok((!may(cluster, need, verb).await?).then_some(*verb)) })
        .buffered(PARALLEL)
        .collect()
        .await;
    let answers: Outcome<Vec<_>> = answers.into_iter().collect();
    Ok(answers?.into_iter().flatten().collect())
}

async fn may(cluster: &Cluster, need: &Need, verb: &str) -> Outcome<bool> {
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(cluster.namespace().to_owned()),
                group: Some(need.group.to_owned()),
                resource: Some(need.resource.to_owned()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client());
    let call = Call { verb: "create", kind: Kind::AccessReview, name: None, namespace: None };
    let answer = cluster.ask(&call, api.create(&PostParams::default(), &question)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn judge(need: &Need, missing: &[&str], namespace: &str) -> Check {
    let Need { what, group, resource, otherwise, .. } = need;
    if missing.is_empty() {
        return Check::ok(format!("you can {what} in namespace {namespace}"));
    }
    let verbs = missing.join(", ");
    let resource = if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
    let description = format!("you do not have permission to {what} in namespace {namespace}");
    let hint = format!("Ask for the verbs {verbs} on {resource}.");
    match otherwise {
        Some(otherwise) => Check::warning(description, format!("{otherwise} {hint}")),
        None => Check::failed(description, hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let check = judge(&NEEDS[1], &["create", "delete"], "staging");
        assert_eq!(
            check.description.as_str(),
            "you do not have permission to make, change and end shares in namespace staging"
        );
        assert_eq!(
            check.hint.map(|hint| hint.to_string()).as_deref(),
            Some("Ask for the verbs create, delete on environmentshares.connect.privateconnect.co.")
        );
        assert_eq!(judge(&NEEDS[5], &["get"], "staging").result, super::super::Result::Warning);
        assert_eq!(
            judge(&NEEDS[5], &[], "staging").description.as_str(),
            "you can see codes in namespace staging"
        );
    }
}
