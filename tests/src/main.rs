//! `lab`: the real parts, for people. `make demo`, `make up` and `make tools` call it.

use anyhow::Result;
use clap::{Parser, Subcommand};
use connect_tests::toolchain;

/// The product on real parts: a control plane, a hub, the operator and services.
#[derive(Parser)]
struct Lab {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build or install what tests and demo need.
    Tools,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Lab::parse().verb {
        Verb::Tools => tools().await,
    }
}

async fn tools() -> Result<()> {
    toolchain::kubernetes().await?;
    toolchain::postgresql().await?;
    toolchain::redis_server().await?;
    Ok(())
}
