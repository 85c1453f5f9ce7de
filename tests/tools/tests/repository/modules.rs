//! The top-level modules of each crate import one another in one direction, as the picture in CONTRIBUTING.md shows.

mod graph;
mod tokens;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use self::graph::Graph;
use super::{ROOT, files, read};

/// Where the picture is, and what is around it.
const GUIDE: &str = "CONTRIBUTING.md";
const PICTURE: [&str; 2] = ["<!-- modules, written by `make generate` -->\n", "<!-- end of modules -->"];

/// Set by `make generate`: write the picture instead of comparing it.
const WRITE: &str = "CONNECT_GENERATE";

/// Every crate of ours by its folder.
fn crates() -> Result<BTreeMap<String, Graph>> {
    let mut sources: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for path in files()?.into_iter().filter(|path| path.ends_with(".rs")) {
        if let Some((folder, inner)) = path.split_once("/src/") {
            let text = read(&path)?;
            sources.entry(folder.to_owned()).or_default().push((inner.to_owned(), text));
        }
    }
    Ok(sources.into_iter().map(|(folder, files)| (folder, Graph::of(&files))).collect())
}

#[test]
fn modules_import_one_another_in_one_direction() -> Result<()> {
    let crates = crates()?;
    let circles = crates.iter().flat_map(|(folder, graph)| {
        let told = move |cycle: Vec<&str>| format!("{folder}: {}: {}", cycle.join(", "), graph.told(&cycle));
        graph.cycles().into_iter().map(told)
    });
    let circles: Vec<_> = circles.collect();
    ensure!(circles.is_empty(), "these modules import one another in a circle:\n{}", circles.join("\n"));
    Ok(())
}

#[test]
fn the_picture_of_modules_is_what_the_sources_say() -> Result<()> {
    let mut picture = String::new();
    for (folder, graph) in crates()?.iter().filter(|(_, graph)| !graph.0.is_empty()) {
        draw(&mut picture, folder, graph)?;
    }
    let guide = read(GUIDE)?;
    let (before, rest) = guide.split_once(PICTURE[0]).context("no picture begins")?;
    let (drawn, after) = rest.split_once(PICTURE[1]).context("no picture ends")?;
    if std::env::var_os(WRITE).is_some() {
        let anew = [before, PICTURE[0], &picture, PICTURE[1], after].concat();
        return fs::write(Path::new(ROOT).join(GUIDE), anew).context("cannot write");
    }
    ensure!(drawn == picture, "{GUIDE} shows other modules: run `make generate` and commit the difference");
    Ok(())
}

/// A crate that says in its first lines which layers it has keeps to them.
#[test]
fn no_module_imports_one_of_a_higher_layer() -> Result<()> {
    let mut told = 0;
    let mut wrong = Vec::new();
    for (folder, graph) in crates()? {
        let Ok(root) = read(&format!("{folder}/src/lib.rs")) else { continue };
        let layers = layers(&root);
        told += usize::from(!layers.is_empty());
        for (module, imported) in graph.0.iter().filter(|_| !layers.is_empty()) {
            match layers.get(module) {
                None => wrong.push(format!("{folder}: {module} is in no layer")),
                Some(own) => wrong.extend(
                    imported
                        .keys()
                        .filter(|name| layers.get(*name).is_some_and(|layer| layer < own))
                        .map(|name| format!("{folder}: {module} imports {name}, which is above it")),
                ),
            }
        }
    }
    ensure!(told > 0, "no crate says which layers it has");
    ensure!(wrong.is_empty(), "the table of layers is broken:\n{}", wrong.join("\n"));
    Ok(())
}

/// The layer of each module, from the top, as the table in the crate's documentation has it; none where there is no table.
fn layers(root: &str) -> BTreeMap<String, usize> {
    let rows = root.lines().skip_while(|line| *line != "//! | layer | modules |").skip(2);
    let rows = rows.map_while(|line| line.strip_prefix("//! | "));
    let named = |row: &str| row.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.enumerate().flat_map(|(layer, row)| named(row).into_iter().map(move |name| (name, layer))).collect()
}

/// One line for each module, above those that it imports.
fn draw(picture: &mut String, folder: &str, graph: &Graph) -> Result<()> {
    let mut modules: Vec<_> = graph.heights().into_iter().map(|(module, height)| (height, module)).collect();
    modules.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let width = modules.iter().map(|(_, it)| it.len()).max().unwrap_or(0);
    writeln!(picture, "\n<details><summary>{folder}</summary>\n\n```")?;
    for (height, module) in modules {
        let imports: Vec<_> = graph.0[module].keys().map(String::as_str).collect();
        let line = format!("{height:2}  {module:width$}  {}", imports.join(" "));
        writeln!(picture, "{}", line.trim_end())?;
    }
    writeln!(picture, "```\n\n</details>\n")?;
    Ok(())
}
