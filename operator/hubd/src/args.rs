//! The command line, and nothing more: what it says becomes a [`Command`]; nothing is computed here.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

/// A self-hosted Private Connect hub: agents dial in, teammates reach their services with a share code.
#[derive(Debug, Parser)]
#[command(name = "connect-hubd", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the folder of a new hub
    Init(Data),
    /// Serve until SIGTERM or SIGINT
    Serve(Serve),
    /// Make, list and revoke API keys, also while the hub is running
    #[command(subcommand)]
    Key(Key),
}

#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:3001", env = "CONNECT_HUB_LISTEN")]
    pub listen: SocketAddr,
    /// How people reach this hub from outside; its front page says so
    #[arg(long, value_name = "URL", env = "CONNECT_HUB_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// The folder of the database: one that holds a hub, or an empty one for a new hub. See `connect-hubd init`
    #[arg(long, value_name = "DIR", env = "CONNECT_HUB_DATA")]
    pub data: PathBuf,
    /// Serve /metrics on this address, for Prometheus; without it, nowhere
    #[arg(long, value_name = "ADDR", env = "CONNECT_HUB_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,
    /// Certificate chain in PEM; with --tls-key the hub speaks https and wss
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate in PEM
    #[arg(long, value_name = "PEM", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// How many of our own proxies append to X-Forwarded-For; 0 does not read it
    #[arg(long, value_name = "N", default_value_t = 0, env = "CONNECT_HUB_TRUSTED_PROXIES")]
    pub trusted_proxies: usize,
    /// How many days an agent's token lives
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=365))]
    pub agent_token_days: u16,
    /// How many services one workspace may have
    #[arg(long, value_name = "N", default_value_t = 1000, env = "CONNECT_HUB_SERVICES_PER_WORKSPACE")]
    pub services_per_workspace: u32,
    /// Carry every connection by the recorded protocol, as a vendor's hub does; for measurements
    #[arg(long, hide = true)]
    pub recorded_protocol_only: bool,
    /// Print one JSON line with the addresses once listening
    #[arg(long)]
    pub print_addresses: bool,
    /// What to log, as in `info,connect_hubd=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "RUST_LOG")]
    pub log: String,
    /// How to log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key and print it; it is shown this once
    Create {
        #[command(flatten)]
        data: Data,
        /// The workspace that the key opens; made when missing
        #[arg(long, value_name = "NAME")]
        workspace: String,
        /// What the key is for, to tell keys apart
        #[arg(long, value_name = "LABEL", default_value = "default")]
        name: String,
    },
    /// List keys by their first characters
    List {
        #[command(flatten)]
        data: Data,
    },
    /// Revoke the key that begins with PREFIX, as `key list` shows it
    Revoke {
        #[command(flatten)]
        data: Data,
        #[arg(value_name = "PREFIX")]
        prefix: String,
    },
}

#[derive(Debug, Args)]
pub struct Data {
    /// The folder of the database
    #[arg(long = "data", value_name = "DIR", env = "CONNECT_HUB_DATA")]
    pub folder: PathBuf,
}
