//! Flags of the verbs that make, show and change shares, as typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secrecy::SecretString;

use super::{WaitArgs, secret};

pub(super) const SHARE_EXAMPLES: &str = "\
Examples:
  kubectl connect share
  kubectl connect share --expires 7d --name demo-environment
  kubectl connect share --until 18:00 --max-joins 3
  kubectl connect share --service postgres:5432 --service redis --expires 4h
  kubectl connect share -l preview=pr-1234 --name PR-1234 -o md
  kubectl connect share --name staging --expires 7d -o yaml --dry-run=client
  kubectl connect share --list
  kubectl connect share --revoke abc123";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  kubectl connect status
  kubectl connect status staging-env --watch
  kubectl connect status -A -o wide
  kubectl connect status staging-env -o json";

pub(super) const EXTEND_EXAMPLES: &str = "\
Examples:
  kubectl connect extend staging-env 4h";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  kubectl connect doctor
  kubectl connect doctor -n staging -o json";

/// How an answer is printed.
#[derive(Debug, Default, Args)]
pub struct OutputArgs {
    /// Form of the output. Default: for people
    #[arg(short, long, value_enum, ignore_case = true, value_name = "FORMAT")]
    pub output: Option<OutputArg>,
    /// With -o md: include the code. Everybody who reads the page can then join
    #[arg(long)]
    pub show_code: bool,
}

/// Forms of output. The variants explain themselves in `--help`'s list of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputArg {
    Json,
    Yaml,
    Name,
    Wide,
    Md,
}

/// Whether anything is changed.
#[derive(Debug, Args)]
pub struct DryRunArgs {
    /// Change nothing: client shows what would be sent to the cluster, server asks the cluster whether it would accept it
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, default_value = "none", default_missing_value = "client", require_equals = true)]
    pub dry_run: DryRunArg,
}

/// What is asked of whoever joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EncryptionArg {
    Verified,
    Preferred,
}

/// What is asked without being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRunArg {
    None,
    Client,
    Server,
}

/// Flags of `share`.
#[derive(Debug, Args)]
pub struct ShareArgs {
    /// Friendly name for the share
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How long the share lives, such as 1h, 4h, 24h or 7d. Default: 24h
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<String>,
    /// When the share ends, instead of --expires: 18:00, "tomorrow 18:00" or "2026-12-01 18:00" in local time, or with a zone
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Refuse the code after so many joins. Default: no limit
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(1..=1_000_000))]
    pub max_joins: Option<i32>,
    /// Whether teammates must know the part of the code that no hub is told: verified, or preferred to let in programs that know
    /// only the rest. Default: verified, where the hub passes on what that needs
    #[arg(long, value_enum, ignore_case = true, value_name = "LEVEL")]
    pub encryption: Option<EncryptionArg>,
    /// Delete the share so long after its end, such as 0s, 30m or 7d. Default: it stays
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<String>,
    /// Share this Service without exposing it first; can be repeated. The port may be left out when there is only one
    #[arg(long = "service", value_name = "SERVICE[:PORT]")]
    pub services: Vec<String>,
    /// Share the Services with these labels without exposing them first. With --list: the shares with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Hub to use: its URL, or a Secret of type connect.privateconnect.co/hub. Default: the operator's hub
    #[arg(long, value_name = "URL|SECRET")]
    pub hub: Option<String>,
    /// Config file whose hubUrl is used when --hub is not given
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// List the shares that have not ended
    #[arg(long)]
    pub list: bool,
    /// With --list: the shares of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// With --list: keep showing changes
    #[arg(short, long)]
    pub watch: bool,
    /// Revoke a share, named by its code or its name
    #[arg(long, value_name = "CODE|NAME", value_parser = secret)]
    pub revoke: Option<SecretString>,
    /// Whether to change nothing.
    #[command(flatten)]
    pub dry_run: DryRunArgs,
    /// How it is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The share: its name, its friendly name or its code. Default: all shares of the namespace
    #[arg(value_name = "NAME|CODE", value_parser = secret)]
    pub share: Option<SecretString>,
    /// The shares of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// The shares with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Also the shares that have ended; JSON, YAML and names always have them
    #[arg(long)]
    pub all: bool,
    /// Keep showing changes
    #[arg(short, long)]
    pub watch: bool,
    /// How it is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags of `extend`.
#[derive(Debug, Args)]
pub struct ExtendArgs {
    /// The share: its name, its friendly name or its code
    #[arg(value_name = "NAME|CODE", value_parser = secret)]
    pub share: SecretString,
    /// How much later it ends, such as 4h or 7d
    #[arg(value_name = "DURATION")]
    pub by: String,
    /// Change it although Argo CD or Flux manages it and may revert the change
    #[arg(long)]
    pub force: bool,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags of `rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The share: its name, its friendly name or its code
    #[arg(value_name = "NAME|CODE", value_parser = secret)]
    pub share: SecretString,
    /// Change it although Argo CD or Flux manages it and may revert the change
    #[arg(long)]
    pub force: bool,
    /// How it is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags of `revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The share: its code, its name or its friendly name
    #[arg(value_name = "NAME|CODE", value_parser = secret)]
    pub share: SecretString,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags of `delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The share: its code, its name or its friendly name
    #[arg(value_name = "NAME|CODE", value_parser = secret)]
    pub share: SecretString,
    /// Delete it although Argo CD or Flux manages it and may create it again
    #[arg(long)]
    pub force: bool,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Namespace in which the operator runs
    #[arg(long, value_name = "NAMESPACE", default_value = "private-connect")]
    pub operator_namespace: String,
    /// A hub to check besides those that the cluster speaks of
    #[arg(long, value_name = "URL")]
    pub hub: Option<String>,
    /// Form of the output. Default: for people
    #[arg(short, long, value_enum, ignore_case = true, value_name = "FORMAT")]
    pub output: Option<ReportArg>,
}

/// Forms of a report. The variants explain themselves in `--help`'s list of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportArg {
    Json,
    Yaml,
}
