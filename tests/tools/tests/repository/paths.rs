//! Paths in documents and comments. A path may be written from the root or from any folder above the file that names it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, ensure};

use super::{files, read};

/// Endings of files that are only ever ours, so that the bare name of one must be a file's, too.
const OURS: [&str; 3] = ["rs", "md", "sql"];

/// Endings of files that users have as well: only those written with a folder are meant to be ours.
const SHARED: [&str; 6] = ["yaml", "yml", "json", "toml", "js", "sh"];

/// Names of other people's files.
const THEIRS: [&str; 7] = [
    ".github/workflows/preview.yaml", // in the application's repository
    ".gitlab-ci.yml",
    "config.json", // of the vendor's command line
    "~/.private-connect/config.json",
    "/etc/ssl/openssl.cnf",
    "wiki.example.com/RUNBOOK.md",
    "target/bench/bench.json", // written by a run
];

#[test]
fn every_path_that_is_named_exists() -> Result<()> {
    let known: BTreeSet<String> = files()?.into_iter().collect();
    let names: BTreeSet<&str> = known.iter().filter_map(|path| path.rsplit('/').next()).collect();
    let mut wrong = Vec::new();
    for path in known.iter().filter(|path| !is_of_others(path)) {
        let Some(text) = prose(path)? else { continue };
        for (line, words) in text {
            for named in named(&words).filter(|it| !THEIRS.contains(it)) {
                if !exists(&known, &names, path, named) {
                    wrong.push(format!("{path}:{line}: {named}"));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "these are named and are not there:\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn every_link_leads_somewhere() -> Result<()> {
    let known: BTreeSet<String> = files()?.into_iter().collect();
    let mut wrong = Vec::new();
    for path in known.iter().filter(|path| path.ends_with(".md")) {
        let text = read(path)?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { resolved(parent(path), file) };
            let is_folder = known.iter().any(|it| it.starts_with(&format!("{target}/")));
            let has_anchor = || -> Result<bool> {
                Ok(anchor.is_empty() || !target.ends_with(".md") || anchors(&read(&target)?).contains(anchor))
            };
            if !(known.contains(&target) || is_folder) || (known.contains(&target) && !has_anchor()?) {
                wrong.push(format!("{path}: {link}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
    Ok(())
}

/// What GitHub makes of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|it| it.is_alphanumeric() || " -_".contains(*it))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// Files that others wrote, or that hold other people's paths.
fn is_of_others(path: &str) -> bool {
    path.starts_with("operator/hub/tests/recordings/")
        || path.contains("/node/package")
        || path == "CHANGELOG.md"
}

/// The lines of a file that speak to people: all of a document, comments of code.
fn prose(path: &str) -> Result<Option<Vec<(usize, String)>>> {
    let comment = match path.rsplit('.').next() {
        Some("md") => "",
        Some("rs" | "go" | "js") => "//",
        Some("toml" | "yaml" | "yml" | "sh" | "tpl") => "# ",
        _ if path.ends_with("Makefile") || path.ends_with("Dockerfile") => "# ",
        _ => return Ok(None),
    };
    let text = read(path)?;
    let spoken = text.lines().enumerate().filter_map(|(number, line)| {
        let words = if comment.is_empty() { line } else { line.split_once(comment)?.1 };
        Some((number + 1, words.to_owned()))
    });
    Ok(Some(spoken.collect()))
}

/// Words that look like a file of ours.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|it: char| !(it.is_ascii_alphanumeric() || "_./-~*<>$:".contains(it)));
    words.map(|word| word.trim_end_matches(['.', ':'])).filter(|word| {
        let Some((stem, ending)) = word.rsplit_once('.') else { return false };
        let is_pattern =
            word.contains(['*', '<', '>', '$', '~', ':']) || word.starts_with("//") || stem.is_empty();
        let is_ours = OURS.contains(&ending) || SHARED.contains(&ending) && word.contains('/');
        !is_pattern && is_ours && !stem.ends_with('/') && stem.chars().any(|it| it.is_ascii_alphabetic())
    })
}

fn exists(known: &BTreeSet<String>, names: &BTreeSet<&str>, path: &str, named: &str) -> bool {
    if !named.contains('/') && names.contains(named) {
        return true;
    }
    let above = Path::new(path).ancestors().skip(1);
    above.map(|folder| resolved(folder, named)).any(|it| known.contains(&it))
}

fn parent(path: &str) -> &Path {
    Path::new(path).parent().unwrap_or(Path::new(""))
}

/// `path` from `folder`, without `.` and `..`.
fn resolved(folder: &Path, path: &str) -> String {
    let mut clean = PathBuf::new();
    for part in folder.join(path.trim_end_matches('/')).components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    clean.to_string_lossy().into_owned()
}

#[test]
fn what_is_named_is_found_in_a_line() {
    let line = [
        "see `src/lib.rs`, operator/hub/PROTOCOL.md and share.yaml; not https:/",
        "/a.b/c.md, *.rs or ~/x.sh.",
    ]
    .concat();
    assert_eq!(named(&line).collect::<Vec<_>>(), ["src/lib.rs", "operator/hub/PROTOCOL.md"]);
    let known: BTreeSet<String> = ["a/src/lib.rs".to_owned()].into();
    assert!(exists(&known, &["lib.rs"].into(), "a/docs/x.md", "src/lib.rs"));
    assert!(!exists(&known, &["lib.rs"].into(), "b/x.md", "src/lib.rs"));
    assert!(!exists(&known, &["lib.rs"].into(), "a/x.md", "reliability.md"));
}
