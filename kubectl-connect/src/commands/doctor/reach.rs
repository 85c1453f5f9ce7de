//! Whether the cluster answers, which version it is, and whether its clock and ours agree.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use super::Check;
use crate::cluster::Cluster;
use crate::cluster::failure::{Call, Kind};

/// From this difference on, ends of shares are shown wrong enough to be noticed. The server's date has whole seconds.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

pub(super) async fn look(cluster: &Cluster) -> Vec<Check> {
    let client = cluster.client();
    let call = Call { verb: "get", kind: Kind::Version, name: None, namespace: None };
    let version = match cluster.ask(&call, client.apiserver_version()).await {
        Ok(version) => version.git_version,
        Err(failure) => return vec![Check::of(&failure)],
    };
    let mut checks = vec![Check::ok(format!("the API server at {} answers: {version}", cluster.url()))];
    checks.extend(cluster.clock().ahead().map(clocks));
    checks
}

/// Whether the namespace that is meant exists; nothing where that may not be asked.
pub(super) async fn namespace(cluster: &Cluster) -> Option<Check> {
    const HINT: &str = "Name another one with -n, or create it: kubectl create namespace";
    let name = cluster.namespace();
    let api: Api<Namespace> = Api::all(cluster.client());
    let call = Call { verb: "get", kind: Kind::Namespace, name: Some(name), namespace: None };
    // Its own 404 names the kind `namespaces`, which elsewhere means that an object's namespace is missing.
    match cluster.ask(&call, async { api.get_opt(name).await }).await {
        Ok(None) => Some(Check::failed(format!("namespace {name} does not exist"), format!("{HINT} {name}"))),
        Ok(Some(found)) if found.metadata.deletion_timestamp.is_some() => Some(Check::failed(
            format!("namespace {name} is being deleted"),
            "Share from another one with -n.",
        )),
        Ok(Some(_)) => Some(Check::ok(format!("namespace {name} exists"))),
        Err(failure) if failure.is_forbidden() => None,
        Err(failure) => Some(Check::of(&failure)),
    }
}

fn clocks(ahead: SignedDuration) -> Check {
    let seconds = ahead.abs().as_secs();
    if ahead.abs() < SKEW {
        return Check::ok("the clocks of this machine and of the API server agree");
    }
    let side = if ahead.is_positive() { "ahead of" } else { "behind" };
    Check::warning(
        format!("the clock of this machine is {seconds} s {side} the API server's"),
        "Shares are shown by the API server's clock; set this machine's, or --until means another time.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_is_said_with_its_side() {
        let said = |seconds| clocks(SignedDuration::from_secs(seconds)).description.to_string();
        assert_eq!(said(2), "the clocks of this machine and of the API server agree");
        assert_eq!(said(60), "the clock of this machine is 60 s ahead of the API server's");
        assert_eq!(said(-7), "the clock of this machine is 7 s behind the API server's");
    }
}
