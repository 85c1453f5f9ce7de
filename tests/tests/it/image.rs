//! The image: what its build is given is what cargo needs, and `make image` says in words what is missing.

mod engine;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use connect_tests::scratch::Scratch;
use connect_tests::toolchain::{self, product};
use serde::Deserialize;

/// The workspace.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What the Dockerfile builds, and the programs that come of it.
const BUILT: [&str; 2] = ["connect-operator", "connect-hubd"];

/// Mistakes in `.dockerignore`: a line and what stands there instead, and a file that the build then lacks.
const MISTAKES: [(&str, &str, &str); 6] = [
    ("/target", "**/target", "operator/src/target/required_label.rs"),
    ("/target", "*/src/target", "operator/src/target/required_label.rs"),
    ("!operator", "!operator/src", "operator/hubd/migrations/0001_first.sql"),
    ("!crds", "", "crds/src/lib.rs"),
    ("!Cargo.lock", "", "Cargo.lock"),
    ("operator/decisions", "**/*.sql", "operator/hubd/migrations/0001_first.sql"),
];

#[tokio::test]
async fn the_build_context_holds_what_cargo_needs_and_is_in_git() -> Result<()> {
    let listed = of_git()?;
    let needed = needed().await?;
    let ignored = fs::read_to_string(format!("{ROOT}/.dockerignore")).context(".dockerignore")?;
    let context = in_context(&ignored, &listed).await?;
    let missing: Vec<_> = needed.iter().filter(|path| !context.contains(*path)).collect();
    ensure!(
        missing.is_empty(),
        "the build needs {missing:?}, which .dockerignore leaves out or git does not hold"
    );
    // Neither what was built here nor the repository's own memory belongs there.
    let strange =
        ["target/debug/connect-operator", ".git/config", "dist/SHA256SUMS", ".env"].map(str::to_owned);
    let strange = in_context(&ignored, &strange.into()).await?;
    ensure!(strange.is_empty(), "the context would hold {strange:?}");
    cargo_takes(&context)
}

#[tokio::test]
async fn a_mistake_in_dockerignore_is_found() -> Result<()> {
    let listed = of_git()?;
    let ignored = fs::read_to_string(format!("{ROOT}/.dockerignore")).context(".dockerignore")?;
    let needed = needed().await?;
    for (line, instead, lost) in MISTAKES {
        ensure!(ignored.lines().any(|it| it == line), "there is no line {line}");
        let wrong: Vec<&str> = ignored.lines().map(|it| if it == line { instead } else { it }).collect();
        let context = in_context(&wrong.join("\n"), &listed).await?;
        ensure!(needed.contains(lost) && !context.contains(lost), "{line} -> {instead:?} leaves {lost} in");
    }
    Ok(())
}

/// All files that git holds.
fn of_git() -> Result<BTreeSet<String>> {
    let output = Command::new("git").args(["-C", ROOT, "ls-files"]).output().context("cannot start git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// What cargo reads to know its workspace, what lies in the source folders of the packages that are built, and what the compiler
/// says it read: modules, files that are included, migrations.
async fn needed() -> Result<BTreeSet<String>> {
    let root = fs::canonicalize(ROOT)?;
    let inside = |path: &str| Some(Path::new(path).strip_prefix(&root).ok()?.to_string_lossy().into_owned());
    let mut needed: BTreeSet<String> = ["Cargo.toml", "Cargo.lock"].map(str::to_owned).into();
    let packages = packages(&root)?;
    let built = with_dependencies(&packages);
    for package in &packages {
        needed.extend(inside(&package.manifest_path));
        // Cargo looks for the first file of every target of every member, built or not.
        needed.extend(package.targets.iter().filter_map(|target| inside(&target.src_path)));
    }
    let folders: Vec<String> =
        built.iter().filter_map(|it| inside(it.manifest_path.strip_suffix("Cargo.toml")?)).collect();
    let is_source = |path: &String| {
        folders.iter().any(|folder| {
            let rest = path.strip_prefix(&format!("{folder}/"));
            rest.is_some_and(|rest| rest.starts_with("src/") || rest.starts_with("migrations/"))
        })
    };
    needed.extend(of_git()?.into_iter().filter(is_source));
    let product = product().await?;
    for program in [product.operator(), product.hub()] {
        let said = program.with_extension("d");
        let text =
            fs::read_to_string(&said).with_context(|| format!("the compiler wrote no {}", said.display()))?;
        let (_, files) = text.split_once(": ").context("PROGRAM: FILES")?;
        needed.extend(files.split_whitespace().filter_map(inside));
    }
    ensure!(needed.iter().any(|it| it.ends_with(".sql")), "the hub has no migrations");
    Ok(needed)
}

/// A package of the workspace, as `cargo metadata` says it.
#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    src_path: String,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<String>,
}

fn packages(folder: &Path) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).args([
        "metadata",
        "--locked",
        "--offline",
        "--no-deps",
        "--format-version",
        "1",
    ]);
    let output = cargo.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice::<Metadata>(&output.stdout)?.packages)
}

/// The packages that the Dockerfile names and those of the workspace that they need.
fn with_dependencies(packages: &[Package]) -> Vec<&Package> {
    let mut names: Vec<&str> = BUILT.to_vec();
    let mut next = 0;
    while let Some(name) = names.get(next) {
        let found = packages.iter().filter(|it| it.name == *name).flat_map(|it| &it.dependencies);
        let more: Vec<&str> = found.filter(|it| it.path.is_some()).map(|it| it.name.as_str()).collect();
        let new: Vec<&str> = more.into_iter().filter(|it| !names.contains(it)).collect();
        names.extend(new);
        next += 1;
    }
    packages.iter().filter(|it| names.contains(&it.name.as_str())).collect()
}

/// Those of `paths` that Docker sends to the builder.
async fn in_context(ignored: &str, paths: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let scratch = Scratch::new("context")?;
    let file = scratch.path().join(".dockerignore");
    fs::write(&file, ignored)?;
    let mut program = Command::new(toolchain::build_context().await?);
    let mut child = program.arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    let lines: String = paths.iter().map(|path| format!("{path}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().ok().context("the writer goes on")??;
    ensure!(output.status.success(), "build-context ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Cargo finds every member and target in a folder with nothing but the context.
fn cargo_takes(context: &BTreeSet<String>) -> Result<()> {
    let scratch = Scratch::new("context")?;
    for path in context {
        let copy: PathBuf = scratch.path().join(path);
        fs::create_dir_all(copy.parent().context("in a folder")?)?;
        fs::copy(Path::new(ROOT).join(path), copy).with_context(|| path.clone())?;
    }
    let found = packages(scratch.path())?;
    ensure!(BUILT.iter().all(|name| found.iter().any(|it| it.name == *name)), "not all packages are there");
    Ok(())
}
