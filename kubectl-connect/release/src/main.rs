//! `dist`: what `make dist` and the release workflow run, on every system that a release is made on.

use std::path::PathBuf;

use clap::Parser;
use connect_release::Plan;

/// Make a release of the plugin, or the part of it that can be made here
#[derive(Parser)]
struct Dist {
    /// Where everything goes
    #[arg(long, value_name = "PATH", default_value = "dist")]
    folder: PathBuf,
    /// Rust target to build for; can be repeated. Default: all that are installed
    #[arg(long = "target", value_name = "TRIPLE")]
    targets: Vec<String>,
    /// Only write sums and manifest, for the archives that are in the folder
    #[arg(long)]
    manifest_only: bool,
    /// Fail unless there is an archive for every platform
    #[arg(long)]
    complete: bool,
    /// Where the archives will be found. Default: the folder
    #[arg(long)]
    url: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let Dist { folder, targets, manifest_only, complete, url } = Dist::parse();
    connect_release::run(&Plan { folder, targets, manifest_only, complete, url })
}
