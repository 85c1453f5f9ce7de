//! The guides agree: what README, the charts' READMEs and their notes tell people to type is the same everywhere.

use anyhow::{Result, ensure};

use super::read;

/// Every text that tells how to install.
const GUIDES: [&str; 6] = [
    "README.md",
    "charts/private-connect/README.md",
    "charts/private-connect-crds/README.md",
    "charts/private-connect/templates/NOTES.txt",
    "charts/private-connect-crds/templates/NOTES.txt",
    "operator/hubd/README.md",
];

/// Lines that begin so, without their continuations being torn off.
fn commands(text: &str, begins: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| line.starts_with(begins)).collect()
}

#[test]
fn every_guide_installs_alike() -> Result<()> {
    let mut definitions = 0;
    for guide in GUIDES {
        let text = read(guide)?;
        for verb in ["install", "upgrade"] {
            for command in commands(&text, &format!("helm {verb} private-connect-crds ")) {
                definitions += 1;
                ensure!(
                    command.contains("--namespace private-connect"),
                    "{guide}: the release is in another namespace: {command}"
                );
            }
        }
        for command in commands(&text, "helm install private-connect ") {
            ensure!(command.contains("image.repository="), "{guide}: from which registry? {command}");
            ensure!(command.contains("--namespace "), "{guide}: into which namespace? {command}");
        }
        let upgrades = [
            commands(&text, "helm upgrade private-connect "),
            commands(&text, "helm upgrade {{ .Release.Name }} "),
        ]
        .concat();
        for command in upgrades {
            ensure!(
                command.contains("--reset-then-reuse-values"),
                "{guide}: new values would be missing: {command}"
            );
        }
        let forgets = text.contains("--reuse-values") && !text.contains("--reset-then-reuse-values");
        ensure!(!forgets, "{guide} recommends --reuse-values");
    }
    ensure!(definitions >= 4, "only {definitions} commands install or upgrade the definitions");
    for guide in ["charts/private-connect/README.md", "charts/private-connect-crds/README.md"] {
        ensure!(
            read(guide)?.contains("--take-ownership"),
            "{guide} does not say what to do after kubectl apply"
        );
    }
    Ok(())
}

#[test]
fn nobody_is_told_to_share_one_port_forward() -> Result<()> {
    for guide in GUIDES.into_iter().chain(["charts/private-connect/values.yaml"]) {
        let recommends = read(guide)?
            .lines()
            .any(|line| line.trim_start().starts_with("kubectl") && line.contains("port-forward"));
        ensure!(!recommends, "{guide}: one share's end cuts a port-forward for all shares on it");
    }
    Ok(())
}
