//! What is known of a share, gathered once; every form of output is printed from it.
//!
//! | form | where |
//! |---|---|
//! | the page of a new share, the page's list | [`page`] |
//! | everything about one share | [`details`] |
//! | tables as kubectl's | [`table`] |
//! | Markdown for pull requests | [`markdown`] |
//! | JSON, YAML, names | [`document`] |
//!
//! In which state a share is, and whether its code may be shown, is judged once for all of them: [`standing`].

pub mod details;
pub mod document;
pub mod markdown;
pub mod page;
pub mod standing;
#[cfg(test)]
mod states;
pub mod table;
pub mod verdict;

use connect_crds::condition::reason;
use connect_crds::{EnvironmentShare, HeldEncryption};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use secrecy::ExposeSecret;
use serde::Serialize;

use self::verdict::Blocking;
use crate::cluster::codes::Access;
use crate::failure::Outcome;
use crate::output;
use crate::sanitize::Clean;
use crate::settings::format::Format;
use standing::Standing;
use table::Columns;

/// One share, as this plugin shows it. Its JSON is a promise: fields are added, not renamed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShareView {
    /// Name of the object.
    pub name: Clean,
    /// Its namespace.
    pub namespace: Clean,
    /// Friendly name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Clean>,
    /// One word: `Joinable`, `Pending`, `Stalled`, `Expired`, `Revoked`, ...
    pub state: Clean,
    /// Whether teammates can join now.
    pub joinable: bool,
    /// What stands in the way of being joinable, while the share is not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Obstacle>,
    /// What its owner should know although it is joinable or over, such as that the snapshot is outdated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Obstacle>,
    /// The whole code, while it can be joined with, for users who may read its Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Shown>,
    /// The word that joins wherever its hub is: the code, with the hub before it where that is not the default.
    #[serde(skip)]
    pub token: Option<Shown>,
    /// The code as its hub knows it, for other programs that join, where they are let in though nobody verifies them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unverified_code: Option<Shown>,
    /// What is asked of whoever connects: `Verified`, `Preferred` or `Unverified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<HeldEncryption>,
    /// What a teammate types, while it works, for users who may read the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_command: Option<Shown>,
    /// When the object was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<Timestamp>,
    /// When the share ends by itself, or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Timestamp>,
    /// When the share gets another code before it ends, while it can be joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_change_time: Option<Timestamp>,
    /// When it ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// Whether it has ended for good.
    #[serde(skip)]
    pub is_over: bool,
    /// Shared routes.
    pub routes: Vec<RouteView>,
    /// How often the code was used, when and by whom.
    pub joins: JoinsView,
}

/// What stands in the way.
#[derive(Debug, Serialize)]
pub struct Obstacle {
    /// Type of the condition.
    pub condition: Clean,
    /// True, False or Unknown.
    pub status: Clean,
    /// Its reason.
    pub reason: Clean,
    /// Its message.
    pub message: Clean,
    /// What to do.
    pub hint: &'static str,
}

/// A code on its way to the screen of its owner; no `Debug` of anything shows it.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Shown(Clean);

/// One route.
#[derive(Debug, Serialize)]
pub struct RouteView {
    /// What teammates see.
    pub name: Clean,
    /// What is spoken.
    pub protocol: Clean,
    /// The port suggested for the teammate's machine.
    pub port: i32,
    /// Whether connections are taken to the Service now.
    pub ready: bool,
}

/// Uses of the code.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinsView {
    /// How many.
    pub count: i64,
    /// The last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Timestamp>,
    /// How many teammates are connected now, where the hub tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected: Option<i32>,
    /// The newest, newest first, as far as the hub tells.
    pub recent: Vec<JoinView>,
}

/// One use of the code.
#[derive(Debug, Serialize)]
pub struct JoinView {
    /// What the teammate's machine calls itself.
    pub agent: Clean,
    /// When.
    pub time: Timestamp,
    /// Whether it is connected now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub connected: bool,
}

/// One share in one of the forms that are not for people only.
///
/// # Errors
/// The form cannot be written.
pub fn single(share: &ShareView, format: Format, now: Timestamp) -> Outcome<String> {
    let columns = Columns { namespace: false, wide: true };
    match format {
        Format::Json => document::json(share),
        Format::Yaml => document::yaml(share),
        other => several(std::slice::from_ref(share), other, columns, now),
    }
}

/// Several shares in one of the forms that are not for people only.
///
/// # Errors
/// The form cannot be written.
pub fn several(shares: &[ShareView], format: Format, columns: Columns, now: Timestamp) -> Outcome<String> {
    match format {
        Format::Json => document::json(&document::Shares { shares }),
        Format::Yaml => document::yaml(&document::Shares { shares }),
        Format::Name => Ok(document::names(shares)),
        Format::Markdown { show_code } => {
            let texts: Vec<String> =
                shares.iter().map(|share| markdown::markdown(share, show_code, now)).collect();
            Ok(texts.join("\n"))
        }
        Format::Human | Format::Wide => Ok(table::table(shares, columns, now)),
    }
}

// === impl ShareView ===

impl ShareView {
    /// Gathers what is shown of `share`.
    pub fn new(share: &EnvironmentShare, access: &Access, now: Timestamp) -> Self {
        let status = share.status.clone().unwrap_or_default();
        let Standing { state, is_joinable, is_over, expires_at, ended_at, obstacle, notes } =
            Standing::of(share, access, now);
        let change = status.code_change_time.map(|Time(time)| time);
        let code = match access {
            Access::Granted(code) if is_joinable => Some(code),
            _ => None,
        };
        Self {
            name: Clean::new(&share.name_any()),
            namespace: Clean::new(&share.namespace().unwrap_or_default()),
            display_name: share.spec.display_name.as_ref().filter(|name| !name.is_empty()).map(Clean::from),
            state: Clean::new(&state),
            joinable: is_joinable,
            waits_for: obstacle.map(Obstacle::from),
            notes: notes.into_iter().map(Obstacle::from).collect(),
            code: code.map(|code| Shown(Clean::new(code.full().expose_secret()))),
            token: code.map(|code| Shown(Clean::new(code.token().expose_secret()))),
            unverified_code: code
                .filter(|code| code.secret.is_some() && status.encryption == Some(HeldEncryption::Preferred))
                .map(|code| Shown(Clean::new(code.code.expose_secret()))),
            encryption: status.encryption,
            join_command: code.map(|code| Shown(Clean::new(code.join_command.expose_secret()))),
            creation_time: share.creation_timestamp().map(|Time(time)| time),
            expiration_time: expires_at,
            code_change_time: change.filter(|change| is_joinable && *change > now),
            end_time: ended_at,
            is_over,
            routes: status.routes.iter().map(RouteView::from).collect(),
            joins: status.joins.map(JoinsView::from).unwrap_or_default(),
        }
    }

    /// Whether the hub does not answer the operator, and which hub.
    pub fn hub_down(&self) -> Option<&str> {
        let obstacle = self.waits_for.as_ref().filter(|it| it.reason.as_str() == reason::HUB_UNREACHABLE)?;
        verdict::hub_in(obstacle.message.as_str()).or(Some(verdict::OPERATORS_HUB))
    }

    /// One line that says why it is as it is, where its state does not say it all.
    pub fn remark(&self) -> Option<String> {
        let obstacle = self.waits_for.as_ref().or_else(|| self.notes.first())?;
        Some(obstacle.to_string())
    }

    /// On which day teammates need another code, for the person who reads it.
    pub fn code_change(&self) -> Option<String> {
        let change = self.code_change_time?;
        Some(format!("The code changes on {}, because the hub cannot keep it longer.", output::date(change)))
    }

    /// What is asked of whoever connects, in one word.
    pub fn encryption_word(&self) -> Option<&'static str> {
        self.encryption.map(|encryption| match encryption {
            HeldEncryption::Verified => "Verified",
            HeldEncryption::Preferred => "Preferred",
            HeldEncryption::Unverified => "Unverified",
        })
    }

    /// `2/3`: how many routes work; of a share that is over only how many it had.
    pub fn ready_routes(&self) -> String {
        if self.is_over {
            return self.routes.len().to_string();
        }
        let ready = self.routes.iter().filter(|route| route.ready).count();
        format!("{ready}/{}", self.routes.len())
    }
}

// === impl Obstacle ===

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

// === impl Shown ===

impl Shown {
    /// The text, for a screen.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(..)")
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

// === parts ===

impl From<Blocking> for Obstacle {
    fn from(blocking: Blocking) -> Self {
        let hint = blocking.advice();
        let Blocking { condition, status, reason, message } = blocking;
        let clean = |text: String| Clean::new(&text);
        Self {
            condition: clean(condition),
            status: clean(status),
            reason: clean(reason),
            message: clean(message),
            hint,
        }
    }
}

impl From<&connect_crds::RouteStatus> for RouteView {
    fn from(route: &connect_crds::RouteStatus) -> Self {
        let connect_crds::RouteStatus { name, protocol, port, ready } = route;
        Self { name: Clean::from(name), protocol: Clean::from(protocol), port: *port, ready: *ready }
    }
}

impl From<connect_crds::Joins> for JoinsView {
    fn from(joins: connect_crds::Joins) -> Self {
        let connect_crds::Joins { count, last_time, connected, cut_off: _, recent } = joins;
        let recent = recent.iter().map(|join| JoinView {
            agent: Clean::from(&join.agent),
            time: join.time.0,
            connected: join.connected,
        });
        Self { count, last_time: last_time.map(|Time(time)| time), connected, recent: recent.collect() }
    }
}

#[cfg(test)]
pub mod test_support {
    //! Shares as tests want them.

    use super::*;
    use crate::cluster::codes::Code;

    /// The instant at which tests look at shares.
    pub const NOW: &str = "2024-01-14T10:30:02Z";

    /// [`NOW`], parsed.
    pub fn now() -> Timestamp {
        NOW.parse().expect("a time")
    }

    /// A code that may be seen, and the words behind it in the join command.
    pub fn granted(code: &str, hub: &str) -> Access {
        Access::Granted(Code {
            code: code.into(),
            secret: None,
            join_command: format!("kubectl connect join {code}{hub}").into(),
            rotation: None,
        })
    }

    /// A joinable share in namespace `staging`.
    pub fn share(name: Option<&str>, routes: &[(&str, i32)], joins: i64, end: &str) -> EnvironmentShare {
        let routes: Vec<_> = routes
            .iter()
            .map(|(name, port)| serde_json::json!({"name": name, "protocol": "TCP", "port": port, "ready": true}))
            .collect();
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "share-x7k2p", "namespace": "staging", "creationTimestamp": "2024-01-14T10:00:00Z"},
            "spec": {"displayName": name},
            "status": {"expirationTime": end, "routes": routes, "joins": {"count": joins}, "conditions": [
                {"type": "Active", "status": "True", "reason": "Joinable", "message": "", "lastTransitionTime": NOW}]}
        }))
        .expect("a share")
    }
}
