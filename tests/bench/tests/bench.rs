//! The benchmark runs from one end to the other and writes what it says it writes. What it measures is not judged here.

use anyhow::{Context as _, Result, ensure};
use connect_tests::scratch::Scratch;
use tokio::process::Command;

#[tokio::test]
async fn a_tiny_benchmark_measures_and_writes_every_row_it_was_asked_for() -> Result<()> {
    let scratch = Scratch::new("tiny-bench")?;
    let output = Command::new(env!("CARGO_BIN_EXE_connect-bench"))
        .args(["--only", "D4", "--pairs", "1", "--kib", "64", "--out"])
        .arg(scratch.path())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot start the benchmark")?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "it ended with {}:\n{said}", output.status);

    let json = std::fs::read_to_string(scratch.path().join("bench.json")).context("no bench.json")?;
    let json: serde_json::Value = serde_json::from_str(&json).context("bench.json is no JSON")?;
    assert_eq!((&json["pairs"], &json["transfer_bytes"]), (&1.into(), &65_536.into()), "{json}");
    let tables = json["tables"].as_array().context("no tables")?;
    assert_eq!(tables.len(), 1, "only one table has rows that were asked for: {json}");
    let rows = tables[0]["rows"].as_array().context("no rows")?;
    for (id, words) in [("D3", "recorded protocol, download"), ("D4", "negotiated path, upload")] {
        let row = rows
            .iter()
            .find(|row| row["id"] == id && row["what"].as_str().is_some_and(|what| what.contains(words)));
        let row = row.with_context(|| format!("no row {id} {words}: {json}"))?;
        ensure!(row["figure"]["median"].as_f64().is_some_and(|ratio| ratio > 0.0), "{row}");
        assert_eq!((&row["figure"]["unit"], &row["peer"]["name"]), (&"ratio".into(), &"R2".into()), "{row}");
        ensure!(row["verdict"].is_string(), "{row}");
    }
    assert!(said.contains("Data path") && said.contains(">= 0.80x"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_row_that_does_not_exist_is_named_with_those_that_do() -> Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_connect-bench")).args(["--only", "D99"]).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "{said}");
    assert!(said.contains("there is no row D99: rows are D3, D4, D5"), "{said}");
    Ok(())
}
