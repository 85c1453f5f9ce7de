//! Whether an operator is at work: it holds a Lease and renews it every few seconds.

use connect_crds::{NAMESPACES_ANNOTATION, OPERATOR_LEASE, VERSION_ANNOTATION};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, ResourceExt};

use super::{Check, Result, objects};
use crate::cluster::Cluster;
use crate::cluster::failure::{Call, Kind};
use crate::output;

/// How much longer than its Lease lasts an operator may be silent: our clock may differ from its.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// Where it may run instead.
const HINT: &str =
    "Install it with the chart private-connect, or name its namespace with --operator-namespace.";

/// What is known of it, and whether it looks at the namespace that is meant, as far as that can be seen.
pub(super) async fn look(cluster: &Cluster, namespace: &str, wanted: Option<&str>) -> (Vec<Check>, bool) {
    let checks = checks(cluster, namespace, wanted).await;
    let is_served = checks.iter().all(|check| check.result != Result::Failed);
    (checks, is_served)
}

async fn checks(cluster: &Cluster, namespace: &str, wanted: Option<&str>) -> Vec<Check> {
    let api: Api<Lease> = Api::namespaced(cluster.client(), namespace);
    let call =
        Call { verb: "get", kind: Kind::Lease, name: Some(OPERATOR_LEASE), namespace: Some(namespace) };
    match cluster.ask_maybe(&call, api.get(OPERATOR_LEASE)).await {
        Ok(Some(lease)) => judge(&lease, wanted, cluster.now()),
        Ok(None) => vec![Check::failed(format!("no operator has ever run in namespace {namespace}"), HINT)],
        Err(failure) if failure.is_forbidden() => vec![Check::warning(
            format!(
                "whether an operator runs in namespace {namespace} cannot be checked: you have no permission to get leases there"
            ),
            "Ask for the verb get on leases.coordination.k8s.io there, or see whether shares become joinable: kubectl connect status",
        )],
        Err(failure) => vec![Check::of(&failure)],
    }
}

fn judge(lease: &Lease, wanted: Option<&str>, now: Timestamp) -> Vec<Check> {
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let (Some(holder), Some(renewed)) = (holder, spec.renew_time) else {
        return vec![Check::failed(
            "no operator is at work: the last one has given its Lease back",
            "See why it ended: kubectl get pods -A -l app.kubernetes.io/name=private-connect",
        )];
    };
    let age = now.duration_since(renewed.0);
    let life = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds.unwrap_or_default()));
    if age > life + GRACE {
        let silent = output::age(renewed.0, now);
        return vec![Check::failed(
            format!("operator {holder} has been silent for {silent}"),
            "See why: kubectl logs -n private-connect -l app.kubernetes.io/name=private-connect",
        )];
    }
    let mut checks = vec![Check::ok(format!("operator {holder} is at work: it renews its Lease"))];
    checks.extend(wanted.and_then(|wanted| not_served(lease, &holder, wanted)));
    let ours = env!("CARGO_PKG_VERSION");
    checks.push(match lease.annotations().get(VERSION_ANNOTATION) {
        Some(version) if version == ours => Check::ok(format!("operator and plugin are of version {ours}")),
        Some(version) => Check::warning(
            format!("the operator is of version {version}, this plugin of {ours}"),
            "Use the plugin of the operator's version.",
        ),
        None => Check::warning("the operator does not say its version", "Upgrade it."),
    });
    checks
}

/// That it serves other namespaces only.
fn not_served(lease: &Lease, holder: &str, wanted: &str) -> Option<Check> {
    let served = lease.annotations().get(NAMESPACES_ANNOTATION)?;
    let names: Vec<String> = served.split(',').map(str::to_owned).collect();
    (!names.iter().any(|name| name == wanted)).then(|| {
        Check::failed(
            format!("operator {holder} does not serve namespace {wanted}, only {}", objects::list(&names)),
            "Add it to watchNamespaces of the chart private-connect, or share from a namespace that is served.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(spec: &serde_json::Value, version: Option<&str>) -> Vec<(Result, String)> {
        let lease = serde_json::json!({"metadata": {"annotations": version.map(|version| serde_json::json!({VERSION_ANNOTATION: version}))}, "spec": spec});
        let lease = serde_json::from_value(lease).expect("a Lease");
        let checks = judge(&lease, Some("staging"), "2026-01-01T00:01:00Z".parse().expect("a time"));
        checks.into_iter().map(|check| (check.result, check.description.to_string())).collect()
    }

    #[test]
    fn an_operator_is_at_work_while_it_renews() {
        let held = |renewed: &str| serde_json::json!({"holderIdentity": "pod-1", "leaseDurationSeconds": 8, "renewTime": renewed});
        let ours = env!("CARGO_PKG_VERSION");
        assert_eq!(
            judged(&held("2026-01-01T00:00:59.000000Z"), Some(ours)),
            [
                (Result::Ok, "operator pod-1 is at work: it renews its Lease".to_owned()),
                (Result::Ok, format!("operator and plugin are of version {ours}"))
            ]
        );
        assert_eq!(
            judged(&held("2026-01-01T00:00:00.000000Z"), Some(ours)),
            [(Result::Failed, "operator pod-1 has been silent for 60s".to_owned())]
        );
        assert_eq!(
            judged(&held("2026-01-01T00:00:59.000000Z"), Some("9.9.9"))[1],
            (Result::Warning, format!("the operator is of version 9.9.9, this plugin of {ours}"))
        );
        assert_eq!(judged(&serde_json::json!({}), None)[0].0, Result::Failed);
    }

    #[test]
    fn an_operator_of_other_namespaces_is_none_for_this_one() {
        for (served, said) in [
            (None, None),
            (Some("dev,staging"), None),
            (Some("dev,prod"), Some("operator pod-1 does not serve namespace staging, only dev, prod")),
        ] {
            let annotations = served.map(|served| serde_json::json!({NAMESPACES_ANNOTATION: served}));
            let lease = serde_json::json!({"metadata": {"annotations": annotations}});
            let lease = serde_json::from_value(lease).expect("a Lease");
            let check = not_served(&lease, "pod-1", "staging");
            assert_eq!(check.map(|check| check.description.to_string()).as_deref(), said);
        }
    }
}
