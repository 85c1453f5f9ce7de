//! What every reconciliation gets: the client, the caches, the hubs, and the settings.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use connect_crds::{EnvironmentShare, HubRef, ServiceExpose, secret_key};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock;
use crate::cluster::{FIELD_MANAGER, call};
use crate::credentials::{HubSecretProblem, hub_endpoint, text};
use crate::definitions::Definitions;
use crate::error::Error;
use crate::labels::{self, SERVICE_NAME_LABEL};
use crate::lease::Leadership;
use crate::names::{MAX_NAME, hex};
use crate::own_writes::OwnWrites;
use crate::retry_delays::RetryDelays;
use crate::settings::Settings;
use crate::state::{AllStores, ConnectionCounts, Ending, Endpoints, Reconciliations, Stores};
use crate::target::{self, Problem, Target};
use crate::tunnels::{HubConnection, Hubs};

/// Longest note of an Event, in characters; the API server takes 1,024 bytes.
const MAX_NOTE: usize = 250;

/// Bytes of the hash in the name of an Event that is told once.
const EVENT_HASH: usize = 8;

/// What all scopes have in common.
#[derive(Clone)]
pub struct Common {
    /// The API server.
    pub client: Client,
    /// The hubs.
    pub hubs: Arc<Hubs>,
    /// How this operator is asked to work.
    pub settings: Settings,
    /// Proof that this replica leads.
    pub leadership: Leadership,
    /// What the installed definitions lack.
    pub definitions: Arc<Definitions>,
    /// How reconciliations ended.
    pub reconciliations: Reconciliations,
    /// The caches of all scopes.
    pub all_stores: AllStores,
}

/// What every reconciliation of one scope gets.
pub struct Context {
    /// What all scopes have in common.
    pub common: Common,
    /// The caches.
    pub stores: Stores,
    /// Ready addresses of headless Services, until their EndpointSlices change.
    endpoints: Arc<Endpoints>,
    /// Failures per object.
    pub backoff: RetryDelays,
    /// Failures per object at its hub, which are said in status and are none of a reconciliation.
    hub_backoff: RetryDelays,
    /// What we have written and the caches do not show yet.
    pub own_writes: OwnWrites,
    /// Open connections of each route, as counted last.
    pub connections: ConnectionCounts,
    /// Whether the only namespace of these caches is being deleted.
    pub ending: Ending,
}

// === impl Context ===

impl Context {
    /// Nothing has failed, was written or counted yet. Watches fill the caches and forget endpoints.
    pub fn new(common: Common, stores: Stores, endpoints: Arc<Endpoints>) -> Self {
        Self {
            common,
            stores,
            endpoints,
            backoff: RetryDelays::default(),
            hub_backoff: RetryDelays::default(),
            own_writes: OwnWrites::default(),
            connections: ConnectionCounts::default(),
            ending: Ending::default(),
        }
    }

    /// The hub that an object names, or the operator's own.
    ///
    /// # Errors
    /// The Secret is missing or cannot be used.
    pub fn hub(
        &self,
        namespace: &str,
        hub_ref: Option<&HubRef>,
    ) -> Result<Arc<HubConnection>, HubSecretProblem> {
        let Some(HubRef { name }) = hub_ref else { return Ok(self.common.hubs.own()) };
        let secret = self.stores.hub_secrets.get(&ObjectRef::new(name).within(namespace));
        let secret = secret.ok_or_else(|| HubSecretProblem::NotFound(name.clone()))?;
        let endpoint = hub_endpoint(&secret, self.common.settings.insecure)?;
        let judged = self.common.hubs.allowed().judge(&endpoint.url);
        judged.map_err(|why| HubSecretProblem::NotAllowed { secret: name.clone(), why })?;
        Ok(self.common.hubs.other(endpoint))
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
            service.as_ref().and_then(|service| labels::validation_message(expose, service));
        if let Some(why) = validation_message {
            return Ok(Err(Problem::Annotation { service: reference.name.clone(), why }));
        }
        let endpoints = match &service {
            Some(service) if target::is_headless(service) => {
                let slices = self.slices_of(&namespace, &reference.name).await?;
                target::ready_addresses(service, &reference.port, &slices)
            }
            _ => Vec::new(),
        };
        Ok(target::judge(reference, service.as_deref(), &endpoints, &self.common.settings.policy))
    }

    /// The EndpointSlices of a Service; only what is not known yet costs a call.
    async fn slices_of(&self, namespace: &str, service: &str) -> Result<Arc<Vec<EndpointSlice>>, Error> {
        if let Some(known) = self.endpoints.of(namespace, service) {
            return Ok(known);
        }
        let api: Api<EndpointSlice> = Api::namespaced(self.common.client.clone(), namespace);
        let params = ListParams::default().labels(&format!("{SERVICE_NAME_LABEL}={service}"));
        let slices = Arc::new(call("reading EndpointSlices", api.list(&params)).await?.items);
        self.endpoints.remember(namespace, service, slices.clone());
        Ok(slices)
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
        let scopes = self.common.all_stores.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().any(|stores| stores.shares.find(|share| is_it(share)).is_some())
    }

    /// Whether there is such a ServiceExpose in any scope.
    pub fn has_expose(&self, is_it: impl Fn(&ServiceExpose) -> bool) -> bool {
        let scopes = self.common.all_stores.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().any(|stores| stores.exposes.find(|expose| is_it(expose)).is_some())
    }

    /// Whether the code stands in the Secret of another share, in any scope.
    pub fn is_code_of_another(&self, share: &EnvironmentShare, code: &SecretString) -> bool {
        let is_it = |secret: &Secret| {
            let owners = secret.owner_references();
            owners.iter().any(|owner| Some(&owner.uid) != share.metadata.uid.as_ref())
                && text(secret, secret_key::CODE).is_some_and(|text| text == code.expose_secret())
        };
        let scopes = self.common.all_stores.lock().unwrap_or_else(PoisonError::into_inner);
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
        let api: Api<Event> =
            Api::namespaced(self.common.client.clone(), &object.namespace().unwrap_or_default());
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
}
