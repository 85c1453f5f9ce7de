//! Runs of the scenario: the plans that follow from one without faults, and what all of them have shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::injection_point;
use super::matrix::Who;
use super::outcome::{Outcome, Violations};
use super::plan::{Fault, Place, Plan, SOCKET_FAULTS, When};
use super::relay::Seen;
use connect_tools::say;

/// What goes wrong with a write to the API server.
const API_FAULTS: [Fault; 4] = [Fault::Lose, Fault::Drop, Fault::Refuse(409), Fault::Refuse(503)];

/// What goes wrong with a call to a hub.
const HUB_FAULTS: [Fault; 6] = [
    Fault::Lose,
    Fault::Duplicate,
    Fault::Garble,
    Fault::Refuse(409),
    Fault::Refuse(429),
    Fault::Refuse(503),
];

/// Deaths of an operator that has no fail points.
const DEATHS: [Fault; 2] = [Fault::KillBefore, Fault::KillAfter];

/// One run of the scenario.
pub struct ScenarioRun {
    /// What went wrong in it.
    pub plan: Plan,
    /// Whether it did go wrong.
    pub struck: bool,
    /// How it ended; none when that could not be seen.
    pub outcome: Option<Outcome>,
    /// What is wrong with it.
    pub violations: Violations,
    pub(super) api: Vec<Seen>,
    pub(super) hub: Vec<Seen>,
    pub(super) points: Vec<String>,
}

/// What a matrix of runs has shown.
#[derive(Debug, Default)]
pub struct Report {
    /// Runs made.
    pub plans: usize,
    /// Places that were struck, by plan.
    pub struck: usize,
    /// Injection points of writes, calls and watch events in the run without faults.
    pub injection_points: BTreeSet<String>,
    /// Those of them at which some plan has struck.
    pub covered: BTreeSet<String>,
    /// What was wrong, by plan.
    pub violations: BTreeMap<String, Violations>,
}

// === impl ScenarioRun ===

impl ScenarioRun {
    /// One plan for each fault at each place of this run. Places that differ by the object only are one: their code is the same.
    pub fn plans(&self, who: &Who) -> Vec<Plan> {
        let is_ours = matches!(who, Who::Ours { .. });
        let deaths: &[Fault] = if is_ours { &[] } else { &DEATHS };
        let mut plans = Vec::new();
        for place in places(&self.api, |seen| seen.write) {
            let faults = API_FAULTS.iter().chain(deaths);
            plans.extend(faults.map(|fault| Plan::Api(place.clone(), *fault)));
        }
        for place in places(&self.hub, |_| true) {
            let faults: &[Fault] = if injection_point::is_socket_event(&place.injection_point) {
                &SOCKET_FAULTS
            } else {
                &HUB_FAULTS
            };
            let faults = faults.iter().chain(deaths);
            plans.extend(faults.map(|fault| Plan::Hub(place.clone(), *fault)));
        }
        for place in places(&self.api, |seen| is_event(&seen.place.injection_point)) {
            plans.push(Plan::Api(place, Fault::Hide));
        }
        for place in self.point_places() {
            plans.extend([When::Before, When::After].map(|when| Plan::Point(place.clone(), when)));
        }
        plans
    }

    /// The names of all fail points that were passed.
    pub fn points(&self) -> BTreeSet<String> {
        self.points.iter().cloned().collect()
    }

    fn point_places(&self) -> Vec<Place> {
        let mut counts = BTreeMap::<&str, usize>::new();
        for name in &self.points {
            *counts.entry(name).or_default() += 1;
        }
        let nths = |(name, count): (&str, usize)| {
            let count = if repeats(name) { 1 } else { count };
            (1..=count).map(|nth| Place { injection_point: name.to_owned(), nth }).collect::<Vec<_>>()
        };
        counts.into_iter().flat_map(nths).collect()
    }

    pub(super) fn injection_points(&self) -> BTreeSet<String> {
        let api = self
            .api
            .iter()
            .filter(|seen| seen.write || is_event(&seen.place.injection_point))
            .map(|seen| format!("API server: {}", folded(&seen.place.injection_point)));
        let hub = self.hub.iter().map(|seen| format!("hub: {}", folded(&seen.place.injection_point)));
        let points = self.points.iter().map(|name| format!("point: {name}"));
        api.chain(hub).chain(points).collect()
    }
}

/// Whether this is done again and again by the clock, so that how often tells nothing.
fn repeats(injection_point: &str) -> bool {
    ["lease", "listing", "reading", "GET ", "Event", "events", "status"]
        .iter()
        .any(|word| injection_point.contains(word))
}

fn is_event(injection_point: &str) -> bool {
    ["ADDED ", "MODIFIED ", "DELETED "].iter().any(|what| injection_point.starts_with(what))
}

/// An injection point without the name of its object.
fn folded(injection_point: &str) -> String {
    injection_point.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn places(seen: &[Seen], wanted: impl Fn(&Seen) -> bool) -> Vec<Place> {
    let mut taken = BTreeSet::new();
    let mut places = Vec::new();
    for Seen { place, .. } in seen.iter().filter(|seen| wanted(seen)) {
        let first_only = repeats(&place.injection_point) || is_event(&place.injection_point);
        if (!first_only || place.nth == 1) && taken.insert((folded(&place.injection_point), place.nth)) {
            places.push(place.clone());
        }
    }
    places
}

// === impl Report ===

impl Report {
    pub(super) fn add(&mut self, run: ScenarioRun) {
        if !run.violations.is_empty() {
            say(format_args!("{}: {}", run.plan, run.violations.join("; ")));
        }
        self.struck += usize::from(run.struck);
        if run.struck {
            self.covered.extend(match &run.plan {
                Plan::Nothing => None,
                Plan::Api(place, _) => Some(format!("API server: {}", folded(&place.injection_point))),
                Plan::Hub(place, _) => Some(format!("hub: {}", folded(&place.injection_point))),
                Plan::Point(place, _) => Some(format!("point: {}", place.injection_point)),
            });
        }
        if !run.violations.is_empty() {
            self.violations.insert(run.plan.to_string(), run.violations);
        }
    }

    /// Injection points at which nothing has struck.
    pub fn uncovered(&self) -> Vec<&String> {
        self.injection_points.difference(&self.covered).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let covered = self.injection_points.len() - self.uncovered().len();
        write!(
            f,
            "{} plans run, {} struck; {} injection points, {covered} covered ({} %); {} plans with violations",
            self.plans,
            self.struck,
            self.injection_points.len(),
            covered * 100 / self.injection_points.len().max(1),
            self.violations.len(),
        )?;
        for (plan, violations) in &self.violations {
            write!(f, "\n  {plan}: {}", violations.join("; "))?;
        }
        Ok(())
    }
}
