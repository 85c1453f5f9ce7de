//! The cluster: how it is reached, and calls that end.
//!
//! Every call has a deadline, and nothing is tried again behind the user's back: the library's own retries would go on
//! for minutes and repeat a create. Every failure becomes one sentence, see [`failure`].

mod clock;
pub mod codes;
pub mod failure;
pub mod follow;
pub mod forward;
mod kubeconfig;
mod login;
pub mod services;
pub mod shares;
pub mod wait;
mod way;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::config::KubeConfigOptions;

use crate::failure::{Failure, Outcome};
use crate::settings::ClusterSettings;
use clock::ServerClock;
use failure::Call;

/// Field manager of everything this plugin writes.
pub const FIELD_MANAGER: &str = "kubectl-connect";

/// Longest wait for a connection to the API server. A server that is there answers within a round trip.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A cluster and the namespace that is meant.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
    request_timeout: Duration,
    url: String,
    clock: ServerClock,
}

// === impl Cluster ===

impl Cluster {
    /// Reads the kubeconfig and prepares a client. Talks to nobody yet, except an exec plugin the kubeconfig names.
    ///
    /// # Errors
    /// There is no usable kubeconfig.
    pub async fn connect(settings: ClusterSettings) -> Outcome<Self> {
        let ClusterSettings {
            kubeconfig,
            context,
            cluster,
            user,
            namespace,
            as_user,
            as_group,
            request_timeout,
        } = settings;
        let options = KubeConfigOptions { context, cluster, user };
        let (mut config, proxies) = kubeconfig::load(kubeconfig.as_deref(), &options).await?;
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT.min(request_timeout));
        if let Some(user) = as_user {
            config.auth_info.impersonate = Some(user);
            config.auth_info.impersonate_groups = (!as_group.is_empty()).then_some(as_group);
        }
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let clock = ServerClock::default();
        let client =
            way::client(config, proxies, &clock).map_err(|error| failure::of_client(&error, &url))?;
        Ok(Self { client, namespace, request_timeout, url, clock })
    }

    /// The client, for typed access.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The namespace that is meant.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The API server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The time by which objects are judged, as the API server's answers so far tell.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Its clock, as far as it has told.
    pub fn clock(&self) -> &ServerClock {
        &self.clock
    }

    /// Waits for an answer, but not for ever, and turns a failure into a sentence about `call`.
    pub async fn ask<T>(
        &self,
        call: &Call<'_>,
        answer: impl Future<Output = Result<T, kube::Error>>,
    ) -> Outcome<T> {
        match tokio::time::timeout(self.request_timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failure::of_call(&error, call, &self.url)),
            Err(_) => Err(failure::timed_out(call, &self.url, self.request_timeout)),
        }
    }

    /// As [`Self::ask`]; an object that does not exist is `None`.
    pub async fn ask_maybe<T>(
        &self,
        call: &Call<'_>,
        answer: impl Future<Output = Result<T, kube::Error>>,
    ) -> Outcome<Option<T>> {
        let answer = async {
            match answer.await {
                Ok(found) => Ok(Some(found)),
                Err(error) if failure::is_missing_object(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.ask(call, answer).await
    }

    /// A sentence about a failure of a watch.
    pub fn failure(&self, error: &kube::Error, call: &Call<'_>) -> Failure {
        failure::of_call(error, call, &self.url)
    }
}
