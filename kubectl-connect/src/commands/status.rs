//! `status`: every share of a namespace in a table, or all that is known of one.

use std::collections::{BTreeMap, BTreeSet};

use connect_crds::EnvironmentShare;
use kube::ResourceExt;
use secrecy::SecretString;

use crate::cluster::codes::{self, Access};
use crate::cluster::{Cluster, follow, shares};
use crate::failure::{Failure, Outcome};
use crate::printer::Printer;
use crate::sanitize::Clean;
use crate::settings::format::Format;
use crate::settings::status::StatusSettings;
use crate::views::table::{Columns, Running};
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
    show_one(cluster, &share, &access, settings.format, printer, &mut shown)?;
    if !settings.watch {
        return Ok(());
    }
    let name = share.name_any();
    follow::shares(cluster, Some(cluster.namespace()), None, async |found| {
        let Some(share) = found.into_iter().find(|share| share.name_any() == name) else {
            return Err(Failure::new(format!("Share {name} was deleted")));
        };
        let access = codes::read_one(cluster, &share).await?;
        show_one(cluster, &share, &access, settings.format, printer, &mut shown)
    })
    .await
}

/// Shows the share, unless that is what stands there already.
fn show_one(
    cluster: &Cluster,
    share: &EnvironmentShare,
    access: &Access,
    format: Format,
    printer: Printer,
    shown: &mut String,
) -> Outcome<()> {
    let now = cluster.now();
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

/// What was printed so far.
#[derive(Default)]
struct Seen {
    started: bool,
    /// The objects of which something was looked at, so that only changed ones are looked at again.
    objects: BTreeMap<String, String>,
    table: Running,
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
    let objects: BTreeMap<String, String> = found.iter().map(fingerprint).collect();
    let is_there: BTreeSet<(Clean, Clean)> = found.iter().map(key).collect();
    found.retain(|share| {
        let (uid, state) = fingerprint(share);
        seen.objects.get(&uid) != Some(&state)
    });
    seen.objects = objects;
    seen.table.keep_only(|namespace, name| is_there.contains(&(namespace.clone(), name.clone())));
    if seen.started && found.is_empty() {
        return Ok(());
    }
    shares::sort(&mut found);
    let codes = codes::read_for(cluster, namespace, &found, format).await?;
    let now = cluster.now();
    let mut list: Vec<ShareView> =
        found.iter().map(|share| ShareView::new(share, &codes.of(share), now)).collect();
    let ended = hide_ended(settings, &mut list, &seen.table);
    let columns = Columns { namespace: all_namespaces, wide: format == Format::Wide };
    let text = match format {
        Format::Human if list.is_empty() && !settings.watch && ended == 0 => EMPTY.to_owned(),
        Format::Human | Format::Wide if list.is_empty() && !settings.watch => String::new(),
        Format::Human | Format::Wide => seen.table.rows(&list, columns, now),
        other => views::several(&list, other, columns, now)?,
    };
    printer.data(&text)?;
    if codes.some_forbidden() && !seen.started {
        printer.talk(codes::HIDDEN);
    }
    if !seen.started {
        printer.talk(&not_shown(ended));
    }
    seen.started = true;
    Ok(())
}

/// Takes out the shares that have ended, where people read, unless they were asked for or stood there before their end. Says
/// how many.
fn hide_ended(settings: &StatusSettings, list: &mut Vec<ShareView>, table: &Running) -> usize {
    let is_for_people = matches!(settings.format, Format::Human | Format::Wide | Format::Markdown { .. });
    if settings.all || !is_for_people {
        return 0;
    }
    let before = list.len();
    list.retain(|share| !share.is_over || table.has_said(&share.namespace, &share.name));
    before - list.len()
}

/// That shares which have ended are not shown; nothing where there are none.
pub fn not_shown(ended: usize) -> String {
    match i64::try_from(ended).unwrap_or(i64::MAX) {
        0 => String::new(),
        1 => "1 ended share is not shown; to see it: kubectl connect status --all\n".to_owned(),
        ended => format!("{ended} ended shares are not shown; to see them: kubectl connect status --all\n"),
    }
}

/// What tells one state of an object from the next.
fn fingerprint(share: &EnvironmentShare) -> (String, String) {
    let metadata = &share.metadata;
    let state = (&share.status, metadata.generation, &metadata.deletion_timestamp, &metadata.annotations);
    (share.uid().unwrap_or_default(), format!("{state:?}"))
}

fn key(share: &EnvironmentShare) -> (Clean, Clean) {
    (Clean::new(&share.namespace().unwrap_or_default()), Clean::new(&share.name_any()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_counted() {
        assert_eq!(not_shown(0), "");
        assert_eq!(not_shown(1), "1 ended share is not shown; to see it: kubectl connect status --all\n");
        assert_eq!(not_shown(3), "3 ended shares are not shown; to see them: kubectl connect status --all\n");
    }
}
