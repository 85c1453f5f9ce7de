//! `extend`: lets a share end later. The form of its end stays as it was: a duration stays one, a date stays one.

use connect_crds::{EnvironmentShare, Expiry};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::gitops;
use crate::cluster::shares::{self, call};
use crate::cluster::wait::{self, Step, Waited};
use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::printer::Printer;
use crate::progress::Spinner;
use crate::settings::change::ExtendSettings;
use crate::settings::{Wait, duration};
use crate::views::verdict::{self, Blocking};

/// Changes the end, and waits until the operator has taken it up.
pub async fn run(settings: &ExtendSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let ExtendSettings { share: target, by, force, wait } = settings;
    let (share, _) = shares::find_one(cluster, target).await?;
    let name = share.name_any();
    let change = later(&share, *by)?;
    gitops::check(&share, &json!({"spec": change}), *force, printer)?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": change}));
    let api = shares::api(cluster);
    let patched =
        cluster.ask(&call("patch", cluster, Some(&name)), api.patch(&name, &params, &patch)).await?;
    let now = cluster.now();
    let ends_at = patched.ends_at(now).map_err(|error| Failure::new(error.to_string()))?;
    let (verb, change) = match *wait {
        Wait::Until(limit) => {
            let spinner = printer.spinner("Waiting until the operator has told the hub");
            ("now ends", await_end(cluster, &name, ends_at, limit, &spinner).await?)
        }
        Wait::Not => ("is to end", None),
    };
    printer.data(&format!(
        "[ok] Share {name} {verb} in {} ({})\n{}",
        output::rest_in_words(ends_at, now),
        output::date(ends_at),
        change.map(|change| code_change(&name, change)).unwrap_or_default()
    ))?;
    Ok(())
}

/// What a later end means for the code, where the hub does not keep the code so long.
fn code_change(name: &str, change: Timestamp) -> String {
    format!(
        "     Its code changes before, on {}, because the hub cannot keep it longer.\n     \
         Send your teammates the new one then: kubectl connect status {name}\n",
        output::date(change)
    )
}

/// The fields of the spec that say the later end. Pure.
fn later(share: &EnvironmentShare, by: Expiry) -> Outcome<Value> {
    let name = share.name_any();
    if shares::is_over(share) || share.spec.revoked {
        return Err(Failure::new(format!("Share {name} has ended and cannot be opened again"))
            .hint("Create a new one: kubectl connect share"));
    }
    if let Some(Time(end)) = share.spec.expiration_time {
        let too_late = |_| Failure::new(format!("Share {name} cannot end that late"));
        let later = end.checked_add(by.duration()).map_err(too_late)?;
        return Ok(json!({"expirationTime": later}));
    }
    let had: Expiry = match &share.spec.expires {
        Some(text) => {
            text.parse().map_err(|error: connect_crds::InvalidExpiry| Failure::new(error.to_string()))?
        }
        None => Expiry::default(),
    };
    let hours = had.hours().saturating_add(by.hours());
    let too_long =
        || Failure::new(format!("Share {name} cannot live that long: the longest are 99999h and 99999d"));
    let sum = Expiry::from_hours(hours).map_err(|_| too_long())?;
    Ok(json!({"expires": sum.to_string()}))
}

/// Until status says this end, and that the hub is as the share asks. When the code changes before that end, if it does.
async fn await_end(
    cluster: &Cluster,
    name: &str,
    ends_at: Timestamp,
    limit: std::time::Duration,
    spinner: &Spinner,
) -> Outcome<Option<Timestamp>> {
    let ends_at = connect_crds::condition::whole_second(ends_at);
    let observe = |share: Option<&EnvironmentShare>| match share {
        None => Step::Done(Err(Failure::new(format!("Share {name} was deleted")))),
        Some(share) => {
            spinner.because(Blocking::of(Some(share)));
            later_end(share, ends_at)
        }
    };
    let watch = call("watch", cluster, Some(name));
    match wait::watch(cluster, shares::api(cluster), &watch, name, limit, observe).await? {
        Waited::Done(outcome) => outcome,
        Waited::DeadlinePassed(last) => Err(Failure::new(format!(
            "The later end of share {name} is stored, but the operator has not acted on it within {}{}",
            duration::print(limit),
            Blocking::of(last.as_ref()).map(|blocking| format!(": {blocking}")).unwrap_or_default()
        ))
        .hint("Check that it runs: kubectl connect doctor")),
    }
}

/// Whether the share ends at this time now. A share that waits for something else has its end all the same once the operator
/// has seen it; one whose hub does not answer does not. When its code changes before, if it does. Pure.
fn later_end(share: &EnvironmentShare, ends_at: Timestamp) -> Step<Outcome<Option<Timestamp>>> {
    let status = share.status.as_ref().filter(|_| shares::is_current(share));
    let said = status.and_then(|status| status.expiration_time.as_ref());
    let is_said = said.is_some_and(|Time(said)| *said == ends_at);
    let change = status.and_then(|status| status.code_change_time.as_ref()).map(|Time(change)| *change);
    match verdict::joinable(share) {
        Step::Done(Ok(_)) if is_said => Step::Done(Ok(change)),
        Step::Done(Err(blocking)) => Step::Done(Err(blocking.into_failure("The share cannot end later"))),
        Step::WaitAtMost(patience) => Step::WaitAtMost(patience),
        _ if is_said && Blocking::of(Some(share)).is_some_and(|it| it.is_of_the_share()) => {
            Step::Done(Ok(change))
        }
        _ => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(spec: &Value, by: &str) -> Result<Value, String> {
        let share =
            serde_json::from_value(json!({"metadata": {"name": "demo"}, "spec": spec})).expect("a share");
        later(&share, by.parse().expect("a duration")).map_err(|failure| failure.render())
    }

    #[test]
    fn a_duration_stays_one_and_a_date_stays_one() {
        for (spec, by, expected) in [
            (json!({}), "4h", json!({"expires": "28h"})),
            (json!({"expires": "24h"}), "1d", json!({"expires": "2d"})),
            (
                json!({"expirationTime": "2026-12-01T18:00:00Z"}),
                "4h",
                json!({"expirationTime": "2026-12-01T22:00:00Z"}),
            ),
        ] {
            assert_eq!(changed(&spec, by), Ok(expected));
        }
    }

    #[test]
    fn an_end_is_not_taken_back() {
        assert_eq!(
            changed(&json!({"revoked": true}), "4h").expect_err("over"),
            "[x] Share demo has ended and cannot be opened again\nCreate a new one: kubectl connect share\n"
        );
        assert_eq!(
            changed(&json!({"expires": "99999d"}), "1d").expect_err("too long"),
            "[x] Share demo cannot live that long: the longest are 99999h and 99999d\n"
        );
    }

    #[test]
    fn an_end_counts_once_the_hub_knows_it() {
        let said = |generation: i64, end: &str, conditions: Value| {
            let share = serde_json::from_value(
                json!({"metadata": {"name": "demo", "generation": 2}, "spec": {},
                "status": {"observedGeneration": generation, "expirationTime": end, "conditions": conditions}}),
            );
            match later_end(&share.expect("a share"), "2026-12-01T22:00:00Z".parse().expect("a time")) {
                Step::Done(Ok(_)) => "done",
                Step::Done(Err(_)) => "never",
                Step::Wait => "wait",
                Step::WaitAtMost(_) => "wait a little",
            }
        };
        let one = |kind: &str, status: &str, reason: &str| json!([{"type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-12-01T18:00:00Z"}]);
        let (old, new) = ("2026-12-01T18:00:00Z", "2026-12-01T22:00:00Z");
        for (generation, end, conditions, judged) in [
            (2, new, one("Active", "True", "Joinable"), "done"),
            (2, old, one("Active", "True", "Joinable"), "wait"),
            (1, new, one("Active", "True", "Joinable"), "wait"),
            (2, new, one("Active", "Unknown", "HubUnreachable"), "wait a little"),
            (2, new, one("Active", "False", "JoinLimitReached"), "done"),
            (2, new, one("ResolvedRefs", "False", "ExposeNotReady"), "done"),
            (2, new, one("Accepted", "False", "ExpirationTooLong"), "never"),
            (2, new, one("Active", "False", "Revoked"), "never"),
        ] {
            assert_eq!(said(generation, end, conditions.clone()), judged, "{generation} {end} {conditions}");
        }
    }
}
