//! Versions that more than one file must know.

use anyhow::{Context as _, Result, ensure};

use super::read;

/// The value of `key = "..."` in a TOML file.
fn value(file: &str, key: &str) -> Result<String> {
    let text = read(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
    let value =
        line.and_then(|rest| rest.split('"').next()).with_context(|| format!("{file} has no {key}"))?;
    Ok(value.to_owned())
}

#[test]
fn one_version_of_rust() -> Result<()> {
    let channel = value("rust-toolchain.toml", "channel")?;
    let oldest = value("Cargo.toml", "rust-version")?;
    ensure!(
        channel.starts_with(&format!("{oldest}.")),
        "rust-toolchain.toml says {channel}, Cargo.toml {oldest}"
    );
    let image = format!("rust:{oldest}-");
    ensure!(read("Dockerfile")?.contains(&image), "the Dockerfile builds with another Rust than {oldest}");
    // Everything else asks the file.
    for workflow in ["ci.yml", "release.yml"] {
        let text = read(&format!(".github/workflows/{workflow}"))?;
        ensure!(!text.contains(&oldest), "{workflow} says a version of Rust of its own");
    }
    Ok(())
}

#[test]
fn one_version_of_go() -> Result<()> {
    let go = |module: &str| -> Result<String> {
        let text = read(&format!("tests/control-plane/{module}/go.mod"))?;
        let version =
            text.lines().find_map(|line| line.strip_prefix("go ")).context("go.mod says a version")?;
        Ok(version.rsplit_once('.').map_or(version, |(minor, _)| minor).to_owned())
    };
    let version = go("kubernetes")?;
    for module in ["helm", "build-context"] {
        ensure!(go(module)? == version, "{module} wants Go {}, the control plane {version}", go(module)?);
    }
    for (file, words) in [("README.md", format!("Go {version}")), ("Makefile", format!("Go {version}"))] {
        ensure!(read(file)?.contains(&words), "{file} does not ask for {words}");
    }
    Ok(())
}
