//! `share --list`: the active shares, in the page's form.

use connect_crds::EnvironmentShare;
use jiff::Timestamp;

use crate::cluster::codes;
use crate::cluster::{Cluster, follow, shares};
use crate::failure::Outcome;
use crate::printer::Printer;
use crate::settings::format::Format;
use crate::settings::share::ListSettings;
use crate::views::table::Columns;
use crate::views::{self, ShareView, page};

/// Lists the active shares; with `--watch` again after every change.
pub async fn run(settings: &ListSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let ListSettings { all_namespaces, selector, watch, .. } = settings;
    let namespace = (!all_namespaces).then(|| cluster.namespace());
    let selector = selector.as_deref();
    if !watch {
        let found = shares::list(cluster, namespace, selector).await?;
        return show(settings, cluster, printer, found, &mut String::new()).await;
    }
    let mut shown = String::new();
    follow::shares(cluster, namespace, selector, async |found| {
        show(settings, cluster, printer, found, &mut shown).await
    })
    .await
}

/// Shows the active shares of these, unless that is what stands there already.
async fn show(
    settings: &ListSettings,
    cluster: &Cluster,
    printer: Printer,
    mut found: Vec<EnvironmentShare>,
    shown: &mut String,
) -> Outcome<()> {
    let ListSettings { all_namespaces, format, .. } = *settings;
    found.retain(shares::is_active);
    shares::newest_first(&mut found);
    let namespace = (!all_namespaces).then(|| cluster.namespace());
    let codes = codes::read_for(cluster, namespace, &found, format).await?;
    let now = Timestamp::now();
    let list: Vec<ShareView> =
        found.iter().map(|share| ShareView::new(share, &codes.of(share), now)).collect();
    let text = match format {
        Format::Human => page::list(&list, all_namespaces, now),
        other => views::several(&list, other, Columns { namespace: all_namespaces, wide: true }, now)?,
    };
    if text == *shown {
        return Ok(());
    }
    let gap = if shown.is_empty() || format != Format::Human { "" } else { "\n" };
    printer.data(&format!("{gap}{text}"))?;
    if codes.some_forbidden() && shown.is_empty() {
        printer.talk(codes::HIDDEN);
    }
    *shown = text;
    Ok(())
}
