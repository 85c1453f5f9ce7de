//! Shares as commands find them: all of a namespace, the active ones, or the one that was meant.

use connect_crds::EnvironmentShare;
use connect_crds::condition::{self, kind, reason};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use secrecy::{ExposeSecret, SecretString};

use super::Cluster;
use super::codes::{self, Access, Codes};
use super::failure::{Call, Kind};
use crate::failure::{Failure, Outcome};
use crate::settings::share::HINT_LIST;

/// The shares of the namespace that is meant.
pub fn api(cluster: &Cluster) -> Api<EnvironmentShare> {
    Api::namespaced(cluster.client(), cluster.namespace())
}

/// The shares of one namespace or of all.
pub fn api_of(cluster: &Cluster, namespace: Option<&str>) -> Api<EnvironmentShare> {
    match namespace {
        Some(namespace) => Api::namespaced(cluster.client(), namespace),
        None => Api::all(cluster.client()),
    }
}

/// A call about shares of the namespace that is meant.
pub fn call<'a>(verb: &'static str, cluster: &'a Cluster, name: Option<&'a str>) -> Call<'a> {
    Call { verb, kind: Kind::EnvironmentShare, name, namespace: Some(cluster.namespace()) }
}

/// The shares of one namespace or of all, with these labels.
pub async fn list(
    cluster: &Cluster,
    namespace: Option<&str>,
    selector: Option<&str>,
) -> Outcome<Vec<EnvironmentShare>> {
    let call = Call { verb: "list", kind: Kind::EnvironmentShare, name: None, namespace };
    let mut params = ListParams::default();
    if let Some(labels) = selector {
        params = params.labels(labels);
    }
    Ok(cluster.ask(&call, api_of(cluster, namespace).list(&params)).await?.items)
}

/// By namespace and name, as kubectl lists objects.
pub fn sort(shares: &mut [EnvironmentShare]) {
    shares.sort_by_key(|share| (share.namespace(), share.name_any()));
}

/// Said of a share that [`is_unseen`].
pub const UNSEEN: &str = "no operator has looked at the share yet";

/// Whether no operator has said anything of it yet.
pub fn is_unseen(share: &EnvironmentShare) -> bool {
    share.status.as_ref().is_none_or(|status| status.conditions.is_empty())
}

/// Whether status speaks of the spec as it is now.
pub fn is_current(share: &EnvironmentShare) -> bool {
    share.status.as_ref().is_some_and(|status| status.observed_generation >= share.metadata.generation)
}

/// Whether status says that the share has ended.
pub fn is_over(share: &EnvironmentShare) -> bool {
    let conditions = share.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    condition::find(conditions, kind::ACTIVE).is_some_and(|active| {
        active.status == "False" && [reason::REVOKED, reason::EXPIRED].contains(&active.reason.as_str())
    })
}

/// The share that is meant, with its code as far as it may be read.
///
/// # Errors
/// There is none, or more than one.
pub async fn find_one(cluster: &Cluster, target: &SecretString) -> Outcome<(EnvironmentShare, Access)> {
    let shares = list(cluster, Some(cluster.namespace()), None).await?;
    let codes = codes::read_all(cluster, Some(cluster.namespace()), &shares).await?;
    let share = find(&shares, &codes, target, cluster.namespace())?;
    Ok((share.clone(), codes.of(share)))
}

/// The share that is meant: by its code, else by the object's name, else by a friendly name that only one live share has.
fn find<'a>(
    shares: &'a [EnvironmentShare],
    codes: &Codes,
    target: &SecretString,
    namespace: &str,
) -> Outcome<&'a EnvironmentShare> {
    let has_code =
        |share: &&EnvironmentShare| matches!(codes.of(share), Access::Granted(code) if code.is(target));
    let name = target.expose_secret();
    let pasted =
        |share: &&EnvironmentShare| matches!(codes.of(share), Access::Granted(code) if code.is_in(target));
    let by_name = || shares.iter().find(|share| share.name_any() == name);
    if let Some(share) = shares.iter().find(has_code).or_else(by_name).or_else(|| shares.iter().find(pasted))
    {
        return Ok(share);
    }
    let named = || shares.iter().filter(|share| share.spec.display_name.as_deref() == Some(name));
    let live: Vec<_> = named().filter(|share| !is_over(share)).collect();
    match live.as_slice() {
        [only] => Ok(only),
        [] => named().next().ok_or_else(|| unknown(name, codes.some_forbidden(), namespace)),
        several => {
            let names: Vec<String> = several.iter().map(|share| share.name_any()).collect();
            Err(Failure::new(format!("Several shares are called {name}: {}", names.join(", ")))
                .hint(format!("Use the name of one of them, such as {}", names[0])))
        }
    }
}

fn unknown(name: &str, some_hidden: bool, namespace: &str) -> Failure {
    let reason =
        if some_hidden { "; you do not have permission to read the Secrets that hold the codes" } else { "" };
    Failure::new(format!("No share {name} in namespace {namespace}{reason}")).hint(HINT_LIST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(name: &str, friendly: Option<&str>, is_over: bool) -> EnvironmentShare {
        let conditions = if is_over {
            serde_json::json!([{"type": "Active", "status": "False", "reason": "Expired", "message": "",
                "lastTransitionTime": "2024-01-15T10:30:00Z"}])
        } else {
            serde_json::json!([])
        };
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": "staging"}, "spec": {"displayName": friendly},
            "status": {"conditions": conditions}
        }))
        .expect("a share")
    }

    fn found(shares: &[EnvironmentShare], target: &str) -> Result<String, String> {
        let codes = Codes::of_test([(("staging", "two-share-code"), "abc123")]);
        find(shares, &codes, &target.into(), "staging")
            .map(ResourceExt::name_any)
            .map_err(|failure| failure.render())
    }

    #[test]
    fn a_share_is_found_by_code_then_name_then_friendly_name() {
        let shares = [
            share("one", Some("abc123"), false),
            share("two", Some("demo"), false),
            share("three", Some("one"), false),
            share("old-1", Some("nightly"), true),
            share("new-1", Some("nightly"), false),
            share("past", Some("over"), true),
        ];
        for (target, name) in [
            ("abc123", "two"),
            ("ABC123", "two"),
            ("`abc-123`.", "two"),
            ("one", "one"),
            ("demo", "two"),
            ("nightly", "new-1"),
            ("over", "past"),
        ] {
            assert_eq!(found(&shares, target), Ok(name.to_owned()), "{target}");
        }
    }

    #[test]
    fn what_is_not_one_share_is_said() {
        let shares = [share("a", Some("demo"), false), share("b", Some("demo"), false)];
        assert_eq!(
            found(&shares, "demo").expect_err("two of them"),
            "[x] Several shares are called demo: a, b\nUse the name of one of them, such as a\n"
        );
        assert_eq!(
            found(&shares, "xyz").expect_err("unknown"),
            "[x] No share xyz in namespace staging\nSee the active shares with: kubectl connect share --list\n"
        );
    }
}
