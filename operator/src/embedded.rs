//! The hub inside this process, for clusters without a hub account.

use anyhow::Context as _;
use connect_hub::url::{HubUrl, InsecureHttp};
use connect_hubd::{Hub, HubConfig, Limits};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use prometheus_client::registry::Registry;
use secrecy::ExposeSecret;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::args::HubArgs;
use crate::credentials::{HubEndpoint, embedded_hub_key};

/// Workspace of everything that belongs to this operator.
const WORKSPACE: &str = "default";

/// Label of the operator's key.
const KEY_LABEL: &str = "operator";

/// A running hub and how the operator enters it.
pub struct EmbeddedHub {
    hub: Hub,
    /// How the operator enters it.
    pub endpoint: HubEndpoint,
}

// === impl EmbeddedHub ===

impl EmbeddedHub {
    /// Starts the hub, when it is asked for, and gives it the operator's key.
    ///
    /// # Errors
    /// The key cannot be read or stored, the folder not be used, or the address not be listened on.
    pub async fn start(args: &HubArgs, client: &Client, namespace: &str) -> anyhow::Result<Option<Self>> {
        if !args.embedded_hub {
            return Ok(None);
        }
        let public_url = match &args.hub_public_url {
            // It may be behind a proxy of the cluster, so plain http is the administrator's choice.
            Some(url) => Some(
                HubUrl::parse(url, InsecureHttp::Allowed)
                    .with_context(|| format!("--hub-public-url {url:?} cannot be used"))?,
            ),
            None => None,
        };
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let key = embedded_hub_key(&secrets).await.context("cannot read or create the embedded hub's key")?;
        let config = HubConfig {
            listen: args.hub_listen,
            public_url: public_url.as_ref().map(ToString::to_string),
            data: args.hub_data.clone(),
            limits: Limits { trusted_proxies: args.hub_trusted_proxies, ..Limits::default() },
        };
        let hub = Hub::start(config).await.context("cannot start the embedded hub")?;
        hub.ensure_api_key(WORKSPACE, KEY_LABEL, key.expose_secret())
            .await
            .context("the embedded hub does not take the operator's key")?;
        let url = format!("http://{}", dialable(hub.address()));
        let url =
            HubUrl::parse(&url, InsecureHttp::Allowed).context("the embedded hub has no usable address")?;
        let public_url = public_url.unwrap_or_else(|| url.clone());
        tracing::info!(listen = %hub.address(), %public_url, "the embedded hub serves");
        Ok(Some(Self { hub, endpoint: HubEndpoint { url, public_url, api_key: Some(key), ca: None } }))
    }

    /// Adds what the hub counts.
    pub fn register(&self, registry: &mut Registry) {
        self.hub.register(registry);
    }

    /// Closes connections and state.
    pub async fn stop(self) {
        self.hub.stop().await;
    }
}

/// The address to dial for an address listened on: the unspecified one means this machine.
fn dialable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
