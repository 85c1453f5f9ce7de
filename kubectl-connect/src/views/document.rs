//! For programs: JSON, YAML, and names as `kubectl get -o name` writes them.

use serde::Serialize;

use super::ShareView;
use crate::failure::{Failure, Outcome};

/// What `-o name` writes before the name of a share.
const SHARE: &str = "environmentshare.connect.privateconnect.co/";

/// Indented JSON and a line break.
///
/// # Errors
/// The value cannot be written, which no view of ours is.
pub fn json(value: &impl Serialize) -> Outcome<String> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => Ok(text + "\n"),
        Err(error) => Err(Failure::new(format!("Cannot write JSON: {error}"))),
    }
}

/// One YAML document.
///
/// # Errors
/// The value cannot be written, which no view of ours is.
pub fn yaml(value: &impl Serialize) -> Outcome<String> {
    // By way of JSON's types, so that both forms say the same.
    let value =
        serde_json::to_value(value).map_err(|error| Failure::new(format!("Cannot write YAML: {error}")))?;
    serde_saphyr::to_string(&value).map_err(|error| Failure::new(format!("Cannot write YAML: {error}")))
}

/// A line for each share.
pub fn names(shares: &[ShareView]) -> String {
    shares.iter().map(|share| format!("{SHARE}{}\n", share.name)).collect()
}

/// Several shares as one document.
#[derive(Serialize)]
pub struct Shares<'a> {
    /// The shares, newest first.
    pub shares: &'a [ShareView],
}
