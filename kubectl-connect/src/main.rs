//! `kubectl connect`: shares services of a cluster with one short code, and joins such a share.
//!
//! ```text
//! argv -> cli (as typed) -> settings (resolved, checked) -> commands::<verb> (gather -> view -> render) -> exit code
//! ```
//!
//! `join` talks to a hub only, so that a teammate needs nothing but the code. The others talk to a cluster only: what a
//! hub must be told is the operator's business. `doctor` asks both, and changes nothing.

#![cfg_attr(test, allow(clippy::too_many_lines, reason = "a test is a table of cases"))]

mod cli;
mod cluster;
mod commands;
mod completion;
mod failure;
mod interrupt;
mod output;
mod printer;
mod progress;
mod sanitize;
mod screen;
mod settings;
mod table;
mod usage;
mod views;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use cluster::Cluster;
use failure::{Exit, Failure, Outcome};
use printer::Printer;
use settings::ClusterSettings;

fn main() -> ExitCode {
    let printer = Printer::from_process();
    let typed = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    if let Some(words) = completion::asked(typed) {
        return ExitCode::from(finish(completion::answer(&words, printer), printer).code());
    }
    let words = usage::join::without_repetition(usage::with_help(std::env::args_os().collect()));
    let exit = match Cli::try_parse_from(&words) {
        Ok(cli) => leave(start(cli, printer), printer),
        Err(error) => match usage::judge(&error, &words, printer.talks_to_people()) {
            usage::Verdict::Show(text) => finish(printer.data(&text).map_err(Failure::from), printer),
            usage::Verdict::Wrong(failure) => finish(Err(failure), printer),
        },
    };
    ExitCode::from(exit.code())
}

fn finish(outcome: Outcome<()>, printer: Printer) -> Exit {
    leave(outcome.map(|()| Exit::Success), printer)
}

fn leave(outcome: Outcome<Exit>, printer: Printer) -> Exit {
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            printer.talk(&failure.render());
            failure.exit()
        }
    }
}

fn start(cli: Cli, printer: Printer) -> Outcome<Exit> {
    let Cli { cluster, command } = cli;
    // What needs neither cluster nor hub starts nothing.
    let at_once = match &command {
        Command::Version => Some(commands::version::run(printer)),
        Command::Completion { shell } => Some(commands::completion::run(*shell, printer)),
        Command::Man { folder } => Some(commands::man::run(folder)),
        _ => None,
    };
    if let Some(outcome) = at_once {
        return outcome.map(|()| Exit::Success);
    }
    // Fails only when one is installed already, which is then the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    connect_hub::descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("Cannot start: {error}")))?;
    let outcome = runtime.block_on(run(cluster, command, printer));
    // Whatever still runs has nothing to say any more: a command ends when it has answered.
    runtime.shutdown_background();
    outcome
}

async fn run(cluster: cli::ClusterArgs, command: Command, printer: Printer) -> Outcome<Exit> {
    let cluster = settings::cluster(cluster)?;
    let outcome = match command {
        // Leaves with the exit code of the command that it ran.
        Command::Join(args) => {
            return commands::join::run(settings::join::join(args, &environment)?, cluster, printer).await;
        }
        Command::Login(args) => {
            commands::login::run(settings::login::login(args, &environment)?, printer).await
        }
        Command::Logout(args) => {
            commands::login::forget(settings::login::logout(args, &environment)?, printer)
        }
        command => in_the_cluster(cluster, command, printer).await,
    };
    outcome.map(|()| Exit::Success)
}

/// A variable of the environment, unless it is empty.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Runs a verb that asks the API server. What was typed is looked at first.
async fn in_the_cluster(cluster: ClusterSettings, command: Command, printer: Printer) -> Outcome<()> {
    let connect = Cluster::connect(cluster);
    match command {
        Command::Share(args) => {
            let settings = settings::share::share(args, &environment)?;
            commands::share::run(settings, &connect.await?, printer).await
        }
        Command::Status(args) => {
            commands::status::run(&settings::status::status(args)?, &connect.await?, printer).await
        }
        Command::Extend(args) => {
            commands::extend::run(&settings::change::extend(args)?, &connect.await?, printer).await
        }
        Command::Doctor(args) => {
            let settings = settings::doctor::doctor(args, &environment)?;
            commands::doctor::run(&settings, &connect.await?, printer).await
        }
        Command::Rotate(args) => {
            commands::rotate::run(&settings::change::rotate(args)?, &connect.await?, printer).await
        }
        Command::Revoke(args) => {
            commands::share::revoke::run(&settings::change::revoke(args)?, &connect.await?, printer).await
        }
        Command::Delete(args) => {
            commands::delete::run(&settings::change::delete(args)?, &connect.await?, printer).await
        }
        Command::Expose(args) => {
            commands::expose::run(&settings::expose::expose(args)?, &connect.await?, printer).await
        }
        Command::Unexpose(args) => {
            commands::unexpose::run(&settings::expose::unexpose(args)?, &connect.await?, printer).await
        }
        Command::Join(_) | Command::Login(_) | Command::Logout(_) => Ok(()), // need no API server
        Command::Version | Command::Completion { .. } | Command::Man { .. } => Ok(()), // answered before
    }
}
