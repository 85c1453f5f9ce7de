//! `make image` with each kind of engine. The engines are scripts that say what they were asked: what is tested is the recipe.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use connect_tests::scratch::Scratch;

use super::ROOT;

/// What an engine answers: nothing, or it works; and whether it has buildx.
const DEAD: &str = "exit 1";
const OLD: &str = "case \"$1\" in info) exit 0 ;; buildx) exit 1 ;; *) echo \"asked: $*\" ;; esac";
const NEW: &str = "case \"$*\" in info|'buildx version') exit 0 ;; *) echo \"asked: $*\" ;; esac";

/// The engines on PATH with what they do, what make is told beside, whether it succeeds, and what it says.
type Row = (&'static [(&'static str, &'static str)], &'static [&'static str], bool, &'static str);

const ROWS: [Row; 8] = [
    (&[], &[], false, "no container engine answers: start docker or podman"),
    (&[("docker", DEAD)], &[], false, "no container engine answers: start docker or podman"),
    (&[("docker", OLD)], &[], false, "docker has no BuildKit"),
    (&[("docker", OLD)], &["PUSH=1"], false, "apt-get install docker-buildx"),
    (&[("docker", OLD), ("podman", NEW)], &[], true, "asked: build -t private-connect:latest ."),
    (&[("docker", NEW)], &[], true, "asked: buildx build --load -t private-connect:latest ."),
    (
        &[("docker", NEW)],
        &["IMAGE=a/b:c", "PUSH=1"],
        true,
        "asked: buildx build --platform linux/amd64,linux/arm64 --push -t a/b:c .",
    ),
    (
        &[("podman", NEW)],
        &["IMAGE=a/b:c", "PUSH=1"],
        true,
        "asked: build --platform linux/amd64,linux/arm64 --manifest a/b:c .",
    ),
];

#[test]
fn make_image_says_what_it_needs() -> Result<()> {
    for (engines, words, succeeds, said) in ROWS {
        let scratch = Scratch::new("engines")?;
        for (name, script) in engines {
            let program = scratch.path().join(name);
            fs::write(&program, format!("#!/bin/sh\n{script}\n"))?;
            fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        }
        for name in ["bash", "sh", "env", "make", "cat", "dirname"] {
            let found =
                connect_tests::toolchain::on_path(name).with_context(|| format!("{name} is needed"))?;
            std::os::unix::fs::symlink(found, scratch.path().join(name))?;
        }
        let mut make = Command::new("make");
        make.args(["--no-print-directory", "-C", ROOT, "image"]).args(words);
        make.env("PATH", scratch.path()).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        let output = make.output().context("cannot start make")?;
        let text =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        ensure!(output.status.success() == succeeds && text.contains(said), "{engines:?} {words:?}: {text}");
    }
    Ok(())
}
