//! What no single fault in a run shows: outages, clocks, a frozen leader, a list that breaks off.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{kind, reason};
use connect_crds::{EnvironmentShare, secret_key};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, Patch, PatchParams};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::matrix::{CLOCK, Environment, Lab, Who};
use super::outcome::{AtHub, Violations, codes};
use super::plan::{Fault, Place, Plan};
use super::relay::Chaos;
use super::scenario::{OPEN, ROUTE, change, create, object};
use super::test_user::TestUser;
use crate::wait::{PATIENTLY, SOON, eventually};

/// How long the API server is silent before a share ends: longer than a Lease lives.
const SILENCE: SignedDuration = SignedDuration::from_secs(10);

/// How long the hub is silent before a share ends: shorter than it takes to be noticed, which would cut connections as well.
const SHORT_SILENCE: SignedDuration = SignedDuration::from_secs(2);

/// How long a share lives that ends in silence: long enough to join it before.
const LIFE: SignedDuration = SignedDuration::from_secs(30);

/// How long a deletion may take (I7).
const DELETION: Duration = Duration::from_secs(60);

/// How long something that must not happen is waited for.
const NEVER: Duration = Duration::from_secs(6);

/// What can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// A share ends while neither the API server nor the hub answers.
    EndInSilence,
    /// A share is revoked while the hub refuses to hear of it.
    RevokedUnheard,
    /// A share is deleted while the hub does not answer.
    DeletedUnheard,
    /// A share is deleted, and the hub refuses to hear of it for a while.
    DeletedLate,
    /// A share is revoked while every watch stands open and says nothing.
    DeadWatches,
    /// The operator's clock jumps beyond a share's end.
    ClockStep,
    /// The API server breaks off every list that the sweeper asks for.
    PartialList,
    /// A leader is frozen until another has taken the Lease.
    ResumedLeader,
    /// The answer to a creation is lost, at a hub without idempotency keys.
    LostAtPlainHub,
    /// The network asks a hub without idempotency keys twice.
    DoubledAtPlainHub,
}

impl Trial {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::EndInSilence,
        Self::RevokedUnheard,
        Self::DeletedUnheard,
        Self::DeletedLate,
        Self::DeadWatches,
        Self::ClockStep,
        Self::PartialList,
        Self::ResumedLeader,
        Self::LostAtPlainHub,
        Self::DoubledAtPlainHub,
    ];

    /// Tries it.
    ///
    /// # Errors
    /// It could not begin.
    pub async fn run(self, lab: &Lab<'_>, who: &Who) -> Result<Violations> {
        let environment = lab.begin(who, &Plan::Nothing).await?;
        let found = match self {
            Self::EndInSilence => environment.end_in_silence().await?,
            Self::RevokedUnheard => environment.revoked_unheard().await?,
            Self::DeletedUnheard => environment.deleted_unheard().await?,
            Self::DeletedLate => environment.deleted_late().await?,
            Self::DeadWatches => environment.dead_watches().await?,
            Self::ClockStep => environment.clock_step().await?,
            Self::PartialList => environment.partial_list().await?,
            Self::ResumedLeader => environment.resumed_leader().await?,
            Self::LostAtPlainHub => environment.at_plain_hub(Fault::Lose, 1).await?,
            Self::DoubledAtPlainHub => environment.at_plain_hub(Fault::Duplicate, 2).await?,
        };
        environment.api.silence(false);
        environment.hub.silence(false);
        environment.supervisor.end().await?;
        Ok(found)
    }
}

impl Environment {
    /// What is wrong, unless status says in the end that the share is over for this reason.
    async fn told(&self, reason: &str) -> Option<String> {
        self.fixture.is(OPEN, kind::READY, reason).await.err().map(|error| format!("I3: {error:#}"))
    }

    /// Shares the route, as long as a share lives that says nothing else.
    async fn share_the_route(&self) -> Result<()> {
        self.share(json!({ "routes": { "names": [ROUTE] } })).await
    }

    async fn share(&self, spec: Value) -> Result<()> {
        create(&self.fixture.api::<EnvironmentShare>(), object("EnvironmentShare", OPEN, &spec)).await?;
        self.fixture.is(OPEN, kind::READY, reason::SHARED).await
    }

    async fn end_in_silence(&self) -> Result<Violations> {
        let end = Timestamp::from_second((Timestamp::now() + LIFE).as_second())?;
        self.share(json!({ "routes": { "names": [ROUTE] }, "expirationTime": end.to_string() })).await?;
        let mut test_user = TestUser::join(&self.fixture, OPEN).await?;
        until(end - SILENCE).await?;
        self.api.silence(true);
        until(end - SHORT_SILENCE).await?;
        // The Lease has run out, and traffic goes on.
        let mut found = Violations::new();
        if test_user.is_heard().await.is_err() {
            found.push("E4: an API server that is silent stops the traffic".to_owned());
        }
        self.hub.silence(true);
        if !test_user.is_cut(NEVER).await {
            found.push("I1: a connection outlives its share while nobody answers".to_owned());
        } else if Timestamp::now() < end {
            found.push("E1: a connection is cut before its share ends".to_owned());
        }
        self.api.silence(false);
        self.hub.silence(false);
        found.extend(self.told(reason::EXPIRED).await);
        Ok(found)
    }

    async fn revoked_unheard(&self) -> Result<Violations> {
        self.share_the_route().await?;
        let mut test_user = TestUser::join(&self.fixture, OPEN).await?;
        self.hub.goes_wrong(always("DELETE ", Fault::Refuse(503)));
        change(&self.fixture.api::<EnvironmentShare>(), OPEN, json!({ "revoked": true })).await?;
        let mut found = Violations::new();
        if !test_user.is_cut(SOON).await {
            found.push(
                "I1: a connection of a revoked share goes on while the hub has not heard of it".to_owned(),
            );
        }
        if test_user.reaches().await {
            found.push("I1: a revoked share is dialled".to_owned());
        }
        self.hub.goes_wrong(None);
        found.extend(self.told(reason::REVOKED).await);
        Ok(found)
    }

    async fn deleted_unheard(&self) -> Result<Violations> {
        self.share_the_route().await?;
        self.hub.silence(true);
        let shares = self.fixture.api::<EnvironmentShare>();
        shares.delete(OPEN, &DeleteParams::default()).await?;
        let mut found = Violations::new();
        let leaves = eventually("it leaves", DELETION, || async {
            ensure!(shares.get_opt(OPEN).await?.is_none(), "it is there");
            Ok(())
        });
        if leaves.await.is_err() {
            found.push("I7: a deletion waits for a hub that does not answer".to_owned());
        }
        Ok(found)
    }

    async fn deleted_late(&self) -> Result<Violations> {
        self.share_the_route().await?;
        self.hub.goes_wrong(always("DELETE ", Fault::Refuse(503)));
        let shares = self.fixture.api::<EnvironmentShare>();
        shares.delete(OPEN, &DeleteParams::default()).await?;
        eventually("the hub is asked", SOON, || async {
            ensure!(self.hub.has_struck(), "it is not");
            Ok(())
        })
        .await?;
        self.hub.goes_wrong(None);
        self.fixture.gone(&shares, OPEN).await?;
        let left = AtHub::of(&self.fixture).await?.shares.len();
        Ok((left > 0).then(|| "I2: an object goes before its share does".to_owned()).into_iter().collect())
    }

    async fn dead_watches(&self) -> Result<Violations> {
        self.share_the_route().await?;
        let mut test_user = TestUser::join(&self.fixture, OPEN).await?;
        self.api.deafen();
        change(&self.fixture.api::<EnvironmentShare>(), OPEN, json!({ "revoked": true })).await?;
        let mut found = Violations::new();
        if !test_user.is_cut(PATIENTLY).await {
            found.push("I1: a share goes on because a watch is dead".to_owned());
        }
        found.extend(self.told(reason::REVOKED).await);
        Ok(found)
    }

    async fn clock_step(&self) -> Result<Violations> {
        let end = Timestamp::now() + SignedDuration::from_hours(1);
        self.share(json!({ "routes": { "names": [ROUTE] }, "expirationTime": end.to_string() })).await?;
        let mut test_user = TestUser::join(&self.fixture, OPEN).await?;
        // With the Lease run out nobody but the data plane can end it.
        self.api.silence(true);
        until(Timestamp::now() + SILENCE).await?;
        fs::write(self.fixture.folder.join(CLOCK), "7200").context("cannot step the clock")?;
        let mut found = Violations::new();
        if !test_user.is_cut(NEVER).await {
            found.push("E5: a clock that jumps beyond the end is not noticed".to_owned());
        }
        self.api.silence(false);
        found.extend(self.told(reason::EXPIRED).await);
        Ok(found)
    }

    async fn partial_list(&self) -> Result<Violations> {
        self.share_the_route().await?;
        // Old enough to be swept, if nobody owned it.
        fs::write(self.fixture.folder.join(CLOCK), "600").context("cannot step the clock")?;
        self.api.goes_wrong(always("list environmentshares", Fault::Refuse(503)));
        let lists = || {
            self.api
                .seen()
                .iter()
                .filter(|seen| seen.place.injection_point == "list environmentshares")
                .count()
        };
        let before = lists();
        let asked = eventually("the sweeper asks", SOON, || async {
            ensure!(lists() >= before + 2, "not yet");
            Ok(())
        });
        // A sweeper that asks about unknown shares only does not ask at all.
        let _ = asked.await;
        let left = AtHub::of(&self.fixture).await?.shares.len();
        Ok((left == 0)
            .then(|| "I2: a live share is swept on a list that failed".to_owned())
            .into_iter()
            .collect())
    }

    async fn resumed_leader(&self) -> Result<Violations> {
        self.share_the_route().await?;
        // So that it must know by itself that it leads no more.
        self.api.goes_wrong(always("get leases", Fault::Delay));
        self.supervisor.signal(Signal::STOP);
        let leases = self.fixture.api::<Lease>();
        let renewed = leases.get(connect_crds::OPERATOR_LEASE).await?.spec.and_then(|spec| spec.renew_time);
        let renewed = renewed.context("the Lease was renewed")?.0;
        create(&self.fixture.api::<EnvironmentShare>(), object("EnvironmentShare", "late", &json!({})))
            .await?;
        until(renewed + SILENCE).await?;
        let other = json!({ "spec": { "holderIdentity": "another", "renewTime": MicroTime(Timestamp::now() + SignedDuration::from_hours(1)) } });
        leases.patch(connect_crds::OPERATOR_LEASE, &PatchParams::default(), &Patch::Merge(other)).await?;
        let starts = self.supervisor.starts();
        let calls = || self.hub.seen().iter().filter(|seen| seen.write).count();
        let before = calls();
        self.supervisor.signal(Signal::CONT);
        eventually("the deposed leader ends", PATIENTLY, || async {
            ensure!(self.supervisor.starts() > starts, "it runs");
            Ok(())
        })
        .await?;
        let more = self.hub.seen().into_iter().filter(|seen| seen.write).skip(before);
        let shares: Vec<String> = more
            .map(|seen| seen.place.to_string())
            .filter(|injection_point| !injection_point.contains("/agents/"))
            .collect();
        Ok(shares
            .into_iter()
            .map(|injection_point| format!("C9: a resumed leader acts: {injection_point}"))
            .collect())
    }
}

impl Environment {
    async fn at_plain_hub(&self, fault: Fault, made: usize) -> Result<Violations> {
        self.hub.is_plain();
        let first = Place { injection_point: "POST /v1/env-shares".to_owned(), nth: 1 };
        self.hub.goes_wrong(Some(Arc::new(move |place: &Place| (*place == first).then_some(fault))));
        self.share_the_route().await?;
        let mut found = Violations::new();
        let only = eventually("the hub has only the share whose code is in the Secret", SOON, || async {
            let kept = self.fixture.code(OPEN, secret_key::CODE).await?;
            let codes: Vec<String> =
                AtHub::of(&self.fixture).await?.shares.into_iter().map(|(_, code)| code).collect();
            ensure!(codes == [kept], "it has {}", codes.len());
            Ok(())
        });
        found.extend(only.await.err().map(|error| format!("I2: {error:#}")));
        let ever = codes(&self.hub).len();
        if ever > made {
            found.push(format!("I2: {ever} shares were made at the hub and not {made}"));
        }
        Ok(found)
    }
}

/// This goes wrong at every place whose name begins so.
fn always(injection_point: &'static str, fault: Fault) -> Option<Chaos> {
    Some(Arc::new(move |place: &Place| place.injection_point.starts_with(injection_point).then_some(fault)))
}

/// Waits for an instant.
async fn until(then: Timestamp) -> Result<()> {
    eventually("the time has come", PATIENTLY, || async {
        ensure!(Timestamp::now() >= then, "it is not");
        Ok(())
    })
    .await
}
