//! Entering a hub and leaving it: identity, features, registration, tunnel.

use std::sync::{Arc, PoisonError};

use connect_hub::client::{Client, ClientOptions};
use connect_hub::tls::client_config;
use connect_hub::tunnel::{Limits, Tunnel, TunnelConfig};
use tokio_util::sync::CancellationToken;

use super::{Entered, HubConnection, THIS};
use crate::credentials::IdentityStore;
use crate::error::{Error, chain};
use crate::faults::point;
use crate::tunnels::problem::{HubProblem, HubState};
use crate::tunnels::token::AgentToken;

/// What hubs show for us as an agent.
const AGENT_LABEL: &str = "kubernetes";

impl HubConnection {
    /// Enters the hub and stays until `stop`, then leaves it.
    pub async fn run(self: Arc<Self>, identities: IdentityStore, stop: CancellationToken) {
        tokio::select! {
            () = self.stay(identities) => {}
            () = stop.cancelled() => {}
        }
        if let Some(tunnel) = self.tunnel.get() {
            tunnel.stop().await;
        }
    }

    /// Enters, with backoff, and keeps up what was entered. Never ends by itself.
    async fn stay(&self, identities: IdentityStore) {
        let token = loop {
            match self.enter(&identities).await {
                Ok(token) => break token,
                Err(error) => {
                    let wait = error.retry_after().unwrap_or_else(|| self.backoff.failed(THIS));
                    self.say(HubState::Down(HubProblem::of_entering(self.url(), &error)));
                    tokio::time::sleep(wait).await;
                }
            }
        };
        self.backoff.succeeded(THIS);
        self.keep_up(token).await;
    }

    /// Identity, features, registration, then the tunnel.
    async fn enter(&self, identities: &IdentityStore) -> Result<AgentToken, Error> {
        let hub = |source| Error::Hub { doing: "entering the hub", source };
        let client = self.make_client().map_err(hub)?;
        let stored = identities.load_or_create().await?;
        let features = point("reading the health", client.health()).await.map_err(hub)?.features;
        let registering = client.register_agent(&stored.identity, AGENT_LABEL, None);
        point("registering the agent", registering).await.map_err(hub)?;
        *self.entered.write().unwrap_or_else(PoisonError::into_inner) =
            Some(Entered { agent: stored.identity.agent_id, features });
        let (token, identity_rx) = AgentToken::new(identities.clone(), stored);
        self.tunnel.get_or_init(|| {
            let tls = self.endpoint_tls();
            let config = TunnelConfig {
                url: self.endpoint.url.clone(),
                tls,
                limits: Limits::default(),
                memory: self.memory.clone(),
            };
            Tunnel::start(config, identity_rx, self.routes.clone())
        });
        Ok(token)
    }

    fn make_client(&self) -> Result<&Client, connect_hub::Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let options = ClientOptions { api_key: self.endpoint.api_key.clone(), tls: self.endpoint_tls() };
        let client = Client::new(self.endpoint.url.clone(), options)?.observed(self.calls.clone());
        Ok(self.client.get_or_init(|| client))
    }

    /// TLS with the hub's private CA, or without it when its certificates cannot be read: connecting then fails and says why.
    fn endpoint_tls(&self) -> Arc<rustls::ClientConfig> {
        client_config(self.endpoint.ca.as_deref()).unwrap_or_else(|error| {
            tracing::error!(hub = %self.endpoint.url, error = chain(&error), "the CA certificates for the hub cannot be used");
            Arc::new(
                rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
            )
        })
    }
}
