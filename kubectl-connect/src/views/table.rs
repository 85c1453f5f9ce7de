//! Shares as a table: what `kubectl get` would show of them, and with `-o wide` what people ask next.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::ShareView;
use crate::output;
use crate::sanitize::Clean;
use crate::table::Table;

/// Which columns there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The namespace first.
    pub namespace: bool,
    /// Name, code and message as well.
    pub wide: bool,
}

/// All shares under one head.
pub fn table(shares: &[ShareView], columns: Columns, now: Timestamp) -> String {
    Running::default().rows(shares, columns, now)
}

/// Rows that come one after the other under one head, with columns that only ever grow, and none that says nothing new.
#[derive(Default)]
pub struct Running {
    widths: Vec<usize>,
    /// What was said of each share last, without what changes by itself.
    said: BTreeMap<(Clean, Clean), Vec<String>>,
}

// === impl Running ===

impl Running {
    /// Whether a row was printed of this share.
    pub fn has_said(&self, namespace: &Clean, name: &Clean) -> bool {
        self.said.contains_key(&(namespace.clone(), name.clone()))
    }

    /// Forgets the shares that are gone: whatever runs for days must not grow.
    pub fn keep_only(&mut self, is_there: impl Fn(&Clean, &Clean) -> bool) {
        self.said.retain(|(namespace, name), _| is_there(namespace, name));
    }

    /// The rows of these shares that are not as they were; the first ones under a head.
    pub fn rows(&mut self, shares: &[ShareView], columns: Columns, now: Timestamp) -> String {
        let mut table = Table::with_widths(std::mem::take(&mut self.widths));
        if table.is_fresh() {
            table.row(head(columns));
        }
        for share in shares {
            let key = (share.namespace.clone(), share.name.clone());
            let news = lasting(share);
            if self.said.get(&key) != Some(&news) {
                self.said.insert(key, news);
                table.row(row(share, columns, now));
            }
        }
        let text = table.render("");
        self.widths = table.into_widths();
        text
    }
}

/// What a row says apart from ages.
fn lasting(share: &ShareView) -> Vec<String> {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let columns = Columns { namespace: true, wide: true };
    let mut cells = row(share, columns, share.creation_time.unwrap_or_default());
    cells.extend([time(share.expiration_time), time(share.creation_time)]);
    cells
}

fn head(columns: Columns) -> Vec<String> {
    let mut heads = vec!["NAME", "STATE", "ROUTES", "JOINS", "EXPIRES", "AGE"];
    if columns.namespace {
        heads.insert(0, "NAMESPACE");
    }
    if columns.wide {
        heads.extend(["ENCRYPTION", "CODE", "FRIENDLY NAME", "MESSAGE"]);
    }
    heads.into_iter().map(str::to_owned).collect()
}

fn row(share: &ShareView, columns: Columns, now: Timestamp) -> Vec<String> {
    let text = |shown: Option<String>| shown.unwrap_or_default();
    let mut cells = vec![
        share.name.to_string(),
        share.state.to_string(),
        share.ready_routes(),
        share.joins.count.to_string(),
        if share.is_over {
            "ended".to_owned()
        } else {
            output::short_rest_or_unknown(share.expiration_time, now)
        },
        text(share.creation_time.map(|created| output::age(created, now))),
    ];
    if columns.namespace {
        cells.insert(0, share.namespace.to_string());
    }
    if columns.wide {
        cells.push(text(share.encryption_word().map(str::to_owned)));
        cells.push(text(share.code.as_ref().map(ToString::to_string)));
        cells.push(text(share.display_name.as_ref().map(ToString::to_string)));
        cells.push(text(share.remark().or_else(|| share.code_change())));
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{granted, now, share};
    use super::*;

    #[test]
    fn what_has_ended_expires_no_more() {
        let mut share = share(None, &[("api", 8080)], 0, "2024-01-16T10:30:00Z");
        let active = share.status.as_mut().and_then(|status| status.conditions.first_mut()).expect("one");
        (active.status, active.reason) = ("False".to_owned(), "Revoked".to_owned());
        let views = [ShareView::new(&share, &crate::cluster::codes::Access::Absent, now())];
        let table = table(&views, Columns { namespace: false, wide: false }, now());
        assert!(table.contains("share-x7k2p   Revoked   1        0       ended     30m\n"), "{table}");
    }

    #[test]
    fn a_table_has_what_was_asked_for() {
        let share = share(Some("demo"), &[("api", 8080)], 2, "2024-01-16T10:30:00Z");
        let views = [ShareView::new(&share, &granted("abc123", ""), now())];
        assert_eq!(
            table(&views, Columns { namespace: false, wide: false }, now()),
            "NAME          STATE      ROUTES   JOINS   EXPIRES   AGE\n\
             share-x7k2p   Joinable   1/1      2       2d        30m\n"
        );
        assert_eq!(
            table(&views, Columns { namespace: true, wide: true }, now()),
            "NAMESPACE   NAME          STATE      ROUTES   JOINS   EXPIRES   AGE   ENCRYPTION   CODE     FRIENDLY NAME   MESSAGE\n\
             staging     share-x7k2p   Joinable   1/1      2       2d        30m   <none>       abc123   demo            <none>\n"
        );
    }
}
