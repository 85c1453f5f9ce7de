//! `status`: every share of a namespace in a table, or all that is known of one.

use std::collections::BTreeMap;

use connect_crds::EnvironmentShare;
use jiff::Timestamp;
use kube::ResourceExt;
use secrecy::SecretString;

use crate::cluster::codes::{self, Access};
use crate::cluster::{Cluster, follow, shares};
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::settings::format::Format;
use crate::settings::status::StatusSettings;
use crate::views::table::{self, Columns};
use crate::views::{self, ShareView, details};

/// Printed when there is no share at all.
const EMPTY: &str = "No shares.\nCreate one with: kubectl connect share\n";

/// Shows one share, or all.
pub async fn run(settings: &StatusSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    match &settings.share {
        Some(target) => one(settings, target, cluster, printer).await,
        None => all(settings, cluster, printer).await,
    }
}

// === one share ===

async fn one(
    settings: &StatusSettings,
    target: &SecretString,
    cluster: &Cluster,
    printer: Printer,
) -> Outcome<()> {
    let (share, access) = shares::find_one(cluster, target).await?;
    let mut shown = String::new();
    show_one(&share, &access, settings.format, printer, &mut shown)?;
    if !settings.watch {
        return Ok(());
    }
    let name = share.name_any();
    follow::shares(cluster, Some(cluster.namespace()), None, async |found| {
        let Some(share) = found.into_iter().find(|share| share.name_any() == name) else {
            return Err(Failure::new(format!("Share {name} was deleted")));
        };
        let access = codes::read_one(cluster, &share).await?;
        show_one(&share, &access, settings.format, printer, &mut shown)
    })
    .await
}

/// Shows the share, unless that is what stands there already.
fn show_one(
    share: &EnvironmentShare,
    access: &Access,
    format: Format,
    printer: Printer,
    shown: &mut String,
) -> Outcome<()> {
    let now = Timestamp::now();
    let view = ShareView::new(share, access, now);
    let text = match format {
        Format::Human => details::details(&view, now),
        other => views::single(&view, other, now)?,
    };
    // Ages change by themselves; only news is worth a second print.
    let news = match format {
        Format::Human => details::details(&view, view.creation_time.unwrap_or_default()),
        _ => text.clone(),
    };
    if news == *shown {
        return Ok(());
    }
    let gap = if shown.is_empty() || format != Format::Human { "" } else { "\n" };
    printer.data(&format!("{gap}{text}"))?;
    if matches!(access, Access::Forbidden) && shown.is_empty() && codes::are_shown(format) {
        printer.talk(&codes::hidden(share));
    }
    *shown = news;
    Ok(())
}

// === all shares ===

async fn all(settings: &StatusSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let StatusSettings { all_namespaces, selector, watch, .. } = settings;
    let namespace = (!all_namespaces).then(|| cluster.namespace());
    let selector = selector.as_deref();
    let found = shares::list(cluster, namespace, selector).await?;
    let mut seen = Seen::default();
    show_all(settings, cluster, printer, found, &mut seen).await?;
    if !watch {
        return Ok(());
    }
    follow::shares(cluster, namespace, selector, async |found| {
        show_all(settings, cluster, printer, found, &mut seen).await
    })
    .await
}

/// What was printed of each share.
#[derive(Default)]
struct Seen {
    started: bool,
    states: BTreeMap<String, String>,
}

/// Shows these shares; later only those that have changed, as `kubectl get --watch` does.
async fn show_all(
    settings: &StatusSettings,
    cluster: &Cluster,
    printer: Printer,
    mut found: Vec<EnvironmentShare>,
    seen: &mut Seen,
) -> Outcome<()> {
    let StatusSettings { all_namespaces, format, .. } = *settings;
    let namespace = (!all_namespaces).then(|| cluster.namespace());
    shares::newest_first(&mut found);
    let state = |share: &EnvironmentShare| (share.uid().unwrap_or_default(), format!("{:?}", share.status));
    let news = |share: &EnvironmentShare| {
        let (uid, state) = state(share);
        seen.states.get(&uid) != Some(&state)
    };
    found.retain(news);
    if seen.started && found.is_empty() {
        return Ok(());
    }
    let codes = codes::read_for(cluster, namespace, &found, format).await?;
    let now = Timestamp::now();
    let list: Vec<ShareView> =
        found.iter().map(|share| ShareView::new(share, &codes.of(share), now)).collect();
    let columns = Columns { namespace: all_namespaces, wide: format == Format::Wide };
    let text = match format {
        Format::Human if list.is_empty() && !settings.watch => EMPTY.to_owned(),
        Format::Human | Format::Wide => table::rows(&list, columns, !seen.started, now),
        other => views::several(&list, other, columns, now)?,
    };
    printer.data(&text)?;
    if codes.some_forbidden() && !seen.started {
        printer.talk(codes::HIDDEN);
    }
    seen.started = true;
    seen.states.extend(found.iter().map(state));
    Ok(())
}
