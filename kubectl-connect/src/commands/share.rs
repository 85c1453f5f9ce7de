//! `share`: creates, lists and revokes EnvironmentShares.

mod create;
mod dry_run;
mod hub;
mod list;
pub mod revoke;
mod services;

use crate::cluster::Cluster;
use crate::failure::Outcome;
use crate::printer::Printer;
use crate::settings::share::ShareSettings;

/// Does what was asked.
pub async fn run(settings: ShareSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    match settings {
        ShareSettings::Create(settings) => create::run(&settings, cluster, printer).await,
        ShareSettings::List(settings) => list::run(&settings, cluster, printer).await,
        ShareSettings::Revoke(settings) => revoke::run(&settings, cluster, printer).await,
    }
}
