//! A namespace with an operator of its own that serves nothing else, so that tests can kill what they like.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use connect_crds::EnvironmentShare;
use connect_crds::condition;
use connect_hub::join_token::full_code;
use connect_tests::control_plane::{self, ControlPlane, Kubectl};
use connect_tests::hub::Hub;
use connect_tests::namespace::Namespace;
use connect_tests::operator::{HubChoice, Operator, Setup};
use connect_tests::plugin;
use connect_tests::services;
use connect_tests::services::http::{self, Http};
use connect_tests::wait::{SOON, eventually};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use secrecy::{ExposeSecret, SecretString};

/// The HTTP service that most tests share.
pub const API: &str = "api";

/// A namespace and who serves it. Ends in this order.
pub struct World {
    pub operator: Operator,
    pub hub: Option<Hub>,
    pub namespace: Namespace,
    /// kubectl with the plugin, in the namespace.
    pub kubectl: Kubectl,
    pub cluster: &'static ControlPlane,
}

impl World {
    /// With a hub in the operator's process.
    pub async fn start(purpose: &str) -> Result<Self> {
        Self::with(purpose, None, HubChoice::Embedded, &[], false).await
    }

    /// With a hub of its own.
    pub async fn beside_a_hub(purpose: &str) -> Result<Self> {
        Self::beside_a_hub_with(purpose, &[]).await
    }

    /// With a hub of its own that is started with these flags.
    pub async fn beside_a_hub_with(purpose: &str, flags: &[&str]) -> Result<Self> {
        Self::beside_a_hub_by(purpose, flags, &[]).await
    }

    /// As [`Self::beside_a_hub_with`], with this in the operator's environment.
    pub async fn beside_a_hub_by(
        purpose: &str,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let cluster = control_plane::shared().await?;
        let hub = Hub::start_with(&cluster.folder(purpose)?, &cluster.logs(), flags).await?;
        let choice = HubChoice::from(&hub);
        Self::with(purpose, Some(hub), choice, environment, false).await
    }

    /// With a hub that somebody else keeps.
    pub async fn at_hub(purpose: &str, url: &str, key_file: &Path) -> Result<Self> {
        Self::at_hub_by(purpose, url, key_file, &[]).await
    }

    /// As [`Self::at_hub`], with this in the operator's environment.
    pub async fn at_hub_by(
        purpose: &str,
        url: &str,
        key_file: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let choice = HubChoice::At { url: url.to_owned(), key_file: key_file.to_owned() };
        Self::with(purpose, None, choice, environment, false).await
    }

    /// As [`Self::at_hub`], with an operator whose clock is ahead by the seconds in this file.
    pub async fn at_hub_by_clock(purpose: &str, url: &str, key_file: &Path, clock: &str) -> Result<Self> {
        let choice = HubChoice::At { url: url.to_owned(), key_file: key_file.to_owned() };
        Self::with(purpose, None, choice, &[("CONNECT_CLOCK", clock)], true).await
    }

    async fn with(
        purpose: &str,
        hub: Option<Hub>,
        choice: HubChoice,
        environment: &[(&str, &str)],
        is_faulty: bool,
    ) -> Result<Self> {
        // Whatever is logged at any level is looked at.
        let log = ("RUST_LOG", "trace");
        let environment = environment.iter().chain([&log]);
        let cluster = control_plane::shared().await?;
        let namespace = Namespace::create(cluster, purpose).await?;
        let operator = Operator::start(Setup {
            access: cluster.operator_access(namespace.name())?,
            hub: choice,
            namespace: namespace.name().to_owned(),
            watched: vec![namespace.name().to_owned()],
            environment: environment.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            is_faulty,
        })
        .await?;
        let kubectl = plugin::with_plugin(&namespace.kubectl()).await?;
        Ok(Self { operator, hub, namespace, kubectl, cluster })
    }

    /// Kills the operator without warning and starts it again.
    pub async fn kill_and_restart_the_operator(mut self) -> Result<Self> {
        self.operator.process().kill()?;
        self.start_the_operator_again().await
    }

    /// Starts an operator that was killed.
    pub async fn start_the_operator_again(self) -> Result<Self> {
        let Self { operator, hub, namespace, kubectl, cluster } = self;
        Ok(Self { operator: operator.restart().await?, hub, namespace, kubectl, cluster })
    }

    /// Ends the operator and starts it again with this in its environment.
    pub async fn restart_the_operator_by(self, environment: &[(&str, &str)]) -> Result<Self> {
        let Self { mut operator, hub, namespace, kubectl, cluster } = self;
        operator.process().kill()?;
        let operator = operator.restart_with(environment).await?;
        Ok(Self { operator, hub, namespace, kubectl, cluster })
    }

    /// An HTTP server behind an exposed Service.
    pub async fn exposed_api(&self) -> Result<Http> {
        let address = self.service(API, 8080).await?;
        let server = http::start(address).await?;
        plugin::expose(&self.kubectl, "api:8080").await?;
        Ok(server)
    }

    /// A Service and its address.
    pub async fn service(&self, name: &str, port: u16) -> Result<SocketAddr> {
        services::service(&self.kubectl, name, port).await
    }

    /// kubectl with the plugin on another machine: no kubeconfig, and nothing of our environment.
    pub fn kubectl_elsewhere(&self) -> Result<Kubectl> {
        Ok(self.kubectl.clone().on_a_bare_machine(self.cluster.folder("empty-home")?))
    }

    /// The shares of the namespace.
    pub async fn shares(&self) -> Result<Api<EnvironmentShare>> {
        Ok(Api::namespaced(self.cluster.client().await?, self.namespace.name()))
    }

    /// The only share of the namespace.
    pub async fn only_share(&self) -> Result<EnvironmentShare> {
        let mut shares = self.shares().await?.list(&ListParams::default()).await?.items;
        ensure!(shares.len() == 1, "there are {} shares", shares.len());
        shares.pop().context("there is one")
    }

    /// Applies a share with this spec.
    pub async fn apply_share(&self, name: &str, spec: serde_json::Value) -> Result<()> {
        let object = serde_json::json!({
            "apiVersion": "connect.privateconnect.co/v1alpha1",
            "kind": "EnvironmentShare",
            "metadata": { "name": name },
            "spec": spec,
        });
        self.kubectl.apply(&object.to_string()).await.map(drop)
    }

    /// Waits until a condition of a share has this status and reason.
    pub async fn share_says(
        &self,
        name: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> Result<EnvironmentShare> {
        let shares = self.shares().await?;
        eventually(&format!("share {name} says {kind}={status} ({reason})"), SOON, || async {
            let share = shares.get(name).await?;
            let conditions = share.status.clone().unwrap_or_default().conditions;
            let found = condition::find(&conditions, kind);
            let said = found.is_some_and(|found| found.status == status && found.reason == reason);
            ensure!(said, "it says {conditions:?}");
            Ok(share)
        })
        .await
    }

    /// The words of the join command in a share's Secret, once it is there, without the leading `kubectl`.
    pub async fn join_words(&self, share: &str) -> Result<Vec<String>> {
        let command =
            eventually("the share's Secret has a join command", SOON, || self.code(share, "joinCommand"))
                .await?;
        let words = command.strip_prefix("kubectl ").with_context(|| format!("it is {command:?}"))?;
        Ok(words.split_whitespace().map(str::to_owned).collect())
    }

    /// A key of a share's Secret.
    pub async fn code(&self, share: &str, key: &str) -> Result<String> {
        let secrets: Api<Secret> = Api::namespaced(self.cluster.client().await?, self.namespace.name());
        let data = secrets.get(&format!("{share}-share-code")).await?.data.unwrap_or_default();
        let value = data.get(key).with_context(|| format!("the Secret has no {key}"))?;
        String::from_utf8(value.0.clone()).context("it is no text")
    }

    /// The code of a share as people are given it.
    pub async fn full_code(&self, share: &str) -> Result<String> {
        let (handle, secret) = (self.code(share, "code").await?, self.code(share, "secret").await.ok());
        let full = full_code(&handle, secret.map(SecretString::from).as_ref());
        Ok(full.expose_secret().to_owned())
    }

    /// Deletes a share and waits until it is gone.
    pub async fn delete_share(&self, name: &str) -> Result<()> {
        self.kubectl.run(["delete", "environmentshare", name, "--timeout=60s"]).await?.success().map(drop)
    }

    /// The notes of all Events with this reason, oldest first.
    pub async fn events(&self, reason: &str) -> Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.cluster.client().await?, self.namespace.name());
        let mut events = events.list(&ListParams::default()).await?.items;
        events.retain(|event| event.reason.as_deref() == Some(reason));
        events.sort_by_key(|event| event.event_time.clone());
        Ok(events.into_iter().filter_map(|event| event.note).collect())
    }

    /// Everything that anybody with some rights, but none to read Secrets, can see of the namespace.
    pub async fn all_that_is_public(&self) -> Result<String> {
        let kinds = "environmentshares,serviceexposes,services,events,leases";
        let objects = self.kubectl.run(["get", kinds, "--output", "yaml"]).await?.success()?.stdout;
        let metrics = reqwest::get(format!("{}/metrics", self.operator.admin_url())).await?.text().await?;
        let logs = self.cluster.logs().join(format!("connect-operator-{}", self.namespace.name()));
        let log = |extension: &str| std::fs::read_to_string(logs.with_extension(extension));
        Ok([objects, metrics, log("out")?, log("err")?].concat())
    }
}
