//! The verbs that talk to a hub: `join`, `login`, `logout`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::secret;

/// Shown under the help of `join`.
pub const JOIN_EXAMPLES: &str = "\
Examples:
  kubectl connect join abc123
  kubectl connect join 'https://hub.example.com/#abc123'
  kubectl connect join abc123 --hub https://hub.example.com --only postgres --port postgres=15432
  kubectl connect join --code-file code -- make integration-test
  kubectl connect join abc123 -- make integration-test
  kubectl connect join abc123 --print-env > routes.env
  kubectl connect join abc123 --through-cluster --hub http://hub.team.svc:3001

Environment of a command and of --print-env, for a route called orders-db:
  CONNECT_ORDERS_DB_HOST      every route: its name in capitals, with _ for all but letters and
  CONNECT_ORDERS_DB_PORT      digits, between CONNECT_ and _HOST or _PORT
  CONNECT_ORDERS_DB_URL       http, https and the databases below
  PGHOST, PGPORT              the first PostgreSQL route by name
  REDIS_URL                   the first Redis route
  MYSQL_HOST, MYSQL_TCP_PORT  the first MySQL route
  MONGODB_URL                 the first MongoDB route
What is set already is kept, and a line on stderr says so.
A route is what its protocol says (http, https), else what its port says (5432, 6379, 3306, 27017),
else what the last word of its name says (postgres, pg, redis, valkey, mysql, mariadb, mongo).

Exit codes with a command: its own; 128 + the signal that ended it; and
  124  the share ended first: the command was told to end (TERM), and killed 10 s later
  126  the command cannot be run
  127  the command was not found

Environment:
  CONNECT_CODE            the share code, when it is given in no other way
  CONNECT_HUB_URL         the hub, when neither --hub nor the code names it
  CONNECT_API_KEY         an API key, for hubs that require an account; sent only to the hub of
                          CONNECT_API_KEY_HUB, else of CONNECT_HUB_URL or the config file, else the default
  CONNECT_ALLOW_INSECURE  true allows http to a hub on another machine";

/// Shown under the help of `login`.
pub const LOGIN_EXAMPLES: &str = "\
Examples:
  kubectl connect login
  kubectl connect login --hub https://hub.example.com --api-key-stdin < key

Without a key the hub is asked for a code to confirm in a browser, where it offers that. The key is
checked and kept for its hub alone, in a file that nobody else can read: the one of --config, else
kubectl-connect/config.json in $XDG_CONFIG_HOME or ~/.config.

Environment:
  CONNECT_HUB_URL         the hub, when --hub is not given
  CONNECT_API_KEY         the API key, when neither --api-key-stdin nor --api-key-file is given
  CONNECT_ALLOW_INSECURE  true allows http to a hub on another machine";

/// Which hub, and how it is trusted.
#[derive(Debug, Args)]
pub struct HubArgs {
    /// Hub to use. Default: $CONNECT_HUB_URL, else the config file's, else https://hub.privateconnect.co
    #[arg(long, value_name = "URL")]
    pub hub: Option<String>,
    /// Config file. Default: ~/.config/kubectl-connect/config.json, and the connect tool's ~/.private-connect/config.json
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// File with PEM certificates of a private CA that signed the hub's certificate
    #[arg(long, value_name = "PATH")]
    pub hub_ca_file: Option<PathBuf>,
    /// Allow http to a hub on another machine. Code, key and all bytes then cross the network in clear text
    #[arg(long)]
    pub allow_insecure_hub: bool,
}

/// Flags of `join`.
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The share code, or the link or line that was sent. - reads it from stdin. Other users of a machine can see arguments;
    /// they cannot see stdin, a file or $CONNECT_CODE
    #[arg(value_parser = secret)]
    pub code: Option<SecretString>,
    /// File with the share code
    #[arg(long, value_name = "PATH")]
    pub code_file: Option<PathBuf>,
    /// Which hub.
    #[command(flatten)]
    pub hub: HubArgs,
    /// File with an API key, for hubs that require an account. Default: $CONNECT_API_KEY, else what login keeps for the hub
    #[arg(long, value_name = "PATH")]
    pub api_key_file: Option<PathBuf>,
    /// What this machine is called in the share's list of joins. Default: user@host
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
    /// Address to listen on; can be repeated. Default: localhost
    #[arg(long, value_name = "ADDR")]
    pub address: Vec<String>,
    /// Local port for a route, such as postgres=15432; can be repeated
    #[arg(long = "port", value_name = "ROUTE=PORT")]
    pub ports: Vec<String>,
    /// Join this route and no other; can be repeated. Default: all routes
    #[arg(long, value_name = "ROUTE")]
    pub only: Vec<String>,
    /// Go to a hub inside a cluster through the cluster's API server, which is slower. Needs permission to forward ports
    #[arg(long)]
    pub through_cluster: bool,
    /// With --through-cluster: the hub's Service. Default: the one that --hub names, else private-connect-hub in namespace
    /// private-connect
    #[arg(long, value_name = "SERVICE", requires = "through_cluster")]
    pub service: Option<String>,
    /// Print NAME=value lines for the routes to stdout and everything else to stderr, and stay
    #[arg(long)]
    pub print_env: bool,
    /// Run the command that follows -- while joined. The same as leaving this word out
    #[arg(long)]
    pub exec: bool,
    /// Command to run while joined, with the routes in its environment. Leaves with its exit code
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Flags of `login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// Which hub.
    #[command(flatten)]
    pub hub: HubArgs,
    /// Read the API key from stdin
    #[arg(long, conflicts_with = "api_key_file")]
    pub api_key_stdin: bool,
    /// Read the API key from a file
    #[arg(long, value_name = "PATH")]
    pub api_key_file: Option<PathBuf>,
}

/// Flags of `logout`.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// Which hub.
    #[command(flatten)]
    pub hub: HubArgs,
}
