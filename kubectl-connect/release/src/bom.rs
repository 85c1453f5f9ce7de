//! A bill of materials in CycloneDX's JSON: every crate that is linked into a program, as cargo resolves it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::workspace;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Nothing for what is linked in; `dev` or `build` for the rest.
    kind: Option<String>,
}

/// The bill of a program of the workspace for a Rust target.
pub fn of(program: &str, target: &str) -> Result<Vec<u8>> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace()?)
        .args(["metadata", "--format-version=1", "--locked", "--filter-platform", target])
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata cannot be read")?;
    let bill = bill(program, &metadata)?;
    serde_json::to_vec_pretty(&bill).context("it is JSON")
}

fn bill(program: &str, metadata: &Metadata) -> Result<Value> {
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let links: BTreeMap<&str, Vec<&str>> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), linked(node))).collect();
    let root = metadata.packages.iter().find(|package| package.name == program);
    let root = root.with_context(|| format!("there is no package {program}"))?;
    let mut reached = BTreeSet::new();
    let mut ahead = vec![root.id.as_str()];
    while let Some(id) = ahead.pop() {
        if reached.insert(id) {
            ahead.extend(links.get(id).into_iter().flatten());
        }
    }
    let package = |id: &str| packages.get(id).copied().context("cargo names a package that it does not list");
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for id in &reached {
        let known = package(id)?;
        if known.id != root.id {
            components.push(component(known, "library"));
        }
        let links: Result<Vec<_>> =
            links.get(id).into_iter().flatten().map(|id| Ok(purl(package(id)?))).collect();
        dependencies.push(json!({"ref": purl(known), "dependsOn": links?}));
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root, "application")},
        "components": components,
        "dependencies": dependencies,
    }))
}

fn linked(node: &Node) -> Vec<&str> {
    let linked =
        node.deps.iter().filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none()));
    linked.map(|dependency| dependency.pkg.as_str()).collect()
}

fn component(package: &Package, kind: &str) -> Value {
    let Package { id: _, name, version, license } = package;
    let mut component = json!({"type": kind, "bom-ref": purl(package), "name": name, "version": version, "purl": purl(package)});
    if let Some(license) = license {
        // Some old crates write `/` where the expression has `OR`.
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    component
}

fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_in_is_listed_and_what_only_builds_or_tests_is_not() {
        let package =
            |id: &str| json!({"id": id, "name": id, "version": "1.0.0", "license": "MIT/Apache-2.0"});
        let link = |id: &str, kind: Option<&str>| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        let packages = ["app", "direct", "deep", "dev", "build", "stranger"].map(package);
        let metadata = json!({
            "packages": packages,
            "resolve": {"nodes": [
                {"id": "app", "deps": [link("direct", None), link("dev", Some("dev")), link("build", Some("build"))]},
                {"id": "direct", "deps": [link("deep", None)]},
                {"id": "deep", "deps": []},
                {"id": "dev", "deps": [link("stranger", None)]},
            ]},
        });
        let bill = bill("app", &serde_json::from_value(metadata).expect("metadata")).expect("a bill");
        let names: Vec<_> =
            bill["components"].as_array().expect("components").iter().map(|it| it["name"].clone()).collect();
        assert_eq!(names, ["deep", "direct"]);
        assert_eq!(bill["metadata"]["component"]["purl"], "pkg:cargo/app@1.0.0");
        assert_eq!(bill["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(
            bill["dependencies"][0],
            json!({"ref": "pkg:cargo/app@1.0.0", "dependsOn": ["pkg:cargo/direct@1.0.0"]})
        );
    }
}
