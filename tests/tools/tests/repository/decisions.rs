//! The index of decisions.

use anyhow::{Context as _, Result, ensure};

use super::{files, read};

const FOLDER: &str = "operator/decisions/";

#[test]
fn every_decision_is_in_the_index_by_its_title() -> Result<()> {
    let index = read(&format!("{FOLDER}README.md"))?;
    let mut seen = 0;
    for path in files()?.iter().filter(|path| path.starts_with(FOLDER) && !path.ends_with("README.md")) {
        let file = path.trim_start_matches(FOLDER);
        let text = read(path)?;
        let title = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .with_context(|| format!("{path}: no title"))?;
        let (number, title) =
            title.split_once(". ").with_context(|| format!("{path}: `# NUMBER. TITLE` begins a record"))?;
        let expected: u32 =
            file.split('-').next().unwrap_or_default().parse().with_context(|| path.clone())?;
        ensure!(number.parse() == Ok(expected), "{path} calls itself {number}");
        let row = format!("| {number} | [{title}]({file}) |");
        ensure!(index.lines().any(|line| line == row), "{FOLDER}README.md lacks the line: {row}");
        seen += 1;
    }
    let rows = index.lines().filter(|line| line.contains("](0")).count();
    ensure!(seen > 0 && rows == seen, "{FOLDER}README.md has {rows} lines for {seen} records");
    Ok(())
}
