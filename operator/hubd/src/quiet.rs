//! The log filter of our processes: what was asked for, but never what libraries carry.
//!
//! Asked for enough detail, libraries print the frames, headers and rows that pass through them: codes, tokens, users'
//! bytes. Those libraries are held at levels where they do not, whatever the filter says.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, ParseError};

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

/// The filter for `text`, such as `info` or `debug,connect_hub=trace`.
///
/// # Errors
/// The text is not a filter.
pub fn log_filter(text: &str) -> Result<EnvFilter, ParseError> {
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
        assert!(log_filter("connect_hub=loud").is_err());
    }
}
