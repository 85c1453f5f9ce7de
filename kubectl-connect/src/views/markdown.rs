//! A share as Markdown, for a comment under a pull request: routes, end and the join command; the code only when asked for.

use jiff::Timestamp;

use super::{RouteView, ShareView};
use crate::output;
use crate::sanitize::Clean;

/// What stands for a code that is not shown.
const PLACEHOLDER: &str = "CODE";

/// One share.
pub fn markdown(share: &ShareView, show_code: bool, now: Timestamp) -> String {
    let title = share.display_name.as_ref().unwrap_or(&share.name);
    let mut text = format!("### Environment share {}\n\n", escaped(title));
    text.push_str(&routes(share));
    if share.joinable {
        text.push_str(&format!("```shell\n{}\n```\n\n", join_command(share, show_code)));
        if !show_code || share.code.is_none() {
            text.push_str(&format!(
                "The code: `kubectl connect status {} -n {}`\n\n",
                share.name, share.namespace
            ));
        }
    } else if !share.is_over {
        text.push_str(&format!("It cannot be joined now: **{}**\n\n", escaped(&share.state)));
    }
    if let Some(remark) = share.remark() {
        text.push_str(&format!("{}\n\n", escaped(&Clean::new(&remark))));
    }
    text.push_str(&end(share, now));
    text
}

/// Read by many people in many places, and long after it was written: times are in UTC.
fn end(share: &ShareView, now: Timestamp) -> String {
    if share.is_over {
        let when = share.end_time.map(|end| format!(" at {}", output::date_utc(end))).unwrap_or_default();
        return format!("It has ended: **{}**{when}. Its code is refused.\n", escaped(&share.state));
    }
    let expires = share
        .expiration_time
        .map(|end| format!("Expires in {} ({})\n", output::rest_in_words(end, now), output::date_utc(end)));
    let change = share.code_change_time.map(|change| {
        format!(
            "\nThe code changes on {}, because the hub cannot keep it longer.\n",
            output::date_utc(change)
        )
    });
    expires.into_iter().chain(change).collect()
}

fn routes(share: &ShareView) -> String {
    if share.routes.is_empty() {
        let yet = if share.is_over { "" } else { " yet" };
        return format!("No routes{yet}.\n\n");
    }
    let row = |route: &RouteView| {
        let where_ = if share.is_over { "ended".to_owned() } else { format!("`localhost:{}`", route.port) };
        format!("| {} | {} | {where_} |\n", escaped(&route.name), escaped(&route.protocol))
    };
    let rows: String = share.routes.iter().map(row).collect();
    format!("| Route | Protocol | After joining |\n|---|---|---|\n{rows}\n")
}

fn join_command(share: &ShareView, show_code: bool) -> String {
    match (&share.join_command, &share.code) {
        (Some(command), Some(_)) if show_code => command.to_string(),
        (Some(command), Some(code)) if command.as_str().contains(code.as_str()) => {
            command.as_str().replacen(code.as_str(), PLACEHOLDER, 1)
        }
        _ => format!("kubectl connect join {PLACEHOLDER}"),
    }
}

/// Text that Markdown shows as it is, and in which nothing is a link, a mention or HTML.
fn escaped(text: &Clean) -> String {
    let mut shown = String::new();
    for character in text.as_str().chars() {
        match character {
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '&' => shown.push_str("&amp;"),
            // A mention or a bare link would begin with these.
            '@' => shown.push_str("&#64;"),
            ':' => shown.push_str("&#58;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '|' | '#' | '!' | '~' | '$' => {
                shown.push('\\');
                shown.push(character);
            }
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{granted, now, share};
    use super::*;
    use crate::cluster::codes::Access;

    fn rendered(name: &str, access: &Access, show_code: bool) -> String {
        let share = share(Some(name), &[("postgres", 5432)], 0, "2024-01-15T10:30:00Z");
        markdown(&ShareView::new(&share, access, now()), show_code, now())
    }

    #[test]
    fn the_code_is_there_only_when_asked_for() {
        let access = granted("abc123", " --hub https://hub.example.com");
        assert_eq!(
            rendered("PR-1234", &access, true),
            "### Environment share PR-1234\n\n\
             | Route | Protocol | After joining |\n|---|---|---|\n| postgres | TCP | `localhost:5432` |\n\n\
             ```shell\nkubectl connect join abc123 --hub https://hub.example.com\n```\n\n\
             Expires in 24 hours (Mon Jan 15 2024 10:30:00 GMT)\n"
        );
        let without = rendered("PR-1234", &access, false);
        assert!(without.contains("kubectl connect join CODE --hub https://hub.example.com\n"), "{without}");
        assert!(without.contains("The code: `kubectl connect status share-x7k2p -n staging`\n"), "{without}");
        assert!(!without.contains("abc123"), "{without}");
    }

    #[test]
    fn names_are_text_and_nothing_else() {
        let text = rendered("a|b <script> @mia [x](https://evil)", &Access::Forbidden, true);
        assert!(
            text.starts_with(
                "### Environment share a\\|b &lt;script&gt; &#64;mia \\[x\\]\\(https&#58;//evil\\)\n"
            ),
            "{text}"
        );
    }
}
