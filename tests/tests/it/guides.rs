//! Guides are read by people and run by tests: their blocks of code, as they stand there.

use anyhow::{Context as _, Result, ensure};
use connect_tests::control_plane::Kubectl;

/// The blocks without a language: commands.
pub fn code_blocks(guide: &str) -> Vec<String> {
    let parts: Vec<&str> = guide.split("```").collect();
    let blocks = parts.iter().skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix('\n')).map(str::to_owned).collect()
}

/// The YAML in which a line is so.
pub fn yaml_with<'a>(guide: &'a str, line: &str) -> Result<&'a str> {
    let mut blocks = guide.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("yaml\n"));
    blocks
        .find(|block| block.lines().any(|it| it.trim() == line))
        .with_context(|| format!("no YAML has {line}"))
}

/// Runs commands in a folder, as this kubectl's user; what they printed.
pub async fn run(kubectl: &Kubectl, folder: &str, commands: &str) -> Result<String> {
    let typed = kubectl.command([""; 0]);
    let mut command = tokio::process::Command::new("bash");
    command.args(["-euo", "pipefail", "-c", commands]).current_dir(folder).kill_on_drop(true);
    command.envs(typed.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().await.context("bash is needed")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout);
    ensure!(
        output.status.success(),
        "`{commands}` ended with {}: {said}{}",
        output.status,
        text(&output.stderr)
    );
    Ok(said)
}
