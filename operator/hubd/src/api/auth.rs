//! Who asks. An API key is the power of a whole workspace; the share endpoints also want to know as which agent.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use uuid::Uuid;

use super::error::ApiError;
use crate::{
    core::Core,
    store::{AgentRow, Workspace},
    wire::Wire,
};

const KEY_HEADER: &str = "x-api-key";
const AGENT_HEADER: &str = "x-agent-id";
const FORWARDED_HEADER: &str = "x-forwarded-for";

/// A request with a valid API key.
#[derive(Debug)]
pub struct Key(pub Workspace);

/// A request of an agent of the key's workspace.
#[derive(Debug)]
pub struct Caller {
    pub workspace: Workspace,
    pub agent: AgentRow,
}

/// A request that may come without either: somebody who has only a code.
#[derive(Debug)]
pub enum MaybeCaller {
    Agent(Box<Caller>),
    Anybody,
}

/// From where a request comes.
#[derive(Debug, Clone, Copy)]
pub struct From(pub IpAddr);

impl FromRequestParts<Arc<Core>> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, ApiError> {
        let key =
            header(&parts.headers, KEY_HEADER).ok_or_else(|| ApiError::guard(401, "Missing API key"))?;
        let workspace = core.store.workspace_of(key).await?;
        let workspace = workspace.ok_or_else(|| ApiError::guard(401, "Invalid API key"))?;
        proven(parts);
        Ok(Self(workspace))
    }
}

impl FromRequestParts<Arc<Core>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, ApiError> {
        let (key, agent) = (header(&parts.headers, KEY_HEADER), header(&parts.headers, AGENT_HEADER));
        let key = key.ok_or_else(ApiError::unauthorized)?;
        let agent = agent.and_then(|id| Uuid::parse_str(id).ok()).ok_or_else(ApiError::unauthorized)?;
        let workspace = core.store.workspace_of(key).await?.ok_or_else(ApiError::unauthorized)?;
        let agent = core.store.agent(agent).await?.ok_or_else(ApiError::unauthorized)?;
        if agent.workspace.as_ref() != Some(&workspace.id) {
            return Err(ApiError::unauthorized());
        }
        proven(parts);
        Ok(Self { workspace, agent })
    }
}

impl FromRequestParts<Arc<Core>> for MaybeCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, ApiError> {
        if parts.headers.contains_key(KEY_HEADER) || parts.headers.contains_key(AGENT_HEADER) {
            return Caller::from_request_parts(parts, core).await.map(|caller| Self::Agent(Box::new(caller)));
        }
        Ok(Self::Anybody)
    }
}

impl FromRequestParts<Arc<Core>> for From {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Arc<Core>) -> Result<Self, ApiError> {
        let wire = parts
            .extensions
            .get::<Arc<Wire>>()
            .ok_or_else(|| ApiError::text(500, "Internal server error"))?;
        let address = client_address(&parts.headers, core.limits.trusted_proxies, wire.peer.ip());
        std::future::ready(Ok(Self(address))).await
    }
}

/// From where a request comes: as our own `proxies` say, or else who the TCP connection is from.
pub fn client_address(headers: &HeaderMap, proxies: usize, peer: IpAddr) -> IpAddr {
    forwarded(headers, proxies).unwrap_or(peer)
}

/// Lets the connection of a request keep its place.
fn proven(parts: &Parts) {
    if let Some(wire) = parts.extensions.get::<Arc<Wire>>() {
        wire.prove();
    }
}

/// What the outermost of our own `proxies` wrote down. Everything further left anybody may have made up.
fn forwarded(headers: &HeaderMap, proxies: usize) -> Option<IpAddr> {
    let lines = headers.get_all(FORWARDED_HEADER).iter().filter_map(|line| line.to_str().ok());
    let addresses = lines.flat_map(|line| line.split(',')).map(str::trim).collect::<Vec<_>>();
    let at = addresses.len().checked_sub(proxies.max(1))?;
    (proxies > 0).then(|| addresses[at].parse().ok()).flatten()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_our_own_proxies_wrote_is_believed() {
        let mut headers = HeaderMap::new();
        headers.append(FORWARDED_HEADER, "10.0.0.1, 192.0.2.7".parse().expect("a value"));
        headers.append(FORWARDED_HEADER, "198.51.100.9".parse().expect("a value"));
        assert_eq!(forwarded(&headers, 0), None);
        assert_eq!(forwarded(&headers, 1), "198.51.100.9".parse().ok());
        assert_eq!(forwarded(&headers, 2), "192.0.2.7".parse().ok());
        assert_eq!(forwarded(&headers, 4), None);
        assert_eq!(forwarded(&HeaderMap::new(), 1), None);
    }
}
