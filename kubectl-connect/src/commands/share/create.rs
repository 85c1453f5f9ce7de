//! `share`: creates a share and waits until it can be joined. What this very call made goes again when it cannot.

use std::fmt::Write as _;

use connect_crds::{EnvironmentShare, EnvironmentShareSpec, HubRef, RouteSelection};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};

use super::services::{self, Route};
use super::{dry_run, hub};
use crate::cluster::codes::{self, Access};
use crate::cluster::shares::{self, call};
use crate::cluster::wait::{self, Step, Waited};
use crate::cluster::{Cluster, FIELD_MANAGER};
use crate::failure::{Failure, Outcome};
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::Spinner;
use crate::sanitize::Clean;
use crate::settings::format::Format;
use crate::settings::share::{CreateSettings, End, Selection};
use crate::settings::{DryRun, Wait, duration};
use crate::views::page::{self, CREATING};
use crate::views::verdict::{self, Blocking};
use crate::views::{self, ShareView};

/// Longest part of an object's name that comes from the friendly name. With the suffixes that follow, also those of
/// the code Secret, it stays a valid label.
const MAX_PREFIX: usize = 40;

/// What the name of an object starts with when the friendly name leaves nothing.
const DEFAULT_PREFIX: &str = "share";

/// Random characters at the end of an object's name, from an alphabet without vowels and look-alikes: 27^5 are 14 million.
const SUFFIX_LENGTH: usize = 5;

/// As Kubernetes' own generated names.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Creates the share and prints the page, or what was asked for instead.
pub async fn run(settings: &CreateSettings, cluster: &Cluster, printer: Printer) -> Outcome<()> {
    let hub_ref = hub::resolve(cluster, settings.hub.as_ref()).await?;
    // The name is chosen here and not by the server: if the answer is lost, we know what to take back. A manifest for Git
    // gets one that stays the same.
    let name = match settings.dry_run {
        Some(DryRun::Client) => prefix(settings.name.as_deref().unwrap_or_default()),
        _ => object_name(settings.name.as_deref())?,
    };
    let routes = services::plan(cluster, &settings.selection, &name, hub_ref.as_ref()).await?;
    let mut wanted = object(&name, settings, hub_ref, routes.as_deref());
    let in_git = settings.dry_run == Some(DryRun::Client);
    if settings.selection == Selection::Exposed && !in_git && services::nothing_is_exposed(cluster).await {
        // Whoever shares now gets a code now, though it leads to nothing yet; the page says so.
        wanted.spec.routes = Some(RouteSelection { allow_empty: true, ..RouteSelection::default() });
    }
    match settings.dry_run {
        Some(DryRun::Client) => {
            wanted.metadata.namespace = Some(cluster.namespace().to_owned());
            dry_run::client(&wanted, routes.as_deref(), settings.format, printer)
        }
        Some(DryRun::Server) => {
            dry_run::server(cluster, &wanted, routes.as_deref(), settings.format, printer).await
        }
        None => create(settings, cluster, &wanted, routes.as_deref().unwrap_or_default(), printer).await,
    }
}

async fn create(
    settings: &CreateSettings,
    cluster: &Cluster,
    wanted: &EnvironmentShare,
    routes: &[Route],
    printer: Printer,
) -> Outcome<()> {
    if settings.format.is_human() {
        printer.data(CREATING)?;
    }
    let spinner = printer.spinner("Waiting until the share can be joined");
    let made = tokio::select! {
        made = make(cluster, wanted, routes, settings.wait, &spinner) => made,
        () = interrupt::requested() => Err(Failure::new("Interrupted before the share could be joined")),
    };
    drop(spinner);
    match made {
        Ok(share) if settings.wait == Wait::Not && settings.format.is_human() => {
            let name = share.name_any();
            printer.data(&format!("[ok] Environment share {name} is being created\n\n  Follow it with: kubectl connect status {name} --watch\n"))?;
            Ok(())
        }
        Ok(share) => show(cluster, &share, settings.format, printer).await,
        Err(failure) if failure.is_refusal() => Err(failure),
        Err(failure) => Err(undo(cluster, &wanted.name_any(), failure).await),
    }
}

async fn make(
    cluster: &Cluster,
    wanted: &EnvironmentShare,
    routes: &[Route],
    wait: Wait,
    spinner: &Spinner,
) -> Outcome<EnvironmentShare> {
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    let api = shares::api(cluster);
    let created = cluster.ask(&call("create", cluster, None), api.create(&params, wanted)).await?;
    services::make(cluster, &created, routes).await.map_err(Failure::later)?;
    let Wait::Until(limit) = wait else { return Ok(created) };
    let name = created.name_any();
    let mut was_there = false;
    let observe = |share: Option<&EnvironmentShare>| match share {
        Some(share) => {
            was_there = true;
            spinner.because(Blocking::of(Some(share)));
            verdict::joinable(share).map(Ending::from)
        }
        None if was_there => Step::Done(Ending::Gone),
        None => Step::Wait,
    };
    let what = "The share cannot be joined";
    let watch = call("watch", cluster, Some(&name));
    match wait::watch(cluster, api, &watch, &name, limit, observe).await.map_err(Failure::later)? {
        Waited::Done(Ending::Joinable(share)) => Ok(*share),
        Waited::Done(Ending::Never(blocking)) => Err(blocking.into_failure(what)),
        Waited::Done(Ending::Gone) => Err(Failure::new("Somebody deleted the share while it was being made")),
        Waited::DeadlinePassed(last) => Err(too_late(last.as_ref(), limit)),
    }
}

/// How waiting for a share ends.
enum Ending {
    Joinable(Box<EnvironmentShare>),
    Never(Blocking),
    Gone,
}

impl From<Result<EnvironmentShare, Blocking>> for Ending {
    fn from(judged: Result<EnvironmentShare, Blocking>) -> Self {
        match judged {
            Ok(share) => Self::Joinable(Box::new(share)),
            Err(blocking) => Self::Never(blocking),
        }
    }
}

fn too_late(last: Option<&EnvironmentShare>, limit: std::time::Duration) -> Failure {
    let limit = duration::print(limit);
    let failure = match Blocking::of(last) {
        Some(blocking) => blocking.into_failure(&format!("The share did not become joinable within {limit}")),
        None => Failure::new(format!("No operator has looked at the share within {limit}"))
            .hint("Check that it runs: kubectl connect doctor"),
    };
    // The page's words for a hub that is down stand by themselves.
    match Blocking::of(last) {
        Some(blocking) if blocking.is_hub_down() => failure,
        _ => failure.hint("Wait longer with --timeout 5m, or keep the share while it waits with --no-wait."),
    }
}

async fn show(cluster: &Cluster, share: &EnvironmentShare, format: Format, printer: Printer) -> Outcome<()> {
    let access = codes::read_one(cluster, share).await?;
    let now = cluster.now();
    let view = ShareView::new(share, &access, now);
    let text = match format {
        Format::Human => page::created(&view, now, printer.draws_boxes()),
        other => views::single(&view, other, now)?,
    };
    printer.data(&text)?;
    match access {
        Access::Forbidden if codes::are_shown(format) => printer.talk(&codes::hidden(share)),
        Access::Absent if format.is_human() => {
            let secret = Clean::new(&share.code_secret_name());
            printer.talk(&format!(
                "[!] The code is not shown: Secret {secret} is missing or does not hold a share code\n"
            ));
        }
        _ => {}
    }
    Ok(())
}

/// Takes back what was made, and says so in the failure.
async fn undo(cluster: &Cluster, name: &str, failure: Failure) -> Failure {
    let call = call("delete", cluster, Some(name));
    match cluster.ask_maybe(&call, shares::api(cluster).delete(name, &DeleteParams::default())).await {
        Ok(_) => failure,
        Err(_) => failure.hint(format!(
            "It may still be there: kubectl delete environmentshare {name} -n {}",
            cluster.namespace()
        )),
    }
}

fn object(
    name: &str,
    settings: &CreateSettings,
    hub_ref: Option<HubRef>,
    routes: Option<&[Route]>,
) -> EnvironmentShare {
    let names = routes.map(|routes| routes.iter().map(Route::name).collect());
    let (expires, expiration_time) = match &settings.end {
        End::After(expiry) => (Some(expiry.to_string()), None),
        End::At(time) => (None, Some(Time(*time))),
    };
    let spec = EnvironmentShareSpec {
        display_name: settings.name.clone(),
        routes: names.map(|names| RouteSelection { names: Some(names), ..RouteSelection::default() }),
        expires,
        expiration_time,
        max_joins: settings.max_joins,
        encryption: settings.encryption,
        ttl_seconds_after_finished: settings.ttl_seconds,
        hub_ref,
        ..EnvironmentShareSpec::default()
    };
    EnvironmentShare::new(name, spec)
}

/// The friendly name as far as an object may bear it, and something random.
fn object_name(friendly: Option<&str>) -> Outcome<String> {
    let mut random = [0u8; SUFFIX_LENGTH];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(format!("Cannot make a name: no randomness: {error}")))?;
    let mut name = prefix(friendly.unwrap_or_default());
    name.push('-');
    for byte in random {
        let letter = SUFFIX_ALPHABET[usize::from(byte) % SUFFIX_ALPHABET.len()];
        let _ = write!(name, "{}", char::from(letter)); // writing to a String cannot fail
    }
    Ok(name)
}

fn prefix(friendly: &str) -> String {
    let mut prefix = String::new();
    for character in friendly.chars() {
        match character.to_ascii_lowercase() {
            letter if letter.is_ascii_lowercase() || letter.is_ascii_digit() => prefix.push(letter),
            _ if prefix.is_empty() || prefix.ends_with('-') => {}
            _ => prefix.push('-'),
        }
        if prefix.len() == MAX_PREFIX {
            break;
        }
    }
    match prefix.trim_end_matches('-') {
        "" => DEFAULT_PREFIX.to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn friendly_names_become_names_of_objects() {
        for (friendly, expected) in [
            ("", "share"),
            ("staging-env", "staging-env"),
            ("PR-1234", "pr-1234"),
            ("Sales demo (Q4)!", "sales-demo-q4"),
            ("  --x--  ", "x"),
            ("東京", "share"),
            ("café au lait", "caf-au-lait"),
        ] {
            assert_eq!(prefix(friendly), expected, "{friendly}");
        }
    }

    #[test]
    fn nothing_is_in_the_object_that_was_not_asked_for() {
        let settings = CreateSettings {
            name: None,
            end: End::After("14d".parse().expect("valid")),
            max_joins: None,
            encryption: None,
            ttl_seconds: None,
            selection: Selection::Exposed,
            hub: None,
            dry_run: None,
            format: Format::Human,
            wait: Wait::Not,
        };
        let json = serde_json::to_value(object("share-x", &settings, None, None)).expect("JSON");
        assert_eq!(json["spec"], serde_json::json!({"expires": "14d", "revoked": false}));
        assert_eq!(json["metadata"], serde_json::json!({"name": "share-x"}));
    }

    #[test]
    fn a_deadline_names_what_stands_in_the_way() {
        let share = serde_json::from_value(serde_json::json!({"metadata": {}, "spec": {}, "status": {"conditions": [
            {"type": "ResolvedRefs", "status": "False", "reason": "ExposeNotReady", "message": "redis is not ready",
             "lastTransitionTime": "2024-01-15T10:30:00Z"}]}}))
        .expect("a share");
        assert_eq!(
            too_late(Some(&share), std::time::Duration::from_secs(60)).render(),
            "[x] The share did not become joinable within 1m: ResolvedRefs is False (ExposeNotReady): redis is not ready\n\
             See which route is not ready: kubectl get serviceexposes\n\
             Wait longer with --timeout 5m, or keep the share while it waits with --no-wait.\n"
        );
        assert_eq!(
            too_late(None, std::time::Duration::from_secs(60)).render(),
            "[x] No operator has looked at the share within 1m\n\
             Check that it runs: kubectl connect doctor\n\
             Wait longer with --timeout 5m, or keep the share while it waits with --no-wait.\n"
        );
    }

    proptest! {
        #[test]
        fn every_name_is_valid(friendly in ".{0,100}") {
            let name = object_name(Some(&friendly)).expect("randomness");
            prop_assert!(name.len() <= MAX_PREFIX + 1 + SUFFIX_LENGTH);
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
            prop_assert!(!name.starts_with('-') && !name.contains("--"));
        }
    }
}
