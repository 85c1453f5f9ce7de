//! `bench`: measures and prints tables; `make bench` calls it. Its hidden verbs are the parts of a measurement that run as
//! processes of their own.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use connect_bench::{Plan, Role};

/// Rounds of every comparison: enough for a median that one odd round does not move.
const PAIRS: usize = connect_bench::PAIRS;

/// KiB of every transfer: 256 MiB, a second or less on every path.
const TRANSFER_KIB: u64 = 256 * 1024;

/// Connections and shares where it is their number that counts.
const SCALE: usize = 10_000;

/// How fast, how exact and how frugal we are, beside others
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Bench {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rows to measure, such as D4,D5; all when absent
    #[arg(long, value_delimiter = ',', value_name = "ROWS")]
    only: Vec<String>,
    /// Rounds of every comparison
    #[arg(long, value_name = "N", default_value_t = PAIRS, value_parser = at_least_one)]
    pairs: usize,
    /// KiB of every transfer
    #[arg(long, value_name = "KIB", default_value_t = TRANSFER_KIB)]
    kib: u64,
    /// Connections and shares where it is their number that counts
    #[arg(long, value_name = "N", default_value_t = SCALE, value_parser = at_least_one)]
    scale: usize,
    /// Compare with bore and rathole too, which are installed when they are missing
    #[arg(long)]
    peers: bool,
    /// Folder for bench.json and the charts
    #[arg(long, value_name = "DIR", default_value_os_t = connect_bench::default_folder())]
    out: PathBuf,
}

#[derive(Subcommand)]
enum Part {
    #[command(flatten)]
    Role(Role),
}

#[tokio::main]
async fn main() -> Result<()> {
    let Bench { part, only, pairs, kib, scale, peers, out } = Bench::parse();
    match part {
        Some(Part::Role(role)) => role.play().await,
        None => connect_bench::run(Plan { only, pairs, kib, peers, scale, out }).await,
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err("give a number from 1 on".to_owned()),
    }
}
