//! `share --revoke`: ends a share, found by its code or its name, and waits until the operator says that it is over.

use connect_crds::EnvironmentShare;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use secrecy::{ExposeSecret, SecretString};

use super::verdict::{self, Blocking};
use super::{call, shares};
use crate::cluster::codes::{self, Access, Codes};
use crate::cluster::wait::{self, Step, Waited};
use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::sanitize::Clean;
use crate::settings::share::HINT_LIST;
use crate::settings::{Wait, duration};

/// Ends the share.
pub async fn run(target: &SecretString, wait: Wait, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let list =
        cluster.ask(&call("list", cluster, None), shares(cluster).list(&ListParams::default())).await?;
    let codes = codes::read_all(cluster, Some(cluster.namespace()), &list.items).await?;
    let name = find(&list.items, &codes, target, cluster.namespace())?.name_any();
    revoke(cluster, &name).await?;
    if let Wait::Until(limit) = wait {
        await_end(cluster, &name, limit).await?;
    }
    printer.data(&format!("[ok] Share {} revoked.\n", Clean::new(target.expose_secret())))?;
    Ok(())
}

async fn revoke(cluster: &Cluster, name: &str) -> Outcome<()> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(serde_json::json!({"spec": {"revoked": true}}));
    cluster.ask(&call("patch", cluster, Some(name)), shares(cluster).patch(name, &params, &patch)).await?;
    Ok(())
}

/// Until the operator says so, or the object is gone, which ends a share as well.
async fn await_end(cluster: &Cluster, name: &str, limit: std::time::Duration) -> Outcome<()> {
    let observe = |share: Option<&EnvironmentShare>| share.map_or(Step::Done(()), verdict::over);
    let call = call("watch", cluster, Some(name));
    let Waited::DeadlinePassed(last) =
        wait::watch(cluster, shares(cluster), &call, name, limit, observe).await?
    else {
        return Ok(());
    };
    let conditions = last.as_ref().and_then(|share| share.status.as_ref()).map(|status| &status.conditions);
    let state =
        conditions.and_then(|conditions| Blocking::first(conditions)).map(|blocking| format!(": {blocking}"));
    Err(Failure::new(format!(
        "Share {name} is marked as revoked, but the operator has not confirmed it within {}{}",
        duration::print(limit),
        state.unwrap_or_default()
    ))
    .hint("Check that it runs: kubectl get pods -n private-connect"))
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
    if let Some(share) =
        shares.iter().find(has_code).or_else(|| shares.iter().find(|share| share.name_any() == name))
    {
        return Ok(share);
    }
    let named = || shares.iter().filter(|share| share.spec.display_name.as_deref() == Some(name));
    let live: Vec<_> = named().filter(|share| !matches!(verdict::over(share), Step::Done(()))).collect();
    match live.as_slice() {
        [only] => Ok(only),
        [] => named().next().ok_or_else(|| unknown(name, codes.some_forbidden(), namespace)),
        several => {
            let names: Vec<String> = several.iter().map(|share| share.name_any()).collect();
            Err(Failure::new(format!("Several shares are called {name}: {}", names.join(", ")))
                .hint(format!("Name one: kubectl connect share --revoke {}", names[0])))
        }
    }
}

fn unknown(name: &str, some_hidden: bool, namespace: &str) -> Failure {
    let reason = if some_hidden { ", and you may not read the Secrets that hold the codes" } else { "" };
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
            "[x] Several shares are called demo: a, b\nName one: kubectl connect share --revoke a\n"
        );
        assert_eq!(
            found(&shares, "xyz").expect_err("unknown"),
            "[x] No share xyz in namespace staging\nSee the active shares with: kubectl connect share --list\n"
        );
    }
}
