//! What a new share looks like: the page's words, to the letter.

use connect_crds::EnvironmentShare;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use secrecy::ExposeSecret;

use crate::cluster::codes::Access;
use crate::output;
use crate::sanitize::Clean;

/// Printed before anything is asked.
pub const CREATING: &str = "🤝 Creating environment share...\n\n";

/// A share that can be joined.
#[derive(Debug)]
pub struct CreatedView {
    /// Name of the object.
    object: Clean,
    /// The code and the command, for whoever may see them.
    code: Option<Shown>,
    /// Friendly name.
    name: Option<Clean>,
    /// Routes and the ports suggested for them.
    routes: Vec<(Clean, i32)>,
    /// When it ends.
    ends_at: Timestamp,
}

/// A code on its way to the screen of its owner.
struct Shown {
    code: Clean,
    join_command: Clean,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(..)")
    }
}

// === impl CreatedView ===

impl CreatedView {
    /// Gathers what is shown of `share`.
    pub fn new(share: &EnvironmentShare, access: &Access, now: Timestamp) -> Self {
        let status = share.status.clone().unwrap_or_default();
        let code = match access {
            Access::Granted(code) => Some(Shown {
                code: Clean::new(code.code.expose_secret()),
                join_command: Clean::new(code.join_command.expose_secret()),
            }),
            Access::Forbidden | Access::Absent => None,
        };
        let ends_at = match status.expiration_time {
            Some(Time(ends_at)) => ends_at,
            None => share.ends_at(now).unwrap_or(now),
        };
        Self {
            object: Clean::new(&share.name_any()),
            code,
            name: share.spec.display_name.as_ref().map(Clean::from),
            routes: status.routes.iter().map(|route| (Clean::new(&route.name), route.port)).collect(),
            ends_at,
        }
    }

    /// The page's text.
    pub fn render(&self, now: Timestamp, draw_box: bool) -> String {
        let mut text = "[ok] Environment share created!\n\n".to_owned();
        match &self.code {
            Some(Shown { code, join_command }) => {
                text.push_str(&output::boxed(&format!("Share Code: {code}"), draw_box));
                text.push_str(&format!("\n  Your teammate can join with:\n\n    {join_command}\n\n"));
            }
            None => text.push_str(&format!("  Share: {}\n\n", self.object)),
        }
        text.push_str(&self.render_routes());
        text.push_str(&self.render_end(now));
        text
    }

    fn render_routes(&self) -> String {
        if self.routes.is_empty() {
            return "  Routes being shared: (none)\n\n  \
                    Expose services first: kubectl connect expose SERVICE:PORT, then kubectl connect share\n\n"
                .to_owned();
        }
        let lines: String = self.routes.iter().map(|(name, port)| output::route_line(name, *port)).collect();
        format!("  Routes being shared:\n{lines}\n")
    }

    /// A named share has its name here and no date, as on the page.
    fn render_end(&self, now: Timestamp) -> String {
        let rest = output::rest_in_words(self.ends_at, now);
        match &self.name {
            Some(name) => format!("  Name: {name}\n  Expires in {rest}\n"),
            None => format!("  Expires in {rest} ({})\n", output::date(self.ends_at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::codes::Code;

    const NOW: &str = "2024-01-14T10:30:02Z";

    fn granted(code: &str, hub: &str) -> Access {
        Access::Granted(Code {
            code: code.into(),
            join_command: format!("kubectl connect join {code}{hub}").into(),
        })
    }

    fn rendered(name: Option<&str>, routes: &[(&str, i32)], access: &Access, draw_box: bool) -> String {
        let routes: Vec<_> = routes
            .iter()
            .map(|(name, port)| serde_json::json!({"name": name, "protocol": "Auto", "port": port, "ready": true}))
            .collect();
        let share: EnvironmentShare = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "share-x7k2p"}, "spec": {"displayName": name},
            "status": {"expirationTime": "2024-01-15T10:30:00Z", "routes": routes}
        }))
        .expect("a share");
        let now = NOW.parse().expect("a time");
        CreatedView::new(&share, access, now).render(now, draw_box)
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
            "[ok] Environment share created!\n\n  Share Code: abc123\n\n  Your teammate can join with:\n\n    \
             kubectl connect join abc123 --hub https://hub.example.com\n\n  Routes being shared:\n    \
             • api → localhost:8080\n\n  Expires in 24 hours (Mon Jan 15 2024 10:30:00 GMT)\n"
        );
    }

    #[test]
    fn a_share_of_nothing_says_so() {
        let text = rendered(None, &[], &granted("abc123", ""), false);
        assert!(text.contains("  Routes being shared: (none)\n\n  Expose services first: "), "{text}");
    }

    #[test]
    fn whoever_may_not_see_the_code_sees_the_share() {
        let text = rendered(None, &[("api", 8080)], &Access::Forbidden, true);
        assert!(
            text.starts_with("[ok] Environment share created!\n\n  Share: share-x7k2p\n\n  Routes"),
            "{text}"
        );
    }

    #[test]
    fn names_cannot_forge_lines() {
        let text = rendered(Some("a\n[ok] b\u{1b}[2J"), &[("x\r", 1)], &granted("c", ""), false);
        assert!(text.contains("  Name: a\\n[ok] b\\u{1b}[2J\n"), "{text}");
        assert!(text.contains("• x\\r → localhost:1\n"), "{text}");
    }
}
