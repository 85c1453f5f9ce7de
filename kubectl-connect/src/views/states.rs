//! Every state of a share in every form of output, as one table.

use connect_crds::EnvironmentShare;
use serde_json::{Value, json};

use super::table::Columns;
use super::test_support::{NOW, granted, now};
use super::*;
use crate::output;

/// The code in the Secret, in every state: also where it should be gone.
const CODE: &str = "abc123";

/// One state, and what is said of it.
struct Row {
    /// What it is.
    what: &'static str,
    share: EnvironmentShare,
    /// The word.
    state: &'static str,
    /// Whether the code is shown.
    joinable: bool,
    /// Columns ROUTES and EXPIRES of the table.
    cells: (&'static str, &'static str),
    /// What stands in every view for people, beside the state.
    says: Option<&'static str>,
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2024-01-14T10:20:02Z"})
}

/// A share of generation 2 with one route, and these conditions; `change` is laid over it.
fn share(conditions: &[Value], change: &Value) -> EnvironmentShare {
    let mut share = json!({
        "metadata": {"name": "demo", "namespace": "staging", "generation": 2, "creationTimestamp": "2024-01-14T10:00:02Z"},
        "spec": {"expires": "24h"},
        "status": {"observedGeneration": 2, "expirationTime": "2024-01-15T10:00:02Z", "conditions": conditions,
            "routes": [{"name": "api", "protocol": "HTTP", "port": 8080, "ready": true}], "joins": {"count": 2}}});
    lay_over(&mut share, change);
    serde_json::from_value(share).expect("a share")
}

fn lay_over(under: &mut Value, change: &Value) {
    match (under, change) {
        (Value::Object(under), Value::Object(change)) => {
            for (key, value) in change {
                lay_over(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, change) => *under = change.clone(),
    }
}

fn rows() -> Vec<Row> {
    let active = || condition("Active", "True", "Joinable", "teammates can join");
    let pending = || condition("Active", "False", "Pending", "waits");
    let ended =
        json!({"status": {"routes": [{"name": "api", "protocol": "HTTP", "port": 8080, "ready": false}]}});
    let row = |what, share, state, joinable, cells, says| Row { what, share, state, joinable, cells, says };
    let live = ("1/1", "23h");
    let none = json!({});
    vec![
        row("joinable", share(&[active()], &none), "Joinable", true, live, None),
        row(
            "snapshot outdated",
            share(
                &[active(), condition("RoutesCurrent", "False", "SnapshotOutdated", "redis came later")],
                &none,
            ),
            "Joinable",
            true,
            live,
            Some("SnapshotOutdated: redis came later"),
        ),
        row(
            "stalled and joinable",
            share(&[active(), condition("Stalled", "True", "CRDOutdated", "fields are dropped")], &none),
            "Joinable",
            true,
            live,
            Some("CRDOutdated: fields are dropped"),
        ),
        row(
            "pending",
            share(
                &[condition("ResolvedRefs", "False", "ExposeNotReady", "redis is not ready"), pending()],
                &none,
            ),
            "Pending",
            false,
            live,
            Some("ExposeNotReady: redis is not ready"),
        ),
        row(
            "no routes",
            share(
                &[condition("Accepted", "False", "NoRoutes", "nothing is selected"), pending()],
                &json!({"status": {"routes": []}}),
            ),
            "Pending",
            false,
            ("0/0", "23h"),
            Some("NoRoutes: nothing is selected"),
        ),
        row(
            "hub unreachable",
            share(
                &[condition(
                    "Active",
                    "Unknown",
                    "HubUnreachable",
                    "cannot reach the hub at https://h: refused",
                )],
                &none,
            ),
            "HubUnreachable",
            false,
            live,
            Some("cannot reach the hub at https://h: refused"),
        ),
        row(
            "secret not writable",
            share(&[active(), condition("Ready", "False", "SecretNotWritable", "exceeded quota")], &none),
            "SecretNotWritable",
            false,
            live,
            Some("exceeded quota"),
        ),
        row(
            "secret not writable, stalled",
            share(&[pending(), condition("Stalled", "True", "SecretNotWritable", "exceeded quota")], &none),
            "SecretNotWritable",
            false,
            live,
            Some("exceeded quota"),
        ),
        row(
            "new code not written yet",
            share(
                &[active()],
                &json!({"metadata": {"annotations": {"connect.privateconnect.co/rotate": "2"}}}),
            ),
            "Pending",
            false,
            live,
            Some("it is getting a new code"),
        ),
        row(
            "stalled",
            share(&[pending(), condition("Stalled", "True", "InvalidCredentials", "bad key")], &none),
            "Stalled",
            false,
            live,
            Some("InvalidCredentials: bad key"),
        ),
        row(
            "expired",
            share(
                &[
                    condition("Active", "False", "Expired", "it ended"),
                    condition("Ready", "True", "Expired", ""),
                ],
                &json!({"status": {"expirationTime": "2024-01-14T10:25:02Z", "routes": ended["status"]["routes"]}}),
            ),
            "Expired",
            false,
            ("1", "ended"),
            None,
        ),
        row(
            "past its end, and nobody has said so",
            share(
                &[active()],
                &json!({"spec": {"expires": null, "expirationTime": "2024-01-14T10:25:02Z"},
            "status": {"expirationTime": "2024-01-14T10:25:02Z"}}),
            ),
            "Expired",
            false,
            ("1", "ended"),
            None,
        ),
        row(
            "revoked",
            share(
                &[
                    condition("Active", "False", "Revoked", "it was revoked"),
                    condition("Ready", "True", "Revoked", ""),
                ],
                &ended,
            ),
            "Revoked",
            false,
            ("1", "ended"),
            None,
        ),
        row(
            "revoked, and the hub not told",
            share(
                &[
                    condition("Active", "False", "Revoked", "it was revoked"),
                    condition("Ready", "False", "HubUnreachable", "the hub could not be told"),
                ],
                &ended,
            ),
            "Revoked",
            false,
            ("1", "ended"),
            Some("HubUnreachable: the hub could not be told"),
        ),
        row(
            "join limit",
            share(&[condition("Active", "False", "JoinLimitReached", "used 2 times")], &none),
            "JoinLimitReached",
            false,
            live,
            Some("used 2 times"),
        ),
        row(
            "fresh without status",
            share(&[], &json!({"status": null})),
            "Pending",
            false,
            ("0/0", "23h"),
            Some("no operator has looked at the share yet"),
        ),
        row(
            "fresh by the schema's default",
            share(&[], &json!({"status": {"observedGeneration": -1, "routes": [], "expirationTime": null}})),
            "Pending",
            false,
            ("0/0", "23h"),
            Some("no operator has looked at the share yet"),
        ),
        row(
            "status of an older spec",
            share(&[active()], &json!({"metadata": {"generation": 3}})),
            "Pending",
            false,
            live,
            Some("the operator has not acted on its latest change yet"),
        ),
        row(
            "revoked, and not seen yet",
            share(&[active()], &json!({"metadata": {"generation": 3}, "spec": {"revoked": true}})),
            "Revoking",
            false,
            live,
            Some("the operator has not acted on its latest change yet"),
        ),
        row(
            "deleting",
            share(&[active()], &json!({"metadata": {"deletionTimestamp": NOW}})),
            "Deleting",
            false,
            live,
            Some("the operator has not let go of it yet"),
        ),
    ]
}

/// Every form, by its name.
fn forms(view: &ShareView) -> Vec<(&'static str, String)> {
    let columns = |wide| Columns { namespace: true, wide };
    let one = std::slice::from_ref(view);
    let printed = |format| single(view, format, now()).expect("printed");
    vec![
        ("table", table::table(one, columns(false), now())),
        ("wide", table::table(one, columns(true), now())),
        ("status", details::details(view, now())),
        ("list", page::list(one, true, now())),
        ("box", page::joinable(view, now(), true)),
        ("pipe", page::created(view, now(), false)),
        ("md", printed(Format::Markdown { show_code: false })),
        ("md with code", printed(Format::Markdown { show_code: true })),
        ("json", printed(Format::Json)),
        ("yaml", printed(Format::Yaml)),
        ("name", printed(Format::Name)),
    ]
}

#[test]
fn no_view_says_more_than_is_true() {
    for Row { what, share, state, joinable, cells, says } in rows() {
        let view = ShareView::new(&share, &granted(CODE, " --hub https://h"), now());
        assert_eq!((view.state.as_str(), view.joinable), (state, joinable), "{what}");
        assert_eq!(
            view.joinable,
            view.waits_for.is_none() && !view.is_over,
            "{what}: it says what it waits for"
        );
        for (form, text) in forms(&view) {
            let of_code = !["table", "name", "md"].contains(&form);
            assert_eq!(text.contains(CODE), joinable && of_code, "{what} as {form} shows the code:\n{text}");
            let of_command = !["table", "wide", "list", "name"].contains(&form);
            assert_eq!(
                text.contains("kubectl connect join"),
                joinable && of_command,
                "{what} as {form}:\n{text}"
            );
            if !joinable && !["name"].contains(&form) {
                assert!(text.contains(state), "{what} as {form} does not say {state}:\n{text}");
            }
            let for_all = ["wide", "status", "list", "box", "json"].contains(&form);
            if let Some(says) = says.filter(|_| for_all) {
                // Two of them have the reason elsewhere.
                let (reason, message) =
                    says.split_once(": ").filter(|_| !says.contains("://")).unwrap_or(("", says));
                assert!(
                    text.contains(reason) && text.contains(message),
                    "{what} as {form} lacks {says}:\n{text}"
                );
            }
            if view.is_over {
                assert!(
                    !text.contains("NotReady") && !text.contains("Expires in"),
                    "{what} as {form}:\n{text}"
                );
            }
        }
        let cells_said =
            table::table(std::slice::from_ref(&view), Columns { namespace: false, wide: false }, now());
        let line: Vec<&str> = cells_said.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        assert_eq!((line[2], line[4]), cells, "{what}: {cells_said}");
    }
}

#[test]
fn an_end_has_its_time_in_every_view_that_has_times() {
    let ended_at = "2024-01-14T10:20:02Z".parse().expect("a time");
    for Row { share, .. } in rows().into_iter().filter(|row| row.what == "revoked") {
        let view = ShareView::new(&share, &granted(CODE, ""), now());
        assert_eq!(view.end_time, Some(ended_at));
        for (form, text) in
            forms(&view).into_iter().filter(|(form, _)| ["status", "box", "md"].contains(form))
        {
            assert!(text.contains(&output::date_utc(ended_at)), "{form}: {text}");
        }
    }
}

#[test]
fn a_share_that_was_not_joinable_ended_when_it_was_revoked() {
    let fields = json!([
        {"manager": "a", "operation": "Update", "time": "2024-01-14T10:05:02Z", "fieldsV1": {"f:spec": {"f:expires": {}}}},
        {"manager": "b", "operation": "Update", "time": "2024-01-14T10:28:02Z", "fieldsV1": {"f:spec": {"f:revoked": {}}}}]);
    let ended = share(
        &[
            condition("Active", "False", "Revoked", "it was revoked"),
            condition("Ready", "True", "Revoked", ""),
        ],
        &json!({"metadata": {"managedFields": fields}, "spec": {"revoked": true}}),
    );
    let view = ShareView::new(&ended, &Access::Absent, now());
    assert_eq!(view.end_time.map(|end| end.to_string()).as_deref(), Some("2024-01-14T10:28:02Z"));
}

#[test]
fn a_code_that_may_not_be_read_or_is_not_there_is_no_other_state() {
    for access in [Access::Forbidden, Access::Absent] {
        for Row { what, share, state, .. } in
            rows().into_iter().filter(|row| row.what != "new code not written yet")
        {
            let view = ShareView::new(&share, &access, now());
            assert_eq!(view.state.as_str(), state, "{what}");
            assert!(forms(&view).iter().all(|(_, text)| !text.contains(CODE)), "{what}");
        }
    }
}
