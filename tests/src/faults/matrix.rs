//! All plans, side by side: derived from a life without faults, each lived in a namespace of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt, stream};

use super::keeper::{Keeper, Subject};
use super::life::Stage;
use super::lived::{Life, Report};
use super::outcome::{self, Outcome, Violations};
use super::plan::{Place, Plan, When};
use super::relay::{Relay, Upstream};
use crate::control_plane::ControlPlane;
use crate::hub::Hub;
use crate::namespace::unique_name;
use crate::rights;
use crate::toolchain::faulty_operator;
use crate::wait::{PATIENTLY, eventually};

/// Lives lived at once. Most of a life is waiting.
const LANES: usize = 12;

/// How long after the last step of a life everything may take to be as it should.
const SETTLE: Duration = Duration::from_secs(25);

/// The same for operators that are expected to get stuck. A deletion takes up to a minute when the hub does not answer.
const BRIEFLY: Duration = Duration::from_secs(15);

/// The file with the names of the fail points that were passed, in the folder of a stage.
const POINTS: &str = "points";

/// The file with the seconds by which the operator's clock is ahead, in the folder of a stage.
pub const CLOCK: &str = "clock";

/// Where something happens: a stage, what is between it and the world, and who lives there.
pub struct Scene {
    /// The stage.
    pub stage: Arc<Stage>,
    /// Between operator and API server.
    pub api: Relay,
    /// Between operator and hub.
    pub hub: Relay,
    /// Keeps the operator running.
    pub keeper: Keeper,
}

/// What all lives have in common.
pub struct Lab<'a> {
    cluster: &'a ControlPlane,
    hub: Hub,
    program: PathBuf,
    /// What operators log.
    log: &'static str,
}

/// Who lives.
#[derive(Clone, Debug)]
pub enum Who {
    /// Our operator, with this mistake if any.
    Ours {
        /// The mistake's name.
        planted: Option<&'static str>,
    },
    /// The operator of the textbook.
    Textbook,
}

// === impl Lab ===

impl<'a> Lab<'a> {
    /// A hub for all lives, and the operator with fail points.
    ///
    /// # Errors
    /// They cannot be built or started.
    pub async fn new(cluster: &'a ControlPlane) -> Result<Self> {
        // Whatever is logged at any level is looked at.
        Self::logging(cluster, "trace").await
    }

    /// As [`Self::new`], for lives so long that a log of everything would fill the disk.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn quiet(cluster: &'a ControlPlane) -> Result<Self> {
        Self::logging(cluster, "info").await
    }

    async fn logging(cluster: &'a ControlPlane, log: &'static str) -> Result<Self> {
        let program = faulty_operator().await?;
        // Tokens that end soon, so that rotating one is part of every life.
        let flags = ["--agent-token-days", "2", "--trusted-proxies", "1"];
        let hub = Hub::start_with(&cluster.folder(&unique_name("faults")?)?, &cluster.logs(), &flags).await?;
        Ok(Self { cluster, hub, program, log })
    }

    /// Sets a stage in a namespace of its own and starts an operator there.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn begin(&self, who: &Who, plan: &Plan) -> Result<Scene> {
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
            Who::Textbook => self.cluster.client().await?,
        };
        let api = Relay::start(Upstream::Api(client), api_rule).await?;
        let hub = Relay::start(Upstream::Hub(address, reqwest::Client::new()), hub_rule).await?;
        let stage = Arc::new(Stage {
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
        stage.set().await?;
        if matches!(who, Who::Ours { .. }) {
            let watched = [stage.namespace.clone()];
            rights::grant(&self.cluster.kubectl(), &stage.namespace, &stage.namespace, &watched).await?;
        }
        let keeper = Keeper::start(self.subject(who, plan, &stage.folder), stage.clone());
        api.kills(keeper.kill());
        hub.kills(keeper.kill());
        Ok(Scene { stage, api, hub, keeper })
    }

    /// Lives one life.
    ///
    /// # Errors
    /// It could not begin.
    pub async fn live(&self, who: &Who, plan: Plan, without_faults: Option<&Outcome>) -> Result<Life> {
        let Scene { stage, api, hub, keeper } = self.begin(who, &plan).await?;
        let mut violations = Violations::new();
        if let Err(error) = stage.live().await {
            violations.push(format!("I3: {error:#}"));
        }
        let mut outcome = None;
        let settling = if is_ours(who) { SETTLE } else { BRIEFLY };
        let settled = eventually("it is as without faults", settling, || async {
            let is = Outcome::of(&stage, &api, &hub).await?;
            let mut wrong = outcome::invariants(&stage, &api, &hub).await?;
            wrong.extend(without_faults.map(|was| is.differences(was)).unwrap_or_default());
            anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("; "));
            Ok(is)
        });
        match settled.await {
            Ok(is) => outcome = Some(is),
            Err(error) => violations.push(format!("{error:#}")),
        }
        violations.extend(outcome::leaks(&stage, &keeper, &outcome::codes(&hub)).await?);
        if violations.is_empty() {
            violations.extend(outcome::rest(&stage, &keeper, &api).await?);
        }
        let starts = keeper.starts();
        keeper.end().await?;
        let struck = match &plan {
            Plan::Nothing => true,
            Plan::Api(..) => api.has_struck(),
            Plan::Hub(..) => hub.has_struck(),
            Plan::Point(place, _) => starts > 1 || place.site == LAST_POINT,
        };
        let points = std::fs::read_to_string(stage.folder.join(POINTS)).unwrap_or_default();
        let points = points.lines().map(str::to_owned).collect();
        Ok(Life { plan, struck, outcome, violations, api: api.seen(), hub: hub.seen(), points })
    }

    fn subject(&self, who: &Who, plan: &Plan, folder: &Path) -> Subject {
        let Who::Ours { planted } = who else { return Subject::Textbook };
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let mut environment = vec![
            ("RUST_LOG".to_owned(), self.log.to_owned()),
            ("CONNECT_FAIL_POINTS_LOG".to_owned(), file(POINTS)),
            ("CONNECT_CLOCK".to_owned(), file(CLOCK)),
            ("CONNECT_QUICK".to_owned(), "yes".to_owned()),
        ];
        environment.extend(planted.map(|bug| ("CONNECT_PLANTED".to_owned(), bug.to_owned())));
        let at_first = match plan {
            Plan::Point(Place { site, nth }, when) => {
                let when = match when {
                    When::Before => "before",
                    When::After => "after",
                };
                vec![("CONNECT_FAIL_POINT".to_owned(), format!("{when} {nth} {site}"))]
            }
            _ => Vec::new(),
        };
        Subject::Operator { program: self.program.clone(), environment, at_first }
    }

    /// Lives all of these lives and compares each with `first`, which had no faults.
    ///
    /// # Errors
    /// One of them could not begin.
    pub async fn all(&self, who: &Who, first: &Life, plans: Vec<Plan>) -> Result<Report> {
        let mut report = Report { plans: plans.len(), sites: first.sites(), ..Report::default() };
        let mut lives = stream::iter(plans)
            .map(|plan| self.live(who, plan, first.outcome.as_ref()))
            .buffer_unordered(LANES);
        while let Some(life) = lives.next().await {
            report.add(life?);
        }
        Ok(report)
    }
}

/// Whether this is our operator without a mistake.
fn is_ours(who: &Who) -> bool {
    matches!(who, Who::Ours { planted: None })
}

/// The last thing that an operator does: nothing comes after it that would show that it ended there.
const LAST_POINT: &str = "giving the lease back";
