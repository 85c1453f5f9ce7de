//! The way to the API server: straight, or through a proxy of the kubeconfig or the environment.

use connect_hub::dial::{Connector, Proxies};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config, Error};
use tower::{BoxError, ServiceBuilder};

use super::clock::{Dated, ServerClock};

/// A client that goes through what `proxies` says; `None` means the environment. `clock` hears the dates of answers.
pub(super) fn client(config: Config, proxies: Option<Proxies>, clock: &ServerClock) -> Result<Client, Error> {
    let proxies = proxies.unwrap_or_else(Proxies::from_environment);
    let url = &config.cluster_url;
    let tls = url.scheme_str() != Some("http");
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    if !proxies.apply_to(tls, host, port) {
        let dated = tower::layer::layer_fn(|service| Dated::new(service, clock.clone()));
        return Ok(ClientBuilder::try_from(config)?.with_layer(&dated).build());
    }
    // For proxies with TLS, whose certificates are none of the cluster's.
    let trust = connect_hub::tls::client_config(None).map_err(|error| Error::Service(error.into()))?;
    let connector = Connector::new(Some(proxies), trust);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(Dated::new(service, clock.clone()), config.default_namespace))
}
