//! The command line of the operator, as typed. Nothing is computed here.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Twice what one hub needs to keep a fast line busy; with the rest of the operator it fits the chart's limit of memory.
const BUFFER_MIB: u16 = 96;

/// Shares a cluster's services through a hub.
#[derive(Debug, Parser)]
#[command(name = "connect-operator", version, about)]
pub struct Cli {
    /// What is logged, and how.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Log settings.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// What to log: a level, or levels per module such as info,connect_hub=debug
    #[arg(long, env = "RUST_LOG", default_value = "info", global = true)]
    pub log: String,
    /// How to log
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors, one JSON object a line.
    Json,
}

/// Commands of the operator.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconcile ServiceExpose and EnvironmentShare objects, and carry their bytes
    Run(RunArgs),
    /// End every share and take our finalizers off, so that the operator can be uninstalled. Ends within a minute
    Drain(DrainArgs),
}

/// Flags of `drain`; those of the operator's `run`.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Which hub is the operator's own.
    #[command(flatten)]
    pub hub: HubArgs,
    /// How the cluster is reached.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Which hub is the operator's own.
    #[command(flatten)]
    pub hub: HubArgs,
    /// How the cluster is reached.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDR")]
    pub admin_listen: SocketAddr,
    /// Allow Services whose address is a loopback address. For tests on one machine only
    #[arg(long)]
    pub allow_loopback_targets: bool,
    /// Allow Services without a selector. Whoever may write their EndpointSlices then decides where connections go
    #[arg(long)]
    pub allow_selectorless_targets: bool,
    /// Make a ServiceExpose for every Service with the label connect.privateconnect.co/expose=true
    #[arg(long, env = "CONNECT_LABELLED_SERVICES")]
    pub labelled_services: bool,
    /// A label that a Service must have to be shared, as KEY=VALUE or KEY, in one namespace as NAMESPACE:KEY=VALUE. May be
    /// given several times; all that apply must be there
    #[arg(long, env = "CONNECT_REQUIRE_SERVICE_LABEL", value_name = "LABEL")]
    pub require_service_label: Vec<crate::target::RequiredLabel>,
    /// Hubs that objects may name by a Secret (hubRef), separated by commas: hub.example.com, *.example.com, an IP address, each
    /// with :PORT if only that port is meant, * for every public one. What is listed may be inside a network. Default: every
    /// public hub, and none inside
    #[arg(long, env = "CONNECT_ALLOWED_HUBS", value_name = "HOSTS", value_delimiter = ',')]
    pub allowed_hubs: Vec<crate::allowed_hubs::HubPattern>,
    /// What shares have at the hub
    #[arg(long, value_enum, env = "CONNECT_SHARE_ISOLATION", default_value_t = ShareIsolation::Route)]
    pub share_isolation: ShareIsolation,
    /// MiB of bytes from hubs that may wait in memory for Services, over all hubs; one hub has at most half of it. What
    /// waits longer is left to the hub, and a connection whose Service does not read is cut
    #[arg(long, env = "CONNECT_BUFFER_MIB", value_name = "MIB", default_value_t = BUFFER_MIB,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub buffer_mib: u16,
    /// Print the addresses listened on as one line of JSON to stdout, once they are known
    #[arg(long)]
    pub print_addresses: bool,
}

/// What shares have at the hub. A share keeps until its end what it was opened with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ShareIsolation {
    /// A service for each share and route: a connection is known to belong to a share, and ends with it
    #[default]
    Route,
    /// A service for each route, which all shares have in common: fewer services at the hub. A connection is not known to
    /// belong to a share, and ends with the last share of its route
    Shared,
}

/// Which hub is the operator's own.
#[derive(Debug, Clone, Args)]
pub struct HubArgs {
    /// The hub to use
    #[arg(long, env = "CONNECT_HUB_URL", value_name = "URL", default_value = connect_hub::url::HubUrl::DEFAULT)]
    pub hub_url: String,
    /// File with an API key of the hub. Default: the environment variable CONNECT_HUB_API_KEY
    #[arg(long, value_name = "PATH")]
    pub hub_api_key_file: Option<PathBuf>,
    /// File with PEM certificates of a private CA that signed the hub's certificate
    #[arg(long, value_name = "PATH")]
    pub hub_ca_file: Option<PathBuf>,
    /// Allow http to hubs that are not on this machine. Codes and bytes then travel in clear text
    #[arg(long, env = "CONNECT_ALLOW_INSECURE")]
    pub allow_insecure_hub: bool,
    /// Run a hub in this process and use it
    #[arg(long, conflicts_with = "hub_api_key_file")]
    pub embedded_hub: bool,
    /// Where the embedded hub listens
    #[arg(long, default_value = "0.0.0.0:3001", value_name = "ADDR")]
    pub hub_listen: SocketAddr,
    /// The embedded hub's URL as teammates reach it. Default: http on the address it listens on
    #[arg(long, value_name = "URL")]
    pub hub_public_url: Option<String>,
    /// Proxies in front of the embedded hub, whose X-Forwarded-For is believed. Without it all teammates behind an ingress
    /// look like one address, and share one limit of failed joins
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub hub_trusted_proxies: usize,
    /// Folder of the embedded hub's state: one that holds a hub, or an empty one for a new hub
    #[arg(long, default_value = "/var/lib/private-connect", value_name = "DIR")]
    pub hub_data: PathBuf,
}

/// How the cluster is reached.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Namespace of the operator's own objects: identity, Lease
    #[arg(long, env = "POD_NAMESPACE", default_value = "private-connect", value_name = "NAMESPACE")]
    pub namespace: String,
    /// Name of this replica, for the Lease, that no two which may run at once share: a restart by this name need not wait for the
    /// Lease of its earlier life. Default: the host name, and then it waits
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub replica: Option<String>,
    /// Address of this Pod, which is never dialled
    #[arg(long, env = "POD_IP", value_name = "IP")]
    pub pod_ip: Option<std::net::IpAddr>,
    /// Namespaces to serve, separated by commas. Default: all
    #[arg(long, value_delimiter = ',', value_name = "NAMESPACES")]
    pub watch_namespaces: Vec<String>,
    /// Kubeconfig file. Default: the Pod's service account, else the usual kubeconfig
    #[arg(long, env = "KUBECONFIG", value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}
