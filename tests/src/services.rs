//! Real services, bound to the address that the API server gave to their Kubernetes Service.

pub mod http;
mod postgres;
pub mod redis;
pub mod transfer;

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};

pub use postgres::{Postgres, select};
pub use redis::Redis;

use crate::control_plane::Kubectl;

/// Makes a Service with one port, as `kubectl apply` does, and says which address it has got.
///
/// # Errors
/// The API server refuses it, or the Service has no ClusterIP.
pub async fn service(kubectl: &Kubectl, name: &str, port: u16) -> Result<SocketAddr> {
    let object = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": { "selector": { "app": name }, "ports": [{ "name": name, "port": port }] },
    });
    kubectl.apply(&object.to_string()).await?;
    address(kubectl, name, port).await
}

/// The address of a Service.
///
/// # Errors
/// There is no such Service, or it has no ClusterIP.
pub async fn address(kubectl: &Kubectl, name: &str, port: u16) -> Result<SocketAddr> {
    let words = ["get", "service", name, "--output", "jsonpath={.spec.clusterIP}"];
    let said = kubectl.run(words).await?.success()?.stdout;
    let address: IpAddr =
        said.trim().parse().with_context(|| format!("Service {name} has no ClusterIP but {said:?}"))?;
    Ok(SocketAddr::new(address, port))
}
