//! Logs: text for people, JSON for collectors. Secrets never get this far, because their types print nothing.

use anyhow::Context as _;

use crate::args::{LogArgs, LogFormat};

/// Installs the process's log subscriber, writing to stderr.
///
/// # Errors
/// The filter cannot be read, or a subscriber is installed already.
pub fn install(args: &LogArgs) -> anyhow::Result<()> {
    let LogArgs { log, log_format } = args;
    let filter = connect_hubd::log_filter(log).with_context(|| {
        format!("--log {log:?} is not a log filter such as info or connect_operator=debug")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!("cannot install the log subscriber: {error}"))
}
