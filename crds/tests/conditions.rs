//! The page about conditions names every condition and reason, and no other.

use std::collections::BTreeSet;

const SOURCE: &str = include_str!("../src/condition.rs");
const PAGE: &str = include_str!("../CONDITIONS.md");

/// The texts of all constants of a module in the source.
fn constants(module: &str) -> BTreeSet<&'static str> {
    let start = SOURCE.find(&format!("pub mod {module} {{")).expect("the module is there");
    let body = &SOURCE[start..];
    let body = &body[..body.find("\n}\n").expect("it ends")];
    body.lines()
        .filter(|line| line.trim_start().starts_with("pub const"))
        .map(|line| line.split('"').nth(1).expect("a constant is a text"))
        .collect()
}

/// What the first cells of a table's rows name. The text before `## Reasons` is about conditions, the rest about reasons.
fn rows(part: &'static str) -> Vec<&'static str> {
    part.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn the_page_has_every_condition_and_reason_once_and_no_other() {
    let (conditions, reasons) = PAGE.split_once("## Reasons").expect("two parts");
    for (part, module) in [(conditions, "kind"), (reasons, "reason")] {
        let rows = rows(part);
        let named: BTreeSet<&str> = rows.iter().copied().collect();
        assert_eq!(named.len(), rows.len(), "something is there twice: {rows:?}");
        assert_eq!(named, constants(module));
    }
}
