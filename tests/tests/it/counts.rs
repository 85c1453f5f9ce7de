//! What a share costs, counted at the API server (its audit log) and at the hub (a relay in front of it).

use anyhow::{Context as _, Result, ensure};
use connect_crds::ServiceExpose;
use connect_crds::condition::{self, kind, reason};
use connect_tests::control_plane;
use connect_tests::hub::Hub;
use connect_tests::recording_proxy::RecordingProxy;
use connect_tests::wait::{SOON, eventually};
use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::world::World;

/// Looks that are forced on objects with which nothing is to be done.
const LOOKS: usize = 20;

/// What the connection to a hub reads once a minute, whatever happens to objects.
const EVERY_MINUTE: [&str; 2] = ["GET /v1/services", "GET /v1/env-shares"];

/// Longer than new ServiceExposes are waited for before a snapshot is taken.
const SETTLED: SignedDuration = SignedDuration::from_secs(3);

#[tokio::test]
async fn a_share_costs_what_it_must_and_nothing_while_it_rests() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let hub = Hub::start(&cluster.folder("counts")?, &cluster.logs()).await?;
    let proxy = RecordingProxy::start(hub.url()).await?;
    let world = World::at_hub("counts", proxy.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    let mut costs = Costs { world: &world, proxy: &proxy, writes: 0, reads: 0, calls: 0 };
    settled(&world).await?;
    costs.since()?;

    // The beginning: finalizer, code (tried out before the hub is asked, as a dry run), status, Event; a service for the route, and
    // the share.
    world.apply_share("demo", json!({})).await?;
    told(&world, "Shared", 1).await?;
    let begun = costs.since()?;
    let written = [
        "create events",
        "create secrets",
        "patch environmentshares",
        "patch environmentshares/status",
        "patch secrets",
    ];
    assert_eq!(begun.writes, written);
    assert_eq!(begun.reads, [] as [&str; 0]);
    assert_eq!(begun.calls, ["POST /v1/env-shares", "POST /v1/services/register"]);

    // Nothing to do, again and again.
    for look in 0..LOOKS {
        look_again(&world, look).await?;
    }
    assert_eq!(costs.since()?, Cost::default());
    Ok(())
}

#[tokio::test]
async fn an_end_costs_what_it_must() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let hub = Hub::start(&cluster.folder("end-counts")?, &cluster.logs()).await?;
    let proxy = RecordingProxy::start(hub.url()).await?;
    let world = World::at_hub("end-counts", proxy.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    for name in ["revoked", "deleted"] {
        world.apply_share(name, json!({})).await?;
        world.share_says(name, kind::READY, "True", reason::SHARED).await?;
    }
    told(&world, "Shared", 2).await?;
    let mut costs = Costs { world: &world, proxy: &proxy, writes: 0, reads: 0, calls: 0 };
    costs.since()?;

    // An end: the code, status, Event; the share and its service at the hub.
    world.apply_share("revoked", json!({ "revoked": true })).await?;
    told(&world, "Revoked", 1).await?;
    let ended = costs.since()?;
    assert_eq!(ended.writes, ["create events", "delete secrets", "patch environmentshares/status"]);
    assert_eq!(ended.reads, [] as [&str; 0]);
    assert_eq!(ended.calls, ["DELETE /v1/env-shares/:id", "DELETE /v1/services/:id"]);

    // A deletion: the finalizer. The Secret goes with its owner.
    world.delete_share("deleted").await?;
    let deleted = costs.since()?;
    assert_eq!(deleted.writes, ["patch environmentshares"]);
    assert_eq!(deleted.reads, [] as [&str; 0]);
    assert_eq!(deleted.calls, ["DELETE /v1/env-shares/:id", "DELETE /v1/services/:id"]);
    Ok(())
}

#[tokio::test]
async fn a_restart_with_everything_as_it_should_be_writes_nothing() -> Result<()> {
    let world = World::beside_a_hub("restart-counts").await?;
    let _api = world.exposed_api().await?;
    for (name, spec) in [("open", json!({})), ("over", json!({ "expirationTime": "2024-01-15T10:30:00Z" }))] {
        world.apply_share(name, spec).await?;
    }
    world.share_says("open", kind::READY, "True", reason::SHARED).await?;
    world.share_says("over", kind::READY, "True", reason::EXPIRED).await?;
    told(&world, "Shared", 1).await?;
    told(&world, "Expired", 1).await?;

    let before = writes(&world)?.len();
    let world = world.kill_and_restart_the_operator().await?;
    // Each look waits for the one before, so the hub is entered and every object looked at after the last.
    hub_is_ready(&world).await?;
    for look in 0..2 {
        look_again(&world, look).await?;
    }
    let all = writes(&world)?;
    assert_eq!(all[before..], [] as [&str; 0]);
    Ok(())
}

/// What was asked for between two moments, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cost {
    writes: Vec<String>,
    reads: Vec<String>,
    calls: Vec<String>,
}

/// What was asked for up to the last moment.
struct Costs<'a> {
    world: &'a World,
    proxy: &'a RecordingProxy,
    writes: usize,
    reads: usize,
    calls: usize,
}

impl Costs<'_> {
    /// What was asked for since this was asked last.
    fn since(&mut self) -> Result<Cost> {
        let rest = |all: Vec<String>, known: &mut usize| {
            let mut new = all[*known..].to_vec();
            *known = all.len();
            new.sort();
            new
        };
        let mut calls = rest(self.proxy.requests(), &mut self.calls);
        calls.retain(|call| !EVERY_MINUTE.contains(&call.as_str()));
        Ok(Cost {
            writes: rest(writes(self.world)?, &mut self.writes),
            reads: rest(requests(self.world, &["get", "list"])?, &mut self.reads),
            calls,
        })
    }
}

/// The operator's writes, without those to its Lease.
fn writes(world: &World) -> Result<Vec<String>> {
    requests(world, &["create", "update", "patch", "delete", "deletecollection"])
}

/// What the operator asked the API server with one of these verbs, in order, as `patch secrets`; without what it asks by the
/// clock: its Lease, and whether its namespace is being deleted.
fn requests(world: &World, verbs: &[&str]) -> Result<Vec<String>> {
    let log = world.cluster.audit_log().context("the control plane is audited")?;
    let text = std::fs::read_to_string(log).context("cannot read the audit log")?;
    let mut requests = Vec::new();
    // The last line may be half written.
    for entry in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (verb, object) = (entry["verb"].as_str().unwrap_or_default(), &entry["objectRef"]);
        let counts = entry["user"]["username"] == world.namespace.name()
            && entry["stage"] == "ResponseComplete"
            && verbs.contains(&verb)
            && object.is_object()
            && object["resource"] != "leases"
            // Looked at every other second, however many objects there are.
            && object["resource"] != "namespaces";
        if counts {
            let resource = object["resource"].as_str().unwrap_or_default();
            let part = object["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
            requests.push(format!("{verb} {resource}{part}"));
        }
    }
    Ok(requests)
}

/// Waits until so many Events with this reason were told: the last thing that is done about a change.
async fn told(world: &World, reason: &str, count: usize) -> Result<()> {
    eventually(&format!("{count} Events say {reason}"), SOON, || async {
        let told = world.events(reason).await?.len();
        ensure!(told == count, "{told} do");
        Ok(())
    })
    .await
}

/// Waits until no ServiceExpose is so new that others are waited for.
async fn settled(world: &World) -> Result<()> {
    let exposes: Api<ServiceExpose> = Api::namespaced(world.cluster.client().await?, world.namespace.name());
    eventually("the ServiceExposes are not new", SOON, || async {
        for expose in exposes.list(&ListParams::default()).await? {
            let created = expose.creation_timestamp().context("it has a creation time")?.0;
            ensure!(Timestamp::now().duration_since(created) > SETTLED, "{} is", expose.name_any());
            let conditions = expose.status.clone().unwrap_or_default().conditions;
            ensure!(
                condition::is_true(&conditions, kind::READY),
                "{} says {conditions:?}",
                expose.name_any()
            );
        }
        Ok(())
    })
    .await
}

/// Changes a Service in a way that means nothing, and waits until everything that depends on it was looked at.
async fn look_again(world: &World, look: usize) -> Result<()> {
    let before = looks(world).await?;
    let label = format!("look={look}-{}", Timestamp::now().as_nanosecond());
    world.kubectl.run(["label", "service", "api", &label, "--overwrite"]).await?.success()?;
    eventually("every object is looked at", SOON, || async {
        let now = looks(world).await?;
        ensure!(now.0 > before.0 && now.1 > before.1, "{now:?} after {before:?}");
        Ok(())
    })
    .await
}

/// How often ServiceExposes and EnvironmentShares were looked at.
async fn looks(world: &World) -> Result<(u64, u64)> {
    let metrics = metrics(world).await?;
    let looks = |kind: &str| -> u64 {
        let name = format!("private_connect_reconciliations_total{{kind=\"{kind}\",");
        let lines = metrics.lines().filter(|line| line.starts_with(&name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    Ok((looks("ServiceExpose"), looks("EnvironmentShare")))
}

async fn hub_is_ready(world: &World) -> Result<()> {
    eventually("the hub is connected", SOON, || async {
        let metrics = metrics(world).await?;
        ensure!(metrics.lines().any(|line| line == "private_connect_hubs_ready 1"), "{metrics}");
        Ok(())
    })
    .await
}

async fn metrics(world: &World) -> Result<String> {
    Ok(reqwest::get(format!("{}/metrics", world.operator.admin_url())).await?.text().await?)
}
