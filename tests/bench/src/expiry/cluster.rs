//! E3, E4 and E6: ends as an operator makes them, with a control plane that works, that has stopped, and after a restart.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use connect_crds::EnvironmentShare;
use connect_crds::condition::{self, kind};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::{Lateness, Watched, judged, look_at_the_machine, now};
use crate::Bench;
use crate::figure::{Goal, Measure, Row, Unit};
use crate::paths::{Joined, Service};
use crate::service::Wish;
use crate::statistics::Rounds;
use connect_tests::control_plane::{ControlPlane, Kubectl, Options};
use connect_tests::hub::Hub;
use connect_tests::operator::{HubChoice, Operator, Setup};
use connect_tests::plugin;
use connect_tests::services;
use connect_tests::wait::{PATIENTLY, eventually};

/// Shares that a user ends, one after the other.
const ENDED: usize = 20;

/// Other shares that change meanwhile, and how many changes are under way at once: as many as a busy pipeline makes.
const CHANGING: usize = 40;
const WRITERS: usize = 4;

/// Pause between two of them, so that each meets an operator that has nothing to do.
const PAUSE: Duration = Duration::from_millis(100);

/// The life of a share that ends by itself: long enough to be joined.
const LIFE: SignedDuration = SignedDuration::from_secs(15);

/// How long before the end something is stopped.
const BEFORE: Duration = Duration::from_secs(2);

/// A dial that brought nothing by then brings nothing.
const NOTHING: Duration = Duration::from_secs(2);

/// Microseconds between two sends of the Service.
const FINE: u64 = 5_000;

/// Namespace of everything.
const NAMESPACE: &str = "bench";

/// The shared Service and its port.
const API: &str = "api";
const PORT: u16 = 8080;

/// An operator with its control plane and its hub, and a Service that it exposes.
struct World {
    operator: Operator,
    hub: Hub,
    service: Service,
    kubectl: Kubectl,
    cluster: ControlPlane,
}

/// How a user ends a share.
#[derive(Clone, Copy)]
enum Ending {
    Delete,
    Revoke,
}

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let mut world = World::start(bench).await?;
    let service = world.service.address();
    let mut calm = Rounds::default();
    look_at_the_machine(&mut calm, service).await?;
    let mut rows = vec![ended(&world, Ending::Delete, "alone", 50.0).await?];
    look_at_the_machine(&mut calm, service).await?;
    rows.push(ended(&world, Ending::Revoke, "alone", 50.0).await?);
    look_at_the_machine(&mut calm, service).await?;
    for ending in [Ending::Delete, Ending::Revoke] {
        rows.push(ended_in_a_storm(&world, ending).await?);
        look_at_the_machine(&mut calm, service).await?;
    }
    rows.extend(without_an_api_server(&mut world).await?);
    look_at_the_machine(&mut calm, service).await?;
    let mut rows = judged(rows, &calm);
    // Bytes after an end are counted, and five seconds are long: no noise excuses them.
    rows.extend(across_a_restart(world).await?);
    Ok(rows)
}

impl Ending {
    fn word(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Revoke => "revoked: true",
        }
    }

    async fn ask(self, shares: &Api<EnvironmentShare>, name: &str) -> Result<()> {
        match self {
            Self::Delete => shares.delete(name, &DeleteParams::default()).await.map(drop),
            Self::Revoke => {
                let change = Patch::Merge(json!({ "spec": { "revoked": true } }));
                shares.patch(name, &PatchParams::default(), &change).await.map(drop)
            }
        }
        .context("cannot end a share")
    }
}

impl World {
    async fn start(bench: &Bench) -> Result<Self> {
        let cluster = ControlPlane::start(Options::default()).await?;
        let hub = Hub::start(&bench.scratch.folder("cluster-hub")?, &cluster.logs()).await?;
        let operator = Operator::start(Setup {
            access: cluster.access(NAMESPACE)?,
            hub: HubChoice::from(&hub),
            namespace: NAMESPACE.to_owned(),
            watched: Vec::new(),
            // As in a Pod, whose container is started again under the same name.
            environment: vec![("POD_NAME".to_owned(), "private-connect-0".to_owned())],
            is_faulty: false,
        })
        .await?;
        let kubectl = plugin::with_plugin(&cluster.kubectl()).await?.in_namespace(NAMESPACE);
        let address = services::service(&kubectl, API, PORT).await?;
        let service = Service::start_at(address, &cluster.logs()).await?;
        plugin::expose(&kubectl, &format!("{API}:{PORT}")).await?;
        Ok(Self { operator, hub, service, kubectl, cluster })
    }

    async fn shares(&self) -> Result<Api<EnvironmentShare>> {
        Ok(Api::namespaced(self.cluster.client().await?, NAMESPACE))
    }

    async fn apply(&self, name: &str, spec: serde_json::Value) -> Result<()> {
        let object = json!({
            "apiVersion": "connect.privateconnect.co/v1alpha1",
            "kind": "EnvironmentShare",
            "metadata": { "name": name },
            "spec": spec,
        });
        self.kubectl.apply(&object.to_string()).await.map(drop)
    }

    /// The code of a share, once there is one.
    async fn code(&self, share: &str) -> Result<String> {
        let secrets: Api<Secret> = Api::namespaced(self.cluster.client().await?, NAMESPACE);
        eventually("the share has a code", PATIENTLY, || async {
            let data = secrets.get(&format!("{share}-share-code")).await?.data.unwrap_or_default();
            let code = data.get("code").context("the Secret has no code")?;
            String::from_utf8(code.0.clone()).context("a code is text")
        })
        .await
    }

    async fn join(&self, share: &str) -> Result<Joined> {
        let code = self.code(share).await?;
        Joined::start(&format!("teammate-{share}"), &code, self.hub.url(), 1, &self.cluster.logs()).await
    }

    /// A share that ends by itself, joined, and when it ends in microseconds since 1970.
    async fn ending(&self, name: &str) -> Result<(Joined, i64)> {
        let end = Timestamp::from_second((Timestamp::now() + LIFE).as_second())?;
        self.apply(name, json!({ "expirationTime": end.to_string() })).await?;
        Ok((self.join(name).await?, end.as_microsecond()))
    }
}

/// E3, while the operator has nothing else to do, or whatever the caller gives it to do.
async fn ended(world: &World, ending: Ending, when: &str, goal: f64) -> Result<Row> {
    let group = [ending.word(), when].concat().to_lowercase().replace([' ', ':'], "-");
    let names: Vec<String> = (0..ENDED).map(|number| format!("{group}-{number}")).collect();
    for name in &names {
        world.apply(name, json!({ "expires": "1h" })).await?;
    }
    let joins = try_join_all(names.iter().map(|name| world.join(name))).await?;
    let shares = world.shares().await?;
    let mut lateness = Lateness::default();
    for (name, joined) in names.iter().zip(&joins) {
        let watched = Watched::open(first(joined)?, FINE).await?;
        sleep(PAUSE).await;
        let asked = now();
        ending.ask(&shares, name).await?;
        lateness.add(watched.ended().await?, asked);
    }
    let what = format!("from {} to the cut, {when}, {ENDED} shares, p99", ending.word());
    lateness.row("E3", what, 0.99, Goal::AtMost(goal))
}

/// E3, while other shares change all the time and every change is a call to the hub and a write of Secret and status.
async fn ended_in_a_storm(world: &World, ending: Ending) -> Result<Row> {
    let shares = world.shares().await?;
    let names: Vec<String> = (0..CHANGING).map(|number| format!("changing-{number}")).collect();
    for name in &names {
        world.apply(name, json!({ "expires": "1h" })).await?;
    }
    let storm = async {
        let lives = stream::iter(["2h", "3h"]).cycle();
        let changes = lives.flat_map(|life| stream::iter(names.iter().map(move |name| (name, life))));
        changes
            .map(Ok)
            .try_for_each_concurrent(WRITERS, |(name, life)| {
                let change = Patch::Merge(json!({ "spec": { "expires": life } }));
                let shares = &shares;
                async move { shares.patch(name, &PatchParams::default(), &change).await.map(drop) }
            })
            .await
    };
    tokio::select! {
        row = ended(world, ending, "in a storm of changes", 300.0) => row,
        storm = storm => match storm {
            Ok(()) => bail!("the storm is over"),
            Err(error) => Err(error).context("the storm ended"),
        },
    }
}

/// E4: the API server stands still at the end of a share.
async fn without_an_api_server(world: &mut World) -> Result<Vec<Row>> {
    let (joined, end) = world.ending("unwatched").await?;
    let watched = Watched::open(first(&joined)?, FINE).await?;
    until(end, BEFORE).await;
    world.cluster.api_server().freeze()?;
    let ended = watched.ended().await;
    world.cluster.api_server().resume()?;
    let back = now();
    let mut lateness = Lateness::default();
    lateness.add(ended?, end);
    let row = lateness.row("E4", "API server down, end to the cut".to_owned(), 1.0, Goal::AtMost(10.0))?;
    let shares = world.shares().await?;
    eventually("the status tells the end", PATIENTLY, || async {
        let status = shares.get("unwatched").await?.status.unwrap_or_default();
        let active = condition::find(&status.conditions, kind::ACTIVE).context("no condition yet")?;
        ensure!(active.status == "False", "it is {}", active.status);
        Ok(())
    })
    .await?;
    let told = Measure::once(Unit::Milliseconds, (now() - back) as f64 / 1e3);
    Ok(vec![row, Row::new("E4", "status after the API server is back", told, Goal::AtMost(30_000.0))])
}

/// E6: the operator is away at the end of a share.
async fn across_a_restart(world: World) -> Result<Vec<Row>> {
    let (joined, end) = world.ending("restarted").await?;
    let code = world.code("restarted").await?;
    let route = first(&joined)?;
    let _watched = Watched::open(route, FINE).await?;
    let World { mut operator, hub, service: _service, kubectl: _kubectl, cluster } = world;
    until(end, BEFORE).await;
    operator.process().kill()?;
    sleep_past(end).await;
    let begun = now();
    let dials = tokio::spawn(async move { bytes_from(route, end).await });
    let operator = operator.restart().await?;
    let preview = format!("{}/v1/env-shares/{code}", hub.url());
    eventually("the hub refuses the code", PATIENTLY, || async {
        let answer = reqwest::get(&preview).await.context("the hub does not answer")?;
        ensure!(answer.status() == reqwest::StatusCode::NOT_FOUND, "it answers {}", answer.status());
        Ok(())
    })
    .await?;
    let closed = Measure::once(Unit::Milliseconds, (now() - begun) as f64 / 1e3);
    let bytes = dials.await.context("the dials were given up")?;
    drop((operator, cluster));
    let bytes = Measure::once(Unit::Count, bytes as f64);
    Ok(vec![
        Row::new("E6", "bytes after an end that the operator slept through", bytes, Goal::AtMost(0.0)),
        Row::new("E6", "start of the operator to closed at the hub", closed, Goal::AtMost(5000.0)),
    ])
}

/// Bytes that a teammate gets who dials again and again for a while.
async fn bytes_from(route: SocketAddr, end: i64) -> u64 {
    let mut bytes = 0;
    while now() < end + i64::try_from(6 * NOTHING.as_micros()).unwrap_or(i64::MAX) {
        // The port is closed once the teammate has heard of the end.
        if let Ok(mut stream) = Wish::Tick(FINE).connect(route).await {
            while let Ok(Ok(_)) = timeout(NOTHING, stream.read_u8()).await {
                bytes += 1;
            }
        }
        sleep(PAUSE).await;
    }
    bytes
}

fn first(joined: &Joined) -> Result<SocketAddr> {
    joined.routes.first().copied().context("a share without routes")
}

/// Waits until so long before an end.
async fn until(end: i64, before: Duration) {
    let left = u64::try_from(end - now()).unwrap_or_default();
    sleep(Duration::from_micros(left).saturating_sub(before)).await;
}

/// Waits until an end has passed.
async fn sleep_past(end: i64) {
    until(end, Duration::ZERO).await;
    sleep(PAUSE).await;
}
