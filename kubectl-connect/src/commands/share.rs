//! `share`: creates, lists and revokes EnvironmentShares.

mod create;
mod hub;
mod list;
mod revoke;
pub mod verdict;
mod view;

use connect_crds::EnvironmentShare;
use kube::Api;

use crate::cluster::Cluster;
use crate::cluster::failure::{Call, Kind};
use crate::failure::Outcome;
use crate::printer::Printer;
use crate::settings::share::ShareSettings;

/// Does what was asked.
pub async fn run(settings: ShareSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    match settings {
        ShareSettings::Create(settings) => create::run(&settings, cluster, printer).await,
        ShareSettings::List { all_namespaces } => list::run(all_namespaces, cluster, printer).await,
        ShareSettings::Revoke { target, wait } => revoke::run(&target, wait, cluster, printer).await,
    }
}

fn shares(cluster: &Cluster) -> Api<EnvironmentShare> {
    Api::namespaced(cluster.client(), cluster.namespace())
}

fn call<'a>(verb: &'static str, cluster: &'a Cluster, name: Option<&'a str>) -> Call<'a> {
    Call { verb, kind: Kind::EnvironmentShare, name, namespace: Some(cluster.namespace()) }
}
