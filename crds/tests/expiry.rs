//! Forms of `expires`: whatever is written, the reader and the definition's rules agree on it, and nothing panics.

use std::sync::LazyLock;

use connect_crds::expiry::MAX_EXPIRY_HOURS;
use connect_crds::{EnvironmentShare, Expiry};
use jiff::Timestamp;
use kube::CustomResourceExt;
use proptest::prelude::*;
use regex::Regex;

const CORPUS: &str = include_str!("corpus/expiry.txt");

fn corpus() -> Vec<&'static str> {
    CORPUS.lines().filter(|line| !line.starts_with('#')).collect()
}

/// A rule of the definition about `expires`: a pattern, and whether it must match or must not.
struct Rule {
    pattern: Regex,
    must_match: bool,
}

/// The rules as the definition has them that is applied to clusters.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let definition = serde_json::to_value(EnvironmentShare::crd()).expect("it is JSON");
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let rules = spec["x-kubernetes-validations"].as_array().expect("there are rules");
    let about_expires =
        rules.iter().filter_map(|rule| rule["rule"].as_str()?.strip_prefix("!has(self.expires) || "));
    let read = |rule: &str| {
        let (must_match, call) = rule.strip_prefix('!').map_or((true, rule), |call| (false, call));
        let pattern = call.strip_prefix("self.expires.matches('").and_then(|rest| rest.strip_suffix("')"));
        let pattern = pattern.unwrap_or_else(|| panic!("a rule that this test cannot read: {rule}"));
        // `$` is the end of the text in the API server's engine and in this one.
        Rule { pattern: Regex::new(pattern).expect("a pattern"), must_match }
    };
    about_expires.map(read).collect()
});

/// Whether the definition takes this text.
fn is_admitted(text: &str) -> bool {
    RULES.iter().all(|rule| rule.pattern.is_match(text) == rule.must_match)
}

/// What holds of every text.
fn check(text: &str) {
    let read = text.parse::<Expiry>();
    assert_eq!(read.is_ok(), is_admitted(text), "the definition and the reader differ on {text:?}");
    let Ok(expiry) = read else { return };
    assert!((1..=MAX_EXPIRY_HOURS).contains(&expiry.hours()), "{text:?}");
    let printed = expiry.to_string();
    assert!(is_admitted(&printed), "{text:?} is printed as {printed}");
    assert_eq!(printed.parse::<Expiry>(), Ok(expiry), "{text:?}");
    let mut share = EnvironmentShare::new("demo", connect_crds::EnvironmentShareSpec::default());
    share.spec.expires = Some(text.to_owned());
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(share.ends_at(now), Ok(expiry.after(now)), "{text:?}");
}

#[test]
fn every_rule_about_the_form_is_held_against_the_reader() {
    assert_eq!(RULES.len(), 3);
}

#[test]
fn the_corpus_holds() {
    let (taken, refused): (Vec<&str>, Vec<&str>) = corpus().into_iter().partition(|text| is_admitted(text));
    assert!(taken.len() > 5 && refused.len() > 20, "{taken:?} {refused:?}");
    corpus().into_iter().for_each(check);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn numbers_of_every_length_hold(digits in "[0-9]{0,9}", unit in "[hd]") {
        check(&format!("{digits}{unit}"));
    }

    #[test]
    fn whatever_is_written_holds(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn what_resembles_a_duration_holds(text in "[ +-]?[0-9]{0,12}[hdHDm]{0,2}\\PC?") {
        check(&text);
    }

    #[test]
    fn the_corpus_changed_at_random_holds(
        text in prop::sample::select(corpus()),
        other in prop::sample::select(corpus()),
        cut in any::<prop::sample::Index>(),
        join in any::<prop::sample::Index>(),
        inserted in any::<Option<char>>(),
    ) {
        let start: String = text.chars().take(cut.index(text.chars().count() + 1)).collect();
        let end: String = other.chars().skip(join.index(other.chars().count() + 1)).collect();
        check(&format!("{start}{}{end}", inserted.map(String::from).unwrap_or_default()));
    }
}
