//! Asks a program of ours that is made of a tool's own code: one question in, one answer out, both a line of JSON.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Longest wait for an answer. Scripts and expressions run in milliseconds; a loaded machine starts a program in seconds.
const ANSWER: Duration = Duration::from_secs(60);

/// What the program says to a question.
pub(super) async fn ask(program: &Path, question: &Value) -> Result<Value> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let mut input = child.stdin.take().context("it has an input")?;
    input.write_all(format!("{question}\n").as_bytes()).await.context("it takes no question")?;
    drop(input);
    let output =
        tokio::time::timeout(ANSWER, child.wait_with_output()).await.context("it does not answer")??;
    ensure!(output.status.success(), "it ended with {}", output.status);
    let answer: Value = serde_json::from_slice(&output.stdout).context("the answer is not JSON")?;
    let error = answer["error"].as_str().unwrap_or_default();
    ensure!(error.is_empty(), "{error}");
    Ok(answer)
}
