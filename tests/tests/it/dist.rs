//! What a release hands out: an archive that unpacks and runs, and sums and a Krew manifest that fit it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use connect_release::{self as release, Platform};
use connect_tests::scratch::Scratch;
use connect_tests::toolchain::product;

/// What we run on; the only platform that is made everywhere tests run.
fn here() -> Result<Platform> {
    let is_here = |platform: &Platform| {
        platform.target.starts_with(std::env::consts::ARCH) && platform.target.contains(std::env::consts::OS)
    };
    Platform::ALL.into_iter().find(is_here).context("tests run on a platform of a release")
}

#[tokio::test]
async fn an_archive_unpacks_runs_and_is_what_sums_and_manifest_say() -> Result<()> {
    let scratch = Scratch::new("dist")?;
    let platform = here()?;
    let program = product().await?.folder().join("kubectl-connect");
    let archive = release::pack(platform, &program, scratch.path())?;
    assert_eq!(release::publish(scratch.path(), "https://downloads.example.com/v1")?, [platform]);
    run("sha256sum", &["--check", "--strict", "SHA256SUMS"], &scratch)?;
    let name = archive.file_name().context("a file")?.to_string_lossy().into_owned();
    run("tar", &["-xzf", &name], &scratch)?;
    let said = run("./kubectl-connect", &["version"], &scratch)?;
    assert_eq!(said.trim(), format!("kubectl-connect {}", release::VERSION));
    for file in ["LICENSE", "man/kubectl-connect-join.1", "completions/kubectl_complete-connect"] {
        ensure!(scratch.path().join(file).is_file(), "there is no {file}");
    }
    let bill = std::fs::read(scratch.path().join("kubectl-connect.cdx.json"))?;
    let bill: serde_json::Value = serde_json::from_slice(&bill)?;
    let names: Vec<_> =
        bill["components"].as_array().context("components")?.iter().map(|it| &it["name"]).collect();
    ensure!(
        names.iter().any(|name| *name == "rustls") && !names.iter().any(|name| *name == "snapbox"),
        "{names:?}"
    );
    let manifest = std::fs::read_to_string(scratch.path().join("connect.yaml"))?;
    ensure!(manifest.contains(&format!("uri: https://downloads.example.com/v1/{name}\n")), "{manifest}");
    Ok(())
}

#[test]
fn the_images_programs_have_their_bills_too() -> Result<()> {
    let scratch = Scratch::new("bills")?;
    let bills = release::bill_the_image(scratch.path())?;
    ensure!(bills.len() == 2, "{bills:?}");
    for path in bills {
        let bill: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let components = bill["components"].as_array().context("components")?;
        ensure!(components.iter().any(|it| it["name"] == "axum"), "{} is incomplete", path.display());
        ensure!(
            !components.iter().any(|it| it["name"] == "clap_complete"),
            "{}: of another program",
            path.display()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_manifest_that_does_not_fit_is_refused() -> Result<()> {
    let scratch = Scratch::new("dist-check")?;
    let program = product().await?.folder().join("kubectl-connect");
    let archive = release::pack(here()?, &program, scratch.path())?;
    release::publish(scratch.path(), "https://downloads.example.com")?;
    let whole = std::fs::read(&archive)?;
    std::fs::write(&archive, &whole[..whole.len() - 1])?;
    let refused = release::check(scratch.path()).err().context("the archive was changed")?;
    ensure!(refused.to_string().starts_with("the manifest has another sum for "), "{refused}");
    std::fs::remove_file(&archive)?;
    let refused = release::check(scratch.path()).err().context("the archive is gone")?;
    ensure!(refused.to_string().ends_with("which is not there"), "{refused}");
    Ok(())
}

#[test]
fn the_release_workflow_builds_every_platform() -> Result<()> {
    let workflow = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows/release.yml");
    let workflow = std::fs::read_to_string(workflow)?;
    for platform in Platform::ALL {
        ensure!(
            workflow.contains(&format!("target: {}\n", platform.target)),
            "{} is missing",
            platform.target
        );
    }
    Ok(())
}

fn run(program: &str, arguments: &[&str], folder: &Scratch) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(folder.path()).output()?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
