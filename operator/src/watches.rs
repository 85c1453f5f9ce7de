//! The watches: each fills one cache and says which objects a change concerns.
//!
//! All triggers of both controllers come from here, over two bounded channels, so that what wakes whom can be read in one
//! place. Nothing is triggered until every cache is filled; then, and after every re-list (which may hide deletions), all
//! objects are looked at once.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connect_crds::{EnvironmentShare, HUB_SECRET_TYPE, SHARE_CODE_SECRET_TYPE, ServiceExpose};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cluster::watch_config;
use crate::context::{Endpoints, SERVICE_NAME_LABEL, Stores};
use crate::controllers::environment_share::{object_of, share_key};
use crate::tunnels::{HubChange, Hubs, Mark};

/// Triggers waiting for a controller. Beyond it the watches wait, and the API server buffers.
const TRIGGERS_CAPACITY: usize = 1024;

/// How long the caches may take to fill before the operator gives up and is restarted.
pub const FILL_DEADLINE: Duration = Duration::from_secs(60);

/// Annotation that `kubectl apply` writes; it repeats the whole object, so caches leave it out.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A reason to reconcile.
#[derive(Clone, Debug)]
pub enum Trigger<K: Resource<DynamicType = ()>> {
    /// One object.
    One(ObjectRef<K>),
    /// All objects.
    All,
}

/// The sending ends of the triggers.
#[derive(Clone)]
pub struct Triggers {
    /// watches --which ServiceExposes to look at--> controller
    pub exposes_tx: mpsc::Sender<Trigger<ServiceExpose>>,
    /// watches --which EnvironmentShares to look at--> controller
    pub shares_tx: mpsc::Sender<Trigger<EnvironmentShare>>,
    ready: Arc<AtomicBool>,
}

/// The receiving ends of the triggers.
pub struct Triggered {
    /// Which ServiceExposes to look at.
    pub exposes_rx: mpsc::Receiver<Trigger<ServiceExpose>>,
    /// Which EnvironmentShares to look at.
    pub shares_rx: mpsc::Receiver<Trigger<EnvironmentShare>>,
}

/// Both ends of the triggers.
pub fn triggers() -> (Triggers, Triggered) {
    let (exposes_tx, exposes_rx) = mpsc::channel(TRIGGERS_CAPACITY);
    let (shares_tx, shares_rx) = mpsc::channel(TRIGGERS_CAPACITY);
    (Triggers { exposes_tx, shares_tx, ready: Arc::default() }, Triggered { exposes_rx, shares_rx })
}

impl Triggers {
    /// From now on changes trigger; everything is triggered once.
    pub async fn open(&self) {
        self.ready.store(true, Ordering::Release);
        self.all().await;
    }

    async fn all(&self) {
        self.expose(Trigger::All).await;
        self.share(Trigger::All).await;
    }

    // A closed channel means that the operator stops.
    async fn expose(&self, trigger: Trigger<ServiceExpose>) {
        if self.ready.load(Ordering::Acquire) {
            let _ = self.exposes_tx.send(trigger).await;
        }
    }

    async fn share(&self, trigger: Trigger<EnvironmentShare>) {
        if self.ready.load(Ordering::Acquire) {
            let _ = self.shares_tx.send(trigger).await;
        }
    }
}

/// Starts every watch of one scope (`None`: the whole cluster) and returns the caches they fill.
pub fn start(
    client: &Client,
    namespace: Option<&str>,
    triggers: &Triggers,
    endpoints: Arc<Endpoints>,
    hubs: Arc<Hubs>,
    tasks: &mut JoinSet<anyhow::Result<()>>,
) -> Stores {
    let (exposes, exposes_writer) = reflector::store();
    let (shares, shares_writer) = reflector::store();
    let (services, services_writer) = reflector::store();
    let (codes, codes_writer) = reflector::store();
    let (hub_secrets, hub_secrets_writer) = reflector::store();
    let stores = Stores { exposes, shares, services, codes, hub_secrets };

    let feed = Feed { triggers: triggers.clone(), stores: stores.clone(), hubs };
    let secrets_of = |type_: &str| watch_config().fields(&format!("type={type_}"));
    let stream = watched::<ServiceExpose>(client, namespace, watch_config(), drop_bulk);
    tasks.spawn(feed.clone().run(stream.reflect(exposes_writer), Feed::expose_changed));
    let stream = watched::<EnvironmentShare>(client, namespace, watch_config(), drop_bulk);
    tasks.spawn(feed.clone().run(stream.reflect(shares_writer), Feed::share_changed));
    let stream = watched::<Service>(client, namespace, watch_config(), keep_what_is_dialled);
    tasks.spawn(feed.clone().run(stream.reflect(services_writer), Feed::service_changed));
    let stream = watched::<Secret>(client, namespace, secrets_of(SHARE_CODE_SECRET_TYPE), drop_bulk);
    tasks.spawn(feed.clone().run(stream.reflect(codes_writer), Feed::code_changed));
    let stream = watched::<Secret>(client, namespace, secrets_of(HUB_SECRET_TYPE), drop_bulk);
    tasks.spawn(feed.clone().run(stream.reflect(hub_secrets_writer), Feed::hub_secret_changed));
    let stream = watched::<PartialObjectMeta<EndpointSlice>>(client, namespace, watch_config(), drop_bulk);
    tasks.spawn(endpoints_changed(stream, feed, endpoints));
    stores
}

/// Waits until every cache is filled.
///
/// # Errors
/// Says which cache is not.
pub async fn filled(stores: &Stores) -> anyhow::Result<()> {
    async fn one<K>(what: &str, store: &Store<K>) -> anyhow::Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + 'static,
    {
        tokio::time::timeout(FILL_DEADLINE, store.wait_until_ready())
            .await
            .map_err(|_| anyhow::anyhow!("cannot list {what} within {} s; are the CustomResourceDefinitions installed, and may the operator list them?", FILL_DEADLINE.as_secs()))?
            .map_err(|_| anyhow::anyhow!("the watch of {what} ended"))
    }
    let Stores { exposes, shares, services, codes, hub_secrets } = stores;
    one("ServiceExposes", exposes).await?;
    one("EnvironmentShares", shares).await?;
    one("Services", services).await?;
    one("share code Secrets", codes).await?;
    one("hub Secrets", hub_secrets).await
}

/// Turns changes at hubs into triggers, for ever.
pub async fn follow_hubs(hubs: Arc<Hubs>, triggers: Triggers, stores: Stores) {
    let mut changes = hubs.changes();
    loop {
        match changes.recv().await {
            Ok(HubChange::Joined(mark)) => {
                let is_it = |share: &EnvironmentShare| share.uid().is_some_and(|uid| Mark::of(&uid) == mark);
                if let Some(share) = stores.shares.find(is_it) {
                    triggers.share(Trigger::One(ObjectRef::from_obj(&*share))).await;
                }
            }
            Ok(HubChange::Ended(key, _)) => {
                if let Some(share) = object_of(&key) {
                    triggers.share(Trigger::One(share)).await;
                }
            }
            Ok(HubChange::Hub) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                triggers.all().await;
            }
            Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Which objects a change concerns.
#[derive(Clone)]
struct Feed {
    triggers: Triggers,
    stores: Stores,
    hubs: Arc<Hubs>,
}

// === impl Feed ===

impl Feed {
    /// Follows one watch for ever.
    async fn run<K, F>(
        self,
        stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
        concerns: F,
    ) -> anyhow::Result<()>
    where
        K: Resource<DynamicType = ()> + Send + 'static,
        F: AsyncFn(&Feed, &K),
    {
        let mut stream = std::pin::pin!(stream);
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Apply(object) | Event::Delete(object)) => concerns(&self, &object).await,
                Ok(Event::InitDone) => self.triggers.all().await,
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), error = crate::error::chain(&error), "a watch failed; watching again");
                }
            }
        }
        anyhow::bail!("the watch of {} ended", K::kind(&()))
    }

    async fn expose_changed(&self, expose: &ServiceExpose) {
        self.triggers.expose(Trigger::One(ObjectRef::from_obj(expose))).await;
        self.shares_of(expose.namespace().as_deref()).await;
        self.rivals_of(expose).await;
    }

    /// Exposes with the same route name: one of them may have been waiting for this one to go.
    async fn rivals_of(&self, expose: &ServiceExpose) {
        let rivals = self.stores.exposes.state_filter(|other| {
            other.route_name() == expose.route_name() && other.metadata.uid != expose.metadata.uid
        });
        for rival in rivals {
            self.triggers.expose(Trigger::One(ObjectRef::from_obj(&*rival))).await;
        }
    }

    async fn share_changed(&self, share: &EnvironmentShare) {
        // The cache has taken the change already: what is not in it any more is gone, with or without our finalizer.
        if self.stores.shares.get(&ObjectRef::from_obj(share)).is_none() {
            self.hubs.forget_share(&share_key(share));
        }
        self.triggers.share(Trigger::One(ObjectRef::from_obj(share))).await;
    }

    async fn service_changed(&self, service: &Service) {
        self.service_named(service.namespace().as_deref(), &service.name_any()).await;
    }

    /// Exposes of the Service, and the shares of its namespace when there are any.
    async fn service_named(&self, namespace: Option<&str>, name: &str) {
        let exposes = self.stores.exposes.state_filter(|expose| {
            expose.metadata.namespace.as_deref() == namespace && expose.spec.service_ref.name == name
        });
        for expose in &exposes {
            self.triggers.expose(Trigger::One(ObjectRef::from_obj(&**expose))).await;
        }
        if !exposes.is_empty() {
            self.shares_of(namespace).await;
        }
    }

    async fn code_changed(&self, secret: &Secret) {
        for owner in secret.owner_references() {
            if let Some(share) = ObjectRef::from_owner_ref(secret.namespace().as_deref(), owner, ()) {
                self.triggers.share(Trigger::One(share)).await;
            }
        }
    }

    async fn hub_secret_changed(&self, secret: &Secret) {
        let namespace = secret.namespace();
        let exposes = self.stores.exposes.state_filter(|expose| expose.metadata.namespace == namespace);
        for expose in exposes {
            self.triggers.expose(Trigger::One(ObjectRef::from_obj(&*expose))).await;
        }
        self.shares_of(namespace.as_deref()).await;
    }

    async fn shares_of(&self, namespace: Option<&str>) {
        let shares =
            self.stores.shares.state_filter(|share| share.metadata.namespace.as_deref() == namespace);
        for share in shares {
            self.triggers.share(Trigger::One(ObjectRef::from_obj(&*share))).await;
        }
    }
}

/// Forgets the addresses of headless Services that have changed, and triggers their objects.
async fn endpoints_changed(
    stream: impl Stream<Item = Result<Event<PartialObjectMeta<EndpointSlice>>, watcher::Error>> + Send,
    feed: Feed,
    endpoints: Arc<Endpoints>,
) -> anyhow::Result<()> {
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        let slice = match event {
            Ok(Event::Apply(slice) | Event::Delete(slice) | Event::InitApply(slice)) => slice,
            Ok(Event::Init | Event::InitDone) => continue,
            Err(error) => {
                tracing::warn!(
                    kind = "EndpointSlice",
                    error = crate::error::chain(&error),
                    "a watch failed; watching again"
                );
                continue;
            }
        };
        let (Some(namespace), Some(service)) =
            (slice.namespace(), slice.labels().get(SERVICE_NAME_LABEL).cloned())
        else {
            continue;
        };
        let headless = feed
            .stores
            .services
            .get(&ObjectRef::new(&service).within(&namespace))
            .is_some_and(|s| crate::target::is_headless(&s));
        if headless {
            endpoints.forget(&namespace, &service);
            feed.service_named(Some(&namespace), &service).await;
        }
    }
    anyhow::bail!("the watch of EndpointSlices ended")
}

/// One watch of a kind in its scope, with backoff, every object cut down first.
fn watched<K>(
    client: &Client,
    namespace: Option<&str>,
    config: watcher::Config,
    cut: fn(&mut K),
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let api = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    watch(api, config).default_backoff().modify(cut)
}

/// Leaves out what takes space and is not used: managed fields and the annotation of `kubectl apply`.
fn drop_bulk<K: Resource>(object: &mut K) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}

/// Leaves of a Service what a dial needs.
fn keep_what_is_dialled(service: &mut Service) {
    drop_bulk(service);
    *service.annotations_mut() = BTreeMap::new();
    service.status = None;
}
