//! The programs that tests and the demo run. [`connect_tools`] finds, builds or installs them; here that holds up no runtime, and
//! our own binaries are added.

mod product;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
pub use connect_tools::{Kubernetes, Need, cache, on_path};

pub use product::{Product, faulty_operator, product};

/// The Kubernetes programs.
///
/// # Errors
/// They have to be built and Go is missing, or the build fails.
pub async fn kubernetes(need: Need) -> Result<Kubernetes> {
    blocking(move || Kubernetes::get(need)).await
}

/// kubectl for a cluster of somebody else.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub async fn kubectl() -> Result<PathBuf> {
    blocking(connect_tools::kubectl).await
}

/// Helm.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub async fn helm() -> Result<PathBuf> {
    blocking(connect_tools::helm).await
}

/// Says what a build context holds, by Docker's own code.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub async fn build_context() -> Result<PathBuf> {
    blocking(connect_tools::build_context).await
}

/// The program that asks Flux and kstatus how an object is, from the cache, else built into it.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub async fn flux_rules() -> Result<PathBuf> {
    blocking(connect_tools::flux_rules).await
}

/// The program that asks Argo CD how an object is and what its actions make of it, from the cache, else built into it.
///
/// # Errors
/// It has to be built and Go is missing, or the build fails.
pub async fn argo_rules() -> Result<PathBuf> {
    blocking(connect_tools::argo_rules).await
}

/// The folder of PostgreSQL's server programs, installed when it is missing and we may.
///
/// # Errors
/// PostgreSQL is missing and we may not install it.
pub async fn postgresql() -> Result<PathBuf> {
    blocking(connect_tools::postgresql).await
}

/// The Redis server, installed when it is missing and we may.
///
/// # Errors
/// Redis is missing and we may not install it.
pub async fn redis_server() -> Result<PathBuf> {
    blocking(connect_tools::redis_server).await
}

/// What stands between teammates, operators and hubs in tests: two proxies and two gateways, installed when they are missing
/// and we may.
///
/// # Errors
/// One is missing and we may not install it.
pub async fn in_between() -> Result<()> {
    blocking(connect_tools::in_between).await
}

/// A small program that scripts of ours call, such as jq, from the package of its name when it is missing and we may.
///
/// # Errors
/// It is missing and we may not install it.
pub async fn script_tool(name: &'static str) -> Result<PathBuf> {
    blocking(move || connect_tools::script_tool(name)).await
}

/// Runs work of minutes without holding up the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("the work was given up")?
}
