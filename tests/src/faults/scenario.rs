//! The scenario that every plan disturbs: shares that begin, change, are revoked and go, and one that stays.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{self, kind, reason};
use connect_crds::{EnvironmentShare, ServiceExpose, secret_key};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::outcome::AtHub;
use crate::wait::eventually;

/// The share that stays.
pub const OPEN: &str = "open";
/// The share that gets another end and is revoked.
pub const MOVED: &str = "moved";
/// The share that is deleted.
pub const GONE: &str = "gone";
/// The share that deletes itself once it is revoked.
pub const BRIEF: &str = "brief";
/// The route that the shares share.
pub const ROUTE: &str = "api";
/// The route that the hub's workspace reaches, and that is taken away.
pub const WEB: &str = "web";

/// The label by which EndpointSlices name their Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Where a scenario runs.
pub struct Fixture {
    /// The API server, without a relay.
    pub client: Client,
    /// The namespace.
    pub namespace: String,
    /// The API server as the operator reaches it.
    pub api_url: String,
    /// The hub as the operator reaches it.
    pub hub_url: String,
    /// The hub, without a relay.
    pub real_hub: String,
    /// A file with the hub's key.
    pub hub_key: PathBuf,
    /// Files of this run.
    pub folder: PathBuf,
    /// Where its processes log.
    pub logs: PathBuf,
    /// How long a step may take.
    pub patience: Duration,
}

impl Fixture {
    /// Objects of this kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes the namespace and what is shared in it.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn set(&self) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        create(&namespaces, json!({ "metadata": { "name": self.namespace } })).await?;
        self.set_service().await?;
        self.set_route(ROUTE, "Shared").await?;
        self.set_route(WEB, "Workspace").await
    }

    /// Makes the Service behind all routes.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn set_service(&self) -> Result<()> {
        let spec = json!({ "selector": { "app": ROUTE }, "ports": [{ "port": 8080 }] });
        create(&self.api::<Service>(), json!({ "metadata": { "name": ROUTE }, "spec": spec })).await
    }

    /// Exposes it. Routes of one hub have different names.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn set_route(&self, name: &str, reach: &str) -> Result<()> {
        let route = format!("{name}-{}", self.namespace);
        let spec =
            json!({ "serviceRef": { "name": ROUTE, "port": 8080 }, "reach": reach, "routeName": route });
        create(&self.api::<ServiceExpose>(), object("ServiceExpose", name, &spec)).await
    }

    /// Lives it, from the first share to the last end.
    ///
    /// # Errors
    /// Says what did not come about in time.
    pub async fn run(&self) -> Result<()> {
        let shares = self.api::<EnvironmentShare>();
        let routes = json!({ "names": [ROUTE] });
        let (soon, later) = (self.hours_from_now(2)?, self.hours_from_now(3)?);
        let begin = async |name, spec| create(&shares, object("EnvironmentShare", name, &spec)).await;
        begin(OPEN, json!({ "routes": routes })).await?;
        begin(BRIEF, json!({ "routes": routes, "ttlSecondsAfterFinished": 0 })).await?;
        self.is(OPEN, kind::READY, reason::SHARED).await?;
        // These are seen by watches and not in lists.
        begin(MOVED, json!({ "routes": routes, "expirationTime": soon.to_string() })).await?;
        begin(GONE, json!({ "routes": routes })).await?;
        for name in [BRIEF, MOVED, GONE] {
            self.is(name, kind::READY, reason::SHARED).await?;
        }
        eventually("the route is at the hub", self.patience, || async {
            let conditions =
                self.api::<ServiceExpose>().get(WEB).await?.status.unwrap_or_default().conditions;
            ensure!(condition::is_true(&conditions, kind::READY), "{conditions:?}");
            Ok(())
        })
        .await?;

        self.touch_endpoints().await?;
        change(&shares, MOVED, json!({ "expirationTime": later.to_string() })).await?;
        change(&shares, BRIEF, json!({ "revoked": true })).await?;
        shares.delete(GONE, &DeleteParams::default()).await?;
        self.api::<ServiceExpose>().delete(WEB, &DeleteParams::default()).await?;
        eventually("the new end is in the Secret", self.patience, || async {
            let said = self.code(MOVED, secret_key::EXPIRATION_TIME).await?;
            ensure!(said == later.to_string(), "it says {said}");
            Ok(())
        })
        .await?;
        eventually("the hub knows the new end", self.patience, || async {
            let ends = AtHub::of(self).await?.ends;
            ensure!(ends.get(MOVED) == Some(&later), "it says {ends:?}");
            Ok(())
        })
        .await?;
        for name in [GONE, BRIEF] {
            self.gone(&shares, name).await?;
        }
        self.gone(&self.api::<ServiceExpose>(), WEB).await?;

        change(&shares, MOVED, json!({ "revoked": true })).await?;
        self.is(MOVED, kind::READY, reason::REVOKED).await?;
        self.gone(&self.api::<Secret>(), &secret_of(MOVED)).await
    }

    /// Changes where the Service's bytes go, as its controller does: it may or may not do so by itself.
    async fn touch_endpoints(&self) -> Result<()> {
        let slices = self.api::<EndpointSlice>();
        let of_service = ListParams::default().labels(&format!("{SERVICE_NAME_LABEL}={ROUTE}"));
        let name = eventually("the Service has an EndpointSlice", self.patience, || async {
            let slice = slices.list(&of_service).await?.items.into_iter().next();
            slice.context("it has none")?.metadata.name.context("it has a name")
        })
        .await?;
        let touched = json!({ "metadata": { "annotations": { "connect.example/touched": "yes" } } });
        slices.patch(&name, &PatchParams::default(), &Patch::Merge(touched)).await?;
        Ok(())
    }

    /// Waits until a condition of a share is true for this reason.
    pub(super) async fn is(&self, name: &str, kind: &str, reason: &str) -> Result<()> {
        eventually(&format!("share {name} says {kind} ({reason})"), self.patience, || async {
            let conditions =
                self.api::<EnvironmentShare>().get(name).await?.status.unwrap_or_default().conditions;
            let said = condition::find(&conditions, kind);
            ensure!(
                said.is_some_and(|said| said.status == "True" && said.reason == reason),
                "{conditions:?}"
            );
            Ok(())
        })
        .await
    }

    /// A key of a share's Secret.
    ///
    /// # Errors
    /// There is no such Secret or key.
    pub async fn code(&self, share: &str, key: &str) -> Result<String> {
        let data = self.api::<Secret>().get(&secret_of(share)).await?.data.unwrap_or_default();
        String::from_utf8(data.get(key).with_context(|| format!("it has no {key}"))?.0.clone())
            .context("it is no text")
    }

    /// Waits until an object is gone.
    pub(super) async fn gone<K>(&self, api: &Api<K>, name: &str) -> Result<()>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    {
        eventually(&format!("{name} is gone"), self.patience, || async {
            ensure!(api.get_opt(name).await?.is_none(), "it is there");
            Ok(())
        })
        .await
    }

    fn hours_from_now(&self, hours: i64) -> Result<Timestamp> {
        let then = Timestamp::now() + SignedDuration::from_hours(hours);
        Timestamp::from_second(then.as_second()).context("it is in range")
    }
}

/// The Secret of a share's code.
pub fn secret_of(share: &str) -> String {
    format!("{share}-share-code")
}

pub(super) fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "connect.privateconnect.co/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

pub(super) async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + serde::Serialize + std::fmt::Debug,
{
    let object = serde_json::from_value(object).context("it is such an object")?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}

pub(super) async fn change(shares: &Api<EnvironmentShare>, name: &str, spec: Value) -> Result<()> {
    shares.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await?;
    Ok(())
}
