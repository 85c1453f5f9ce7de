//! `share --list`: the shares that have not ended, in the page's form, each with its state where it is not joinable.

use std::collections::BTreeSet;

use connect_crds::EnvironmentShare;

use crate::cluster::codes::{self, Access};
use crate::cluster::{Cluster, follow, shares};
use crate::commands::status::not_shown;
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::settings::format::Format;
use crate::settings::share::ListSettings;
use crate::views::table::Columns;
use crate::views::{self, ShareView, page};

/// Lists the shares that have not ended; with `--watch` again after every change.
pub async fn run(settings: &ListSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let ListSettings { all_namespaces, selector, watch, .. } = settings;
    let namespace = (!all_namespaces).then(|| cluster.namespace());
    let selector = selector.as_deref();
    let mut shown = Shown::default();
    if !watch {
        let found = shares::list(cluster, namespace, selector).await?;
        show(settings, cluster, printer, found, &mut shown).await?;
        return shown.hubs.iter().next().map_or(Ok(()), |hub| Err(Failure::hub_down(hub)));
    }
    follow::shares(cluster, namespace, selector, async |found| {
        show(settings, cluster, printer, found, &mut shown).await?;
        let hubs = std::mem::take(&mut shown.hubs);
        hubs.iter().for_each(|hub| printer.talk(&Failure::hub_down(hub).render()));
        Ok(())
    })
    .await
}

/// What stands there already.
#[derive(Default)]
struct Shown {
    text: String,
    /// The hubs that do not answer the operator, by the latest text.
    hubs: BTreeSet<String>,
}

/// Shows those of these shares that have not ended, unless that is what stands there already.
async fn show(
    settings: &ListSettings,
    cluster: &Cluster,
    printer: Printer,
    mut found: Vec<EnvironmentShare>,
    shown: &mut Shown,
) -> Outcome<()> {
    let ListSettings { all_namespaces, format, .. } = *settings;
    let now = cluster.now();
    let all = found.len();
    let is_over = |share: &EnvironmentShare| ShareView::new(share, &Access::Absent, now).is_over;
    found.retain(|share| !is_over(share));
    shares::sort(&mut found);
    let namespace = (!all_namespaces).then(|| cluster.namespace());
    let codes = codes::read_for(cluster, namespace, &found, format).await?;
    let list: Vec<ShareView> =
        found.iter().map(|share| ShareView::new(share, &codes.of(share), now)).collect();
    let text = match format {
        Format::Human => page::list(&list, all_namespaces, now),
        other => views::several(&list, other, Columns { namespace: all_namespaces, wide: true }, now)?,
    };
    if text == shown.text {
        return Ok(());
    }
    let is_first = shown.text.is_empty();
    let gap = if is_first || format != Format::Human { "" } else { "\n" };
    printer.data(&format!("{gap}{text}"))?;
    if codes.some_forbidden() && is_first {
        printer.talk(codes::HIDDEN);
    }
    if is_first && matches!(format, Format::Human | Format::Wide) {
        printer.talk(&not_shown(all - found.len()));
    }
    shown.hubs = list.iter().filter_map(|share| share.hub_down().map(str::to_owned)).collect();
    shown.text = text;
    Ok(())
}
