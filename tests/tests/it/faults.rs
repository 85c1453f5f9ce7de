//! Every plan of faults, against our operator, against the baseline operator, and against ours with a mistake in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use connect_tests::control_plane;
use connect_tests::faults::matrix::{Lab, Who};
use connect_tests::faults::plan::Plan;
use connect_tests::faults::relay::Mistake;
use connect_tests::faults::report::ScenarioRun;
use connect_tests::faults::trials::Trial;
use connect_tests::tools::say;
use futures::{StreamExt, stream};

/// Our operator as it is.
const OURS: Who = Who::Ours { mistake: None };

/// Trials at once: each waits more than it works.
const TRIALS: usize = 8;

/// Of a sentence about a caught mistake, so many characters are printed.
const SHOWN: usize = 160;

/// How a mistake is to be caught.
enum Catch {
    /// In a run without faults.
    Always,
    /// By one of the plans that begin so.
    Plan(&'static str),
    /// By a trial.
    Trial(Trial),
}

/// Every mistake, how it is caught, and a word of what is said then.
const MISTAKES: [(Mistake, Catch, &str); 17] = [
    (Mistake::CreatesBlindly, Catch::Plan("Lose at the hub: POST /v1/env-shares"), "hub"),
    (Mistake::KeepsDuplicates, Catch::Trial(Trial::DoubledAtPlainHub), "I2"),
    (Mistake::StatusBeforeSecret, Catch::Always, "Active before its code"),
    (Mistake::CutsLast, Catch::Trial(Trial::RevokedUnheard), "I1"),
    (Mistake::EndsByReconciliation, Catch::Trial(Trial::EndInSilence), "I1"),
    (Mistake::MissesClockSteps, Catch::Trial(Trial::ClockStep), "E5"),
    (Mistake::WaitsForTheHub, Catch::Trial(Trial::DeletedUnheard), "I7"),
    (Mistake::NoFinalizer, Catch::Always, "finalizers null"),
    (Mistake::LetsGoTooSoon, Catch::Trial(Trial::DeletedLate), "I2"),
    (Mistake::SweepsOnPartialLists, Catch::Trial(Trial::PartialList), "swept"),
    (Mistake::LogsTheCode, Catch::Always, "a code is in a log line"),
    (Mistake::TellsTheCode, Catch::Always, "a code is in an Event"),
    (Mistake::LeavesTheSecret, Catch::Always, "moved-share-code is gone"),
    (Mistake::WritesStatusAlways, Catch::Always, "C3"),
    (Mistake::ForgetsItsIdentity, Catch::Plan("ends After writing the code"), "I1"),
    (Mistake::IgnoresTheLease, Catch::Trial(Trial::ResumedLeader), "C9"),
    (Mistake::ExtendsOnlyHere, Catch::Always, "the hub knows the new end"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_once_the_end_is_the_same() -> Result<()> {
    let lab = Lab::new(control_plane::shared().await?).await?;
    let first = lab.run(&OURS, Plan::Nothing, None).await?;
    assert_eq!(first.violations, [] as [&str; 0]);
    let report = lab.all(&OURS, &first, first.plans(&OURS)).await?;
    say(format_args!("our operator: {report}"));
    let uncovered = report.uncovered();
    assert!(report.violations.is_empty() && uncovered.is_empty(), "not covered: {uncovered:?}\n{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_textbook_operator_is_caught() -> Result<()> {
    let lab = Lab::new(control_plane::shared().await?).await?;
    let first = lab.run(&Who::Baseline, Plan::Nothing, None).await?;
    assert_eq!(first.violations, [] as [&str; 0], "without faults it does what it should");
    // It fails slowly, and a third of the plans are enough to see that they bite.
    let plans = first.plans(&Who::Baseline).into_iter().step_by(3).collect();
    let report = lab.all(&Who::Baseline, &first, plans).await?;
    say(format_args!("the baseline operator: {report}"));
    assert!(!report.violations.is_empty(), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_clocks_and_frozen_leaders_change_nothing() -> Result<()> {
    let lab = &Lab::new(control_plane::shared().await?).await?;
    let mut tried = stream::iter(Trial::ALL)
        .map(async |trial| (trial, trial.run(lab, &OURS).await))
        .buffer_unordered(TRIALS);
    while let Some((trial, violations)) = tried.next().await {
        let violations = violations.with_context(|| format!("{trial:?}"))?;
        assert_eq!(violations, [] as [&str; 0], "{trial:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_is_caught() -> Result<()> {
    let lab = &Lab::new(control_plane::shared().await?).await?;
    let first = &lab.run(&OURS, Plan::Nothing, None).await?;
    let mut caught = stream::iter(&MISTAKES)
        .map(async |(mistake, catch, word)| (mistake, found(lab, first, *mistake, catch).await, word))
        .buffer_unordered(TRIALS);
    let mut missed = Vec::new();
    while let Some((mistake, found, word)) = caught.next().await {
        let found = found.with_context(|| format!("with the mistake {mistake:?}"))?;
        match found.iter().find(|sentence| sentence.contains(word)) {
            Some(sentence) => {
                say(format_args!("{mistake:?}: {}", sentence.chars().take(SHOWN).collect::<String>()));
            }
            None => missed.push(format!("{mistake:?}: nothing says {word:?} but {found:?}")),
        }
    }
    assert_eq!(missed, [] as [&str; 0]);
    Ok(())
}

/// What is wrong with an operator that makes this mistake.
async fn found(lab: &Lab<'_>, first: &ScenarioRun, mistake: Mistake, catch: &Catch) -> Result<Vec<String>> {
    let who = Who::Ours { mistake: Some(mistake) };
    let plans = match catch {
        Catch::Trial(trial) => return trial.run(lab, &who).await,
        Catch::Always => vec![Plan::Nothing],
        Catch::Plan(begin) => {
            first.plans(&OURS).into_iter().filter(|plan| plan.to_string().starts_with(begin)).collect()
        }
    };
    let mut found = Vec::new();
    for plan in plans {
        found.extend(lab.run(&who, plan, first.outcome.as_ref()).await?.violations);
    }
    Ok(found)
}

/// Every write and call that the sources name is a fail point that plans strike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_and_call_in_the_sources_has_its_plans() -> Result<()> {
    let lab = Lab::new(control_plane::shared().await?).await?;
    let passed = lab.run(&OURS, Plan::Nothing, None).await?.points();
    let mut unplanned = BTreeSet::new();
    for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../operator/src")))? {
        let text = std::fs::read_to_string(&file)?;
        for name in named(&text) {
            if !passed.contains(name) && !ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == name) {
                unplanned.insert(name.to_owned());
            }
        }
    }
    assert_eq!(unplanned, BTreeSet::new(), "a run does not pass here: let it, or say where it is tested");
    Ok(())
}

/// Points that no life without faults passes, and who else does.
const ELSEWHERE: [(&str, &str); 17] = [
    ("looking for the code's Secret", "the tests of Secrets that cannot be written"),
    ("closing a duplicate", "Trial::DoubledAtPlainHub"),
    ("closing an orphaned share", "the soak"),
    ("listing EnvironmentShares", "Trial::PartialList"),
    ("taking the lease", "every plan that ends the operator"),
    ("renewing the lease", "every run that lasts for more than two seconds"),
    ("checking the agent", "the tests of hubs that have forgotten us"),
    ("listing identity Secrets", "the tests of rewritten hub Secrets"),
    ("deleting the identity Secret", "the tests of rewritten hub Secrets"),
    ("deleting the old identity Secret", "the unit tests of identities"),
    ("reading EndpointSlices", "the tests of headless Services"),
    ("reading the embedded hub's key", "the tests with an embedded hub"),
    ("creating the embedded hub's key", "the tests with an embedded hub"),
    ("making the ServiceExpose of a Service", "the tests of labelled Services"),
    ("changing the ServiceExpose of a Service", "the tests of labelled Services"),
    ("removing the ServiceExpose of a Service", "the tests of labelled Services"),
    ("reading the installed definitions", "the tests of older definitions"),
];

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// The first arguments of `call`, `call_opt` and `point`, and what finalizers are set for.
fn named(text: &str) -> impl Iterator<Item = &str> {
    ["call(", "call_opt(", "point(", "set(object, context, "].into_iter().flat_map(move |function| {
        text.split(function).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
    })
}
