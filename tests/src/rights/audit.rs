//! What the chart's roles grant beside what the operator was seen to do, by the API server's own audit log.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Something that a role allows and somebody does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Whether it is about the operator's own namespace, as the role named -own says.
    pub own: bool,
    /// The verb.
    pub verb: String,
    /// The resource, with its group behind a dot and its subresource behind a slash.
    pub resource: String,
}

impl Right {
    /// As `list services` or `own get secrets` says it.
    pub fn told(&self) -> String {
        let Self { own, verb, resource } = self;
        format!("{}{verb} {resource}", if *own { "own " } else { "" })
    }
}

/// Everything that the operator's roles in these rendered objects grant.
pub fn granted(objects: &[Value]) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for role in objects.iter().filter(|it| it["kind"] == "Role" || it["kind"] == "ClusterRole") {
        let name = role["metadata"]["name"].as_str().context("a role has a name")?;
        if name.ends_with("-view") || name.ends_with("-edit") {
            continue;
        }
        for rule in role["rules"].as_array().context("a role has rules")? {
            for (group, resource, verb) in each(rule)? {
                let resource = with_group(&resource, &group);
                rights.insert(Right { own: name.ends_with("-own"), verb, resource });
            }
        }
    }
    Ok(rights)
}

/// Groups, resources and verbs of a rule, each with each.
fn each(rule: &Value) -> Result<Vec<(String, String, String)>> {
    let list = |key: &str| -> Result<Vec<String>> {
        serde_json::from_value(rule[key].clone()).with_context(|| format!("a rule has {key}: {rule}"))
    };
    let (groups, resources, verbs) = (list("apiGroups")?, list("resources")?, list("verbs")?);
    let mut all = Vec::new();
    for group in &groups {
        for resource in &resources {
            all.extend(verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
        }
    }
    Ok(all)
}

/// An operator, as the log knows it.
pub struct Actor {
    /// Its own namespace.
    pub own: String,
    /// Whether it serves that as well: then both roles may be the one that was used there.
    pub serves_own: bool,
}

/// Everything that operators did, as far as `granted` can tell which right it used. `who` knows them by an entry of the log, and
/// does not know them where they need no right.
///
/// # Errors
/// The API server has refused something, or an operator did what no role of the chart grants.
pub fn used(
    log: &Path,
    granted: &BTreeSet<Right>,
    who: impl Fn(&Value) -> Option<Actor>,
) -> Result<BTreeSet<Right>> {
    let text = fs::read_to_string(log).context("cannot read the audit log")?;
    let mut rights = BTreeSet::new();
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).context("the audit log is JSON")?;
        let Some(Actor { own, serves_own }) = who(&entry) else { continue };
        let code = entry["responseStatus"]["code"].as_u64().unwrap_or_default();
        // What every account may read by the cluster's own role system:discovery.
        if code == 200 && entry["requestURI"].as_str().is_some_and(|path| path.starts_with("/openapi/v3/")) {
            continue;
        }
        let object = &entry["objectRef"];
        if code == 401
            || entry["annotations"]["authorization.k8s.io/decision"] != "allow"
            || !object.is_object()
        {
            bail!("{} {}: {code} for {}", entry["verb"], entry["requestURI"], entry["user"]["username"]);
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let subresource = object["subresource"].as_str().map(|it| format!("/{it}")).unwrap_or_default();
        let resource = with_group(&(text(&object["resource"]) + &subresource), &text(&object["apiGroup"]));
        let right = |own| Right { own, verb: text(&entry["verb"]), resource: resource.clone() };
        let inside = object["namespace"] == own.as_str();
        let mut by: Vec<Right> = [true, false]
            .into_iter()
            .filter(|own| inside || !own)
            .map(right)
            .filter(|it| granted.contains(it))
            .collect();
        if !serves_own {
            by.truncate(1);
        }
        if by.is_empty() {
            bail!("no role of the chart grants {}", right(inside).told());
        }
        rights.extend(by);
    }
    Ok(rights)
}

fn with_group(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}
