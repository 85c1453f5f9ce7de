//! Shares as a table: what `kubectl get` would show of them, and with `-o wide` what people ask next.

use jiff::Timestamp;

use super::ShareView;
use crate::output;
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
    rows(shares, columns, true, now)
}

/// These shares, under a head only when they are the first.
pub fn rows(shares: &[ShareView], columns: Columns, with_head: bool, now: Timestamp) -> String {
    let mut table = Table::default();
    if with_head {
        table.row(head(columns));
    }
    for share in shares {
        table.row(row(share, columns, now));
    }
    table.render("")
}

fn head(columns: Columns) -> Vec<String> {
    let mut heads = vec!["NAME", "STATE", "ROUTES", "JOINS", "EXPIRES", "AGE"];
    if columns.namespace {
        heads.insert(0, "NAMESPACE");
    }
    if columns.wide {
        heads.extend(["CODE", "FRIENDLY NAME", "WAITS FOR"]);
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
        if share.is_over() {
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
        cells.push(text(share.code.as_ref().map(ToString::to_string)));
        cells.push(text(share.display_name.as_ref().map(ToString::to_string)));
        cells.push(text(share.waits_for.as_ref().map(|wait| format!("{}: {}", wait.reason, wait.message))));
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
        assert!(table.contains("share-x7k2p   Revoked   1/1      0       ended     30m\n"), "{table}");
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
            "NAMESPACE   NAME          STATE      ROUTES   JOINS   EXPIRES   AGE   CODE     FRIENDLY NAME   WAITS FOR\n\
             staging     share-x7k2p   Joinable   1/1      2       2d        30m   abc123   demo            <none>\n"
        );
    }
}
