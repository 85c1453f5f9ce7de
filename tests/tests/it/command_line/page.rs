//! The page that this product mirrors, sentence by sentence, and the test that shows each.
//!
//! A sentence without a test, or one whose test does not exist, fails [`every_sentence_has_tests_that_exist`]. Where the page
//! itself lies beside the sources, [`the_table_holds_the_whole_page`] compares them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Each sentence of the page, and the tests of this binary that show it.
const PAGE: &[(&str, &[&str])] = &[
    (
        "The `connect share` command creates a share code that allows teammates to instantly access all your currently exposed services with a single command.",
        &["whole_path::a_teammate_with_nothing_but_the_code_uses_every_exposed_service"],
    ),
    // Options
    ("| `--name` | friendly name for the share |", &["command_line::share::a_named_share"]),
    (
        "| `--expires` | expiration duration (e.g. \"1h\", \"4h\", \"24h\", \"7d\") |",
        &["command_line::share::each_duration_of_the_page"],
    ),
    (
        "| `--hub` string, default \"https://hub.privateconnect.co\" | hub server URL |",
        &["command_line::share::another_hub_is_named_by_its_url_or_its_secret"],
    ),
    (
        "| `--config` | path to custom config file |",
        &["command_line::share::another_hub_is_named_by_its_url_or_its_secret"],
    ),
    ("| (list) | list active shares |", &["command_line::share::the_list_of_active_shares"]),
    (
        "| `--revoke CODE` | revoke a share |",
        &["command_line::share::a_share_is_revoked_by_its_code_and_by_its_name"],
    ),
    // Examples
    (
        "Create a share:",
        &["command_line::share::the_first_share", "command_line::share::a_person_at_a_terminal_sees_the_box"],
    ),
    ("Named share:", &["command_line::share::a_named_share"]),
    ("Custom expiration:", &["command_line::share::each_duration_of_the_page"]),
    (
        "connect share --expires 7d --name \"demo-environment\"",
        &["command_line::share::each_duration_of_the_page"],
    ),
    ("connect share --expires 1h # Short-lived share", &["command_line::share::each_duration_of_the_page"]),
    ("List active shares:", &["command_line::share::the_list_of_active_shares"]),
    ("Revoke a share:", &["command_line::share::a_share_is_revoked_by_its_code_and_by_its_name"]),
    // Behavior
    ("What gets shared when you create a share:", &["command_line::share::the_first_share"]),
    ("- all currently exposed services via `connect expose`", &["command_line::share::the_first_share"]),
    ("- port mappings for each service", &["command_line::share::the_first_share"]),
    (
        "- service metadata (name, protocol)",
        &["command_line::share::nothing_but_names_ports_and_protocols_is_shared"],
    ),
    ("What is not shared:", &["command_line::share::nothing_but_names_ports_and_protocols_is_shared"]),
    (
        "- credentials or secrets",
        &[
            "command_line::share::nothing_but_names_ports_and_protocols_is_shared",
            "whole_path::the_code_is_in_its_secret_and_nowhere_else",
        ],
    ),
    ("- service data or state", &["command_line::share::nothing_but_names_ports_and_protocols_is_shared"]),
    ("- agent configuration", &["command_line::share::nothing_but_names_ports_and_protocols_is_shared"]),
    ("Share lifecycle:", &["command_line::status::a_share_from_its_first_join_to_its_end"]),
    (
        "- Create: share code generated, services snapshotted",
        &["command_line::status::a_share_from_its_first_join_to_its_end"],
    ),
    (
        "- Active: teammates can join using the code",
        &["command_line::status::a_share_from_its_first_join_to_its_end"],
    ),
    (
        "- Expired: code no longer valid, teammates disconnected",
        &["whole_path::expiry_cuts_a_running_transfer_and_leaves_those_of_others_whole"],
    ),
    (
        "- Revoked: code immediately invalidated",
        &["whole_path::revocation_cuts_a_running_transfer_and_leaves_those_of_others_whole"],
    ),
    ("Join tracking. The share tracks:", &["command_line::status::a_share_from_its_first_join_to_its_end"]),
    (
        "- number of times the code was used",
        &["command_line::status::a_share_from_its_first_join_to_its_end"],
    ),
    ("- which agents joined", &["command_line::status::a_share_from_its_first_join_to_its_end"]),
    ("- when they joined", &["command_line::status::a_share_from_its_first_join_to_its_end"]),
    (
        "Automatic expiration after the specified duration: 1h = 1 hour, 4h = 4 hours, 24h = 24 hours (default), 7d = 7 days.",
        &[
            "command_line::share::each_duration_of_the_page",
            "whole_path::expiry_cuts_a_running_transfer_and_leaves_those_of_others_whole",
        ],
    ),
    // Use cases
    (
        "- Onboarding: `connect expose localhost:5432 --name postgres`, `connect expose localhost:6379 --name redis`, `connect share --name \"dev-environment\" --expires 7d`; the new teammate: `connect join abc123`",
        &[
            "command_line::share::each_duration_of_the_page",
            "whole_path::a_teammate_with_nothing_but_the_code_uses_every_exposed_service",
        ],
    ),
    (
        "- Pair programming: `connect share --expires 4h --name \"pairing-session\"`",
        &["command_line::share::each_duration_of_the_page"],
    ),
    (
        "- Demos: `connect share --expires 1h --name \"sales-demo\"`",
        &["command_line::share::each_duration_of_the_page"],
    ),
    (
        "- Code reviews: `connect expose localhost:3000 --name feature-api`, `connect share --name \"PR-1234\" --expires 24h`",
        &["command_line::share::each_duration_of_the_page"],
    ),
    // Exit codes
    ("- 0: share created successfully", &["command_line::share::the_first_share"]),
    (
        "- 1: agent not configured, network error, or invalid options",
        &[
            "command_line::share::an_unusable_duration",
            "command_line::share::a_hub_that_is_down",
            "command_line::kubectl::a_cluster_that_is_away_is_exit_1",
        ],
    ),
    // Troubleshooting
    (
        "No services to share: if you haven't exposed any services:",
        &["command_line::share::nothing_to_share"],
    ),
    (
        "Expose services first: `connect expose localhost:5432 --name postgres`, then `connect share`.",
        &["command_line::share::nothing_to_share"],
    ),
    ("Connection refused:", &["command_line::share::a_hub_that_is_down"]),
    (
        "Check: internet connection; hub URL is correct; agent is authenticated (`connect up`, then `connect share`).",
        &["command_line::doctor::all_is_well", "command_line::doctor::a_hub_that_does_not_answer"],
    ),
    ("Invalid expiration:", &["command_line::share::an_unusable_duration"]),
    ("$ connect share --expires 2weeks   # ✗ invalid", &["command_line::share::an_unusable_duration"]),
    (
        "Use a valid format: `connect share --expires 14d   # ✓ correct`",
        &["command_line::share::each_duration_of_the_page"],
    ),
];

/// Where the page may lie, seen from this crate.
const PLACES: [&str; 2] = ["../../shared/spec/connect-share.md", "../../../shared/spec/connect-share.md"];

/// Before this heading the page speaks of itself.
const FIRST_HEADING: &str = "The `connect share` command";

#[test]
fn every_sentence_has_tests_that_exist() -> Result<()> {
    let listed = Command::new(std::env::current_exe()?).args(["--list", "--format", "terse"]).output()?;
    let listed = String::from_utf8(listed.stdout).context("test names are text")?;
    let known: BTreeSet<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    ensure!(known.contains("command_line::page::every_sentence_has_tests_that_exist"), "no list: {listed}");
    for (sentence, tests) in PAGE {
        ensure!(!tests.is_empty(), "no test shows: {sentence}");
        for test in *tests {
            ensure!(known.contains(test), "there is no test {test}, which is to show: {sentence}");
        }
    }
    Ok(())
}

#[test]
fn the_table_holds_the_whole_page() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(page) = PLACES.iter().find_map(|place| std::fs::read_to_string(here.join(place)).ok()) else {
        return Ok(());
    };
    let known: BTreeSet<&str> = PAGE.iter().map(|(sentence, _)| *sentence).collect();
    for sentence in sentences(&page) {
        ensure!(known.contains(sentence.as_str()), "the table has no: {sentence}");
    }
    Ok(())
}

/// The page's sentences: its lines, with those that go on where the last one broke off; pictures of output are left to the
/// tests that draw them.
fn sentences(page: &str) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    let mut in_code = false;
    let mut goes_on = false;
    for line in page.lines().skip_while(|line| !line.starts_with(FIRST_HEADING)) {
        if line.starts_with("```") {
            in_code = !in_code;
            goes_on = false;
        } else if in_code {
            let command = line.starts_with("connect share") || line.contains("# ✗");
            sentences.extend(command.then(|| line.to_owned()));
        } else if line.is_empty()
            || line.starts_with('#')
            || line.starts_with("|---")
            || line == "| option | meaning |"
        {
            goes_on = false;
        } else {
            match sentences.last_mut() {
                Some(last) if goes_on && !line.starts_with(['-', '|']) => {
                    last.push(' ');
                    last.push_str(line.trim());
                }
                _ => sentences.push(line.trim().to_owned()),
            }
            goes_on = true;
        }
    }
    sentences
}
