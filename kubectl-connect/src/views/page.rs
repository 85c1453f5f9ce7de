//! The page's words, to the letter: what a new share looks like, and the list of active shares.

use jiff::Timestamp;

use super::ShareView;
use crate::output;

/// Printed before anything is asked.
pub const CREATING: &str = "🤝 Creating environment share...\n\n";

/// Printed when nothing is shared.
const EMPTY: &str = "No active shares.\nCreate one with: kubectl connect share\n";

/// A share that was just made.
pub fn created(share: &ShareView, now: Timestamp, draw_box: bool) -> String {
    format!("[ok] Environment share created!\n\n{}", joinable(share, now, draw_box))
}

/// Code, join command, routes and end of a share; what stands in its way where it cannot be joined.
pub fn joinable(share: &ShareView, now: Timestamp, draw_box: bool) -> String {
    let mut text = match (&share.token, &share.join_command) {
        // What stands in the box is what people copy, and so it names a hub that is not the default.
        (Some(token), Some(join)) => {
            let boxed = output::boxed(&format!("Share Code: {token}"), draw_box);
            format!("{boxed}\n  Your teammate can join with:\n\n    {join}\n\n")
        }
        _ => format!("  Share: {}\n\n", share.name),
    };
    if !share.joinable {
        text.push_str(&format!("  It cannot be joined now: {}\n\n", standing(share)));
    }
    text.push_str(&routes(share));
    text.push_str(&end(share, now));
    text.push_str(&code_change(share));
    text.extend(share.notes.iter().map(|note| format!("\n  {note}\n")));
    text
}

/// Its state, and why where that is known.
fn standing(share: &ShareView) -> String {
    match &share.waits_for {
        Some(obstacle) if obstacle.reason == share.state => obstacle.to_string(),
        Some(obstacle) => format!("{} ({obstacle})", share.state),
        None => share.state.to_string(),
    }
}

fn routes(share: &ShareView) -> String {
    if share.routes.is_empty() {
        return "  Routes being shared: (none)\n\n  \
                Expose services first: kubectl connect expose SERVICE:PORT, then kubectl connect share\n\n"
            .to_owned();
    }
    let lines: String =
        share.routes.iter().map(|route| output::route_line(&route.name, route.port)).collect();
    format!("  Routes being shared:\n{lines}\n")
}

/// A named share has its name here and no date, as on the page.
fn end(share: &ShareView, now: Timestamp) -> String {
    if share.is_over {
        let ended = share.end_time.map(|end| format!("  Ended {}\n", output::date(end)));
        return ended.unwrap_or_default();
    }
    let Some(ends_at) = share.expiration_time else { return String::new() };
    let rest = output::rest_in_words(ends_at, now);
    match &share.display_name {
        Some(name) => format!("  Name: {name}\n  Expires in {rest}\n"),
        None => format!("  Expires in {rest} ({})\n", output::date(ends_at)),
    }
}

fn code_change(share: &ShareView) -> String {
    let change = share.code_change().map(|change| {
        format!(
            "\n  {change}\n  Send your teammates the new one then: kubectl connect status {}\n",
            share.name
        )
    });
    change.unwrap_or_default()
}

/// The shares that have not ended. Each is titled by what it can be revoked by: its code, or its name where the code may not be seen.
pub fn list(shares: &[ShareView], with_namespace: bool, now: Timestamp) -> String {
    if shares.is_empty() {
        return EMPTY.to_owned();
    }
    let mut text = "📋 Active Environment Shares\n".to_owned();
    for share in shares {
        text.push_str(&entry(share, with_namespace, now));
    }
    text
}

fn entry(share: &ShareView, with_namespace: bool, now: Timestamp) -> String {
    let friendly = share.display_name.as_ref().map(ToString::to_string);
    let (title, name) = match &share.code {
        Some(code) => (code.to_string(), Some(friendly.unwrap_or_else(|| share.name.to_string()))),
        None => (share.name.to_string(), friendly),
    };
    let behind = match (with_namespace, name) {
        (true, Some(name)) => format!(" ({}/{name})", share.namespace),
        (true, None) => format!(" ({})", share.namespace),
        (false, Some(name)) => format!(" ({name})"),
        (false, None) => String::new(),
    };
    let expires = output::short_rest_or_unknown(share.expiration_time, now);
    let mut text = format!(
        "\n  {title}{behind}\n    Routes: {} | Joined: {} | Expires: {expires}\n",
        share.routes.len(),
        share.joins.count
    );
    if !share.joinable {
        text.push_str(&format!("    State: {}\n", standing(share)));
    }
    text.extend(share.code_change().map(|change| format!("    {change}\n")));
    text.extend(share.notes.iter().map(|note| format!("    {note}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{granted, now, share};
    use super::*;
    use crate::cluster::codes::Access;

    fn rendered(name: Option<&str>, routes: &[(&str, i32)], access: &Access, draw_box: bool) -> String {
        let share = share(name, routes, 0, "2024-01-15T10:30:00Z");
        created(&ShareView::new(&share, access, now()), now(), draw_box)
    }

    #[test]
    fn the_page_s_first_example() {
        let routes = [("postgres", 5432), ("redis", 6379), ("api", 8080)];
        let text = format!("{CREATING}{}", rendered(None, &routes, &granted("abc123", ""), true));
        assert_eq!(
            text,
            "🤝 Creating environment share...\n\
             \n\
             [ok] Environment share created!\n\
             \n  \
               ┌─────────────────────────────────────────────────┐\n  \
               │  Share Code: abc123                             │\n  \
               └─────────────────────────────────────────────────┘\n\
             \n  \
               Your teammate can join with:\n\
             \n    \
                 kubectl connect join abc123\n\
             \n  \
               Routes being shared:\n    \
                 • postgres → localhost:5432\n    \
                 • redis → localhost:6379\n    \
                 • api → localhost:8080\n\
             \n  \
               Expires in 24 hours (Mon Jan 15 2024 10:30:00 GMT)\n"
        );
    }

    #[test]
    fn a_named_share_has_its_name_before_its_end() {
        let text = rendered(Some("staging-env"), &[("api", 8080)], &granted("xyz789", ""), true);
        assert!(text.ends_with("  Name: staging-env\n  Expires in 24 hours\n"), "{text}");
    }

    #[test]
    fn a_pipe_gets_no_box_and_another_hub_is_named() {
        let text =
            rendered(None, &[("api", 8080)], &granted("abc123", " --hub https://hub.example.com"), false);
        assert_eq!(
            text,
            "[ok] Environment share created!\n\n  Share Code: https://hub.example.com/#abc123\n\n  \
             Your teammate can join with:\n\n    \
             kubectl connect join abc123 --hub https://hub.example.com\n\n  Routes being shared:\n    \
             • api → localhost:8080\n\n  Expires in 24 hours (Mon Jan 15 2024 10:30:00 GMT)\n"
        );
    }

    #[test]
    fn the_box_holds_what_joins_and_grows_with_it() {
        let boxed = |hub: &str| {
            let text = rendered(None, &[], &granted("abc123", hub), true);
            text.lines().skip(2).take(3).map(str::to_owned).collect::<Vec<_>>()
        };
        for (hub, shown) in [
            ("", "abc123"),
            (" --hub https://hub.example.com", "https://hub.example.com/#abc123"),
            (
                " --hub https://private-connect.platform.example.com/teams/payments",
                "https://private-connect.platform.example.com/teams/payments/#abc123",
            ),
            (" --hub http://hub.team.svc:3001 --through-cluster", "http://hub.team.svc:3001/#abc123"),
        ] {
            let [top, line, bottom] = boxed(hub).try_into().expect("three lines");
            assert!(line.starts_with(&format!("  │  Share Code: {shown} ")) && line.ends_with('│'), "{line}");
            assert!(
                top.chars().count() == line.chars().count() && line.chars().count() == bottom.chars().count()
            );
            assert!(line.chars().count() >= 53);
            let token = connect_hub::join_token::JoinToken::parse(shown).expect("it joins");
            assert_eq!(token.hub.is_some(), !hub.is_empty(), "the hub is named where it is not the default");
        }
    }

    #[test]
    fn a_share_of_nothing_says_so() {
        let text = rendered(None, &[], &granted("abc123", ""), false);
        assert!(text.contains("  Routes being shared: (none)\n\n  Expose services first: "), "{text}");
    }

    #[test]
    fn users_who_may_not_see_the_code_see_the_share() {
        let text = rendered(None, &[("api", 8080)], &Access::Forbidden, true);
        assert!(
            text.starts_with("[ok] Environment share created!\n\n  Share: share-x7k2p\n\n  Routes"),
            "{text}"
        );
    }

    #[test]
    fn a_code_that_the_hub_does_not_keep_to_the_end_says_on_which_day_it_changes() {
        let mut share = share(None, &[("api", 8080)], 0, "2024-01-28T10:30:02Z");
        let change: Timestamp = "2024-01-21T10:29:02Z".parse().expect("a time");
        share.status.as_mut().expect("set").code_change_time =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(change));
        let at = |now| ShareView::new(&share, &granted("abc123", ""), now);
        let text = created(&at(now()), now(), false);
        let said = "  Expires in 14 days (Sun Jan 28 2024 10:30:02 GMT)\n\n  \
                    The code changes on Sun Jan 21 2024 10:29:02 GMT, because the hub cannot keep it longer.\n  \
                    Send your teammates the new one then: kubectl connect status share-x7k2p\n";
        assert!(text.ends_with(said), "{text}");
        let entry = entry(&at(now()), false, now());
        assert!(entry.contains("\n    The code changes on Sun Jan 21 2024 10:29:02 GMT"), "{entry}");
        // What was to happen is not said any more when its time has come.
        assert!(!created(&at(change), change, false).contains("The code changes"));
    }

    #[test]
    fn names_cannot_forge_lines() {
        let text = rendered(Some("a\n[ok] b\u{1b}[2J"), &[("x\r", 1)], &granted("c", ""), false);
        assert!(text.contains("  Name: a\\n[ok] b\\u{1b}[2J\n"), "{text}");
        assert!(text.contains("• x\\r → localhost:1\n"), "{text}");
    }

    #[test]
    fn the_page_s_list() {
        let look = "2024-01-15T10:30:00Z".parse().expect("a time");
        let three = [("a", 1), ("b", 2), ("c", 3)];
        let five = [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)];
        let staging = share(Some("staging-env"), &three, 2, "2024-01-16T08:45:00Z");
        let demo = share(Some("demo-environment"), &five, 0, "2024-01-21T20:00:00Z");
        let views = [
            ShareView::new(&staging, &granted("abc123", ""), look),
            ShareView::new(&demo, &granted("xyz789", ""), look),
        ];
        assert_eq!(
            list(&views, false, look),
            "📋 Active Environment Shares\n\
             \n  abc123 (staging-env)\n    Routes: 3 | Joined: 2 | Expires: 22h\n\
             \n  xyz789 (demo-environment)\n    Routes: 5 | Joined: 0 | Expires: 6d\n"
        );
        assert_eq!(list(&[], false, look), "No active shares.\nCreate one with: kubectl connect share\n");
    }

    #[test]
    fn a_share_has_a_name_by_which_it_can_be_revoked() {
        let titled = |friendly, access: &Access, with_namespace| {
            let view = ShareView::new(&share(friendly, &[], 0, "2024-01-14T10:50:02Z"), access, now());
            let entry = entry(&view, with_namespace, now());
            entry.lines().nth(1).unwrap_or_default().trim().to_owned()
        };
        let abc = granted("abc123", "");
        assert_eq!(titled(None, &abc, false), "abc123 (share-x7k2p)");
        assert_eq!(titled(Some("demo"), &abc, true), "abc123 (staging/demo)");
        assert_eq!(titled(Some("demo"), &Access::Forbidden, false), "share-x7k2p (demo)");
        assert_eq!(titled(None, &Access::Forbidden, false), "share-x7k2p");
        assert_eq!(titled(None, &Access::Forbidden, true), "share-x7k2p (staging)");
    }
}
