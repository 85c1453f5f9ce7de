//! The baseline operator: a finalizer, a requeue at the end, status as its memory, and nothing against faults.
//!
//! It is what one writes first, and it passes a run without faults. The plans must tell it from ours.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use connect_crds::condition::{kind, reason};
use connect_crds::{EnvironmentShare, FINALIZER, ServiceExpose, secret_key};
use connect_hub::client::{
    Client as Hub, ClientOptions, NewRoute, NewService, NewShare, ShareChange, ShareEnd,
};
use connect_hub::identity::Identity;
use connect_hub::url::{HubUrl, InsecureHttp};
use futures::{StreamExt, future};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::watcher;
use kube::{Api, Client, Config, Resource, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;

use super::scenario::{Fixture, secret_of};

/// Where the identity is kept; the same Secret that our operator uses.
const IDENTITY: &str = "private-connect-identity";

/// How long a failed object waits, as in the book.
const RETRY: Duration = Duration::from_secs(5);

struct Context {
    client: Client,
    namespace: String,
    hub: Hub,
    hub_url: String,
    agent: Uuid,
}

/// kube wants an error that is one.
#[derive(Debug)]
struct Failed(anyhow::Error);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Failed {}

/// Runs until it is killed.
///
/// # Errors
/// The API server or the hub did not answer at the start.
pub async fn run(fixture: Arc<Fixture>) -> Result<()> {
    let client = Client::try_from(Config::new(fixture.api_url.parse()?))?;
    let key = std::fs::read_to_string(&fixture.hub_key)?;
    let options = ClientOptions {
        api_key: Some(SecretString::from(key.trim().to_owned())),
        tls: connect_hub::tls::client_config(None)?,
    };
    let hub = Hub::new(HubUrl::parse(&fixture.hub_url, InsecureHttp::Allowed)?, options)?;
    let identity = identity(&Api::namespaced(client.clone(), &fixture.namespace)).await?;
    hub.register_agent(&identity, "baseline", None).await?;
    let context = Arc::new(Context {
        client,
        namespace: fixture.namespace.clone(),
        hub,
        hub_url: fixture.hub_url.clone(),
        agent: identity.agent_id,
    });
    let watching = || watcher::Config::default().timeout(14);
    let shares = Controller::new(context.api::<EnvironmentShare>(), watching())
        .run(share, |_, _, _| Action::requeue(RETRY), context.clone())
        .for_each(|_| future::ready(()));
    let exposes = Controller::new(context.api::<ServiceExpose>(), watching())
        .run(expose, |_, _, _| Action::requeue(RETRY), context.clone())
        .for_each(|_| future::ready(()));
    future::join(shares, exposes).await;
    Ok(())
}

async fn share(share: Arc<EnvironmentShare>, context: Arc<Context>) -> Result<Action, Failed> {
    let api = context.api();
    let done = finalizer(&api, FINALIZER, share, async |event| match event {
        Event::Apply(share) => context.begin(&share).await.map_err(Failed),
        Event::Cleanup(share) => context.close(&share).await.map(|()| Action::await_change()).map_err(Failed),
    });
    done.await.map_err(|error| Failed(error.into()))
}

async fn expose(expose: Arc<ServiceExpose>, context: Arc<Context>) -> Result<Action, Failed> {
    let api = context.api();
    let done = finalizer(&api, FINALIZER, expose, async |event| match event {
        Event::Apply(expose) => context.expose(&expose).await.map_err(Failed),
        Event::Cleanup(expose) => context.withdraw(&expose).await.map_err(Failed),
    });
    done.await.map_err(|error| Failed(error.into()))
}

impl Context {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn begin(&self, share: &EnvironmentShare) -> Result<Action> {
        let end = share.ends_at(Timestamp::now())?;
        if share.spec.revoked || end <= Timestamp::now() {
            self.close(share).await?;
            self.says(share, "False", reason::REVOKED, reason::REVOKED, None).await?;
            if share.spec.ttl_seconds_after_finished.is_some() {
                self.api::<EnvironmentShare>().delete(&share.name_any(), &DeleteParams::default()).await?;
            }
            return Ok(Action::await_change());
        }
        if share.status.as_ref().is_none_or(|status| status.code_secret_name.is_none()) {
            let code = self.create(share, end).await?;
            self.write(share, &code, end).await?;
            self.says(share, "True", reason::JOINABLE, reason::SHARED, Some(secret_of(&share.name_any())))
                .await?;
        } else if let Some((code, told)) = self.code(share).await?
            && told != end.to_string()
        {
            let change = ShareChange { expires_at: Some(end), ..ShareChange::default() };
            self.hub.update_share(self.agent, &code, &change).await?;
            self.write(share, &code, end).await?;
        }
        let wait = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO);
        Ok(Action::requeue(wait))
    }

    async fn create(&self, share: &EnvironmentShare, end: Timestamp) -> Result<SecretString> {
        let mut routes = Vec::new();
        for expose in self.api::<ServiceExpose>().list(&ListParams::default()).await? {
            if share.selects(&expose.name_any(), expose.labels()) {
                let id = self.register(&format!("{}/{}", share.name_any(), expose.name_any()), false).await?;
                routes.push(NewRoute {
                    service_name: expose.route_name().to_owned(),
                    service_id: Some(id),
                    target_host: expose.name_any(),
                    target_port: 8080,
                    local_port: None,
                    protocol: "auto".to_owned(),
                });
            }
        }
        let name = Some(share.name_any());
        let new = NewShare { name, end: ShareEnd::At(end), max_joins: None, routes };
        Ok(self.hub.create_share(self.agent, &new, None).await?.code)
    }

    async fn register(&self, name: &str, reach: bool) -> Result<Uuid> {
        use connect_hub::client::ServiceReach::{Shared, Workspace};
        let service = NewService {
            name: format!("{}/{name}", self.namespace),
            target_host: "api".to_owned(),
            target_port: 8080,
            protocol: "auto",
            is_public: false,
            reach: Some(if reach { Workspace } else { Shared }),
        };
        Ok(self.hub.register_service(self.agent, &service).await?.id)
    }

    async fn write(&self, share: &EnvironmentShare, code: &SecretString, end: Timestamp) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": connect_crds::SHARE_CODE_SECRET_TYPE,
            "metadata": { "name": secret_of(&share.name_any()), "ownerReferences": [share.controller_owner_ref(&())] },
            "stringData": {
                secret_key::CODE: code.expose_secret(), secret_key::EXPIRATION_TIME: end.to_string(), secret_key::HUB_URL: self.hub_url,
            },
        });
        let params = PatchParams::apply("baseline").force();
        self.api::<Secret>().patch(&secret_of(&share.name_any()), &params, &Patch::Apply(secret)).await?;
        Ok(())
    }

    async fn code(&self, share: &EnvironmentShare) -> Result<Option<(SecretString, String)>> {
        let Some(secret) = self.api::<Secret>().get_opt(&secret_of(&share.name_any())).await? else {
            return Ok(None);
        };
        let data = secret.data.unwrap_or_default();
        let text = |key| String::from_utf8(data.get(key).map(|value| value.0.clone()).unwrap_or_default());
        Ok(Some((SecretString::from(text(secret_key::CODE)?), text(secret_key::EXPIRATION_TIME)?)))
    }

    async fn close(&self, share: &EnvironmentShare) -> Result<()> {
        if let Some((code, _)) = self.code(share).await? {
            self.hub.revoke_share(self.agent, &code).await?;
            self.api::<Secret>().delete(&secret_of(&share.name_any()), &DeleteParams::default()).await?;
        }
        let below = format!("{}/{}/", self.namespace, share.name_any());
        for service in self.hub.services().await? {
            if service.name.starts_with(&below) {
                self.hub.delete_service(service.id).await?;
            }
        }
        Ok(())
    }

    async fn expose(&self, expose: &ServiceExpose) -> Result<Action> {
        let is_told = expose.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
        if !is_told {
            self.register(&expose.name_any(), true).await?;
            self.says(expose, "True", reason::ACCEPTED, reason::EXPOSED, None).await?;
        }
        Ok(Action::await_change())
    }

    async fn withdraw(&self, expose: &ServiceExpose) -> Result<Action> {
        let name = format!("{}/{}", self.namespace, expose.name_any());
        for service in self.hub.services().await? {
            if service.name == name {
                self.hub.delete_service(service.id).await?;
            }
        }
        Ok(Action::await_change())
    }

    async fn says<K>(
        &self,
        object: &K,
        active: &str,
        why: &str,
        ready: &str,
        secret: Option<String>,
    ) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let condition = |kind: &str, status: &str, reason: &str| json!({ "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": Timestamp::now().to_string() });
        let conditions = [condition(kind::ACTIVE, active, why), condition(kind::READY, "True", ready)];
        let status = json!({ "status": { "conditions": conditions, "codeSecretName": secret } });
        self.api::<K>()
            .patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(status))
            .await?;
        Ok(())
    }
}

async fn identity(secrets: &Api<Secret>) -> Result<Identity> {
    if let Some(secret) = secrets.get_opt(IDENTITY).await? {
        let data = secret.data.unwrap_or_default();
        let text =
            |key: &str| String::from_utf8(data.get(key).map(|value| value.0.clone()).unwrap_or_default());
        let agent_id = text("agentId")?.parse().context("the identity has an agent id")?;
        return Ok(Identity { agent_id, token: SecretString::from(text("token")?) });
    }
    let made = Identity::generate();
    let data = json!({ "agentId": made.agent_id.to_string(), "token": made.token.expose_secret() });
    let secret = serde_json::from_value(json!({ "metadata": { "name": IDENTITY }, "stringData": data }))?;
    secrets.create(&PostParams::default(), &secret).await?;
    Ok(made)
}
