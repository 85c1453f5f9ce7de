//! All plans, side by side: derived from a run without faults, each run in a namespace of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt, stream};

use super::outcome::{self, Outcome, Violations};
use super::plan::{Place, Plan, When};
use super::relay::{Mistake, Mistaken, Relay, Upstream};
use super::report::{Report, ScenarioRun};
use super::scenario::Fixture;
use super::supervisor::{Subject, Supervisor};
use crate::control_plane::ControlPlane;
use crate::hub::Hub;
use crate::namespace::unique_name;
use crate::rights;
use crate::toolchain::faulty_operator;
use crate::wait::{PATIENTLY, eventually};

/// Runs at once. Most of a run is waiting.
const LANES: usize = 12;

/// How long after the last step of a run everything may take to be as it should.
const SETTLE: Duration = Duration::from_secs(25);

/// The same for operators that are expected to get stuck. A deletion takes up to a minute when the hub does not answer.
const BRIEFLY: Duration = Duration::from_secs(15);

/// The file with the names of the fail points that were passed, in the folder of a fixture.
const POINTS: &str = "points";

/// The file with the seconds by which the operator's clock is ahead, in the folder of a fixture.
pub const CLOCK: &str = "clock";

/// The same for the data plane, where it goes by another clock.
const DATA_CLOCK: &str = "data-clock";

/// Where something happens: a fixture, what is between it and the world, and the operator that runs there.
pub struct Environment {
    /// The fixture.
    pub fixture: Arc<Fixture>,
    /// Between operator and API server.
    pub api: Relay,
    /// Between operator and hub.
    pub hub: Relay,
    /// Keeps the operator running.
    pub supervisor: Supervisor,
}

/// What all runs have in common.
pub struct Lab<'a> {
    cluster: &'a ControlPlane,
    hub: Hub,
    program: PathBuf,
    /// What operators log.
    log: &'static str,
}

/// Which operator is run.
#[derive(Clone, Debug)]
pub enum Who {
    /// Our operator, with this mistake if any.
    Ours {
        /// The mistake.
        mistake: Option<Mistake>,
    },
    /// The baseline operator.
    Baseline,
}

// === impl Lab ===

impl<'a> Lab<'a> {
    /// A hub for all runs, and the operator with fail points.
    ///
    /// # Errors
    /// They cannot be built or started.
    pub async fn new(cluster: &'a ControlPlane) -> Result<Self> {
        // Whatever is logged at any level is looked at.
        Self::logging(cluster, "trace").await
    }

    /// As [`Self::new`], for runs so long that a log of everything would fill the disk.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn quiet(cluster: &'a ControlPlane) -> Result<Self> {
        Self::logging(cluster, "info").await
    }

    async fn logging(cluster: &'a ControlPlane, log: &'static str) -> Result<Self> {
        let program = faulty_operator().await?;
        // Tokens that end soon, so that rotating one is part of every run.
        let flags = ["--agent-token-days", "2", "--trusted-proxies", "1"];
        let hub = Hub::start_with(&cluster.folder(&unique_name("faults")?)?, &cluster.logs(), &flags).await?;
        Ok(Self { cluster, hub, program, log })
    }

    /// Sets a fixture in a namespace of its own and starts an operator there.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn begin(&self, who: &Who, plan: &Plan) -> Result<Environment> {
        let namespace = unique_name("faults")?;
        let folder = self.cluster.folder(&namespace)?;
        let real_hub = self.hub.url().to_owned();
        let address: SocketAddr = real_hub.strip_prefix("http://").context("it speaks http")?.parse()?;
        let (api_rule, hub_rule) = match plan {
            Plan::Api(place, fault) => (Some((place.clone(), *fault)), None),
            Plan::Hub(place, fault) => (None, Some((place.clone(), *fault))),
            Plan::Nothing | Plan::Point(..) => (None, None),
        };
        let client = match who {
            Who::Ours { .. } => self.cluster.operators_client(&namespace).await?,
            Who::Baseline => self.cluster.client().await?,
        };
        let operator = Mistaken::new(who.mistake());
        let api = Relay::start(Upstream::Api(client), api_rule, operator.clone()).await?;
        let hub = Relay::start(Upstream::Hub(address, reqwest::Client::new()), hub_rule, operator).await?;
        let fixture = Arc::new(Fixture {
            client: self.cluster.client().await?,
            namespace,
            api_url: api.url(),
            hub_url: hub.url(),
            real_hub,
            hub_key: self.hub.key_file().to_owned(),
            logs: self.cluster.logs(),
            patience: if is_ours(who) { PATIENTLY } else { BRIEFLY },
            folder,
        });
        fixture.set().await?;
        if matches!(who, Who::Ours { .. }) {
            let watched = [fixture.namespace.clone()];
            rights::grant(&self.cluster.kubectl(), &fixture.namespace, &fixture.namespace, &watched).await?;
        }
        let supervisor = Supervisor::start(self.subject(who, plan, &fixture.folder)?, fixture.clone());
        api.kills(supervisor.kill());
        hub.kills(supervisor.kill());
        Ok(Environment { fixture, api, hub, supervisor })
    }

    /// Runs the scenario once.
    ///
    /// # Errors
    /// It could not begin.
    pub async fn run(&self, who: &Who, plan: Plan, without_faults: Option<&Outcome>) -> Result<ScenarioRun> {
        let Environment { fixture, api, hub, supervisor } = self.begin(who, &plan).await?;
        let mut violations = Violations::new();
        if let Err(error) = fixture.run().await {
            violations.push(format!("I3: {error:#}"));
        }
        let mut outcome = None;
        let settling = if is_ours(who) { SETTLE } else { BRIEFLY };
        let settled = eventually("it is as without faults", settling, || async {
            let is = Outcome::of(&fixture, &api, &hub).await?;
            let mut wrong = outcome::invariants(&fixture, &api, &hub).await?;
            wrong.extend(without_faults.map(|was| is.differences(was)).unwrap_or_default());
            anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("; "));
            Ok(is)
        });
        match settled.await {
            Ok(is) => outcome = Some(is),
            Err(error) => violations.push(format!("{error:#}")),
        }
        let codes = &outcome::codes(&hub) | &outcome::secrets(&api);
        violations.extend(outcome::leaks(&fixture, &supervisor, &codes).await?);
        if violations.is_empty() {
            violations.extend(outcome::rest(&fixture, &supervisor, &api).await?);
        }
        let starts = supervisor.starts();
        supervisor.end().await?;
        let struck = match &plan {
            Plan::Nothing => true,
            Plan::Api(..) => api.has_struck(),
            Plan::Hub(..) => hub.has_struck(),
            Plan::Point(place, _) => starts > 1 || place.injection_point == LAST_POINT,
        };
        let points = fs::read_to_string(fixture.folder.join(POINTS)).unwrap_or_default();
        let points = points.lines().map(str::to_owned).collect();
        Ok(ScenarioRun { plan, struck, outcome, violations, api: api.seen(), hub: hub.seen(), points })
    }

    fn subject(&self, who: &Who, plan: &Plan, folder: &Path) -> Result<Subject> {
        let Who::Ours { mistake } = who else { return Ok(Subject::Baseline) };
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let mut environment = vec![
            ("RUST_LOG".to_owned(), self.log.to_owned()),
            ("CONNECT_FAIL_POINTS_LOG".to_owned(), file(POINTS)),
            ("CONNECT_CLOCK".to_owned(), file(CLOCK)),
            ("CONNECT_QUICK".to_owned(), "yes".to_owned()),
        ];
        if let Some(ahead) = mistake.and_then(Mistake::data_clock) {
            fs::write(file(DATA_CLOCK), ahead).context("cannot set the data plane's clock")?;
            environment.push(("CONNECT_DATA_CLOCK".to_owned(), file(DATA_CLOCK)));
        }
        if mistake.is_some_and(Mistake::logs_bodies) {
            environment.push(("CONNECT_LOG_BODIES".to_owned(), "yes".to_owned()));
        }
        let at_first = match plan {
            Plan::Point(Place { injection_point, nth }, when) => {
                let when = match when {
                    When::Before => "before",
                    When::After => "after",
                };
                vec![("CONNECT_FAIL_POINT".to_owned(), format!("{when} {nth} {injection_point}"))]
            }
            _ => Vec::new(),
        };
        Ok(Subject::Operator { program: self.program.clone(), environment, at_first })
    }

    /// Makes all of these runs and compares each with `first`, which had no faults.
    ///
    /// # Errors
    /// One of them could not begin.
    pub async fn all(&self, who: &Who, first: &ScenarioRun, plans: Vec<Plan>) -> Result<Report> {
        let mut report =
            Report { plans: plans.len(), injection_points: first.injection_points(), ..Report::default() };
        let mut runs = stream::iter(plans)
            .map(|plan| self.run(who, plan, first.outcome.as_ref()))
            .buffer_unordered(LANES);
        while let Some(run) = runs.next().await {
            report.add(run?);
        }
        Ok(report)
    }
}

// === impl Who ===

impl Who {
    fn mistake(&self) -> Option<Mistake> {
        match *self {
            Self::Ours { mistake } => mistake,
            Self::Baseline => None,
        }
    }
}

/// Whether this is our operator without a mistake.
fn is_ours(who: &Who) -> bool {
    matches!(who, Who::Ours { mistake: None })
}

/// The last thing that an operator does: nothing comes after it that would show that it ended there.
const LAST_POINT: &str = "giving the lease back";
