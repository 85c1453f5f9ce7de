//! Forms of `expires`: whatever is written, the reader and the definition's rules agree on it, and nothing panics.

use connect_crds::expiry::MAX_EXPIRY_HOURS;
use connect_crds::{EnvironmentShare, Expiry};
use jiff::Timestamp;
use proptest::prelude::*;

const CORPUS: &str = include_str!("corpus/expiry.txt");

/// The most digits that the definition takes.
const MOST_DIGITS: usize = 5;

fn corpus() -> Vec<&'static str> {
    CORPUS.lines().filter(|line| !line.starts_with('#')).collect()
}

/// What the definition's three rules about `expires` say, written once more.
fn is_admitted(text: &str) -> bool {
    let digits = text.strip_suffix('h').or_else(|| text.strip_suffix('d')).unwrap_or_default();
    !digits.is_empty()
        && digits.len() <= MOST_DIGITS
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.bytes().any(|byte| byte != b'0')
}

/// What holds of every text.
fn check(text: &str) {
    let read = text.parse::<Expiry>();
    if is_admitted(text) {
        assert!(read.is_ok(), "{text:?} is admitted and cannot be read");
    }
    let Ok(expiry) = read else { return };
    assert!((1..=MAX_EXPIRY_HOURS).contains(&expiry.hours()), "{text:?}");
    assert_eq!(expiry.to_string().parse::<Expiry>(), Ok(expiry), "{text:?}");
    let mut share = EnvironmentShare::new("demo", connect_crds::EnvironmentShareSpec::default());
    share.spec.expires = Some(text.to_owned());
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(share.ends_at(now), Ok(expiry.after(now)), "{text:?}");
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
