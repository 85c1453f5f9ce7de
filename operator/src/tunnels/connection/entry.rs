//! Entering a hub and leaving it: identity, features, registration, tunnel.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use connect_hub::client::{CALL_DEADLINE, Client, ClientOptions, Closing, Features};
use connect_hub::tls::client_config;
use connect_hub::tunnel::{Limits, Tunnel, TunnelConfig};
use tokio_util::sync::CancellationToken;

use super::{Entered, HubConnection, THIS};
use crate::credentials::IdentityStore;
use crate::error::{Error, chain};
use crate::faults::point;
use crate::tunnels::problem::{HubProblem, HubState};
use crate::tunnels::token::AgentToken;

/// How long a hub that is left may take to hear of it.
const LEAVE_DEADLINE: Duration = Duration::from_secs(30);

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

    /// Takes back what we have at the hub: shares, services, and the agent itself where the hub can do that. Best effort, and bounded.
    pub async fn take_everything_back(&self) {
        let taking = async {
            let (Some((client, agent)), Some(maker)) = (self.entered(), self.maker()) else { return Ok(()) };
            self.read_lists().await?;
            let (rows, services) = self.with_directory(|directory| {
                let ours =
                    directory.all_shares().filter(|(signature, _)| signature.maker.as_ref() == Some(&maker));
                let rows: Vec<_> = ours.flat_map(|(_, rows)| rows.to_vec()).collect();
                (rows, directory.services_that(|name| name.ends_with(&format!("@{maker}"))))
            });
            for row in rows {
                client.close_share(agent, &row.code, Closing::Removed).await?;
            }
            for (name, known) in services {
                self.free_service(&name, known).await?;
            }
            if self.has("delete-agent") {
                client.remove_agent(agent).await?;
            }
            Ok::<_, connect_hub::Error>(())
        };
        let error = match tokio::time::timeout(LEAVE_DEADLINE, taking).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => chain(&error),
            Err(_) => "it did not answer in time".to_owned(),
        };
        tracing::warn!(hub = %self.url(), error, "a hub that is left could not be told; what is there ends by itself");
    }

    /// Whether the addresses that the hub's name stands for are ones to go to. A name that cannot be resolved here is for the
    /// connection to fail at.
    async fn judge_addresses(&self) -> Result<(), Error> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let (host, port) = self.endpoint.url.host_and_port();
        let Ok(Ok(found)) = tokio::time::timeout(CALL_DEADLINE, tokio::net::lookup_host((host, port))).await
        else {
            return Ok(());
        };
        let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        allowed.judge_addresses(&self.endpoint.url, &addresses).map_err(Error::HubNotAllowed)
    }

    /// Identity, features, registration, then the tunnel.
    async fn enter(&self, identities: &IdentityStore) -> Result<AgentToken, Error> {
        self.judge_addresses().await?;
        let hub = |source| Error::Hub { doing: "entering the hub", source };
        let client = self.make_client().map_err(hub)?;
        let stored = identities.load_or_create().await?;
        let features = point("reading the health", client.health()).await.map_err(hub)?.features;
        let (mut token, identity_rx) = AgentToken::new(identities.clone(), stored);
        token.make_known(client).await?;
        self.is_entered_as(&token, features);
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

    /// Notes who we are at the hub, and what it can do.
    pub(super) fn is_entered_as(&self, token: &AgentToken, features: Features) {
        let entered = Entered { agent: token.agent(), maker: token.maker(), features };
        *self.entered.write().unwrap_or_else(PoisonError::into_inner) = Some(entered);
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
