//! Workflows: nothing of others but by hash, and no permission that a job does not name.

use anyhow::{Result, ensure};

use super::{files, read};

/// Hexadecimal digits of a commit.
const HASH_DIGITS: usize = 40;

#[test]
fn actions_are_pinned_and_permissions_are_each_jobs_own() -> Result<()> {
    let mut workflows = 0;
    for path in files()?.iter().filter(|path| path.starts_with(".github/") && path.ends_with(".yml")) {
        let text = read(path)?;
        for uses in
            text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("uses: "))
        {
            let hash = uses.split_once('@').and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default();
            let is_hash = hash.len() == HASH_DIGITS && hash.chars().all(|it| it.is_ascii_hexdigit());
            ensure!(
                is_hash && uses.contains(" # v"),
                "{path}: {uses} is not pinned by hash with its version beside it"
            );
        }
        if !path.starts_with(".github/workflows/") {
            continue;
        }
        workflows += 1;
        ensure!(text.contains("\npermissions: {}\n"), "{path} gives every job permissions");
        let jobs = text.split("\njobs:\n").nth(1).unwrap_or_default();
        let count = |begins: &str| jobs.lines().filter(|line| line.starts_with(begins)).count();
        let named = jobs
            .lines()
            .filter(|line| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':'))
            .count();
        ensure!(named > 0 && count("    permissions:") == named, "{path}: a job says no permissions");
        ensure!(count("    timeout-minutes:") == named, "{path}: a job may run for ever");
    }
    ensure!(workflows >= 2, "there are {workflows} workflows");
    Ok(())
}
