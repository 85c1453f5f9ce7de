//! How Argo CD and Flux see our objects, in every state that they can be in, as the control plane gives them.

use anyhow::{Context as _, Result, anyhow, ensure};
use connect_crds::condition::{kind, reason};
use connect_tests::namespace::Namespace;
use serde_json::{Value, json};

use super::argo;
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
    let nothing = json!({"selector": {"matchLabels": {"app": "nobody"}}});
    let nothing = json!({ "routes": nothing });
    let nothing = share(&world, "nothing", nothing, [kind::ACCEPTED, "False", reason::NO_ROUTES]).await?;
    let refused = with(json!({"codeSecretName": "taken"}));
    world.kubectl.run(["create", "secret", "generic", "taken"]).await?.success()?;
    let refused =
        share(&world, "refused", refused, [kind::STALLED, "True", reason::SECRET_NOT_WRITABLE]).await?;
    let mut changed = shared.clone();
    changed["metadata"]["generation"] = json!(7);
    // Nobody serves that namespace.
    let elsewhere = Namespace::create(world.cluster, "unseen").await?;
    let unseen =
        ["environmentshare/shared", "serviceexpose/api"].map(|object| unseen(&world, &elsewhere, object));
    let [unseen, unseen_route] =
        futures::future::try_join_all(unseen).await?.try_into().map_err(|_| anyhow!("two"))?;
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
        ("nothing selected", &nothing, "Progressing", InProgress, InProgress),
        ("a Secret that cannot be written", &refused, "Degraded", Failed, Failed),
        ("never looked at", &unseen, "Progressing", InProgress, InProgress),
        ("a route never looked at", &unseen_route, "Progressing", InProgress, InProgress),
        ("changed since", &changed, "Progressing", InProgress, InProgress),
        ("hub away", &away, "Progressing", InProgress, InProgress),
        ("exposed", &exposed, "Healthy", Current, Current),
        ("exposed, without its Service", &not_exposed, "Progressing", InProgress, InProgress),
    ] {
        let seen = Seen { object: object.clone(), state, argo, flux, kstatus };
        seen.check().await?;
    }
    acted_upon(&world, &shared, [&expired, &revoked]).await
}

impl Seen {
    async fn check(&self) -> Result<()> {
        let Self { object, state, argo, flux, kstatus } = self;
        let (status, message) = argo::health(object).await?;
        ensure!(
            status == *argo && !message.is_empty(),
            "{state}: Argo CD says {status} ({message}): {object}"
        );
        assert_eq!(flux::by_expressions(object).await?, *flux, "{state}: {object}");
        assert_eq!(flux::by_kstatus(object).await?, *kstatus, "{state}: {object}");
        Ok(())
    }
}

/// An object of the world as it is in a namespace that no operator serves.
async fn unseen(world: &World, elsewhere: &Namespace, object: &str) -> Result<Value> {
    let mut copy = get(world, object).await?;
    copy["metadata"] = json!({ "name": copy["metadata"]["name"] });
    let kubectl = elsewhere.kubectl();
    kubectl.apply(&copy.to_string()).await?;
    let words = ["get", object, "--output", "json"];
    serde_json::from_str(&kubectl.run(words).await?.success()?.stdout).context("JSON")
}

/// What Argo CD's actions make of a share is taken by the cluster, and an ended one has none.
async fn acted_upon(world: &World, shared: &Value, over: [&Value; 2]) -> Result<()> {
    assert_eq!(argo::offered(shared).await?, ["extend-1d", "extend-4h", "revoke"]);
    for share in over {
        assert_eq!(argo::offered(share).await?, [""; 0], "{share}");
    }
    let mut dated = shared.clone();
    dated["spec"]["expirationTime"] = json!("2099-12-01T18:00:00Z");
    assert_eq!(argo::offered(&dated).await?, ["revoke"], "a date is moved in Git");
    for (expires, in_4_hours, in_a_day) in [
        (Value::Null, "28h", "48h"),
        (json!("1h"), "5h", "25h"),
        (json!("7d"), "172h", "192h"),
        (json!("0010h"), "14h", "34h"),
        (json!("4166d"), "99988h", "4167d"),
        (json!("99995h"), "99999h", "4168d"),
        (json!("99996h"), "4167d", "4168d"),
        (json!("99998d"), "99999d", "99999d"),
        (json!("99999d"), "99999d", "99999d"),
    ] {
        let mut object = get(world, "environmentshare/shared").await?;
        object["spec"]["expires"] = expires.clone();
        for (action, expected) in [("extend-4h", in_4_hours), ("extend-1d", in_a_day)] {
            let extended = argo::perform(action, &object).await?;
            assert_eq!(extended["spec"]["expires"], expected, "{action} of {expires}");
            let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"];
            let mut taken = extended;
            let metadata = taken["metadata"].as_object_mut().context("metadata")?;
            metadata.remove("managedFields");
            // The operator may write status meanwhile.
            metadata.remove("resourceVersion");
            world.kubectl.run_with_input(apply, &taken.to_string()).await?.success()?;
        }
    }
    let object = get(world, "environmentshare/shared").await?;
    world.kubectl.apply(&argo::perform("revoke", &object).await?.to_string()).await?;
    assert_eq!(get(world, "environmentshare/shared").await?["spec"]["revoked"], true);
    Ok(())
}
