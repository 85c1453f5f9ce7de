//! The table of CONTRIBUTING.md that leads from a promise to its code.

use anyhow::{Context as _, Result, ensure};

use super::read;

/// Around the table.
const TABLE: [&str; 2] = ["<!-- promises -->", "<!-- end of promises -->"];

/// Promises that the README makes, by words of each; every one has a row.
const ROWS: usize = 12;

#[test]
fn every_promise_leads_to_a_symbol_that_is_there() -> Result<()> {
    let text = read("CONTRIBUTING.md")?;
    let table =
        text.split_once(TABLE[0]).and_then(|(_, rest)| rest.split_once(TABLE[1])).context("no table")?.0;
    let mut rows = 0;
    for line in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [promise, file, symbol, test] = cells[..] else { anyhow::bail!("four cells: {line}") };
        let code = |cell: &str| {
            cell.split('`').nth(1).map(str::to_owned).with_context(|| format!("no code in: {cell}"))
        };
        let (file, symbol) = (code(file)?, code(symbol)?);
        let text = read(&file)?;
        let defines =
            ["fn", "struct", "enum", "const", "trait", "type"].map(|word| format!("{word} {symbol}"));
        ensure!(defines.iter().any(|it| text.contains(it)), "{promise}: {file} defines no {symbol}");
        let (test_file, name) =
            test.trim_matches('`').split_once("::").with_context(|| format!("FILE::TEST: {test}"))?;
        ensure!(read(test_file)?.contains(&format!("fn {name}(")), "{promise}: there is no test {test}");
        rows += 1;
    }
    ensure!(rows >= ROWS, "{rows} promises of at least {ROWS}");
    Ok(())
}
