//! The command line as typed. Nothing is computed here; `settings` resolves flags, environment and files once.

mod join;
mod share;

use std::convert::Infallible;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;

pub use join::{HubArgs, JoinArgs, LoginArgs, LogoutArgs};
pub use share::{
    DeleteArgs, DoctorArgs, DryRunArg, DryRunArgs, EncryptionArg, ExtendArgs, OutputArg, OutputArgs,
    ReportArg, RevokeArgs, RotateArgs, ShareArgs, StatusArgs,
};

/// Shown under the help of every command, so that scripts can rely on it.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the answer is no: wrong options, nothing found, no permission, the cluster or the hub cannot be reached, a deadline passed
  2  the cluster or the hub answered and failed";

/// Share services of a cluster with one short code, and join such a share
#[derive(Debug, Parser)]
#[command(name = "kubectl-connect", bin_name = "kubectl connect", version, after_help = EXIT_CODES)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// Which cluster, as whom.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Share the exposed services of a namespace with one code; list and revoke such shares
    #[command(after_help = share::SHARE_EXAMPLES)]
    Share(ShareArgs),
    /// Show shares: their routes, who joined and when, and what they wait for
    #[command(after_help = share::STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Let a share end later
    #[command(after_help = share::EXTEND_EXAMPLES)]
    Extend(ExtendArgs),
    /// Give a share a new code. The old one is refused, and everybody who joined with it is disconnected
    Rotate(RotateArgs),
    /// End a share: its code is refused and open connections are cut
    Revoke(RevokeArgs),
    /// End a share and delete its object
    Delete(DeleteArgs),
    /// Expose a port of a Service as a route that shares include
    #[command(after_help = EXPOSE_EXAMPLES)]
    Expose(ExposeArgs),
    /// Remove a route from every share and cut its connections
    Unexpose(UnexposeArgs),
    /// Join a share: its routes become ports of this machine. Needs only the code, no cluster and no kubeconfig
    #[command(after_help = join::JOIN_EXAMPLES)]
    Join(JoinArgs),
    /// Save an API key for a hub that requires an account
    #[command(after_help = join::LOGIN_EXAMPLES)]
    Login(LoginArgs),
    /// Delete the saved API key of a hub
    Logout(LogoutArgs),
    /// Print the script that makes a shell, or kubectl itself, complete commands, flags and names
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion {
        /// Whose script
        #[arg(value_enum)]
        shell: ShellArg,
    },
    /// Write the man pages to a folder
    #[command(hide = true)]
    Man {
        /// The folder; it must exist
        folder: PathBuf,
    },
    /// Check the cluster, your permissions, the operator, its hubs and the shares, and say how to fix what is wrong
    #[command(after_help = share::DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Print the version of this plugin
    Version,
}

const EXPOSE_EXAMPLES: &str = "\
Examples:
  kubectl connect expose postgres:5432
  kubectl connect expose svc/api:http --name feature-api --local-port 8080 --protocol http
  kubectl connect expose redis -o yaml --dry-run=client";

const COMPLETION_EXAMPLES: &str = "\
For `kubectl connect <TAB>`, where kubectl completes already (see kubectl completion --help), put
this on the PATH once:
  kubectl connect completion kubectl > ~/.local/bin/kubectl_complete-connect
  chmod +x ~/.local/bin/kubectl_complete-connect

The other scripts are for those who type kubectl-connect:
  source <(kubectl-connect completion bash)
  kubectl-connect completion zsh > \"${fpath[1]}/_kubectl-connect\"
  kubectl-connect completion fish > ~/.config/fish/completions/kubectl-connect.fish
  kubectl-connect completion powershell | Out-String | Invoke-Expression";

/// Who completes. The variants explain themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShellArg {
    Kubectl,
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// Which cluster, as whom: kubectl's own flags.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// Namespace. Default: that of the kubeconfig's context
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// User to impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to impersonate; can be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub as_group: Vec<String>,
    /// Longest time to wait for one answer of the cluster, such as 5s or 1m
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s")]
    pub request_timeout: String,
}

/// How long to wait for the operator.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Longest time to wait for the operator, such as 30s or 2m. Default: 60s, for expose 10s
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Wait for the operator
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub wait: bool,
    /// Return as soon as the cluster has stored the change: the same as --wait=false
    #[arg(long)]
    pub no_wait: bool,
}

/// Flags of `expose`.
#[derive(Debug, Args)]
pub struct ExposeArgs {
    /// The Service and the number or name of its port. The port may be left out when there is only one
    #[arg(value_name = "SERVICE[:PORT]")]
    pub service: String,
    /// Name of the route as teammates see it. Default: the Service's name
    #[arg(long, value_name = "ROUTE")]
    pub name: Option<String>,
    /// Port suggested for the teammate's machine. Default: the Service's port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub local_port: Option<u16>,
    /// What is spoken on the port. Default: what the Service says of it (appProtocol, names, port 80 or 443), else auto
    #[arg(long, value_enum, ignore_case = true)]
    pub protocol: Option<ProtocolArg>,
    /// Ask the hub for a public URL. Everybody on the internet can then read from the route
    #[arg(long)]
    pub public: bool,
    /// Whether to change nothing.
    #[command(flatten)]
    pub dry_run: DryRunArgs,
    /// How it is printed.
    #[command(flatten)]
    pub output: ObjectOutputArgs,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// What is spoken on a port. The variants explain themselves; comments of theirs would make clap's help four times as long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    Auto,
    Tcp,
    Http,
    Https,
}

/// Flags of `unexpose`.
#[derive(Debug, Args)]
pub struct UnexposeArgs {
    /// The route's name
    #[arg(value_name = "ROUTE")]
    pub name: String,
    /// Whether to change nothing.
    #[command(flatten)]
    pub dry_run: DryRunArgs,
    /// How it is printed.
    #[command(flatten)]
    pub output: ObjectOutputArgs,
    /// How long to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// How an object that was made or removed is printed.
#[derive(Debug, Default, Args)]
pub struct ObjectOutputArgs {
    /// Form of the output. Default: for people
    #[arg(short, long, value_enum, ignore_case = true, value_name = "FORMAT")]
    pub output: Option<ObjectOutputArg>,
}

/// Forms in which kubectl prints an object. The variants explain themselves in `--help`'s list of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ObjectOutputArg {
    Json,
    Yaml,
    Name,
}

/// Takes any text, and keeps it out of every `Debug`.
fn secret(text: &str) -> Result<SecretString, Infallible> {
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn cluster_flags_are_understood_before_and_after_the_verb() {
        for line in [
            ["kubectl-connect", "-n", "staging", "share"].as_slice(),
            &["kubectl-connect", "share", "-n", "staging"],
            &["kubectl-connect", "share", "--namespace=staging"],
        ] {
            let cli = Cli::try_parse_from(line).expect("valid");
            assert_eq!(cli.cluster.namespace.as_deref(), Some("staging"), "{line:?}");
        }
    }
}
