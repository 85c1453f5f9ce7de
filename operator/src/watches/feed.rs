//! Says which objects a change concerns.

use std::sync::Arc;

use connect_crds::{EnvironmentShare, ServiceExpose};
use connect_hub::tunnel::routes::ShareKey;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt};

use crate::labels::SERVICE_NAME_LABEL;
use crate::names::{object_of, share_key};
use crate::state::{Endpoints, Stores};
use crate::triggers::{Trigger, Triggers};
use crate::tunnels::Hubs;

/// Which objects a change concerns.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) triggers: Triggers,
    pub(super) stores: Stores,
    pub(super) hubs: Arc<Hubs>,
    /// The namespace that is served; `None` for all.
    pub(super) scope: Option<String>,
}

// === impl Feed ===

impl Feed {
    /// Follows one watch for ever.
    pub(super) async fn run<K, F>(
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
                Ok(Event::InitDone) => self.relisted().await,
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), error = crate::error::chain(&error), "a watch failed; watching again");
                }
            }
        }
        anyhow::bail!("the watch of {} ended", K::kind(&()))
    }

    /// A list may hide deletions: what is carried for shares that are not known any more is cut, and everything is looked at.
    async fn relisted(&self) {
        if self.triggers.are_open() {
            self.hubs.forget_unknown(|key| !self.has_lost(key));
            self.triggers.all().await;
        }
    }

    /// Whether the share is one of our scope and its object is gone.
    fn has_lost(&self, key: &ShareKey) -> bool {
        let Some(object) = object_of(key) else { return false };
        let ours = self.scope.is_none() || self.scope == object.namespace;
        ours && self.stores.shares.get(&object).is_none_or(|share| share_key(&share) != *key)
    }

    pub(super) async fn expose_changed(&self, expose: &ServiceExpose) {
        self.triggers.expose(Trigger::One(ObjectRef::from_obj(expose))).await;
        // A label may have asked for it, or wait for its name.
        let namesake = ObjectRef::new(&expose.name_any()).within(&expose.namespace().unwrap_or_default());
        self.triggers.service(Trigger::One(namesake)).await;
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

    pub(super) async fn share_changed(&self, share: &EnvironmentShare) {
        // The cache has taken the change already: what is not in it any more is gone, with or without our finalizer.
        if self.has_lost(&share_key(share)) {
            self.hubs.forget_share(&share_key(share));
        }
        self.triggers.share(Trigger::One(ObjectRef::from_obj(share))).await;
    }

    pub(super) async fn service_changed(&self, service: &Service) {
        self.triggers.service(Trigger::One(ObjectRef::from_obj(service))).await;
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

    pub(super) async fn code_changed(&self, secret: &Secret) {
        for owner in secret.owner_references() {
            if let Some(share) = ObjectRef::from_owner_ref(secret.namespace().as_deref(), owner, ()) {
                self.triggers.share(Trigger::One(share)).await;
            }
        }
    }

    pub(super) async fn hub_secret_changed(&self, secret: &Secret) {
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
pub(super) async fn endpoints_changed(
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

#[cfg(test)]
mod tests {
    use connect_hub::tunnel::Memory;
    use connect_hub::tunnel::routes::{EndReason, Refusal, Route};
    use connect_hub::url::{HubUrl, InsecureHttp};
    use jiff::{SignedDuration, Timestamp};
    use kube::runtime::reflector;
    use kube::{Client, Config};
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    use super::*;
    use crate::allowed_hubs::AllowedHubs;
    use crate::credentials::HubEndpoint;
    use crate::origin::Origin;
    use crate::triggers::triggers;
    use crate::tunnels::Home;

    fn share(name: &str, uid: &str) -> EnvironmentShare {
        let mut share = EnvironmentShare::new(name, connect_crds::EnvironmentShareSpec::default());
        share.metadata.namespace = Some("shop".to_owned());
        share.metadata.uid = Some(uid.to_owned());
        share
    }

    /// Nobody listens there, and nobody needs to: the caches and the data plane are all that is asked.
    fn hubs() -> Arc<Hubs> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let nobody = "http://127.0.0.1:9";
        let client = Client::try_from(Config::new(nobody.parse().expect("a URL"))).expect("a client");
        let url = HubUrl::parse(nobody, InsecureHttp::Refused).expect("loopback");
        let own = HubEndpoint { public_url: url.clone(), url, api_key: None, ca: None };
        let home = Home { client, namespace: "private-connect".to_owned(), origin: Origin::default() };
        Arc::new(Hubs::new(home, own, AllowedHubs::default(), Memory::default(), CancellationToken::new()))
    }

    /// A service of the share that may be dialled for an hour.
    fn carried(hubs: &Hubs, share: &EnvironmentShare) -> Uuid {
        let (id, key, hub) = (Uuid::new_v4(), share_key(share), hubs.own());
        hub.routes().set_end(&key, Timestamp::now() + SignedDuration::from_hours(1));
        let targets = vec!["10.0.0.1:80".parse().expect("an address")];
        let name = "shop/demo/api".to_owned();
        let protocol = "tcp".to_owned();
        hub.routes().set(id, Route { share: Some(key), name, tunnel_port: None, protocol, targets });
        id
    }

    #[tokio::test]
    async fn a_list_without_a_share_ends_what_is_carried_for_it_and_nothing_else() {
        let (exposes, _) = reflector::store();
        let (shares, mut writer) = reflector::store();
        let (services, _) = reflector::store();
        let (codes, _) = reflector::store();
        let (hub_secrets, _) = reflector::store();
        let stores = Stores { exposes, shares, services, codes, hub_secrets };
        let (triggers, _triggered) = triggers(false);
        let hubs = hubs();
        let scope = Some("shop".to_owned());
        let feed = Feed { triggers: triggers.clone(), stores, hubs: hubs.clone(), scope };

        let (kept, lost, namesake) = (share("kept", "1"), share("lost", "2"), share("again", "3"));
        let mut elsewhere = share("elsewhere", "4");
        elsewhere.metadata.namespace = Some("other".to_owned());
        let ids = [&kept, &lost, &namesake, &elsewhere].map(|share| carried(&hubs, share));
        writer.apply_watcher_event(&Event::Apply(kept));
        writer.apply_watcher_event(&Event::Apply(share("again", "its successor")));

        triggers.open().await;
        feed.relisted().await;
        let dial = |id| hubs.own().routes().authorize(id, Timestamp::now()).map(drop);
        assert_eq!(dial(ids[0]), Ok(()));
        assert_eq!(dial(ids[1]), Err(Refusal::EndNotSet));
        assert_eq!(dial(ids[2]), Err(Refusal::EndNotSet), "a successor of the same name is another share");
        assert_eq!(dial(ids[3]), Ok(()), "another scope's business");
        assert_eq!(hubs.own().routes().ended_reason(&share_key(&share("lost", "2"))), None::<EndReason>);
    }
}
