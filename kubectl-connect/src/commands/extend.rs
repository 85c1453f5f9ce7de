//! `extend`: lets a share end later. The form of its end stays as it was: a duration stays one, a date stays one.

use connect_crds::{EnvironmentShare, Expiry};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::gitops;
use super::share::verdict::{self, Blocking};
use crate::cluster::shares::{self, call};
use crate::cluster::wait::{self, Step, Waited};
use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::printer::Printer;
use crate::settings::change::ExtendSettings;
use crate::settings::{Wait, duration};

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
    let now = Timestamp::now();
    let ends_at = patched.ends_at(now).map_err(|error| Failure::new(error.to_string()))?;
    if let Wait::Until(limit) = *wait {
        let _spinner = printer.spinner("Waiting until the operator has told the hub");
        await_end(cluster, &name, ends_at, limit).await?;
    }
    printer.data(&format!(
        "[ok] Share {name} now ends in {} ({})\n",
        output::rest_in_words(ends_at, now),
        output::date(ends_at)
    ))?;
    Ok(())
}

/// The fields of the spec that say the later end. Pure.
fn later(share: &EnvironmentShare, by: Expiry) -> Outcome<Value> {
    let name = share.name_any();
    if shares::is_over(share) || share.spec.revoked {
        return Err(Failure::new(format!("Share {name} has ended, and an end cannot be taken back"))
            .hint("Create a new one: kubectl connect share"));
    }
    if let Some(Time(end)) = share.spec.expiration_time {
        let too_late = |_| Failure::new(format!("Share {name} cannot end so late"));
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
    let sum: Expiry =
        format!("{hours}h").parse().map_err(|_| Failure::new(format!("Share {name} cannot live so long")))?;
    Ok(json!({"expires": sum.to_string()}))
}

/// Until status says this end.
async fn await_end(
    cluster: &Cluster,
    name: &str,
    ends_at: Timestamp,
    limit: std::time::Duration,
) -> Outcome<()> {
    let ends_at = connect_crds::condition::whole_second(ends_at);
    let observe = |share: Option<&EnvironmentShare>| match share {
        None => Step::Done(Err(Failure::new(format!("Share {name} was deleted")))),
        Some(share) => {
            let said = share.status.as_ref().and_then(|status| status.expiration_time.as_ref());
            match verdict::joinable(share) {
                _ if said.is_some_and(|Time(said)| *said == ends_at) => Step::Done(Ok(())),
                Step::Done(Err(blocking)) => {
                    Step::Done(Err(blocking.into_failure("The share cannot end later")))
                }
                _ => Step::Wait,
            }
        }
    };
    let watch = call("watch", cluster, Some(name));
    match wait::watch(cluster, shares::api(cluster), &watch, name, limit, observe).await? {
        Waited::Done(outcome) => outcome,
        Waited::DeadlinePassed(last) => Err(Failure::new(format!(
            "The later end of share {name} is stored, but the operator has not taken it up within {}{}",
            duration::print(limit),
            Blocking::of(last.as_ref()).map(|blocking| format!(": {blocking}")).unwrap_or_default()
        ))
        .hint("Check that it runs: kubectl connect doctor")),
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
            "[x] Share demo has ended, and an end cannot be taken back\nCreate a new one: kubectl connect share\n"
        );
        assert_eq!(
            changed(&json!({"expires": "99999d"}), "1d").expect_err("too long"),
            "[x] Share demo cannot live so long\n"
        );
    }
}
