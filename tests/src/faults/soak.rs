//! Users and faults at random, then rest, then everything must be as the objects say. Again and again.
//!
//! A run is made by its seed: what users do comes from one sequence of numbers, and what goes wrong at a place from the seed
//! and the place's name, so that a replay meets the same faults however its timing differs.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{self, kind};
use connect_crds::{EnvironmentShare, ROTATE_ANNOTATION, ServiceExpose, secret_key};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use rustix::process::Signal;
use serde_json::json;

use super::injection_point;
use super::matrix::{Environment, Lab, Who};
use super::outcome::{self, AtHub};
use super::plan::{Fault, Place, Plan, SOCKET_FAULTS};
use super::scenario::{ROUTE, change, create, object, secret_of};
use super::test_clients::TestClients;
use crate::control_plane::{ControlPlane, Options};
use crate::wait::eventually;
use connect_tools::say;

/// How long users and faults go on before everybody rests.
const ROUND: Duration = Duration::from_secs(90);

/// How long after that everything may take to be as it should: an object's longest backoff, and some.
const REST: Duration = Duration::from_secs(90);

/// What all test clients of a rest take to come.
const JOINING: SignedDuration = SignedDuration::from_mins(5);

/// Shares at once. Beyond it users delete.
const SHARES: usize = 12;

/// One request in so many goes wrong while faults are on.
const ONE_IN: u64 = 12;

/// By how much the operator's memory may grow after the first round, in KiB: allocators keep what a busy moment took.
const GROWTH: u64 = 16 * 1024;

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

/// What users do and what goes wrong.
#[derive(Clone, Copy, Debug)]
enum Act {
    Begin,
    Revoke,
    Delete,
    Move,
    Rotate,
    LoseSecret,
    SpoilSecret,
    LoseRoute,
    LoseService,
    Kill,
    Freeze,
    SilentApi,
    SilentHub,
}

/// All of them; beginning is more frequent, or there would soon be nothing to do.
const ACTS: [Act; 16] = [
    Act::Begin,
    Act::Begin,
    Act::Begin,
    Act::Begin,
    Act::Revoke,
    Act::Delete,
    Act::Move,
    Act::Rotate,
    Act::LoseSecret,
    Act::SpoilSecret,
    Act::LoseRoute,
    Act::LoseService,
    Act::Kill,
    Act::Freeze,
    Act::SilentApi,
    Act::SilentHub,
];

/// Soaks for so many minutes.
///
/// # Errors
/// Something is not as it should be after a rest; the seed replays it.
pub async fn run(minutes: u64, seed: u64) -> Result<()> {
    say(format_args!("Soaking for {minutes} minutes; replay with SEED={seed}"));
    let cluster = ControlPlane::start(Options::default()).await?;
    let lab = Lab::quiet(&cluster).await?;
    let environment = lab.begin(&Who::Ours { mistake: None }, &Plan::Nothing).await?;
    let mut soak = Soak {
        environment: &environment,
        dice: Dice(seed),
        seed,
        made: 0,
        acts: BTreeMap::new(),
        test_clients: TestClients::default(),
    };
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let (mut rounds, mut first_memory) = (0, None);
    loop {
        soak.round().await?;
        rounds += 1;
        let memory = soak.rest().await.with_context(|| format!("round {rounds}; replay with SEED={seed}"))?;
        let first = *first_memory.get_or_insert(memory);
        say(format_args!(
            "round {rounds}: 0 violations, {memory} KiB, {} starts, did {:?}",
            environment.supervisor.starts(),
            soak.acts
        ));
        ensure!(memory < first + GROWTH, "the operator has grown from {first} to {memory} KiB; SEED={seed}");
        if Instant::now() >= end {
            break;
        }
    }
    let faults = environment.api.struck() + environment.hub.struck();
    let (test_clients, blocks) = soak.test_clients.told();
    say(format_args!(
        "{rounds} rounds, {faults} faults, {} starts of the operator, {test_clients} test clients with {blocks} blocks, \
         0 violations; SEED={seed}",
        environment.supervisor.starts()
    ));
    environment.supervisor.end().await
}

struct Soak<'a> {
    environment: &'a Environment,
    dice: Dice,
    seed: u64,
    made: usize,
    acts: BTreeMap<String, usize>,
    test_clients: TestClients,
}

impl Soak<'_> {
    async fn round(&mut self) -> Result<()> {
        let chaos = |salt: u64, faults: &'static [Fault]| {
            let seed = self.seed ^ salt;
            let goes_wrong = move |place: &Place| {
                let mut hasher = DefaultHasher::new();
                (seed, place).hash(&mut hasher);
                let drawn = hasher.finish();
                let faults = if injection_point::is_socket_event(&place.injection_point) {
                    &SOCKET_FAULTS
                } else {
                    faults
                };
                let fault = faults[(drawn / ONE_IN) as usize % faults.len()];
                // Watches are lists that last; what is refused there is the list before them.
                (drawn.is_multiple_of(ONE_IN) && !place.injection_point.contains("leases")).then_some(fault)
            };
            Some(Arc::new(goes_wrong) as _)
        };
        self.environment.api.goes_wrong(chaos(
            1,
            &[
                Fault::Lose,
                Fault::Drop,
                Fault::Delay,
                Fault::Refuse(409),
                Fault::Refuse(429),
                Fault::Refuse(500),
                Fault::Refuse(503),
            ],
        ));
        self.environment.hub.goes_wrong(chaos(
            2,
            &[
                Fault::Lose,
                Fault::Drop,
                Fault::Duplicate,
                Fault::Garble,
                Fault::Delay,
                Fault::Refuse(429),
                Fault::Refuse(500),
                Fault::Refuse(503),
            ],
        ));
        let end = Instant::now() + ROUND;
        while Instant::now() < end {
            let act = ACTS[self.dice.below(ACTS.len())];
            *self.acts.entry(format!("{act:?}")).or_default() += 1;
            // Whom it concerns may be gone.
            let _ = self.act(act).await;
            tokio::time::sleep(self.dice.millis(100, 1500)).await;
        }
        self.environment.api.goes_wrong(None);
        self.environment.hub.goes_wrong(None);
        Ok(())
    }

    async fn act(&mut self, act: Act) -> Result<()> {
        let Environment { fixture, api, hub, supervisor } = self.environment;
        let shares = fixture.api::<EnvironmentShare>();
        let all = shares.list(&ListParams::default()).await?.items;
        let one = all.get(self.dice.below(all.len().max(1))).map(ResourceExt::name_any).unwrap_or_default();
        let pause = self.dice.millis(500, 11_000);
        match act {
            Act::Begin if all.len() >= SHARES => {
                shares.delete(&one, &DeleteParams::default()).await?;
            }
            Act::Begin => {
                self.made += 1;
                let spec =
                    json!({ "routes": { "names": [ROUTE] }, "expirationTime": self.end().to_string() });
                create(&shares, object("EnvironmentShare", &format!("s{}", self.made), &spec)).await?;
            }
            Act::Revoke => change(&shares, &one, json!({ "revoked": true })).await?,
            Act::Delete => drop(shares.delete(&one, &DeleteParams::default()).await?),
            Act::Move => change(&shares, &one, json!({ "expirationTime": self.end().to_string() })).await?,
            Act::Rotate => {
                let wish = json!({ "metadata": { "annotations": { ROTATE_ANNOTATION: self.dice.next().to_string() } } });
                shares.patch(&one, &PatchParams::default(), &Patch::Merge(wish)).await?;
            }
            Act::LoseSecret => {
                fixture.api::<Secret>().delete(&secret_of(&one), &DeleteParams::default()).await?;
            }
            Act::SpoilSecret => {
                let spoilt =
                    json!({ "stringData": { secret_key::CODE: "spoilt", secret_key::JOIN_COMMAND: "rm" } });
                fixture
                    .api::<Secret>()
                    .patch(&secret_of(&one), &PatchParams::default(), &Patch::Merge(spoilt))
                    .await?;
            }
            Act::LoseRoute => {
                fixture.api::<ServiceExpose>().delete(ROUTE, &DeleteParams::default()).await?;
                tokio::time::sleep(pause / 4).await;
                self.mend().await?;
            }
            Act::LoseService => {
                fixture.api::<Service>().delete(ROUTE, &DeleteParams::default()).await?;
                tokio::time::sleep(pause / 4).await;
                self.mend().await?;
            }
            Act::Kill => supervisor.kill()(),
            Act::Freeze => {
                supervisor.signal(Signal::STOP);
                tokio::time::sleep(pause).await;
                supervisor.signal(Signal::CONT);
            }
            Act::SilentApi => {
                api.silence(true);
                tokio::time::sleep(pause).await;
                api.silence(false);
            }
            Act::SilentHub => {
                hub.silence(true);
                tokio::time::sleep(pause).await;
                hub.silence(false);
            }
        }
        Ok(())
    }

    /// Service and route are there again. What is there already is left alone.
    async fn mend(&self) -> Result<()> {
        let fixture = &self.environment.fixture;
        if fixture.api::<Service>().get_opt(ROUTE).await?.is_none() {
            fixture.set_service().await?;
        }
        if fixture.api::<ServiceExpose>().get_opt(ROUTE).await?.is_none() {
            fixture.set_route(ROUTE, "Shared").await?;
        }
        Ok(())
    }

    /// Waits until everything is as the objects say; the operator's memory then, in KiB.
    async fn rest(&mut self) -> Result<u64> {
        let Environment { fixture, hub, supervisor, .. } = self.environment;
        self.mend().await?;
        eventually("everything is as the objects say", REST, || self.is_right()).await?;
        let live = self.live().await?;
        self.test_clients.change(fixture, &live).await?;
        let leaks = outcome::leaks(fixture, supervisor, &outcome::codes(hub)).await?;
        ensure!(leaks.is_empty(), "{}", leaks.join("; "));
        let pid = supervisor.pid().context("it runs")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("it has memory")?;
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).context("it is a number")
    }

    /// Shares that are live, and whether they last while somebody joins them.
    async fn live(&self) -> Result<BTreeMap<String, bool>> {
        let Environment { fixture, .. } = self.environment;
        let soon = Timestamp::now() + JOINING;
        let mut live = BTreeMap::new();
        for share in fixture.api::<EnvironmentShare>().list(&ListParams::default()).await? {
            if fixture.code(&share.name_any(), secret_key::CODE).await.is_ok() {
                live.insert(share.name_any(), share.ends_at(soon).is_ok_and(|end| end > soon));
            }
        }
        Ok(live)
    }

    async fn is_right(&self) -> Result<()> {
        let fixture = &self.environment.fixture;
        let now = Timestamp::now();
        let mut live = BTreeMap::new();
        for share in fixture.api::<EnvironmentShare>().list(&ListParams::default()).await? {
            let (name, status) = (share.name_any(), share.status.clone().unwrap_or_default());
            ensure!(share.metadata.deletion_timestamp.is_none(), "I7: {name} is still being deleted");
            ensure!(
                condition::is_true(&status.conditions, kind::READY),
                "I3: {name} says {:?}",
                status.conditions
            );
            let is_active = condition::is_true(&status.conditions, kind::ACTIVE);
            let is_over = share.spec.revoked || share.ends_at(now).is_ok_and(|end| end <= now);
            let code = fixture.code(&name, secret_key::CODE).await.ok();
            ensure!(!is_over || !is_active, "I3: {name} is over and says that it is not");
            ensure!(
                is_active == code.is_some(),
                "I3: {name} is active: {is_active}, has a code: {}",
                code.is_some()
            );
            live.extend(code.map(|code| (name, code)));
        }
        let at_hub = AtHub::of(fixture).await?;
        let there: BTreeSet<(String, String)> = at_hub.shares.iter().cloned().collect();
        ensure!(
            there.len() == at_hub.shares.len() && there == live.clone().into_iter().collect(),
            "I2: the hub has {} shares, {} are live",
            at_hub.shares.len(),
            live.len()
        );
        // Services of shares are NAMESPACE/SHARE/ROUTE.
        for service in at_hub.services.iter().filter(|name| name.contains('/')) {
            let share = service.split('/').nth(1).unwrap_or_default();
            ensure!(live.contains_key(share), "I2: the hub has the service {service} of no live share");
        }
        Ok(())
    }

    /// In half of all cases soon.
    fn end(&mut self) -> Timestamp {
        let seconds = if self.dice.below(2) == 0 { 10 + self.dice.below(60) } else { 7200 };
        let end = Timestamp::now() + SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0));
        Timestamp::from_second(end.as_second()).unwrap_or(end)
    }
}

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.next() % (most - least))
    }
}
