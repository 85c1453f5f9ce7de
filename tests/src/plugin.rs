//! `kubectl connect`, typed as a user types it, and what its output says.

use anyhow::{Context as _, Result};

use crate::control_plane::{Kubectl, Output};
use crate::toolchain::product;

/// What a person sees after `kubectl connect share`.
#[derive(Clone, Debug)]
pub struct Shared {
    /// All of it.
    pub output: Output,
    /// The code as teammates are given it, without its hub.
    pub code: String,
    /// The words after `kubectl` of the command that the teammate is told to type.
    pub join: Vec<String>,
}

/// kubectl with our plugin on its `PATH`.
///
/// # Errors
/// The plugin cannot be built.
pub async fn with_plugin(kubectl: &Kubectl) -> Result<Kubectl> {
    Ok(kubectl.clone().with_plugins(product().await?.folder()))
}

/// `kubectl connect expose SERVICE:PORT`.
///
/// # Errors
/// It fails; the message holds what it printed.
pub async fn expose(kubectl: &Kubectl, service: &str) -> Result<Output> {
    kubectl.run(["connect", "expose", service]).await?.success()
}

/// `kubectl connect share` with these further words.
///
/// # Errors
/// It fails or prints no code; the message holds what it printed.
pub async fn share(kubectl: &Kubectl, words: &[&str]) -> Result<Shared> {
    let output = kubectl.run(["connect", "share"].iter().chain(words)).await?.success()?;
    let said = format!("{}\n{}", output.stdout, output.stderr);
    let token = after(&said, "Share Code:").with_context(|| format!("no code: {}", output.report()))?;
    // A hub that is not the default stands before it.
    let code = token.rsplit('#').next().unwrap_or(&token).to_owned();
    let join = join_words(&said).with_context(|| format!("no join command: {}", output.report()))?;
    Ok(Shared { output, code, join })
}

/// `kubectl connect share --list`.
///
/// # Errors
/// It fails; the message holds what it printed.
pub async fn list(kubectl: &Kubectl) -> Result<Output> {
    kubectl.run(["connect", "share", "--list"]).await?.success()
}

/// `kubectl connect share --revoke CODE`.
///
/// # Errors
/// It fails; the message holds what it printed.
pub async fn revoke(kubectl: &Kubectl, code: &str) -> Result<Output> {
    kubectl.run(["connect", "share", "--revoke", code]).await?.success()
}

/// `kubectl connect rotate NAME`.
///
/// # Errors
/// It fails; the message holds what it printed.
pub async fn rotate(kubectl: &Kubectl, name: &str) -> Result<Output> {
    kubectl.run(["connect", "rotate", name]).await?.success()
}

/// The first word after this label.
fn after(text: &str, label: &str) -> Option<String> {
    let (_, rest) = text.split_once(label)?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// The words after `kubectl` of the line that says how to join.
fn join_words(text: &str) -> Option<Vec<String>> {
    let line = text.lines().find(|line| line.contains("kubectl connect join "))?;
    let (_, words) = line.split_once("kubectl ")?;
    Some(words.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
[ok] Environment share created!

  ┌───────────────────────┐
  │  Share Code: abc234   │
  └───────────────────────┘

  Your teammate can join with:

    kubectl connect join abc234 --hub http://127.0.0.1:3001
";

    #[test]
    fn the_code_and_the_command_are_found() {
        assert_eq!(after(SAID, "Share Code:").as_deref(), Some("abc234"));
        let words = ["connect", "join", "abc234", "--hub", "http://127.0.0.1:3001"];
        assert_eq!(join_words(SAID).expect("it is there"), words);
    }
}
