//! How Argo CD and Flux see our objects, in every state that they can be in, as the control plane gives them.

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{kind, reason};
use serde_json::{Value, json};

use super::argo::{self, Actions};
use super::flux::{self, Status};
use crate::world::{API, World};

/// A state, and what Argo CD, our expressions and kstatus make of it.
struct Seen {
    object: Value,
    state: &'static str,
    argo: &'static str,
    flux: Status,
    kstatus: Status,
}

async fn get(world: &World, object: &str) -> Result<Value> {
    let words = ["get", object, "--output", "json"];
    serde_json::from_str(&world.kubectl.run(words).await?.success()?.stdout).context("JSON")
}

/// Applies a share and waits until a condition says so.
async fn share(world: &World, name: &str, spec: Value, says: [&str; 3]) -> Result<Value> {
    world.apply_share(name, spec).await?;
    world.share_says(name, says[0], says[1], says[2]).await?;
    get(world, &format!("environmentshare/{name}")).await
}

#[tokio::test]
async fn every_state_has_its_health_and_no_end_is_red() -> Result<()> {
    let mut world = World::beside_a_hub("health").await?;
    world.service(API, 8080).await?;
    for (name, service) in [("api", "api"), ("lost", "nowhere")] {
        let expose = json!({"apiVersion": "connect.privateconnect.co/v1alpha1", "kind": "ServiceExpose",
            "metadata": {"name": name}, "spec": {"serviceRef": {"name": service, "port": 8080}}});
        world.kubectl.apply(&expose.to_string()).await?;
    }
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong-key"},
        "type": "connect.privateconnect.co/hub",
        "stringData": {"url": world.operator.hub_url(), "apiKey": "pc_wrong-wrong-wrong"}});
    world.kubectl.apply(&secret.to_string()).await?;
    let api = json!({"names": ["api"]});
    let with = |more: Value| {
        let mut spec = json!({"routes": api});
        spec.as_object_mut()
            .into_iter()
            .for_each(|spec| spec.extend(more.as_object().cloned().unwrap_or_default()));
        spec
    };
    let shared = share(&world, "shared", with(json!({})), [kind::READY, "True", reason::SHARED]).await?;
    let past = with(json!({"expirationTime": "2024-01-15T10:30:00Z"}));
    let expired = share(&world, "expired", past, [kind::READY, "True", reason::EXPIRED]).await?;
    let revoked = with(json!({"revoked": true}));
    let revoked = share(&world, "revoked", revoked, [kind::READY, "True", reason::REVOKED]).await?;
    let lost = json!({"routes": {"names": ["lost"]}});
    let waiting =
        share(&world, "waiting", lost, [kind::RESOLVED_REFS, "False", reason::SERVICE_NOT_FOUND]).await?;
    let stalled = with(json!({"hubRef": {"name": "wrong-key"}}));
    let stalled =
        share(&world, "stalled", stalled, [kind::STALLED, "True", reason::INVALID_CREDENTIALS]).await?;
    let mut unseen = shared.clone();
    unseen.as_object_mut().context("an object")?.remove("status");
    let mut changed = shared.clone();
    changed["metadata"]["generation"] = json!(7);
    let exposed = get(&world, "serviceexpose/api").await?;
    let not_exposed = get(&world, "serviceexpose/lost").await?;
    drop(world.hub.take());
    let away =
        share(&world, "away", with(json!({})), [kind::ACTIVE, "Unknown", reason::HUB_UNREACHABLE]).await?;

    use Status::{Current, Failed, InProgress};
    for (state, object, argo, flux, kstatus) in [
        ("shared", &shared, "Healthy", Current, Current),
        ("expired", &expired, "Healthy", Current, Current),
        ("revoked", &revoked, "Healthy", Current, Current),
        ("waits for a Service", &waiting, "Progressing", InProgress, InProgress),
        ("wrong API key", &stalled, "Degraded", Failed, Failed),
        ("never looked at", &unseen, "Progressing", InProgress, Current),
        ("changed since", &changed, "Progressing", InProgress, InProgress),
        ("hub away", &away, "Progressing", InProgress, InProgress),
        ("exposed", &exposed, "Healthy", Current, Current),
        ("exposed, without its Service", &not_exposed, "Progressing", InProgress, InProgress),
    ] {
        let seen = Seen { object: object.clone(), state, argo, flux, kstatus };
        seen.check()?;
    }
    acted_upon(&world, &shared, [&expired, &revoked]).await
}

impl Seen {
    fn check(&self) -> Result<()> {
        let Self { object, state, argo, flux, kstatus } = self;
        let (status, message) = argo::health(object)?;
        ensure!(
            status == *argo && !message.is_empty(),
            "{state}: Argo CD says {status} ({message}): {object}"
        );
        assert_eq!(flux::by_expressions(object)?, *flux, "{state}: {object}");
        assert_eq!(flux::by_kstatus(object), *kstatus, "{state}: {object}");
        Ok(())
    }
}

/// What Argo CD's actions make of a share is taken by the cluster, and an ended one has none.
async fn acted_upon(world: &World, shared: &Value, over: [&Value; 2]) -> Result<()> {
    let actions = Actions::read()?;
    assert_eq!(actions.offered(shared)?, ["extend-1d", "extend-4h", "revoke"]);
    for share in over {
        assert_eq!(actions.offered(share)?, [""; 0], "{share}");
    }
    let mut dated = shared.clone();
    dated["spec"]["expirationTime"] = json!("2099-12-01T18:00:00Z");
    assert_eq!(actions.offered(&dated)?, ["revoke"], "a date is moved in Git");
    let spec = async |action: &str| {
        let object = get(world, "environmentshare/shared").await?;
        world.kubectl.apply(&actions.perform(action, &object)?.to_string()).await?;
        anyhow::Ok(get(world, "environmentshare/shared").await?["spec"].clone())
    };
    assert_eq!(spec("extend-4h").await?["expires"], "28h");
    assert_eq!(spec("extend-1d").await?["expires"], "52h");
    assert_eq!(spec("revoke").await?["revoked"], true);
    Ok(())
}
