//! `lab`: the real parts, for people. `make demo`, `make up`, `make down` and `make tools` call it.

use std::net::SocketAddr;

use anyhow::Result;
use clap::{Parser, Subcommand};
use connect_tests::demo::{self, Plan};
use connect_tests::faults::soak;
use connect_tests::services::http;
use connect_tests::toolchain::{self, Need};
use connect_tests::{lab, rights};

/// The product on real parts: a control plane, a hub, the operator and services.
#[derive(Parser)]
struct Lab {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Share, join, use and end, each step with what was seen
    Demo {
        /// Leave everything running at the end
        #[arg(long)]
        keep: bool,
        /// Use the cluster of this context of the kubeconfig instead of one of our own
        #[arg(long, value_name = "NAME")]
        context: Option<String>,
    },
    /// Start a control plane, a hub and the operator, and say how to use them
    Up,
    /// End what was left running
    Down,
    /// Let users and faults do what they like to the operator, then rest, then look whether all is right; again and again
    Soak {
        /// How long, in minutes
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// Replays the run that printed it. Default: another one each time
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Compare what operators did in the last tests with what the chart's roles grant
    Rights,
    /// Build or install what tests and demo need
    Tools,
    /// Serve bytes over HTTP; the demo's third service
    #[command(hide = true)]
    Serve {
        /// Where to listen
        address: SocketAddr,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Lab::parse().verb {
        Verb::Demo { keep, context } => demo::run(Plan { keep, context }).await,
        Verb::Up => {
            lab::must_be_down()?;
            demo::up(Need::Everything).await?.keep()
        }
        Verb::Down => lab::down(),
        Verb::Soak { minutes, seed } => soak::run(minutes, seed.map_or_else(getrandom::u64, Ok)?).await,
        Verb::Rights => rights::compare().await,
        Verb::Tools => tools().await,
        Verb::Serve { address } => http::serve(address).await,
    }
}

async fn tools() -> Result<()> {
    toolchain::kubernetes(Need::Everything).await?;
    toolchain::postgresql().await?;
    toolchain::redis_server().await?;
    toolchain::flux_rules().await?;
    toolchain::argo_rules().await?;
    toolchain::script_tool("faketime").await?;
    toolchain::in_between().await?;
    Ok(())
}
