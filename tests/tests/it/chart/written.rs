//! What is written from something else is as that says: `make generate` writes it anew.
//!
//! The kinds' chart comes from `crds/`, descriptions and defaults in the schema and the README's table from the comments in
//! `values.yaml`. Whatever one of them says and another does not, is a failure.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use connect_tests::toolchain;
use serde_json::Value;

use super::{CHARTS, KINDS, OPERATOR, PREVIEW};

/// Set by `make generate`: write the files instead of comparing them.
const WRITE: &str = "CONNECT_GENERATE";

/// The workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Around the table in the README.
const TABLE: [&str; 2] =
    ["<!-- values: written by `make generate` from values.yaml -->\n", "<!-- end of values -->\n"];

/// A key of the schema that no value stands for: Helm sets it for charts that others depend on.
const HELMS_OWN: &str = "global";

#[test]
fn the_kinds_chart_is_what_crds_says() -> Result<()> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("{ROOT}/crds")).context("cannot list crds/")? {
        let path = entry.context("cannot list crds/")?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let yaml = read(&path)?;
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        let template = kept(&yaml).with_context(|| format!("{name} begins in another way"))?;
        is_written(format!("{KINDS}/templates/{name}"), &template)?;
        found.push(name);
    }
    let mut templates: Vec<String> = fs::read_dir(format!("{KINDS}/templates"))
        .context("cannot list the templates")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    templates.retain(|name| name != "NOTES.txt");
    found.sort();
    templates.sort();
    assert_eq!(templates, found, "the chart has a template that is no kind");
    Ok(())
}

#[test]
fn the_schema_and_the_readme_say_what_the_values_say() -> Result<()> {
    [OPERATOR, PREVIEW].into_iter().try_for_each(say_what_the_values_say)
}

fn say_what_the_values_say(chart: &str) -> Result<()> {
    let text = read(format!("{chart}/values.yaml"))?;
    let values: Value = serde_saphyr::from_str(&text).context("values.yaml is not YAML")?;
    let path = format!("{chart}/values.schema.json");
    let committed: Value = serde_json::from_str(&read(&path)?).context("the schema is not JSON")?;

    let mut schema = committed.clone();
    let mut rows = BTreeMap::new();
    let comments = comments(&text);
    describe("", &values, &mut schema, &comments.iter().cloned().collect(), &mut rows)?;
    if committed != schema {
        is_written(&path, &(serde_json::to_string_pretty(&schema)? + "\n"))?;
    }

    let path = format!("{chart}/README.md");
    let readme = read(&path)?;
    let (before, rest) = readme.split_once(TABLE[0]).context("the README has no place for values")?;
    let (_, after) = rest.split_once(TABLE[1]).context("the README's values have no end")?;
    // In the order of the file, which is the order of importance.
    let rows: Vec<String> = comments.iter().filter_map(|(path, _)| rows.remove(path)).collect();
    let table = format!("\n| value | what it is | default |\n|---|---|---|\n{}\n\n", rows.join("\n"));
    is_written(&path, &[before, TABLE[0], &table, TABLE[1], after].concat())
}

#[test]
fn one_version_is_told_by_all() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    for chart in [OPERATOR, KINDS, PREVIEW] {
        let chart: Value = serde_saphyr::from_str(&read(format!("{chart}/Chart.yaml"))?)?;
        assert_eq!(chart["version"], version, "{chart}");
        assert_eq!(chart["appVersion"], version, "{chart}");
    }
    Ok(())
}

#[test]
fn the_image_fits_the_workspace_and_the_chart() -> Result<()> {
    let dockerfile = read(format!("{ROOT}/Dockerfile"))?;
    let minimum = env!("CARGO_PKG_RUST_VERSION");
    let compiler = format!("FROM --platform=$BUILDPLATFORM rust:{minimum}-");
    assert!(dockerfile.contains(&compiler), "Cargo.toml asks for Rust {minimum}");

    let (_, image) = dockerfile.rsplit_once("\nFROM ").context("it has a second stage")?;
    assert!(!image.contains("\nRUN "), "there is no shell in the image");
    let deployment = read(format!("{OPERATOR}/templates/deployment.yaml"))?;
    let values = read(format!("{OPERATOR}/values.yaml"))?;
    let user = values.split_once("  runAsUser: ").and_then(|(_, rest)| rest.lines().next());
    let user = user.context("the chart says which user")?;
    assert!(image.contains(&format!("\nUSER {user}:{user}\n")), "user {user} in the chart");
    assert!(image.contains("\nCOPY --from=build --chown=65532:65532 /out/data /var/lib/private-connect\n"));
    assert!(deployment.contains("$hubData := \"/var/lib/private-connect\""));

    let ignored = read(format!("{ROOT}/.dockerignore"))?;
    let workspace = read(format!("{ROOT}/Cargo.toml"))?;
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).context("members")?;
    let members: Vec<String> = serde_json::from_str(members).context("a list on one line")?;
    for member in members {
        let top = member.split('/').next().unwrap_or_default();
        assert!(ignored.lines().any(|line| line == format!("!{top}")), "cargo needs {member} to build any");
    }
    Ok(())
}

/// What distroless/cc has beside the certificates: glibc and the compiler's library.
const IN_THE_IMAGE: [&str; 5] = ["libc.so", "libm.so", "libgcc_s.so", "ld-linux", "linux-vdso"];

#[tokio::test]
async fn the_images_programs_need_nothing_that_is_not_in_it() -> Result<()> {
    let dockerfile = read(format!("{ROOT}/Dockerfile"))?;
    let (_, image) = dockerfile.rsplit_once("\nFROM ").context("it has a second stage")?;
    let programs = toolchain::product().await?;
    let built = [("connect-operator", programs.operator()), ("connect-hubd", programs.hub())];
    for (name, program) in &built {
        assert!(image.contains(&format!("/out/{name}")), "{name} is not in the image");
        let output = std::process::Command::new("ldd").arg(program).output().context("cannot run ldd")?;
        let needed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success() && !needed.is_empty(), "ldd says nothing of {name}");
        for line in needed.lines() {
            assert!(IN_THE_IMAGE.iter().any(|library| line.contains(library)), "{name} needs {line}");
        }
    }
    let entry = image.split_once("ENTRYPOINT [\"/usr/local/bin/").and_then(|(_, rest)| rest.split_once('"'));
    assert!(built.iter().any(|(name, _)| Some(*name) == entry.map(|(entry, _)| entry)), "{entry:?}");
    Ok(())
}

/// A definition as a template that Helm leaves in place when the chart goes.
fn kept(yaml: &str) -> Option<String> {
    // Braces in twos would be a template's own.
    let (before, after) = yaml.split_once("\nmetadata:\n").filter(|_| !yaml.contains("{{"))?;
    let before = before.split_once('\n').map(|(_, rest)| rest)?;
    let note = "# Generated by `make generate` from crds/; do not edit.";
    Some(format!("{note}\n{before}\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n{after}"))
}

/// The path of each key that has a comment right above it, and that comment.
fn comments(yaml: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in yaml.lines() {
        let text = line.trim_start();
        if let Some(words) = text.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        if let Some((key, _)) = text.split_once(':') {
            path.truncate((line.len() - text.len()) / 2);
            path.push(key);
            if !comment.is_empty() {
                found.push((path.join("."), comment.join(" ")));
            }
        }
        comment.clear();
    }
    found
}

/// Puts comments and defaults into the schema, and a row for each value into the table. Values and schema must have the same
/// keys, and each key a comment.
fn describe(
    path: &str,
    values: &Value,
    schema: &mut Value,
    comments: &BTreeMap<String, String>,
    rows: &mut BTreeMap<String, String>,
) -> Result<()> {
    ensure!(schema["additionalProperties"] == false, "the schema takes any key in {path:?}");
    let values = values.as_object().with_context(|| format!("{path} has no keys"))?;
    let known =
        schema["properties"].as_object().with_context(|| format!("the schema knows no keys in {path:?}"))?;
    let unknown: Vec<_> =
        known.keys().filter(|key| !values.contains_key(*key) && *key != HELMS_OWN).collect();
    ensure!(unknown.is_empty(), "the schema knows {unknown:?} in {path:?}, values.yaml does not");
    for (key, value) in values {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let comment = comments.get(&path).with_context(|| format!("{path} has no comment"))?;
        let part = schema["properties"].get_mut(key).with_context(|| format!("the schema lacks {path}"))?;
        part["description"] = comment.as_str().into();
        let cell = comment.replace('|', "\\|");
        if part.get("properties").is_some() {
            rows.insert(path.clone(), format!("| `{path}` | {cell} | |"));
            describe(&path, value, part, comments, rows)?;
        } else {
            part["default"] = value.clone();
            let row = format!("| `{path}` | {cell} | `{value}` |");
            rows.insert(path, row);
        }
    }
    Ok(())
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn is_written(path: impl AsRef<Path>, content: &str) -> Result<()> {
    let path = path.as_ref();
    if std::env::var_os(WRITE).is_some() {
        fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    let shown = path.strip_prefix(CHARTS).unwrap_or(path).display();
    ensure!(committed == content, "{shown} is not up to date: run `make generate` and commit the difference");
    Ok(())
}
