//! `kubectl connect`: shares services of a cluster with one short code, and joins such a share.
//!
//! ```text
//! argv -> cli (as typed) -> settings (resolved, checked) -> commands::<verb> (gather -> view -> render) -> exit code
//! ```
//!
//! `share`, `expose` and `unexpose` talk to a cluster only; what a hub must be told is the operator's business. `join`
//! talks to a hub only, so that a teammate needs nothing but the code.

mod cli;
mod cluster;
mod commands;
mod failure;
mod interrupt;
mod output;
mod printer;
mod sanitize;
mod settings;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use cluster::Cluster;
use failure::{Exit, Failure, Outcome};
use printer::Printer;

fn main() -> ExitCode {
    let printer = Printer::from_process();
    let exit = match Cli::try_parse() {
        Ok(cli) => finish(start(cli, printer), printer),
        Err(error) => match usage::judge(&error) {
            usage::Verdict::Show(text) => finish(printer.data(&text).map_err(Failure::from), printer),
            usage::Verdict::Wrong(failure) => finish(Err(failure), printer),
        },
    };
    ExitCode::from(exit.code())
}

fn finish(outcome: Outcome<()>, printer: Printer) -> Exit {
    match outcome {
        Ok(()) => Exit::Success,
        Err(failure) => {
            printer.talk(&failure.render());
            failure.exit()
        }
    }
}

fn start(cli: Cli, printer: Printer) -> Outcome<()> {
    let Cli { cluster, command } = cli;
    if matches!(command, Command::Version) {
        return commands::version::run(printer);
    }
    // Fails only when one is installed already, which is then the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("Cannot start: {error}")))?;
    let outcome = runtime.block_on(run(cluster, command, printer));
    // Whatever still runs has nothing to say any more: a command ends when it has answered.
    runtime.shutdown_background();
    outcome
}

async fn run(cluster: cli::ClusterArgs, command: Command, printer: Printer) -> Outcome<()> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let cluster = settings::cluster(cluster)?;
    match command {
        Command::Share(args) => {
            let settings = settings::share::share(args, &environment)?;
            commands::share::run(settings, &Cluster::connect(cluster).await?, printer).await
        }
        Command::Expose(args) => {
            let settings = settings::expose::expose(args)?;
            commands::expose::run(&settings, &Cluster::connect(cluster).await?, printer).await
        }
        Command::Unexpose(args) => {
            let settings = settings::expose::unexpose(args)?;
            commands::unexpose::run(&settings, &Cluster::connect(cluster).await?, printer).await
        }
        Command::Join(args) => commands::join::run(settings::join::join(args, &environment)?, printer).await,
        Command::Version => commands::version::run(printer),
    }
}
