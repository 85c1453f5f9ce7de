//! Everything about one share, for people.

use jiff::Timestamp;

use super::{JoinsView, Obstacle, RouteView, ShareView};
use crate::output;
use crate::table::Table;

/// Indent of what stands below a heading.
const INDENT: &str = "    ";

/// Everything about one share.
pub fn details(share: &ShareView, now: Timestamp) -> String {
    let mut text = facts(share, now);
    text.push_str(&routes(share));
    text.push_str(&joins(&share.joins, now));
    if let Some(obstacle) = &share.waits_for {
        text.push_str(&format!("\nWaits for:\n{}", explained(obstacle)));
    }
    if !share.notes.is_empty() {
        let notes: String = share.notes.iter().map(explained).collect();
        text.push_str(&format!("\nNotes:\n{notes}"));
    }
    text
}

fn facts(share: &ShareView, now: Timestamp) -> String {
    let mut facts: Vec<(&str, String)> = vec![("Name", share.name.to_string())];
    facts.extend(share.display_name.as_ref().map(|name| ("Friendly name", name.to_string())));
    facts.push(("Namespace", share.namespace.to_string()));
    facts.push(("State", share.state.to_string()));
    facts.extend(share.code.as_ref().map(|code| ("Code", code.to_string())));
    facts.extend(share.join_command.as_ref().map(|join| ("Join with", join.to_string())));
    facts.extend(
        share
            .unverified_code
            .as_ref()
            .map(|code| ("Other programs", format!("{code} (unverified: the hub could read along)"))),
    );
    facts.extend(share.encryption_word().map(|word| ("Encryption", word.to_owned())));
    facts.extend(end(share, now));
    facts.extend(share.code_change_time.map(|change| {
        let when = format!("in {} ({})", output::rest_in_words(change, now), output::date(change));
        ("Code changes", when + ", because the hub cannot keep it longer")
    }));
    let width = facts.iter().map(|(label, _)| label.len()).max().unwrap_or_default() + 1;
    facts.iter().map(|(label, fact)| format!("{:width$} {fact}\n", format!("{label}:"))).collect()
}

/// When it ended, or will.
fn end(share: &ShareView, now: Timestamp) -> Option<(&'static str, String)> {
    if share.is_over {
        let ended = share.end_time?;
        return Some(("Ended", format!("{} ago ({})", output::age(ended, now), output::date(ended))));
    }
    let end = share.expiration_time?;
    Some(("Expires", format!("in {} ({})", output::rest_in_words(end, now), output::date(end))))
}

fn routes(share: &ShareView) -> String {
    if share.routes.is_empty() {
        return "\nRoutes: (none)\n".to_owned();
    }
    let mut table = Table::new(["NAME", "PROTOCOL", "LOCAL PORT", "STATE"]);
    for RouteView { name, protocol, port, ready } in &share.routes {
        let state = match ready {
            _ if share.is_over => "Ended",
            true => "Ready",
            false => "NotReady",
        };
        table.row([name.to_string(), protocol.to_string(), port.to_string(), state.to_owned()]);
    }
    format!("\nRoutes:\n{}", table.render(INDENT))
}

fn joins(joins: &JoinsView, now: Timestamp) -> String {
    let heading = format!("\nJoined: {}{}\n", times(joins.count), connected(joins));
    if joins.recent.is_empty() {
        return heading;
    }
    let tells = joins.connected.is_some();
    let mut table = Table::default();
    let heads = ["WHO", "WHEN", "AGO"].into_iter().chain(tells.then_some("NOW"));
    table.row(heads.map(str::to_owned));
    for join in &joins.recent {
        let present = if join.connected { "connected" } else { "-" };
        let cells = [join.agent.to_string(), output::date(join.time), output::age(join.time, now)];
        table.row(cells.into_iter().chain(tells.then(|| present.to_owned())));
    }
    heading + &table.render(INDENT)
}

/// How many of those who joined are connected, where that is known.
fn connected(joins: &JoinsView) -> String {
    match joins.connected.filter(|_| joins.count > 0) {
        None => String::new(),
        Some(0) => ", nobody is connected now".to_owned(),
        Some(1) => ", 1 is connected now".to_owned(),
        Some(count) => format!(", {count} are connected now"),
    }
}

fn times(count: i64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn explained(obstacle: &Obstacle) -> String {
    let Obstacle { condition, status, reason, message, hint } = obstacle;
    format!("{INDENT}{condition} is {status} ({reason}): {message}\n{INDENT}{hint}\n")
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{granted, now, share};
    use super::*;
    use crate::cluster::codes::Access;
    use connect_crds::EnvironmentShare;

    #[test]
    fn who_is_connected_now_is_said_where_the_hub_tells() {
        let mut share = share(Some("demo"), &[("postgres", 5432)], 2, "2024-01-15T10:30:00Z");
        let mut joined = |connected: serde_json::Value, mia: bool| {
            let joins = serde_json::json!({"count": 2, "connected": connected, "recent": [
                {"agent": "mia@laptop", "time": "2024-01-14T10:25:02Z", "connected": mia},
                {"agent": "bob", "time": "2024-01-14T10:10:02Z"}]});
            share.status.as_mut().expect("set").joins = serde_json::from_value(joins).expect("joins");
            details(&ShareView::new(&share, &granted("abc123", ""), now()), now())
        };
        let one = joined(1.into(), true);
        assert!(one.contains("\nJoined: 2 times, 1 is connected now\n"), "{one}");
        assert!(one.contains("AGO   NOW\n") && one.contains("5m    connected\n"), "{one}");
        assert!(joined(0.into(), false).contains("Joined: 2 times, nobody is connected now\n"));
        let untold = joined(serde_json::Value::Null, false);
        assert!(untold.contains("\nJoined: 2 times\n") && !untold.contains("NOW"), "{untold}");
    }

    #[test]
    fn a_joinable_share_says_all() {
        let mut share = share(Some("demo"), &[("postgres", 5432), ("api", 8080)], 2, "2024-01-15T10:30:00Z");
        let joins = serde_json::json!({"count": 2, "recent": [
            {"agent": "mia@laptop", "time": "2024-01-14T10:25:02Z"}, {"agent": "bob\u{1b}[2J", "time": "2024-01-14T10:10:02Z"}]});
        share.status.as_mut().expect("set").joins = serde_json::from_value(joins).expect("joins");
        assert_eq!(
            details(&ShareView::new(&share, &granted("abc123", ""), now()), now()),
            "Name:          share-x7k2p\n\
             Friendly name: demo\n\
             Namespace:     staging\n\
             State:         Joinable\n\
             Code:          abc123\n\
             Join with:     kubectl connect join abc123\n\
             Expires:       in 24 hours (Mon Jan 15 2024 10:30:00 GMT)\n\
             \nRoutes:\n    \
             NAME       PROTOCOL   LOCAL PORT   STATE\n    \
             postgres   TCP        5432         Ready\n    \
             api        TCP        8080         Ready\n\
             \nJoined: 2 times\n    \
             WHO            WHEN                           AGO\n    \
             mia@laptop     Sun Jan 14 2024 10:25:02 GMT   5m\n    \
             bob\\u{1b}[2J   Sun Jan 14 2024 10:10:02 GMT   20m\n"
        );
    }

    #[test]
    fn a_share_that_waits_says_for_what_and_what_to_do() {
        let share: EnvironmentShare = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "demo", "namespace": "staging"}, "spec": {"expirationTime": "2024-01-15T10:30:00Z"},
            "status": {"conditions": [
                {"type": "ResolvedRefs", "status": "False", "reason": "ServiceNotFound", "message": "no Service redis",
                 "lastTransitionTime": "2024-01-14T10:00:00Z"},
                {"type": "Active", "status": "False", "reason": "Pending", "message": "",
                 "lastTransitionTime": "2024-01-14T10:00:00Z"}]}}))
        .expect("a share");
        let text = details(&ShareView::new(&share, &Access::Absent, now()), now());
        assert!(
            text.ends_with(
                "\nRoutes: (none)\n\nJoined: never\n\nWaits for:\n    \
                 ResolvedRefs is False (ServiceNotFound): no Service redis\n    \
                 See which route is not ready: kubectl get serviceexposes\n"
            ),
            "{text}"
        );
    }
}
