//! The API server as the operator uses it: a client with bounds, and a deadline on every call.

use std::time::Duration;

use anyhow::Context as _;
use connect_hub::dial::Proxies;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use kube::{Client, Config};

use crate::args::ClusterArgs;
use crate::error::Error;
use crate::faults;

/// Field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "private-connect-operator";

/// Deadline of one call. The API server answers in milliseconds; a slower one is better asked again.
pub const API_DEADLINE: Duration = Duration::from_secs(10);

/// How long one watch may last, in seconds, before it is begun anew; far below the library's 290 s, so that a silent one
/// can be told from a dead one soon ([`READ_TIMEOUT`]). A handful of watches make less than one request a second of it.
const WATCH_SECONDS: u32 = 9;

/// Longest silence on a connection to the API server. A watch ends after [`WATCH_SECONDS`], so a longer one is dead.
/// Revocations by `kubectl` travel through watches, and shall be heard of within 15 s whatever happens to one.
const READ_TIMEOUT: Duration = Duration::from_secs(12);

/// A client whose own retries are off: reconcilers retry by their own schedule.
///
/// # Errors
/// No cluster is configured, or the configuration cannot be used.
pub async fn client(args: &ClusterArgs) -> anyhow::Result<(Client, Config)> {
    let mut config = match (&args.kubeconfig, &args.context) {
        (None, None) => {
            Config::infer().await.context("no cluster is configured: run in a Pod, or give --kubeconfig")?
        }
        (path, context) => {
            let kubeconfig = match path {
                Some(path) => Kubeconfig::read_from(path)
                    .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?,
                None => Kubeconfig::read().context("cannot read the kubeconfig")?,
            };
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .context("the kubeconfig cannot be used")?
        }
    };
    reaches_straight(&mut config)?;
    config.connect_timeout = Some(API_DEADLINE);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    config.write_timeout = Some(API_DEADLINE);
    config.default_retry = false;
    let client = Client::try_from(config.clone()).context("cannot build a client for the API server")?;
    Ok((faults::logged(client), config))
}

/// The library reads a proxy from the environment without its exceptions, and asks nobody in a Pod.
fn reaches_straight(config: &mut Config) -> anyhow::Result<()> {
    let Some(proxy) = config.proxy_url.take() else { return Ok(()) };
    let is_of_environment = ["HTTPS_PROXY", "https_proxy"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .any(|text| text.parse().ok().as_ref() == Some(&proxy));
    let (url, proxies) = (&config.cluster_url, Proxies::from_environment());
    let tls = url.scheme_str() != Some("http");
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    anyhow::ensure!(
        is_of_environment && !proxies.apply_to(tls, host, port),
        "the operator reaches an API server without a proxy only: put {host} into NO_PROXY and take proxy-url out of the kubeconfig, or run it in the cluster"
    );
    Ok(())
}

/// How every watch is done.
pub fn watch_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// Runs one call under [`API_DEADLINE`] and says what it was for when it fails.
///
/// # Errors
/// [`Error::Kube`] or [`Error::Deadline`].
pub async fn call<T>(doing: &'static str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match faults::point(doing, tokio::time::timeout(API_DEADLINE, call)).await {
        Ok(answer) => answer.map_err(|source| Error::Kube { doing, source: Box::new(source) }),
        Err(_) => Err(Error::Deadline { doing, deadline: API_DEADLINE }),
    }
}

/// As [`call`], with `None` for an object that is not there.
///
/// # Errors
/// As [`call`], except "not found".
pub async fn call_opt<T>(
    doing: &'static str,
    future: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, Error> {
    match call(doing, future).await {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
