//! `share --list`: the active shares, in the page's form.

use connect_crds::EnvironmentShare;
use connect_crds::condition::{self, kind};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use secrecy::ExposeSecret;

use crate::cluster::Cluster;
use crate::cluster::codes::{self, Access};
use crate::cluster::failure::{Call, Kind};
use crate::failure::Outcome;
use crate::output;
use crate::printer::Printer;
use crate::sanitize::Clean;

/// Printed when nothing is shared.
const EMPTY: &str = "No active shares.\nCreate one with: kubectl connect share\n";

/// Printed when a code may not be shown.
const CODES_HIDDEN: &str = "[!] A code is not shown where you may not read the Secret that holds it\n";

/// One share of the list.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// The code, or the object's name for whoever may not see it.
    title: Clean,
    /// What stands behind it in parentheses.
    name: Option<Clean>,
    routes: usize,
    joined: i64,
    expires: String,
}

/// Lists the active shares.
pub async fn run(all_namespaces: bool, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let namespace = (!all_namespaces).then(|| cluster.namespace());
    let shares = gather(cluster, namespace).await?;
    let codes = codes::read_all(cluster, namespace, &shares).await?;
    let now = Timestamp::now();
    let rows: Vec<Row> =
        shares.iter().map(|share| Row::new(share, &codes.of(share), all_namespaces, now)).collect();
    printer.data(&render(&rows))?;
    if codes.some_forbidden() {
        printer.talk(CODES_HIDDEN);
    }
    Ok(())
}

/// The active shares, newest first.
async fn gather(cluster: &Cluster, namespace: Option<&str>) -> Outcome<Vec<EnvironmentShare>> {
    let api: Api<EnvironmentShare> = match namespace {
        Some(namespace) => Api::namespaced(cluster.client(), namespace),
        None => Api::all(cluster.client()),
    };
    let call = Call { verb: "list", kind: Kind::EnvironmentShare, name: None, namespace };
    let mut shares = cluster.ask(&call, api.list(&ListParams::default())).await?.items;
    shares.retain(is_active);
    shares.sort_by_key(|share| std::cmp::Reverse(share.creation_timestamp()));
    Ok(shares)
}

fn is_active(share: &EnvironmentShare) -> bool {
    share.status.as_ref().is_some_and(|status| condition::is_true(&status.conditions, kind::ACTIVE))
}

// === impl Row ===

impl Row {
    fn new(share: &EnvironmentShare, access: &Access, with_namespace: bool, now: Timestamp) -> Self {
        let object = share.name_any();
        let friendly = share.spec.display_name.as_deref().filter(|name| !name.is_empty());
        let (title, name) = match access {
            Access::Granted(code) => {
                (Clean::new(code.code.expose_secret()), Some(friendly.unwrap_or(&object).to_owned()))
            }
            Access::Forbidden | Access::Absent => (Clean::new(&object), friendly.map(ToOwned::to_owned)),
        };
        let namespace = share.namespace().filter(|_| with_namespace);
        let name = match (namespace, name) {
            (Some(namespace), Some(name)) => Some(format!("{namespace}/{name}")),
            (Some(namespace), None) => Some(namespace),
            (None, name) => name,
        };
        let status = share.status.clone().unwrap_or_default();
        Self {
            title,
            name: name.as_ref().map(Clean::from),
            routes: status.routes.len(),
            joined: status.joins.map_or(0, |joins| joins.count),
            expires: status
                .expiration_time
                .map_or_else(|| "unknown".to_owned(), |Time(end)| output::short_rest(end, now)),
        }
    }
}

fn render(rows: &[Row]) -> String {
    if rows.is_empty() {
        return EMPTY.to_owned();
    }
    let mut text = "📋 Active Environment Shares\n".to_owned();
    for Row { title, name, routes, joined, expires } in rows {
        let name = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        text.push_str(&format!(
            "\n  {title}{name}\n    Routes: {routes} | Joined: {joined} | Expires: {expires}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::codes::Code;

    fn share(name: Option<&str>, routes: usize, joins: i64, end: &str) -> EnvironmentShare {
        let routes: Vec<_> = (0..routes)
            .map(|index| serde_json::json!({"name": format!("r{index}"), "protocol": "Auto", "port": 1, "ready": true}))
            .collect();
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "share-x7k2p", "namespace": "staging"}, "spec": {"displayName": name},
            "status": {"expirationTime": end, "routes": routes, "joins": {"count": joins}}
        }))
        .expect("a share")
    }

    fn row(share: &EnvironmentShare, access: &Access, with_namespace: bool) -> Row {
        Row::new(share, access, with_namespace, "2024-01-15T10:30:00Z".parse().expect("a time"))
    }

    fn granted(code: &str) -> Access {
        Access::Granted(Code { code: code.into(), join_command: "x".into() })
    }

    #[test]
    fn the_page_s_list() {
        let staging = share(Some("staging-env"), 3, 2, "2024-01-16T08:45:00Z");
        let demo = share(Some("demo-environment"), 5, 0, "2024-01-21T20:00:00Z");
        let rows = [row(&staging, &granted("abc123"), false), row(&demo, &granted("xyz789"), false)];
        assert_eq!(
            render(&rows),
            "📋 Active Environment Shares\n\
             \n  abc123 (staging-env)\n    Routes: 3 | Joined: 2 | Expires: 22h\n\
             \n  xyz789 (demo-environment)\n    Routes: 5 | Joined: 0 | Expires: 6d\n"
        );
        assert_eq!(render(&[]), "No active shares.\nCreate one with: kubectl connect share\n");
    }

    #[test]
    fn a_share_has_a_name_by_which_it_can_be_revoked() {
        let titled = |friendly, access: &Access, with_namespace| {
            let row = row(&share(friendly, 0, 0, "2024-01-15T10:50:00Z"), access, with_namespace);
            (row.title.to_string(), row.name.map(|name| name.to_string()), row.expires)
        };
        let minutes = || "20m".to_owned();
        assert_eq!(
            titled(None, &granted("abc123"), false),
            ("abc123".into(), Some("share-x7k2p".into()), minutes())
        );
        assert_eq!(
            titled(Some("demo"), &granted("abc123"), true),
            ("abc123".into(), Some("staging/demo".into()), minutes())
        );
        assert_eq!(
            titled(Some("demo"), &Access::Forbidden, false),
            ("share-x7k2p".into(), Some("demo".into()), minutes())
        );
        assert_eq!(titled(None, &Access::Forbidden, false), ("share-x7k2p".into(), None, minutes()));
        assert_eq!(
            titled(None, &Access::Forbidden, true),
            ("share-x7k2p".into(), Some("staging".into()), minutes())
        );
    }
}
