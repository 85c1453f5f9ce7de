//! Status as a table: what is known of a share, and what its conditions then say.

use std::sync::Arc;
use std::time::Duration;

use connect_crds::HeldEncryption;
use connect_crds::condition::is_true;
use connect_hub::client::{Join, People};
use connect_hub::tunnel::routes::Mismatches;
use secrecy::SecretString;

use super::*;
use crate::args::ShareIsolation;
use crate::context::Notice;
use crate::controllers::environment_share::apply::Failed;
use crate::controllers::environment_share::code_secret::CodeSecret;
use crate::controllers::environment_share::validate::validate;
use crate::target::Target;
use crate::tunnels::HubProblem;

const NOW: i64 = 1_800_000_000;

/// When a hub is tried again, of which status says nothing.
const RETRY: Duration = Duration::from_secs(1);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a date")
}

/// A share created an hour ago, with the spec given as YAML.
fn share(spec: &str) -> EnvironmentShare {
    let created = at(NOW - 3600);
    serde_saphyr::from_str(&format!(
        "apiVersion: connect.privateconnect.co/v1alpha1\nkind: EnvironmentShare\nmetadata: {{name: demo, namespace: shop, uid: u-1, generation: 3, creationTimestamp: '{created}'}}\nspec: {spec}\n"
    ))
    .expect("fixture")
}

/// An old ServiceExpose whose Service has an address.
fn exposed(
    name: &str,
    port: u16,
) -> (Arc<connect_crds::ServiceExpose>, Result<Target, crate::target::Problem>) {
    let expose = serde_saphyr::from_str(&format!(
        "apiVersion: connect.privateconnect.co/v1alpha1\nkind: ServiceExpose\nmetadata: {{name: {name}, namespace: shop, uid: e-{name}, creationTimestamp: '2026-01-01T00:00:00Z'}}\nspec: {{protocol: TCP, serviceRef: {{name: {name}, port: {port}}}}}\n"
    ))
    .expect("fixture");
    let address = format!("10.0.0.1:{port}").parse().expect("address");
    let target = Target {
        display: format!("{name}:{port}"),
        port,
        uid: format!("s-{name}"),
        addresses: vec![address],
    };
    (Arc::new(expose), Ok(target))
}

fn found(
    exposes: Vec<(Arc<connect_crds::ServiceExpose>, Result<Target, crate::target::Problem>)>,
    snapshot: Option<&[&str]>,
) -> Found {
    let code = snapshot.map(|routes| CodeSecret {
        code: SecretString::from("k7mwx2pq9d"),
        secret: None,
        is_spoilt: false,
        hub_url: None,
        routes: routes.iter().map(|&name| name.to_owned()).collect(),
        services: None,
        rotation: None,
        isolation: ShareIsolation::Route,
        uid: None,
    });
    // The hub itself plays no part in the pure steps; a missing one is a case of its own below.
    let hub = Err(crate::credentials::HubSecretProblem::NotFound("team".to_owned()));
    Found {
        hub,
        exposes,
        stored_secret: None,
        code,
        rows: Vec::new(),
        maker: None,
        isolation: ShareIsolation::Route,
        services: Vec::new(),
        reused: Vec::new(),
        has_unknown_shares: false,
        mismatches: Mismatches::default(),
        outdated: None,
    }
}

fn said(share: &EnvironmentShare, found: &Found, done: &Done) -> Vec<(String, String, String)> {
    let valid = validate(share, found, at(NOW));
    let status = status(share, &valid, found, done, at(NOW));
    status
        .conditions
        .into_iter()
        .map(|condition| (condition.type_, condition.status, condition.reason))
        .collect()
}

fn has(said: &[(String, String, String)], wanted: &[(&str, &str, &str)]) {
    for (kind, status, reason) in wanted {
        assert!(
            said.iter().any(|(k, s, r)| k == kind && s == status && r == reason),
            "{kind}={status}/{reason} is not in {said:?}"
        );
    }
}

fn unreachable() -> HubProblem {
    HubProblem {
        reason: reason::HUB_UNREACHABLE,
        message: "cannot reach the hub at https://h: refused".to_owned(),
        stalled: None,
    }
}

fn closed() -> Done {
    Done::Closed { row: None, cut: None }
}

fn not_closed() -> Done {
    Done::NotClosed { problem: unreachable(), undecided: false, look_again: RETRY }
}

#[test]
fn an_open_share_is_ready_and_joinable() {
    let found = found(vec![exposed("postgres", 5432)], Some(&["postgres"]));
    let said = said(&share("{}"), &found, &Done::Kept { row: None });
    has(
        &said,
        &[
            ("Accepted", "True", "Accepted"),
            ("Active", "True", "Joinable"),
            ("Ready", "True", "Shared"),
            ("RoutesCurrent", "True", "UpToDate"),
        ],
    );
}

#[test]
fn an_expired_share_stays_ready_even_when_the_hub_could_not_be_told() {
    let done = not_closed();
    let said = said(&share("{expires: 1h}"), &found(vec![], None), &done);
    has(&said, &[("Active", "False", "Expired"), ("Ready", "True", "Expired")]);
}

#[test]
fn a_revoked_share_is_ready_once_the_hub_was_told() {
    let revoked = share("{revoked: true}");
    has(
        &said(&revoked, &found(vec![], None), &closed()),
        &[("Active", "False", "Revoked"), ("Ready", "True", "Revoked")],
    );
    let done = not_closed();
    has(
        &said(&revoked, &found(vec![], None), &done),
        &[("Active", "False", "Revoked"), ("Ready", "False", "HubUnreachable")],
    );
}

#[test]
fn a_share_whose_hub_went_away_is_of_unknown_activity() {
    let found = found(vec![exposed("postgres", 5432)], Some(&["postgres"]));
    let done = Done::Left { problem: Some(unreachable()), shared: true, row: None };
    has(
        &said(&share("{}"), &found, &done),
        &[("Active", "Unknown", "HubUnreachable"), ("Ready", "False", "HubUnreachable")],
    );
}

#[test]
fn a_human_is_called_only_while_one_is_needed() {
    let rejected = HubProblem {
        reason: reason::HUB_REJECTED,
        message: "key".to_owned(),
        stalled: Some(reason::INVALID_CREDENTIALS),
    };
    let stalled = said(
        &share("{}"),
        &found(vec![], None),
        &Done::Left { problem: Some(rejected), shared: false, row: None },
    );
    has(
        &stalled,
        &[
            ("Stalled", "True", "InvalidCredentials"),
            ("Ready", "False", "HubRejected"),
            ("Active", "False", "Pending"),
        ],
    );
    let fine = said(
        &share("{}"),
        &found(vec![], None),
        &Done::Left { problem: Some(unreachable()), shared: false, row: None },
    );
    assert!(!fine.iter().any(|(kind, ..)| kind == "Stalled"));
}

#[test]
fn a_missing_hub_secret_is_said_with_its_type() {
    let none = found(vec![], None);
    let share = share("{hubRef: {name: team}}");
    let status = status(
        &share,
        &validate(&share, &none, at(NOW)),
        &none,
        &Done::Nothing { problem: None, look_again: None },
        at(NOW),
    );
    let resolved = find(&status.conditions, kind::RESOLVED_REFS).expect("said");
    assert_eq!((resolved.reason.as_str(), resolved.status.as_str()), (reason::HUB_SECRET_NOT_FOUND, "False"));
    assert!(resolved.message.contains(connect_crds::HUB_SECRET_TYPE));
    assert!(!is_true(&status.conditions, kind::READY));
}

#[test]
fn what_status_has_once_ended_is_not_opened_again() {
    let mut share = share("{expires: 24h}");
    let ended = said_status(&share, Over::Expired);
    share.status = Some(ended);
    assert_eq!(validate(&share, &found(vec![], None), at(NOW)).over, Some(Over::Expired));
}

fn said_status(share: &EnvironmentShare, over: Over) -> EnvironmentShareStatus {
    let none = found(vec![], None);
    let mut valid = validate(share, &none, at(NOW));
    valid.over = Some(over);
    status(share, &valid, &none, &closed(), at(NOW))
}

#[test]
fn a_snapshot_keeps_its_routes_and_says_when_it_has_fallen_behind() {
    let share = share("{}");
    let found = found(vec![exposed("api", 80), exposed("redis", 6379)], Some(&["api", "postgres"]));
    let valid = validate(&share, &found, at(NOW));
    let status = status(&share, &valid, &found, &Done::Kept { row: None }, at(NOW));
    let routes: Vec<(&str, bool)> =
        status.routes.iter().map(|route| (route.name.as_str(), route.ready)).collect();
    assert_eq!(routes, [("api", true), ("postgres", false)]);
    assert_eq!(status.ready_routes.as_deref(), Some("1/2"));
    let current = find(&status.conditions, kind::ROUTES_CURRENT).expect("said");
    assert_eq!(current.status, "False");
    assert!(
        current.message.starts_with("not in the snapshot: redis; withdrawn since: postgres"),
        "{}",
        current.message
    );
}

#[test]
fn a_live_share_follows_its_selection() {
    let live = share("{routes: {membership: Live}}");
    let found = found(vec![exposed("api", 80), exposed("redis", 6379)], Some(&["api", "postgres"]));
    let names: Vec<String> =
        validate(&live, &found, at(NOW)).routes.into_iter().map(|route| route.name).collect();
    assert_eq!(names, ["api", "redis"]);
}

#[test]
fn named_routes_are_waited_for() {
    let named = share("{routes: {names: [postgres, redis]}}");
    let valid = validate(&named, &found(vec![exposed("postgres", 5432)], None), at(NOW));
    assert_eq!(valid.not_yet.expect("waits").0, "there is no ServiceExpose redis in this namespace");
    assert!(
        validate(&named, &found(vec![exposed("postgres", 5432), exposed("redis", 6379)], None), at(NOW))
            .not_yet
            .is_none()
    );
}

#[test]
fn a_snapshot_is_not_taken_in_the_middle_of_an_apply() {
    let (expose, target) = exposed("postgres", 5432);
    let mut young = (*expose).clone();
    young.metadata.creation_timestamp = Some(Time(at(NOW - 1)));
    let valid =
        validate(&share("{}"), &found(vec![(Arc::new(young.clone()), target.clone())], None), at(NOW));
    assert!(valid.not_yet.is_some());
    // Nor is it waited for ever when the clocks differ.
    young.metadata.creation_timestamp = Some(Time(at(NOW + 3600)));
    assert!(validate(&share("{}"), &found(vec![(Arc::new(young), target)], None), at(NOW)).not_yet.is_none());
}

fn row(count: u64, agents: &[&str]) -> ShareRow {
    let joins = agents.iter().enumerate().map(|(age, agent)| Join {
        agent_label: (*agent).to_owned(),
        joined_at: at(NOW - age as i64),
        connected: false,
    });
    ShareRow {
        code: SecretString::from("k7mwx2pq9d"),
        id: None,
        name: None,
        idempotency_key: None,
        expires_at: at(NOW),
        route_count: 0,
        join_count: count,
        created_at: at(NOW),
        joins: joins.collect(),
        connected: None,
    }
}

#[test]
fn who_is_connected_is_said_only_while_that_is_known() {
    let people = |joiners: u64| Some(People { joiners, connections: 7 });
    let mut told = row(2, &["bob", "ada"]);
    told.connected = people(1);
    told.joins[0].connected = true;
    let status = |done: &Done, lives: bool| {
        let joins = with_people(joins(None, done.row()), done, lives).expect("joins");
        (joins.connected, joins.recent.iter().filter(|join| join.connected).count(), joins.cut_off)
    };
    let told = || Some(told.clone());
    assert_eq!(status(&Done::Kept { row: told() }, true), (Some(1), 1, None));
    let over = Done::Closed { row: told(), cut: None };
    assert_eq!(status(&over, false), (None, 0, None), "a share that is over");
    let away = Done::Left { problem: Some(unreachable()), shared: true, row: told() };
    assert_eq!(status(&away, true), (None, 0, None), "a hub that is away");
    let silent = Done::Kept { row: Some(row(2, &["bob", "ada"])) };
    assert_eq!(status(&silent, true), (None, 0, None), "a hub that does not tell");
    let cut = Done::Closed { row: told(), cut: people(3) };
    assert_eq!(cut_off_note(&cut), "; 3 teammates were cut off");
    assert_eq!(status(&cut, false), (None, 0, Some(3)));
    // It stays said, and nobody takes it back.
    let kept = with_people(Some(Joins { cut_off: Some(3), ..Joins::default() }), &closed(), false);
    assert_eq!(kept.expect("joins").cut_off, Some(3));
}

#[test]
fn every_join_is_told_once() {
    let none = EnvironmentShareStatus::default();
    let one = EnvironmentShareStatus { joins: joins(None, Some(&row(1, &["ada@laptop"]))), ..none.clone() };
    let three = EnvironmentShareStatus {
        joins: joins(one.joins.clone(), Some(&row(3, &["cy", "bob", "ada@laptop"]))),
        ..none.clone()
    };
    let notes = |old: &EnvironmentShareStatus, new: &EnvironmentShareStatus| -> Vec<String> {
        notices(old, new, &Done::Kept { row: None })
            .into_iter()
            .map(|Notice { note, .. }| note.split(" at ").next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(notes(&none, &one), ["ada@laptop joined"]);
    assert_eq!(notes(&one, &three), ["bob joined", "cy joined"]);
    assert!(notes(&three, &three).is_empty());
    // A hub that only counts.
    let counted = EnvironmentShareStatus { joins: joins(None, Some(&row(2, &[]))), ..none.clone() };
    assert_eq!(notes(&none, &counted), ["the share was joined 2 times more"]);
    // A hub that has lost its count does not take back what was said.
    assert_eq!(joins(three.joins.clone(), Some(&row(0, &[]))).expect("kept").count, 3);
}

#[test]
fn the_limit_closes_the_code_and_is_said() {
    let limited = share("{maxJoins: 2}");
    let mut found = found(vec![exposed("api", 80)], Some(&["api"]));
    found.rows = vec![row(2, &["b", "a"])];
    let done = Done::Kept { row: found.rows.first().cloned() };
    has(
        &said(&limited, &found, &done),
        &[("Active", "False", "JoinLimitReached"), ("Ready", "True", "Shared")],
    );
}

#[test]
fn only_an_ended_share_that_no_tool_tracks_deletes_itself() {
    let mut ended = share("{revoked: true, ttlSecondsAfterFinished: 60}");
    assert_eq!(deletion_due(&ended), None);
    ended.status = Some(said_status(&ended, Over::Revoked));
    assert_eq!(deletion_due(&ended), Some(at(NOW + 60)));
    ended.metadata.labels = Some([("kustomize.toolkit.fluxcd.io/name".to_owned(), "apps".to_owned())].into());
    assert_eq!(deletion_due(&ended), None);
}

#[test]
fn the_code_is_in_no_word_of_status_or_events() {
    let found = found(vec![exposed("api", 80)], Some(&["api"]));
    let share = share("{}");
    let row = row(1, &["a"]);
    let done = Done::Open {
        row,
        encryption: HeldEncryption::Verified,
        code_changed: true,
        rotated: false,
        cut: None,
        look_again: None,
    };
    let valid = validate(&share, &found, at(NOW));
    let new = status(&share, &valid, &found, &done, at(NOW));
    let told = format!(
        "{new:?}{:?}{done:?}{:?}",
        notices(&EnvironmentShareStatus::default(), &new, &done),
        found.code
    );
    assert!(!told.contains("k7mwx2pq9d"));
    assert!(!serde_json::to_string(&new).expect("JSON").contains("k7mwx2pq9d"));
}

#[test]
fn what_cannot_be_written_is_said_and_a_code_is_joinable_only_while_it_works() {
    let unwritten = |needs_a_human| Unwritten {
        reason: reason::SECRET_NOT_WRITABLE,
        message: "quota".to_owned(),
        needs_a_human,
    };
    let share = share("{}");
    let found = found(vec![exposed("api", 80)], Some(&["api"]));
    let done = |works: bool, needs_a_human| Done::Unwritten {
        unwritten: unwritten(needs_a_human),
        shared: works,
        good_until: works.then(|| at(NOW + 60)),
        rotated: false,
        row: None,
        look_again: RETRY,
    };
    for (works, needs_a_human, active) in [
        (true, true, ("Active", "True", "Joinable")),
        (true, false, ("Active", "True", "Joinable")),
        (false, true, ("Active", "False", "SecretNotWritable")),
        (false, false, ("Active", "False", "SecretNotWritable")),
    ] {
        let done = done(works, needs_a_human);
        let said = said(&share, &found, &done);
        has(&said, &[active, ("Ready", "False", "SecretNotWritable"), ("Accepted", "True", "Accepted")]);
        assert_eq!(said.iter().any(|(kind, ..)| kind == "Stalled"), needs_a_human, "{said:?}");
        let valid = validate(&share, &found, at(NOW));
        let new = status(&share, &valid, &found, &done, at(NOW));
        assert_eq!(new.code_secret_name.is_some(), works);
        let told = notices(&EnvironmentShareStatus::default(), &new, &done);
        assert_eq!(told.iter().filter(|notice| notice.reason == "SecretNotWritable").count(), 1);
        assert!(notices(&new, &new, &done).is_empty(), "once");
    }
}

#[test]
fn a_hub_that_refuses_a_change_leaves_what_it_had() {
    let rejected = HubProblem { reason: reason::HUB_REJECTED, message: "too long".to_owned(), stalled: None };
    let found = found(vec![exposed("api", 80)], Some(&["api"]));
    let done = Done::Failed(Failed {
        problem: rejected,
        unwritten: None,
        shared: true,
        good_until: Some(at(NOW + 60)),
        row: None,
        look_again: RETRY,
    });
    let valid = validate(&share("{}"), &found, at(NOW));
    let new = status(&share("{}"), &valid, &found, &done, at(NOW));
    let active = find(&new.conditions, kind::ACTIVE).expect("said");
    assert_eq!(
        (active.status.as_str(), active.message.as_str()),
        ("True", "teammates can join until 2027-01-15T08:01:00Z")
    );
    assert_eq!(find(&new.conditions, kind::READY).expect("said").reason, reason::HUB_REJECTED);
}

#[test]
fn that_the_secret_was_not_known_is_said_until_there_is_another_code() {
    let open = |code_changed| Done::Open {
        row: row(0, &[]),
        encryption: HeldEncryption::Verified,
        code_changed,
        rotated: false,
        cut: None,
        look_again: None,
    };
    let mut share = share("{}");
    let mut found = found(vec![exposed("api", 80)], Some(&["api"]));
    let valid = validate(&share, &found, at(NOW));
    let mut look = |found: &Found, done: &Done| {
        let new = status(&share, &valid, found, done, at(NOW));
        let says = is_true(&new.conditions, kind::SECRET_MISMATCH);
        assert_eq!(new.encryption, Some(HeldEncryption::Verified));
        share.status = Some(new);
        says
    };
    for (count, repeated, code_changed, says) in [
        (0, false, false, false),
        (4, false, false, false),
        (5, true, false, true),
        (0, false, false, true), // another process, which has counted nothing
        (0, false, true, false),
        (0, false, false, false),
    ] {
        found.mismatches = Mismatches { count, repeated };
        assert_eq!(look(&found, &open(code_changed)), says, "{count} {repeated} {code_changed}");
    }
}

#[test]
fn a_share_that_selects_nothing_waits_unless_it_may_be_empty() {
    for (spec, exposes, waits) in [
        ("{}", vec![], true),
        ("{routes: {selector: {matchLabels: {app: web}}}}", vec![exposed("api", 80)], true),
        ("{routes: {allowEmpty: true}}", vec![], false),
        ("{routes: {membership: Live}}", vec![], false),
        ("{}", vec![exposed("api", 80)], false),
        ("{revoked: true}", vec![], false),
    ] {
        let refused = validate(&share(spec), &found(exposes, None), at(NOW)).refused;
        assert_eq!(refused.map(|verdict| verdict.reason), waits.then_some(reason::NO_ROUTES), "{spec}");
    }
    // What was opened stays open.
    assert!(validate(&share("{}"), &found(vec![], Some(&[])), at(NOW)).refused.is_none());
}
