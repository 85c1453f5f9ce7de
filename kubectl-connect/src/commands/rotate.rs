//! `rotate`: a new code for the same share. The old one is refused, and whoever joined with it is cut off.

use std::time::Duration;

use connect_crds::{EnvironmentShare, ROTATE_ANNOTATION, ROTATED_ANNOTATION};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::gitops;
use crate::cluster::codes::{self, Access};
use crate::cluster::failure::{Call, Kind};
use crate::cluster::shares::{self, call};
use crate::cluster::wait::{self, Step, Waited};
use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::progress::Spinner;
use crate::settings::change::RotateSettings;
use crate::settings::format::Format;
use crate::settings::{Wait, duration};
use crate::views::verdict::Blocking;
use crate::views::{self, ShareView, page};

/// Asks for a new code, waits until it is in the Secret, and prints it.
pub async fn run(settings: &RotateSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let RotateSettings { share: target, force, format, wait } = settings;
    let (share, access) = shares::find_one(cluster, target).await?;
    let name = share.name_any();
    if shares::is_over(&share) || share.spec.revoked {
        return Err(Failure::new(format!("Share {name} has ended, and an ended share gets no new code"))
            .hint("Create a new one: kubectl connect share"));
    }
    let wish = Timestamp::now().to_string();
    let change = json!({"metadata": {"annotations": {ROTATE_ANNOTATION: wish}}});
    gitops::check(&share, &change, *force, printer)?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let api = shares::api(cluster);
    cluster
        .ask(&call("patch", cluster, Some(&name)), api.patch(&name, &params, &Patch::Merge(change)))
        .await?;
    let Wait::Until(limit) = *wait else {
        printer.data(&format!(
            "[ok] Share {name} is getting a new code\n\n  See it with: kubectl connect status {name}\n"
        ))?;
        return Ok(());
    };
    if matches!(access, Access::Forbidden) {
        // The new code arrives in the Secret, which cannot be looked at.
        printer.data(&format!("[ok] Share {name} is getting a new code\n"))?;
        printer.talk(&codes::hidden(&share));
        return Ok(());
    }
    let spinner = printer.spinner("Waiting for the new code");
    tokio::select! {
        done = await_code(cluster, &share, &wish, limit) => done?,
        () = tell_why(cluster, &name, limit, &spinner) => {}
    }
    drop(spinner);
    show(cluster, &name, *format, printer).await?;
    if let Some(line) = were_connected(&share) {
        printer.talk(&line);
    }
    Ok(())
}

/// How many teammates used the old code, as was last known before it went. Who came a moment ago may not be known yet, so nothing
/// is said of nobody.
fn were_connected(share: &EnvironmentShare) -> Option<String> {
    let count = share.status.as_ref()?.joins.as_ref()?.connected.filter(|count| *count > 0)?;
    Some(match count {
        1 => "  When last counted, 1 teammate was connected with the old code, and needs the new one.\n"
            .to_owned(),
        count => format!(
            "  When last counted, {count} teammates were connected with the old code, and need the new one.\n"
        ),
    })
}

/// Says beside the spinner what stands in the way; never ends. The code is waited for by its Secret, which does not say.
async fn tell_why(cluster: &Cluster, name: &str, limit: Duration, spinner: &Spinner) {
    let observe = |share: Option<&EnvironmentShare>| {
        spinner.because(Blocking::of(share));
        Step::<()>::Wait
    };
    let watch = call("watch", cluster, Some(name));
    // Whoever may not watch shares waits without a reason.
    let _ = wait::watch(cluster, shares::api(cluster), &watch, name, limit, observe).await;
    std::future::pending::<()>().await;
}

/// Until the Secret says that its code answers this wish.
async fn await_code(cluster: &Cluster, share: &EnvironmentShare, wish: &str, limit: Duration) -> Outcome<()> {
    let secret = share.code_secret_name();
    let api: Api<Secret> = Api::namespaced(cluster.client(), cluster.namespace());
    let watch =
        Call { verb: "watch", kind: Kind::Secret, name: Some(&secret), namespace: Some(cluster.namespace()) };
    let observe = |secret: Option<&Secret>| match secret {
        Some(secret) if secret.annotations().get(ROTATED_ANNOTATION).is_some_and(|done| done == wish) => {
            Step::Done(())
        }
        _ => Step::Wait,
    };
    let Waited::DeadlinePassed(_) = wait::watch(cluster, api, &watch, &secret, limit, observe).await? else {
        return Ok(());
    };
    let name = share.name_any();
    let last = cluster.ask(&call("get", cluster, Some(&name)), shares::api(cluster).get(&name)).await.ok();
    Err(Failure::new(format!(
        "Share {name} did not get a new code within {}{}",
        duration::print(limit),
        Blocking::of(last.as_ref()).map(|blocking| format!(": {blocking}")).unwrap_or_default()
    ))
    .hint("The request is stored and stays. Check the operator with: kubectl connect doctor"))
}

async fn show(cluster: &Cluster, name: &str, format: Format, printer: Printer) -> Outcome<()> {
    let share = cluster.ask(&call("get", cluster, Some(name)), shares::api(cluster).get(name)).await?;
    let access = codes::read_one(cluster, &share).await?;
    let now = cluster.now();
    let view = ShareView::new(&share, &access, now);
    let text = match format {
        Format::Human => format!(
            "[ok] Share {name} has a new code; the old one is refused\n\n{}",
            page::joinable(&view, now, printer.draws_boxes())
        ),
        other => views::single(&view, other, now)?,
    };
    printer.data(&text)?;
    Ok(())
}
