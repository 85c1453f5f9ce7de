//! The charts, by real helm: what they say of themselves, what they render, and whether what they install is enough.

mod guard;
mod install;
mod observe;
mod pod;
mod preview;
mod render;
mod values;
mod written;

use connect_tests::helm::OPERATOR;

/// The folder of all charts.
const CHARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts");

/// Packages of the charts before the last changes that people can see, from which this version is an upgrade.
const PREVIOUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/previous-charts");

/// The chart of both kinds.
const KINDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/private-connect-crds");

/// The chart of a pull request's environment.
pub(crate) const PREVIEW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/preview-environment");
