//! The log filter of our processes: what was asked for, but never what libraries carry.
//!
//! Asked for enough detail, libraries print the frames, headers and rows that pass through them: codes, tokens, users'
//! bytes. Those libraries are held at levels where they do not, whatever the filter says.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter, ParseError};

/// Libraries that print what they carry, at the finest level where they do not.
const HELD: [&str; 10] = [
    "tungstenite=info",
    "tokio_tungstenite=info",
    "engineioxide=info",
    "socketioxide=info",
    "socketioxide_core=info",
    "hyper=info",
    "hyper_util=info",
    "reqwest=info",
    "h2=info",
    "sqlx=warn",
];

/// Why a text cannot be used as a log filter.
#[derive(Debug, thiserror::Error)]
pub enum BadFilter {
    /// It does not have the form of one.
    #[error(transparent)]
    Form(#[from] ParseError),
    /// A word alone that is no level. It would be taken for the name of a module, and everything else would be silent.
    #[error(
        "{0:?} is not a log level: use off, error, warn, info, debug or trace; a module needs a level, as in connect_hub=debug"
    )]
    NoLevel(String),
}

/// The filter for `text`, such as `info` or `debug,connect_hub=trace`.
///
/// # Errors
/// The text is not a filter, or would silence everything by mistake.
pub fn log_filter(text: &str) -> Result<EnvFilter, BadFilter> {
    // Brackets name spans and fields, among them commas; a word outside of them stands alone.
    let words = text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[', ']', '{', '}']));
    // An empty word would be taken for the level `error`.
    if let Some(word) = words.into_iter().find(|word| word.is_empty() || word.parse::<LevelFilter>().is_err())
    {
        return Err(BadFilter::NoLevel(word.to_owned()));
    }
    let filter = EnvFilter::builder().parse(text)?;
    let held = HELD.iter().filter_map(|held| held.parse::<Directive>().ok());
    Ok(held.fold(filter, EnvFilter::add_directive))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_held_whatever_is_asked_for() {
        assert!(HELD.iter().all(|held| held.parse::<Directive>().is_ok()));
        for asked in ["trace", "trace,tungstenite=trace"] {
            let filter = log_filter(asked).expect("a filter").to_string();
            assert!(filter.contains("tungstenite=info") && !filter.contains("tungstenite=trace"), "{filter}");
        }
    }

    #[test]
    fn what_would_silence_us_is_refused() {
        for text in ["verbose", "info,verbose", "connect_hub", "inf0", "", "info,", "connect_hub=loud", "6"] {
            let refused = log_filter(text).expect_err(text).to_string();
            assert!(
                text.contains('=') || refused.contains("use off, error, warn, info, debug or trace"),
                "{refused}"
            );
        }
        for text in [
            "info",
            "WARN",
            " debug ",
            "off",
            "3",
            "info,connect_hub=debug",
            "connect_hub=trace",
            "[request]=debug",
            "info,[call{a=1}]=trace",
        ] {
            assert!(log_filter(text).is_ok(), "{text}");
        }
    }
}
