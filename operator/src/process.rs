//! The operator's process: parse, install the TLS provider, run, and turn the result into an exit code.

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::run::run;
use crate::telemetry;

/// The whole life of the process.
pub async fn main() -> ExitCode {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Cli { log, command } = Cli::parse();
    connect_hub::descriptors::raise_limit();
    if let Err(error) = telemetry::install(&log) {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    match run(command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "stopped");
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
