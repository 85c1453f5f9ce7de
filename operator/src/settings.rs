//! What flags and environment mean for reconciliations.

use std::net::IpAddr;

use anyhow::Context as _;
use connect_hub::url::{HubUrl, InsecureHttp};
use secrecy::SecretString;

use crate::args::{ClusterArgs, HubArgs, RunArgs, ShareIsolation};
use crate::credentials::HubEndpoint;
use crate::target::Policy;

/// How this operator is asked to work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What may be dialled.
    pub policy: Policy,
    /// What new shares have at their hub.
    pub isolation: ShareIsolation,
    /// Whether hub Secrets may name http hubs on other machines.
    pub insecure: InsecureHttp,
}

impl Settings {
    /// As the flags say.
    pub fn of(args: &RunArgs, config: &kube::Config) -> Self {
        Self { policy: policy(args, config), isolation: args.share_isolation, insecure: insecure(&args.hub) }
    }
}

/// What is served: each of some namespaces, or (`None`) the whole cluster.
pub fn scopes(args: &ClusterArgs) -> Vec<Option<&str>> {
    match &args.watch_namespaces[..] {
        [] => vec![None],
        namespaces => namespaces.iter().map(|name| Some(name.as_str())).collect(),
    }
}

/// Whether http hubs on other machines may be used.
pub fn insecure(hub: &HubArgs) -> InsecureHttp {
    if hub.allow_insecure_hub { InsecureHttp::Allowed } else { InsecureHttp::Refused }
}

/// The operator's own hub, when it is not the embedded one.
///
/// # Errors
/// The URL cannot be used, or a file cannot be read.
pub fn hub_endpoint(args: &HubArgs) -> anyhow::Result<HubEndpoint> {
    let url = HubUrl::parse(&args.hub_url, insecure(args))
        .with_context(|| format!("--hub-url {:?} cannot be used", args.hub_url))?;
    let api_key = match &args.hub_api_key_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read --hub-api-key-file {}", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => std::env::var("CONNECT_HUB_API_KEY").ok(),
    };
    let ca = match &args.hub_ca_file {
        Some(path) => Some(
            std::fs::read(path).with_context(|| format!("cannot read --hub-ca-file {}", path.display()))?,
        ),
        None => None,
    };
    let api_key = api_key.filter(|key| !key.is_empty()).map(SecretString::from);
    if api_key.is_none() {
        tracing::warn!(hub = %url, "no API key for the hub: give --hub-api-key-file or CONNECT_HUB_API_KEY, or use --embedded-hub");
    }
    Ok(HubEndpoint { public_url: url.clone(), url, api_key, ca })
}

fn policy(args: &RunArgs, config: &kube::Config) -> Policy {
    let api_server =
        config.cluster_url.host().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    let in_cluster =
        std::env::var("KUBERNETES_SERVICE_HOST").ok().and_then(|host| host.parse::<IpAddr>().ok());
    Policy {
        allow_loopback: args.allow_loopback_targets,
        allow_selectorless: args.allow_selectorless_targets,
        forbidden: api_server
            .into_iter()
            .chain(in_cluster)
            .chain(args.cluster.pod_ip)
            .map(|ip| ip.to_canonical())
            .collect(),
        own_namespace: args.cluster.namespace.clone(),
        required_labels: args.require_service_label.clone(),
    }
}
