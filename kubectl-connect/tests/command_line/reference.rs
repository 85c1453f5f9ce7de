//! The README's table of commands, made from what the binary itself says.

use std::path::Path;

use super::run;

/// Where the table begins and ends in the README.
const BEGIN: &str = "<!-- commands: written by `make generate` from the binary's own help -->\n";
const END: &str = "<!-- end of commands -->\n";

/// What precedes a line of usage.
const USAGE: &str = "Usage: kubectl connect ";

#[test]
fn the_readme_s_commands_are_as_committed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("a README");
    let (before, rest) = readme.split_once(BEGIN).expect("the table begins");
    let (table, after) = rest.split_once(END).expect("the table ends");
    let expected = format!("\n{}\n", expected());
    if std::env::var_os("CONNECT_GENERATE").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).expect("writable");
        return;
    }
    assert!(
        table == expected,
        "the README's table is not as committed: `make generate` writes it\n{expected}"
    );
}

fn expected() -> String {
    let rows = verbs().into_iter().map(|verb| row(&help(&[&verb, "--help"])));
    let common = flags(&help(&["--help"]), "Cluster:");
    format!(
        "| command | does | flags |\n|---|---|---|\n{}\nWith every command: {common}.\n",
        rows.collect::<String>()
    )
}

/// The words of the list of commands.
fn verbs() -> Vec<String> {
    let help = help(&["--help"]);
    let (_, list) = help.split_once("\nCommands:\n").expect("there are commands");
    // A line that goes on is further to the right.
    let named = list.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    named.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn help(words: &[&str]) -> String {
    let (stdout, stderr, code) = run(words);
    assert_eq!((stderr.as_str(), code), ("", Some(0)), "{words:?}");
    stdout
}

fn row(help: &str) -> String {
    let about: Vec<&str> = help.lines().take_while(|line| !line.is_empty()).collect();
    let usage = help.lines().find_map(|line| line.strip_prefix(USAGE)).expect("a line of usage");
    let usage = usage.replace(" [OPTIONS]", "").replace('|', "\\|");
    format!("| `kubectl connect {usage}` | {} | {} |\n", about.join(" "), flags(help, "Options:"))
}

/// The flags under a heading, in their order.
fn flags(help: &str, heading: &str) -> String {
    let section = help.split_once(&format!("\n{heading}\n")).map_or("", |(_, section)| section);
    let lines = section.lines().take_while(|line| !line.is_empty());
    let words = lines.filter_map(|line| {
        // A description that goes on is further to the right, and may begin with a flag too.
        let line = line.strip_prefix("      ").or_else(|| line.strip_prefix("  "))?;
        line.starts_with('-').then(|| line.split_whitespace().take_while(|word| word.starts_with('-')))
    });
    let flag = |words: &mut dyn Iterator<Item = &str>| words.last().map(str::to_owned);
    let flags = words.filter_map(|mut words| flag(&mut words)).filter(|flag| flag != "--help");
    flags
        .map(|flag| format!("`{}`", flag.split('[').next().unwrap_or_default()))
        .collect::<Vec<_>>()
        .join(" ")
}
