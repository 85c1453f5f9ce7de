//! A hub's HTTP API, one method per call.
//!
//! Every call has a deadline, every answer a size limit, and every refusal becomes an [`Error`] that knows its reason.
//! `model` and `shares` have what callers see, `json` the JSON around it, `exchange` one request and its answer.

mod clock_offset;
mod device;
mod exchange;
mod json;
mod model;
mod refusal;
mod shares;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

pub use self::clock_offset::ClockOffset;
pub use self::device::{DeviceAnswer, DeviceCode};
pub use self::model::*;
pub use self::shares::*;
use crate::dial::{DialError, Dialer, Obstacle};
use crate::error::{Error, Rejection};
use crate::identity::Identity;
use crate::socketio;
use crate::url::HubUrl;

/// How long a call may take altogether: a hub that needs longer is as good as absent, and callers retry.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// What a client needs besides the hub's address.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The workspace's API key; without it only health, preview and anonymous joins work.
    pub api_key: Option<SecretString>,
    /// See [`crate::tls::client_config`].
    pub tls: Arc<rustls::ClientConfig>,
}

/// Speaks to one hub's HTTP API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    url: HubUrl,
    api_key: Option<SecretString>,
    dialer: Dialer,
    http: exchange::Http,
    observer: Option<Arc<dyn Observer>>,
    measured: clock_offset::Measured,
}

/// Is told of every call that has ended.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// The call's name, how long it took, and why it failed, if it did; names and reasons are bounded.
    fn ended(&self, call: &'static str, took: Duration, failed: Option<&'static str>);
}

impl Client {
    /// A client for the hub at `url`. Connects lazily.
    pub fn new(url: HubUrl, options: ClientOptions) -> Result<Self, Error> {
        let ClientOptions { api_key, tls } = options;
        let dialer = Dialer::new(tls);
        let http = exchange::http_client(dialer.clone());
        Ok(Self { url, api_key, dialer, http, observer: None, measured: clock_offset::Measured::default() })
    }

    /// The same client on another way.
    #[cfg(test)]
    pub(crate) fn through(self, proxies: crate::dial::Proxies) -> Self {
        let dialer = self.dialer.through_these(proxies);
        Self { http: exchange::http_client(dialer.clone()), dialer, ..self }
    }

    /// The same client, whose calls are told to somebody.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// The hub this client speaks to.
    pub fn url(&self) -> &HubUrl {
        &self.url
    }

    /// By how much the hub's clock is ahead of this machine's, as its answers so far tell: refusals tell it, too. `None`
    /// before the first answer. Clones of a client learn together.
    pub fn clock_offset(&self) -> Option<ClockOffset> {
        self.measured.offset()
    }

    /// What the hub says about itself; a vendor's hub names no features.
    pub async fn health(&self) -> Result<Health, Error> {
        let answer: json::Health = self.open(Method::GET, "read health", "/health").send().await?;
        Ok(answer.into())
    }

    /// Goes the way of an agent's socket once, without saying who we are. To be done before anything that a hub counts:
    /// what stands in between may pass calls on and hold websockets back.
    ///
    /// # Errors
    /// The hub answers calls, and no websocket to it comes about.
    pub async fn check_way(&self) -> Result<(), Error> {
        let Err(error) = socketio::probe(&self.url, &self.dialer).await else { return Ok(()) };
        let url = self.url.clone();
        let known = DialError::obstacle(&error).cloned();
        let obstacle =
            known.or_else(|| error.opens_nothing().then_some(Obstacle::NoWebSocket { status: None }));
        Err(match obstacle {
            Some(obstacle) => Error::Obstructed { url, obstacle },
            None => Error::Unreachable { url, source: error.into() },
        })
    }

    /// Makes the agent known to the workspace of the API key.
    pub async fn register_agent(
        &self,
        identity: &Identity,
        label: &str,
        name: Option<&str>,
    ) -> Result<(), Error> {
        let body = json::RegisterAgent {
            agent_id: identity.agent_id,
            token: identity.token.expose_secret(),
            label,
            name,
        };
        self.keyed(Method::POST, "register agent", "/v1/agents/register").json(&body).done().await
    }

    /// Takes an agent away with its services and ended shares; only hubs with the feature `delete-agent` can.
    pub async fn remove_agent(&self, agent: Uuid) -> Result<(), Error> {
        let path = format!("/v1/agents/{agent}");
        self.as_agent(Method::DELETE, "remove agent", &path, agent).done().await
    }

    /// Checks the credentials. Proves nothing about the agent's socket.
    pub async fn heartbeat(&self, identity: &Identity) -> Result<(), Error> {
        let body = json::Credentials { agent_id: identity.agent_id, token: identity.token.expose_secret() };
        self.open(Method::POST, "heartbeat", "/v1/agents/heartbeat").json(&body).done().await
    }

    /// Trades the token for a new one; works for an expired token too.
    pub async fn rotate_token(&self, identity: &Identity) -> Result<RotatedToken, Error> {
        let body =
            json::RotateToken { agent_id: identity.agent_id, current_token: identity.token.expose_secret() };
        let answer: json::RotatedToken =
            self.open(Method::POST, "rotate token", "/v1/agents/rotate-token").json(&body).send().await?;
        Ok(RotatedToken { token: answer.new_token, expires_at: answer.expires_at })
    }

    /// Creates or updates the service of this name and gives its id.
    pub async fn register_service(&self, agent: Uuid, service: &NewService) -> Result<Service, Error> {
        let body = json::RegisterService::new(agent, service);
        let answer: json::ServiceAnswer =
            self.keyed(Method::POST, "register service", "/v1/services/register").json(&body).send().await?;
        Ok(answer.service)
    }

    /// The services of the workspace.
    pub async fn services(&self) -> Result<Vec<ServiceRow>, Error> {
        self.keyed(Method::GET, "list services", "/v1/services").send().await
    }

    /// Takes a service away. Older hubs have no such call: they say [`Deleted::Unsupported`].
    pub async fn delete_service(&self, id: Uuid) -> Result<Deleted, Error> {
        let answer = self.keyed(Method::DELETE, "delete service", &format!("/v1/services/{id}")).done().await;
        match answer {
            Ok(()) => Ok(Deleted::Done),
            Err(Error::Rejected(refused)) if refused.is_unknown_route() => Ok(Deleted::Unsupported),
            Err(Error::Rejected(refused)) if refused.status == 404 => Ok(Deleted::Absent),
            Err(error) => Err(error),
        }
    }

    /// Creates a share. With `idempotency_key`, a hub that knows it answers a repetition with the same share.
    pub async fn create_share(
        &self,
        agent: Uuid,
        share: &NewShare,
        idempotency_key: Option<&str>,
    ) -> Result<Share, Error> {
        let body = json::CreateShare::new(share);
        let call = self.as_agent(Method::POST, "create share", "/v1/env-shares", agent).json(&body);
        let call = match idempotency_key {
            Some(key) => call.header("idempotency-key", key),
            None => call,
        };
        let answer: json::ShareAnswer = call.send().await?;
        Ok(answer.share)
    }

    /// The live shares that `agent` created, newest first.
    pub async fn shares(&self, agent: Uuid) -> Result<Vec<ShareRow>, Error> {
        let answer: json::Shares =
            self.as_agent(Method::GET, "list shares", "/v1/env-shares", agent).send().await?;
        Ok(answer.shares)
    }

    /// Changes a share; only hubs with the feature `update-share` can.
    pub async fn update_share(
        &self,
        agent: Uuid,
        code: &SecretString,
        change: &ShareChange,
    ) -> Result<Share, Error> {
        let body = json::UpdateShare::new(change);
        let path = share_path("update share", code, "")?;
        let call = self.as_agent(Method::PATCH, "update share", &path, agent);
        let answer: json::ShareAnswer = call.json(&body).send().await?;
        Ok(answer.share)
    }

    /// Revokes a share. A code the hub does not know is [`Revoked::Absent`], not an error.
    pub async fn revoke_share(&self, agent: Uuid, code: &SecretString) -> Result<Revoked, Error> {
        self.close_share(agent, code, Closing::Revoked).await
    }

    /// Ends a share as [`Self::revoke_share`] does, and says why to those who have joined, at hubs that pass it on.
    pub async fn close_share(
        &self,
        agent: Uuid,
        code: &SecretString,
        closing: Closing,
    ) -> Result<Revoked, Error> {
        let answer = match share_path("revoke share", code, "") {
            Ok(path) => {
                let call = self.as_agent(Method::DELETE, "revoke share", &path, agent);
                let call = match closing {
                    Closing::Revoked => call,
                    Closing::Removed => call.header("end-reason", "deleted"),
                    Closing::Rotated => call.header("end-reason", "rotated"),
                };
                call.done_with::<json::Ended>().await
            }
            Err(malformed) => Err(malformed),
        };
        match answer {
            Ok(json::Ended { cut }) => Ok(Revoked::Done(cut)),
            Err(Error::Rejected(refused)) if refused.is_unknown_share() => Ok(Revoked::Absent),
            Err(error) => Err(error),
        }
    }

    /// Who joined a share, newest first; only our own hub tells.
    pub async fn joins(&self, agent: Uuid, code: &SecretString) -> Result<Joins, Error> {
        let path = share_path("list joins", code, "/joins")?;
        self.as_agent(Method::GET, "list joins", &path, agent).send().await
    }

    /// What anyone who knows the code may know about a share.
    pub async fn preview(&self, code: &SecretString) -> Result<Preview, Error> {
        let path = share_path("preview share", code, "")?;
        self.open(Method::GET, "preview share", &path).send().await
    }

    /// Joins a share: as an agent of the workspace, or without any account where the hub offers `anonymous-join`.
    pub async fn join(
        &self,
        code: &SecretString,
        label: &str,
        as_agent: Option<Uuid>,
    ) -> Result<Joined, Error> {
        let path = share_path("join share", code, "/join")?;
        let call = match as_agent {
            Some(agent) => self.as_agent(Method::POST, "join share", &path, agent),
            None => self.open(Method::POST, "join share", &path),
        };
        let answer: json::JoinAnswer = call.json(&json::JoinBody { agent_label: label }).send().await?;
        Ok(answer.into())
    }
}

/// The path of a share. Hubs make codes of letters and digits; anything else is answered as any unknown code is, and
/// no text that a user typed can reach another endpoint. Case does not matter: hubs write codes in lower case.
fn share_path(call: &'static str, code: &SecretString, rest: &str) -> Result<String, Error> {
    let code = code.expose_secret().trim();
    if !is_code(code) {
        let message = "Share not found".to_owned();
        return Err(Error::Rejected(Rejection { status: 404, call, message, retry_after: None }));
    }
    Ok(format!("/v1/env-shares/{}{rest}", code.to_ascii_lowercase()))
}
