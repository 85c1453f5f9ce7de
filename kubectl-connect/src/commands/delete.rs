//! `delete`: ends a share and deletes its object, and waits until the operator has let go of it.

use connect_crds::EnvironmentShare;
use kube::ResourceExt;
use kube::api::DeleteParams;

use super::gitops;
use crate::cluster::Cluster;
use crate::cluster::shares::{self, call};
use crate::cluster::wait::{self, Step, Waited};
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::sanitize::Clean;
use crate::settings::change::DeleteSettings;
use crate::settings::{Wait, duration};
use crate::views::verdict::Blocking;

/// Deletes the share.
pub async fn run(settings: &DeleteSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let DeleteSettings { share: target, force, wait } = settings;
    let (share, _) = shares::find_one(cluster, target).await?;
    gitops::check_deletion(&share, *force, printer)?;
    let name = share.name_any();
    let api = shares::api(cluster);
    let params = DeleteParams::default();
    cluster.ask_maybe(&call("delete", cluster, Some(&name)), api.delete(&name, &params)).await?;
    let shown = Clean::new(&name);
    let Wait::Until(limit) = *wait else {
        printer.data(&format!("[ok] Share {shown} is being deleted.\n"))?;
        return Ok(());
    };
    let spinner = printer.spinner("Waiting until the operator has cut its connections");
    let observe = |share: Option<&EnvironmentShare>| {
        spinner.because(Blocking::of(share));
        share.map_or(Step::Done(()), |_| Step::Wait)
    };
    let watch = call("watch", cluster, Some(&name));
    let waited = wait::watch(cluster, api, &watch, &name, limit, observe).await?;
    drop(spinner);
    if let Waited::DeadlinePassed(_) = waited {
        let limit = duration::print(limit);
        return Err(Failure::new(format!(
            "Share {name} is marked for deletion, but the operator has not let go of it within {limit}"
        ))
        .hint("Check that it runs: kubectl connect doctor"));
    }
    printer.data(&format!("[ok] Share {shown} deleted.\n"))?;
    Ok(())
}
