//! What must be true after a run, whatever went wrong in it, and what is compared with the run without faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use connect_crds::{EnvironmentShare, ServiceExpose, secret_key};
use connect_hub::join_token::full_code;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::relay::{Relay, Seen};
use super::scenario::{Fixture, OPEN, ROUTE, secret_of};
use super::supervisor::Supervisor;
use crate::wait::{SOON, eventually};

/// How a run has ended, in words that are the same in every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What is there, one line each.
    pub state: BTreeSet<String>,
    /// How often something was made or taken away at the hub and at the API server.
    pub counts: BTreeMap<String, usize>,
}

/// What was found wrong, as sentences.
pub type Violations = Vec<String>;

impl Outcome {
    /// Looks at everything.
    ///
    /// # Errors
    /// The API server or the hub does not answer.
    pub async fn of(fixture: &Fixture, api: &Relay, hub: &Relay) -> Result<Self> {
        let mut state = BTreeSet::new();
        for share in fixture.api::<EnvironmentShare>().list(&ListParams::default()).await? {
            state.insert(format!("share {}: {}", share.name_any(), said(&serde_json::to_value(&share)?)));
        }
        for expose in fixture.api::<ServiceExpose>().list(&ListParams::default()).await? {
            state.insert(format!("expose {}: {}", expose.name_any(), said(&serde_json::to_value(&expose)?)));
        }
        for secret in fixture.api::<Secret>().list(&ListParams::default()).await? {
            state.insert(format!(
                "secret {} of type {}",
                secret.name_any(),
                secret.type_.unwrap_or_default()
            ));
        }
        let at_hub = AtHub::of(fixture).await?;
        state.extend(
            at_hub
                .services
                .iter()
                .map(|name| format!("hub service {}", name.replace(&fixture.namespace, "NS"))),
        );
        state.extend(at_hub.shares.iter().map(|(name, _)| format!("hub share {name}")));
        Ok(Self { state, counts: counts(&api.seen(), &hub.seen()) })
    }

    /// How this differs from a run without faults. Fewer Events may have been told, as they are told best effort, and others
    /// as well: of the fault.
    pub fn differences(&self, from: &Self) -> Violations {
        let mut found = Vec::new();
        found.extend(from.state.difference(&self.state).map(|line| format!("missing: {line}")));
        found.extend(self.state.difference(&from.state).map(|line| format!("unexpected: {line}")));
        let all: BTreeSet<&String> = self.counts.keys().chain(from.counts.keys()).collect();
        for what in all {
            let (is, was) =
                (self.counts.get(what).copied().unwrap_or(0), from.counts.get(what).copied().unwrap_or(0));
            let is_event = what.starts_with("event ");
            // The trouble with the hub is told, and then that the share is there again.
            let troubled = |object: &str| {
                self.counts.keys().any(|told| told.starts_with("event \"Hub") && told.ends_with(object))
            };
            let is_of_the_fault = is_event && (was == 0 || what.rsplit(' ').next().is_some_and(troubled));
            if (is > was && !is_of_the_fault) || (is < was && !is_event) {
                found.push(format!("{is} times instead of {was}: {what}"));
            }
        }
        found
    }
}

/// Conditions and finalizers, without times and numbers.
fn said(object: &Value) -> String {
    let condition = |condition: &Value| {
        let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        format!("{}={} ({})", text("type"), text("status"), text("reason"))
    };
    let conditions: Vec<String> =
        object["status"]["conditions"].as_array().into_iter().flatten().map(condition).collect();
    let secret = object["status"]["codeSecretName"].as_str().unwrap_or("no Secret");
    format!("{}; {secret}; finalizers {}", conditions.join(", "), object["metadata"]["finalizers"])
}

/// What was made and taken away, by what the relays saw succeed.
fn counts(api: &[Seen], hub: &[Seen]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut once = BTreeSet::new();
    let mut count = |what: String| *counts.entry(what).or_insert(0) += 1;
    for seen in api {
        let made = seen.status == Some(201);
        if made && seen.place.injection_point.starts_with("create events") {
            let about = &seen.asked["regarding"]["name"];
            count(format!("event {} of {}", seen.asked["reason"], about));
        } else if made && !seen.place.injection_point.starts_with("try ") {
            count(format!("made: {}", seen.place.injection_point));
        }
    }
    // A share is the same share however often its creation was asked for.
    for seen in hub
        .iter()
        .filter(|seen| seen.place.injection_point == "POST /v1/env-shares" && seen.status == Some(201))
    {
        let name = seen.asked["name"].as_str().unwrap_or_default();
        let name = name.split(" #").next().unwrap_or_default().to_owned();
        if once.insert(seen.answer["share"]["code"].to_string()) {
            count(format!("made at the hub: share {name}"));
        }
    }
    counts
}

/// What the hub has of the operator.
pub struct AtHub {
    /// Names of services.
    pub services: Vec<String>,
    /// Names, without marks, and codes of shares.
    pub shares: Vec<(String, String)>,
    /// When they end, by name.
    pub ends: BTreeMap<String, Timestamp>,
}

impl AtHub {
    /// Asks it, as the agent that the operator is.
    ///
    /// # Errors
    /// There is no identity, or the hub does not answer.
    pub async fn of(fixture: &Fixture) -> Result<Self> {
        let identity =
            fixture.api::<Secret>().get("private-connect-identity").await?.data.unwrap_or_default();
        let agent = String::from_utf8(identity.get("agentId").context("it has an agent id")?.0.clone())?;
        let services = ask(fixture, "/v1/services", &agent).await?;
        let services = services
            .as_array()
            .cloned()
            .or_else(|| services["services"].as_array().cloned())
            .unwrap_or_default();
        let ours = services.iter().filter(|row| row["agentId"].as_str() == Some(&agent));
        let shares = ask(fixture, "/v1/env-shares", &agent).await?;
        let shares = shares["shares"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = |row: &Value| text(&row["name"]).split(" #").next().unwrap_or_default().to_owned();
        let end = |row: &Value| Some((name(row), row["expiresAt"].as_str()?.parse().ok()?));
        Ok(Self {
            services: ours.map(|row| own_name(&text(&row["name"]))).collect(),
            shares: shares.iter().map(|row| (name(row), text(&row["code"]))).collect(),
            ends: shares.iter().filter_map(end).collect(),
        })
    }
}

/// A service's name without who made it, which is another in every run.
fn own_name(name: &str) -> String {
    name.split('@').next().unwrap_or_default().to_owned()
}

async fn ask(fixture: &Fixture, path: &str, agent: &str) -> Result<Value> {
    let key = fs::read_to_string(&fixture.hub_key)?;
    // Not through the relay: what we ask is no part of the run.
    let answer = reqwest::Client::new()
        .get(format!("{}{path}", fixture.real_hub))
        .header("x-api-key", key.trim())
        .header("x-agent-id", agent)
        .send()
        .await?;
    ensure!(answer.status().is_success(), "the hub answers {} to {path}", answer.status());
    Ok(serde_json::from_str(&answer.text().await?)?)
}

/// Every code that was ever told to the operator.
pub fn codes(hub: &Relay) -> BTreeSet<String> {
    let seen = hub.seen();
    let told = seen.iter().filter_map(|seen| seen.answer["share"]["code"].as_str());
    told.map(str::to_owned).collect()
}

/// What belongs behind the codes: every secret that the operator ever wrote into a Secret, as it is and as people are given it.
pub fn secrets(api: &Relay) -> BTreeSet<String> {
    let written = api.seen();
    let values = written.iter().filter_map(|seen| seen.asked["data"][secret_key::SECRET].as_str());
    let texts = values.filter_map(|value| String::from_utf8(BASE64_STANDARD.decode(value).ok()?).ok());
    // Of a write that is only tried out there are dashes.
    let real = texts.filter(|text| connect_hub::code_key::is_secret(text));
    let both = |text: String| {
        let full = full_code("", Some(&SecretString::from(text.clone())));
        [text, full.expose_secret().trim_start_matches('+').to_owned()]
    };
    real.flat_map(both).collect()
}

/// What must be true of any run, faults or not.
///
/// # Errors
/// The API server or the hub does not answer.
pub async fn invariants(fixture: &Fixture, api: &Relay, hub: &Relay) -> Result<Violations> {
    let mut found = Vec::new();
    let at_hub = AtHub::of(fixture).await?;
    let kept = fixture.code(OPEN, secret_key::CODE).await?;
    if at_hub.shares != [(OPEN.to_owned(), kept.clone())] {
        let names: Vec<&String> = at_hub.shares.iter().map(|(name, _)| name).collect();
        found.push(format!(
            "I2: the hub has the shares {names:?}, and not just the one whose code is in the Secret"
        ));
    }
    for code in codes(hub).iter().filter(|code| **code != kept) {
        // Everybody who guesses codes is limited by their address, so each of us comes from another.
        let address = Ipv4Addr::from(getrandom::u32()?).to_string();
        let request = reqwest::Client::new().get(format!("{}/v1/env-shares/{code}", fixture.real_hub));
        let status = request.header("x-forwarded-for", address).send().await?.status();
        if status.is_success() {
            found.push("I1: a code that no live share has is still good".to_owned());
        }
    }
    found.extend(order(&api.seen()));
    let mut secrets = secrets(api);
    match fixture.code(OPEN, secret_key::SECRET).await {
        Ok(secret) => _ = secrets.insert(secret),
        // The baseline operator draws none.
        Err(_) if secrets.is_empty() => {}
        Err(error) => return Err(error),
    }
    let told = |seen: &Seen| {
        let text = format!("{} {} {}", seen.place, seen.asked, seen.answer);
        secrets.iter().any(|secret| text.contains(secret.as_str()))
    };
    if hub.seen().iter().any(told) {
        found.push("I5: the hub was told a secret".to_owned());
    }
    Ok(found)
}

/// Status says Active only after the code was in its Secret.
fn order(api: &[Seen]) -> Violations {
    let mut written = BTreeSet::new();
    let mut found = Vec::new();
    for seen in api.iter().filter(|seen| seen.status.is_some_and(|status| status < 300)) {
        let injection_point = &seen.place.injection_point;
        if let Some(secret) = injection_point.strip_prefix("patch secrets ") {
            written.insert(secret.to_owned());
        }
        if let Some(share) = injection_point.strip_prefix("patch environmentshares/status ") {
            let conditions = seen.asked["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let active = conditions.iter().any(|one| one["type"] == "Active" && one["status"] == "True");
            if active && !written.contains(&secret_of(share)) {
                found.push(format!("I3: status of {share} says Active before its code is in the Secret"));
            }
        }
    }
    found
}

/// I5: looks for codes, plain and as Secrets write them, in everything but Secrets: objects, Events, metrics, and every file of logs.
///
/// # Errors
/// Something cannot be read.
pub async fn leaks(
    fixture: &Fixture,
    supervisor: &Supervisor,
    codes: &BTreeSet<String>,
) -> Result<Violations> {
    let mut texts = vec![
        (
            "an EnvironmentShare",
            serde_json::to_string(&fixture.api::<EnvironmentShare>().list(&ListParams::default()).await?)?,
        ),
        (
            "a ServiceExpose",
            serde_json::to_string(&fixture.api::<ServiceExpose>().list(&ListParams::default()).await?)?,
        ),
        ("an Event", serde_json::to_string(&fixture.api::<Event>().list(&ListParams::default()).await?)?),
    ];
    if let Some(admin) = supervisor.admin() {
        texts.push(("a metric", reqwest::get(format!("{admin}/metrics")).await?.text().await?));
    }
    for stream in ["out", "err"] {
        let log = fixture.logs.join(format!("operator-{}.{stream}", fixture.namespace));
        texts.push(("a log line", read(&log)?));
    }
    let mut found = Vec::new();
    for (where_, text) in texts {
        let tells =
            |code: &String| text.contains(code.as_str()) || text.contains(&BASE64_STANDARD.encode(code));
        if codes.iter().any(tells) {
            found.push(format!("I5: a code is in {where_}"));
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// C3: nothing is written when every object is looked at and nothing is to be done.
///
/// # Errors
/// Nobody looks.
pub async fn rest(fixture: &Fixture, supervisor: &Supervisor, api: &Relay) -> Result<Violations> {
    let Some(admin) = supervisor.admin() else { return Ok(Vec::new()) };
    let looks = async || -> Result<u64> {
        let text = reqwest::get(format!("{admin}/metrics")).await?.text().await?;
        let lines = text.lines().filter(|line| {
            line.starts_with("private_connect_reconciliations_total{kind=\"EnvironmentShare\"")
        });
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    };
    let writes = || {
        let seen = api.seen();
        let counts = |seen: &&Seen| seen.write && !seen.place.injection_point.contains(" leases ");
        seen.iter().filter(counts).map(|seen| seen.place.to_string()).collect::<Vec<_>>()
    };
    let (before, had) = (writes(), looks().await?);
    let label = json!({ "metadata": { "labels": { "looked-at": "again" } } });
    fixture.api::<Service>().patch(ROUTE, &PatchParams::default(), &Patch::Merge(label)).await?;
    eventually("every share is looked at", SOON, || async {
        ensure!(looks().await? >= had + 2, "not yet");
        Ok(())
    })
    .await?;
    let new: Vec<String> = writes().into_iter().skip(before.len()).collect();
    Ok(new.into_iter().map(|write| format!("C3: written with nothing to do: {write}")).collect())
}
