//! `share --revoke` and `revoke`: end a share, found by its code or its name, and wait until the operator says that it is
//! over.

use connect_crds::EnvironmentShare;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use secrecy::ExposeSecret;

use crate::cluster::shares::{self, call};
use crate::cluster::wait::{self, Step, Waited};
use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::progress::Spinner;
use crate::sanitize::Clean;
use crate::settings::change::RevokeSettings;
use crate::settings::{Wait, duration};
use crate::views::verdict::{self, Blocking};

/// Ends the share.
pub async fn run(settings: &RevokeSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let RevokeSettings { share: target, wait } = settings;
    let (share, _) = shares::find_one(cluster, target).await?;
    let name = share.name_any();
    revoke(cluster, &name).await?;
    let mut ended = None;
    if let Wait::Until(limit) = *wait {
        let spinner = printer.spinner("Waiting until the operator has cut its connections");
        await_end(cluster, &name, limit, &spinner).await?;
        ended = shares::api(cluster).get_opt(&name).await.ok().flatten();
    }
    let name = Clean::new(target.expose_secret());
    printer.data(&match wait {
        Wait::Until(_) => format!("[ok] Share {name} revoked.\n"),
        Wait::Not => format!("[ok] Share {name} is being revoked.\n"),
    })?;
    if let Some(line) = ended.as_ref().and_then(cut_off) {
        printer.talk(&line);
    }
    Ok(())
}

/// How many teammates the end has cut off, where the hub tells.
fn cut_off(share: &EnvironmentShare) -> Option<String> {
    let count = share.status.as_ref()?.joins.as_ref()?.cut_off?;
    Some(match count {
        0 => "  Nobody was connected.\n".to_owned(),
        1 => "  1 teammate was cut off.\n".to_owned(),
        count => format!("  {count} teammates were cut off.\n"),
    })
}

async fn revoke(cluster: &Cluster, name: &str) -> Outcome<()> {
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(serde_json::json!({"spec": {"revoked": true}}));
    let api = shares::api(cluster);
    cluster.ask(&call("patch", cluster, Some(name)), api.patch(name, &params, &patch)).await?;
    Ok(())
}

/// Until the operator says so, or the object is gone, which ends a share as well.
async fn await_end(
    cluster: &Cluster,
    name: &str,
    limit: std::time::Duration,
    spinner: &Spinner,
) -> Outcome<()> {
    let observe = |share: Option<&EnvironmentShare>| {
        spinner.because(Blocking::of(share));
        share.map_or(Step::Done(()), verdict::over)
    };
    let call = call("watch", cluster, Some(name));
    let Waited::DeadlinePassed(last) =
        wait::watch(cluster, shares::api(cluster), &call, name, limit, observe).await?
    else {
        return Ok(());
    };
    Err(Failure::new(format!(
        "Share {name} is marked as revoked, but the operator has not confirmed it within {}{}",
        duration::print(limit),
        Blocking::of(last.as_ref()).map(|blocking| format!(": {blocking}")).unwrap_or_default()
    ))
    .hint("Check that it runs: kubectl connect doctor"))
}
