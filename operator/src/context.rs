//! What every reconciliation gets: the client, the caches, the hubs, and the settings.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connect_crds::{EnvironmentShare, HubRef, PortRef, ServiceExpose, secret_key};
use connect_hub::url::InsecureHttp;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::args::ShareIsolation;
use crate::clock;
use crate::cluster::{FIELD_MANAGER, call};
use crate::connections::Connections;
use crate::controllers::labelled_service;
use crate::credentials::{HubSecretProblem, hex, hub_endpoint, text};
use crate::definitions::Definitions;
use crate::error::Error;
use crate::lease::Leadership;
use crate::metrics::Metrics;
use crate::namespaces::Ending;
use crate::own_writes::OwnWrites;
use crate::retry_delays::RetryDelays;
use crate::target::{self, Policy, Problem, Target};
use crate::tunnels::{HubConnection, Hubs};

/// Label that an EndpointSlice carries with the name of its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// Longest name of an object, in characters, as Kubernetes has it.
pub const MAX_NAME: usize = 253;

/// Label that an EndpointSlice carries with the name of who keeps it.
const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";

/// The cluster's own controller, which makes slices of a Service's selector.
const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Longest note of an Event, in characters; the API server takes 1,024 bytes.
const MAX_NOTE: usize = 250;

/// Bytes of the hash in the name of an Event that is told once.
const EVENT_HASH: usize = 8;

/// What every reconciliation gets.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The caches.
    pub stores: Stores,
    /// The caches of all scopes, these among them.
    pub all_stores: AllStores,
    /// The hubs.
    pub hubs: Arc<Hubs>,
    /// What may be dialled.
    pub policy: Policy,
    /// What new shares have at their hub.
    pub isolation: ShareIsolation,
    /// Whether hub Secrets may name http hubs on other machines.
    pub insecure: InsecureHttp,
    /// Failures per object.
    pub backoff: RetryDelays,
    /// Failures per object at its hub, which are said in status and are none of a reconciliation.
    pub hub_backoff: RetryDelays,
    /// What we have written and the caches do not show yet.
    pub own_writes: OwnWrites,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Proof that this replica leads.
    pub leadership: Leadership,
    /// What the installed definitions lack.
    pub definitions: Arc<Definitions>,
    /// Open connections of each route, as counted last.
    pub connections: Connections,
    /// Ready addresses of headless Services, until their EndpointSlices change.
    pub endpoints: Arc<Endpoints>,
    /// Whether the only namespace of these caches is being deleted.
    pub ending: Ending,
}

/// The caches, each kept by one watch. Services and Secrets are cut down to what is used before they are stored.
#[derive(Clone)]
pub struct Stores {
    /// Every ServiceExpose served.
    pub exposes: Store<ServiceExpose>,
    /// Every EnvironmentShare served.
    pub shares: Store<EnvironmentShare>,
    /// Every Service, without what is not used.
    pub services: Store<Service>,
    /// Secrets of type `connect.privateconnect.co/share-code`.
    pub codes: Store<Secret>,
    /// Secrets of type `connect.privateconnect.co/hub`.
    pub hub_secrets: Store<Secret>,
}

/// The caches of every scope.
pub type AllStores = Arc<Mutex<Vec<Stores>>>;

/// Ready addresses of headless Services, read when needed and forgotten when an EndpointSlice of the Service changes.
#[derive(Debug, Default)]
pub struct Endpoints(Mutex<HashMap<ServiceKey, Arc<Vec<EndpointSlice>>>>);

/// Namespace and name of a Service.
type ServiceKey = (String, String);

impl Endpoints {
    /// Forgets what is known of this Service.
    pub fn forget(&self, namespace: &str, service: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(namespace.to_owned(), service.to_owned()));
    }

    async fn of(
        &self,
        client: &Client,
        namespace: &str,
        service: &str,
    ) -> Result<Arc<Vec<EndpointSlice>>, Error> {
        let key = (namespace.to_owned(), service.to_owned());
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
        let params = ListParams::default().labels(&format!("{SERVICE_NAME_LABEL}={service}"));
        let slices = Arc::new(call("reading EndpointSlices", api.list(&params)).await?.items);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, slices.clone());
        Ok(slices)
    }
}

// === impl Context ===

impl Context {
    /// The hub that an object names, or the operator's own.
    ///
    /// # Errors
    /// The Secret is missing or cannot be used.
    pub fn hub(
        &self,
        namespace: &str,
        hub_ref: Option<&HubRef>,
    ) -> Result<Arc<HubConnection>, HubSecretProblem> {
        let Some(HubRef { name }) = hub_ref else { return Ok(self.hubs.own()) };
        let secret = self.stores.hub_secrets.get(&ObjectRef::new(name).within(namespace));
        let secret = secret.ok_or_else(|| HubSecretProblem::NotFound(name.clone()))?;
        let endpoint = hub_endpoint(&secret, self.insecure)?;
        let judged = self.hubs.allowed().judge(&endpoint.url);
        judged.map_err(|why| HubSecretProblem::NotAllowed { secret: name.clone(), why })?;
        Ok(self.hubs.other(endpoint))
    }

    /// Where the connections of a ServiceExpose go.
    ///
    /// # Errors
    /// Outer: the API server did not answer. Inner: the Service may not or cannot be dialled.
    pub async fn target(&self, expose: &ServiceExpose) -> Result<Result<Target, Problem>, Error> {
        let namespace = expose.namespace().ok_or(Error::Incomplete("namespace"))?;
        let reference = &expose.spec.service_ref;
        let service = self.stores.services.get(&ObjectRef::new(&reference.name).within(&namespace));
        let validation_message =
            service.as_ref().and_then(|service| labelled_service::validation_message(expose, service));
        if let Some(why) = validation_message {
            return Ok(Err(Problem::Annotation { service: reference.name.clone(), why }));
        }
        let endpoints = match &service {
            Some(service) if target::is_headless(service) => {
                let slices = self.endpoints.of(&self.client, &namespace, &reference.name).await?;
                ready_addresses(service, &reference.port, &slices)
            }
            _ => Vec::new(),
        };
        Ok(target::judge(reference, service.as_deref(), &endpoints, &self.policy))
    }

    /// The ServiceExposes of a namespace that are not being deleted, by name.
    pub fn exposes_of(&self, namespace: &str) -> Vec<Arc<ServiceExpose>> {
        let mut exposes = self.stores.exposes.state_filter(|expose| {
            expose.metadata.namespace.as_deref() == Some(namespace)
                && expose.metadata.deletion_timestamp.is_none()
        });
        exposes.sort_by_key(|expose| expose.name_any());
        exposes
    }

    /// When an object is tried again at a hub that refused or did not answer.
    pub fn hub_retry<K: Resource<DynamicType = ()>>(&self, object: &K) -> Duration {
        self.hub_backoff.failed(&object.uid().unwrap_or_default())
    }

    /// Forgets the object's failures at its hub.
    pub fn hub_answered<K: Resource<DynamicType = ()>>(&self, object: &K) {
        self.hub_backoff.succeeded(&object.uid().unwrap_or_default());
    }

    /// Whether there is such a share in any scope.
    pub fn has_share(&self, is_it: impl Fn(&EnvironmentShare) -> bool) -> bool {
        let scopes = self.all_stores.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().any(|stores| stores.shares.find(|share| is_it(share)).is_some())
    }

    /// Whether the code stands in the Secret of another share, in any scope.
    pub fn is_code_of_another(&self, share: &EnvironmentShare, code: &SecretString) -> bool {
        let is_it = |secret: &Secret| {
            let owners = secret.owner_references();
            owners.iter().any(|owner| Some(&owner.uid) != share.metadata.uid.as_ref())
                && text(secret, secret_key::CODE).is_some_and(|text| text == code.expose_secret())
        };
        let scopes = self.all_stores.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().any(|stores| stores.codes.find(|secret| is_it(secret)).is_some())
    }

    /// Whether the share's object is not there any more, as far as the cache knows.
    pub fn is_gone(&self, share: &EnvironmentShare) -> bool {
        let known = self.stores.shares.get(&ObjectRef::from_obj(share));
        known.is_none_or(|known| known.metadata.uid != share.metadata.uid)
    }

    /// Tells an Event. It is told best effort: an Event that cannot be written is logged and not tried again. Every Event is
    /// an object of its own, because each says another thing: who has joined, what has changed.
    pub async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, notice: Notice) {
        self.tell_as(object, notice, &Uuid::new_v4().simple().to_string()).await;
    }

    /// As [`Self::tell`], but what was told of this object already is not told again for as long as that Event is kept.
    pub async fn tell_once<K: Resource<DynamicType = ()>>(&self, object: &K, notice: Notice) {
        let told = format!("{:?} {} {}", object.uid(), notice.reason, notice.note);
        let suffix = hex(&Sha256::digest(told.as_bytes())[..EVENT_HASH]);
        self.tell_as(object, notice, &suffix).await;
    }

    async fn tell_as<K: Resource<DynamicType = ()>>(&self, object: &K, notice: Notice, suffix: &str) {
        let Notice { warning, reason, action, note } = notice;
        let regarding = object.object_ref(&());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(event_name(&object.name_any(), suffix)),
                namespace: regarding.namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(self.now())),
            type_: Some(if warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(reason.to_owned()),
            note: Some(note.chars().take(MAX_NOTE).collect()),
            action: Some(action.to_owned()),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(FIELD_MANAGER.to_owned()),
            regarding: Some(regarding),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        match call("writing an Event", api.create(&PostParams::default(), &event)).await {
            Ok(_) => {}
            Err(error) if error.is_conflict() => {}
            Err(error) => {
                tracing::warn!(reason, error = crate::error::chain(&error), "cannot write an Event");
            }
        }
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        clock::now()
    }
}

/// The name of an Event about this object, cut to what names may have.
fn event_name(object: &str, suffix: &str) -> String {
    let room = MAX_NAME.saturating_sub(suffix.len() + 1);
    let object: String = object.chars().take(room).collect();
    format!("{}.{suffix}", object.trim_end_matches(['.', '-']))
}

/// An Event to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Warning or Normal.
    pub warning: bool,
    /// Bounded PascalCase reason.
    pub reason: &'static str,
    /// What was done, one verb.
    pub action: &'static str,
    /// The sentence.
    pub note: String,
}

/// Whether the cluster's own controller keeps this EndpointSlice for the Service. The label with the Service's name alone is no
/// proof: nobody takes away a slice that somebody else has added. A Service without a selector, where such are allowed at all,
/// has only what somebody else has added.
fn is_of(service: &Service, slice: &EndpointSlice) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    if selector.is_none_or(std::collections::BTreeMap::is_empty) {
        return true;
    }
    let is_owned = slice
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "Service" && Some(&owner.uid) == service.metadata.uid.as_ref());
    is_owned && slice.labels().get(MANAGED_BY_LABEL).is_some_and(|manager| manager == SLICE_CONTROLLER)
}

/// The ready addresses in EndpointSlices for one port of a Service, sorted so that equal sets look equal.
fn ready_addresses(service: &Service, wanted: &PortRef, slices: &[EndpointSlice]) -> Vec<SocketAddr> {
    let Some(service_port) = target::service_port(service, wanted) else { return Vec::new() };
    let name = service_port.name.as_deref().unwrap_or_default();
    let mut addresses = Vec::new();
    for slice in slices.iter().filter(|slice| is_of(service, slice)) {
        let ports = slice.ports.as_deref().unwrap_or_default();
        let port = ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == name);
        let Some(port) = port.and_then(|port| port.port).and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            if ready {
                let parsed = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
                addresses.extend(parsed.map(|ip| SocketAddr::new(ip, port)));
            }
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_objects_with_long_names_have_names() {
        assert_eq!(event_name("demo", "ab12"), "demo.ab12");
        for object in ["x".repeat(253), format!("{}.b", "x".repeat(250)), format!("{}--b", "x".repeat(246))] {
            let name = event_name(&object, "ab12");
            assert!(name.len() <= MAX_NAME && name.ends_with("x.ab12"), "{name}");
        }
    }

    #[test]
    fn a_headless_services_ready_endpoints_are_found_by_the_ports_name() {
        let service: Service = serde_saphyr::from_str(
            "{metadata: {name: db, uid: u-1}, spec: {clusterIP: None, selector: {a: b}, ports: [{name: sql, port: 5432}, {name: web, port: 80}]}}",
        )
        .expect("fixture");
        let slices: Vec<EndpointSlice> = serde_saphyr::from_str(
            "
- addressType: IPv4
  metadata: &ours
    labels: {endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}
    ownerReferences: [{apiVersion: v1, kind: Service, name: db, uid: u-1}]
  ports: [{name: web, port: 8080}, {name: sql, port: 15432}]
  endpoints:
  - {addresses: [10.2.0.9], conditions: {ready: true}}
  - {addresses: [10.2.0.8], conditions: {ready: false}}
  - {addresses: [10.2.0.7]}
- addressType: IPv4
  metadata: *ours
  ports: [{name: web, port: 8080}]
  endpoints: [{addresses: [10.2.0.1]}]
",
        )
        .expect("fixture");
        let found = ready_addresses(&service, &PortRef::name("sql"), &slices);
        assert_eq!(
            found,
            vec!["10.2.0.7:15432".parse().expect("address"), "10.2.0.9:15432".parse().expect("address")]
        );
        assert_eq!(ready_addresses(&service, &PortRef::number(80), &slices).len(), 3);
        assert!(ready_addresses(&service, &PortRef::number(1), &slices).is_empty());
    }

    #[test]
    fn a_slice_that_somebody_has_added_is_not_dialled() {
        let ours = "labels: {endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}";
        let owner = "ownerReferences: [{apiVersion: v1, kind: Service, name: db, uid: u-1}]";
        let foreign_owner = "ownerReferences: [{apiVersion: v1, kind: Service, name: db, uid: u-2}]";
        let other_kind = "ownerReferences: [{apiVersion: v1, kind: Pod, name: db, uid: u-1}]";
        let somebody = "labels: {endpointslice.kubernetes.io/managed-by: somebody}";
        let mirrored =
            "labels: {endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io}";
        let service = |selector: &str| -> Service {
            let text = format!(
                "{{metadata: {{name: db, uid: u-1}}, spec: {{clusterIP: None, {selector} ports: [{{port: 5432}}]}}}}"
            );
            serde_saphyr::from_str(&text).expect("fixture")
        };
        for (metadata, is_dialled) in [
            (format!("{ours}, {owner}"), true),
            (format!("{ours}, {foreign_owner}"), false),
            (format!("{ours}, {other_kind}"), false),
            (ours.to_owned(), false),
            (owner.to_owned(), false),
            (format!("{somebody}, {owner}"), false),
            (format!("{mirrored}, {owner}"), false),
            ("name: added".to_owned(), false),
        ] {
            let text = format!(
                "{{addressType: IPv4, metadata: {{{metadata}}}, ports: [{{port: 1}}], endpoints: [{{addresses: [10.2.0.9]}}]}}"
            );
            let slices: Vec<EndpointSlice> = vec![serde_saphyr::from_str(&text).expect("fixture")];
            let found = |selector| ready_addresses(&service(selector), &PortRef::number(5432), &slices).len();
            assert_eq!(found("selector: {a: b},"), usize::from(is_dialled), "{metadata}");
            assert_eq!(found(""), 1, "only allowed by --allow-selectorless-targets: {metadata}");
        }
    }
}
