//! `EnvironmentShare`: routes under one share code, with an end.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::expiry::{Expiry, InvalidExpiry};
use crate::selector::Selector;
use crate::service_expose::HubRef;

/// Suffix of the code Secret's default name.
const CODE_SECRET_SUFFIX: &str = "-share-code";

/// EnvironmentShare puts the ServiceExposes of its namespace under one share code. Whoever has the code reaches them with
/// `kubectl connect join CODE` until the share expires or is revoked; then the code stops working and open connections of
/// the share are cut. In the cluster the code is in a Secret that the share owns, and nowhere else.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "connect.privateconnect.co",
    version = "v1alpha1",
    kind = "EnvironmentShare",
    plural = "environmentshares",
    singular = "environmentshare",
    shortname = "envshare",
    category = "connect",
    namespaced,
    status = "EnvironmentShareStatus",
    doc = "EnvironmentShare puts the ServiceExposes of its namespace under one share code. Whoever has the code reaches them with `kubectl connect join CODE` until the share expires or is revoked; then the code stops working and open connections of the share are cut. In the cluster the code is in a Secret that the share owns, and nowhere else.",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Active\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Active\")].reason"
    ),
    printcolumn(name = "Routes", type_ = "string", json_path = ".status.readyRoutes"),
    printcolumn(name = "Joins", type_ = "integer", json_path = ".status.joins.count"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Code Changes", type_ = "string", json_path = ".status.codeChangeTime", priority = 1),
    printcolumn(name = "Hub", type_ = "string", json_path = ".spec.hubRef.name", priority = 1),
    printcolumn(name = "Encryption", type_ = "string", json_path = ".status.encryption", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.codeSecretName", priority = 1)
)]
#[x_kube(validation = Rule::new("!(has(self.expires) && has(self.expirationTime))").message("set either expires or expirationTime, not both"))]
#[x_kube(validation = Rule::new("!has(self.expires) || self.expires.matches('^[0-9]+(h|d)$')").message("Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."))]
#[x_kube(validation = Rule::new("!has(self.expires) || !self.expires.matches('^0+[hd]$')").message("expires must be at least 1h"))]
#[x_kube(validation = Rule::new("!has(self.expires) || !self.expires.matches('^[0-9]{6,}[hd]$')").message("expires must be at most 99999d: at most five digits, then h or d"))]
#[x_kube(validation = Rule::new("!has(oldSelf.revoked) || !oldSelf.revoked || (has(self.revoked) && self.revoked)").message("revoked is one-way: a revoked share cannot be opened again; create a new EnvironmentShare"))]
#[x_kube(validation = Rule::new("has(self.codeSecretName) == has(oldSelf.codeSecretName) && (!has(self.codeSecretName) || self.codeSecretName == oldSelf.codeSecretName)").message("codeSecretName is immutable"))]
// Server-side apply may leave nothing of a spec whose every field has its default; without this it would be null, and refused.
#[schemars(extend("default" = {}))]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentShareSpec {
    /// A friendly name for people, at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), extend("x-kubernetes-validations" = [{"rule": "size(self) <= 100", "message": "displayName must have at most 100 characters"}]))]
    pub display_name: Option<String>,

    /// Which ServiceExposes of this namespace are shared. Default: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<RouteSelection>,

    /// How long the share lives, counted from its creation: a whole number of hours or days such as 4h or 7d. Default: 24h.
    /// Not together with expirationTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub expires: Option<String>,

    /// When the share ends, as a date and time with zone. The form for Git, where counting from creation would open the
    /// share again after every re-creation. Not together with expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,

    /// Ends the share now: the code is refused and open connections are cut. Cannot be taken back.
    #[serde(default)]
    pub revoked: bool,

    /// The code is refused after this many joins. Teammates who have joined stay until the share ends. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_joins: Option<i32>,

    /// Delete this object so many seconds after the share has ended. Ignored, with a message, when a GitOps tool tracks the
    /// object, because the tool would create it again. Default: the object stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i32>,

    /// Name of the Secret that receives the code. Default: the name of this object followed by -share-code. Cannot be
    /// changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), extend("x-kubernetes-validations" = [{"rule": "size(self) <= 253 && self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "message": "codeSecretName must be the name of a Secret: 1 to 253 lower-case letters, digits, '-' and '.', with a letter or digit at both ends"}]))]
    pub code_secret_name: Option<String>,

    /// What is asked of whoever connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,

    /// A Secret of this namespace with the keys url and apiKey of the hub to use. Default: the operator's hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_ref: Option<HubRef>,
}

/// Which ServiceExposes of the namespace are shared: by name or by label.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!(has(self.names) && has(self.selector))").message("set either routes.names or routes.selector, not both"))]
#[serde(rename_all = "camelCase")]
pub struct RouteSelection {
    /// Names of ServiceExposes of this namespace, 1 to 100. Not together with selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100), inner(length(max = 253)), extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [{"rule": "self.all(name, size(name) >= 1 && size(name) <= 63)", "message": "the name of a ServiceExpose has 1 to 63 characters"}]))]
    pub names: Option<Vec<String>>,

    /// ServiceExposes of this namespace with these labels. Not together with names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,

    /// Snapshot: the routes are those of the moment the share became joinable. Live: routes come and go with the
    /// ServiceExposes.
    #[serde(default)]
    pub membership: Membership,

    /// Open the share even while nothing is selected, so that it shares no route. Default: a share with membership Snapshot waits,
    /// with the reason NoRoutes, until something is selected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_empty: bool,
}

/// What is asked of whoever connects. Verified: to know the part of the code that no hub is told, so that a hub can neither read
/// along nor let in anybody; who has only the code as the hub knows it is refused. Preferred: who has the whole code is
/// verified, and who has only what the hub knows is let in, so that other programs than kubectl connect can join. Holds for
/// connections from then on. Default: Verified at hubs of this project; at others, which may not pass on what it needs, the code has no
/// such part and nobody is verified.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encryption {
    /// To know the part of the code that no hub is told.
    Verified,
    /// That, or nothing but the code as the hub knows it.
    Preferred,
}

/// What holds for whoever connects: Verified, Preferred, or Unverified where the code has no part that no hub is told.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HeldEncryption {
    /// The part of the code that no hub is told must be known.
    Verified,
    /// Who has the whole code is verified; who has only what the hub knows is let in.
    Preferred,
    /// The code has no part that no hub is told: the share was made before there were any, or its hub may not pass on what it needs.
    Unverified,
}

/// Whether a share's routes follow the ServiceExposes after it has become joinable.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Membership {
    /// The routes are fixed when the share becomes joinable.
    #[default]
    Snapshot,
    /// Routes come and go with the ServiceExposes.
    Live,
}

/// What the operator found and did.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[schemars(extend("default" = crate::unseen_status()))]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentShareStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the share ends, or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
    /// When the share gets another code before it ends, because the hub cannot keep this one longer. From then on teammates
    /// need the new one, which is in the same Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_change_time: Option<Time>,
    /// The shared routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub routes: Vec<RouteStatus>,
    /// Ready routes of all routes, such as 3/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_routes: Option<String>,
    /// How often, when and by whom the code was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joins: Option<Joins>,
    /// What holds for whoever connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<HeldEncryption>,
    /// Name of the Secret that holds the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_secret_name: Option<String>,
    /// What the share says about itself: Accepted, ResolvedRefs, Active, Ready, SecretMismatch while connections do not know
    /// the code's secret, and Stalled while a human is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One shared route.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// The route's name as teammates see it.
    pub name: String,
    /// What is spoken on it, as the ServiceExpose says.
    pub protocol: String,
    /// The port suggested for the teammate's machine.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Whether connections are taken to the Service now.
    pub ready: bool,
}

/// How often, when and by whom the code was used, as far as the hub tells.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Joins {
    /// How many times the code was used.
    pub count: i64,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_time: Option<Time>,
    /// How many teammates are connected now; only from hubs that tell, and only while the share lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<i32>,
    /// How many teammates the last revocation or rotation has cut off; only from hubs that tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<i32>,
    /// The newest joins, newest first, at most 20; only from hubs that tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub recent: Vec<JoinRecord>,
}

/// One use of the code.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinRecord {
    /// What the teammate's machine calls itself.
    pub agent: String,
    /// When it joined.
    pub time: Time,
    /// Whether it is connected now; said at its newest join.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connected: bool,
}

impl EnvironmentShare {
    /// Name of the Secret that holds the code.
    pub fn code_secret_name(&self) -> String {
        match &self.spec.code_secret_name {
            Some(name) => name.clone(),
            None => format!("{}{CODE_SECRET_SUFFIX}", self.name_any()),
        }
    }

    /// When the share ends: `expirationTime`, or `expires` (default 24 h) after the object's creation.
    ///
    /// # Errors
    /// `expires` is not a duration; admission refuses that, an object older than the rule may still have it.
    pub fn ends_at(&self, now: Timestamp) -> Result<Timestamp, InvalidExpiry> {
        if let Some(Time(end)) = &self.spec.expiration_time {
            return Ok(*end);
        }
        let expiry = match &self.spec.expires {
            Some(text) => text.parse()?,
            None => Expiry::default(),
        };
        let created = self.creation_timestamp().map_or(now, |Time(created)| created);
        Ok(expiry.after(created))
    }

    /// Whether the share may be opened while nothing is selected: it was asked for, or routes can come later.
    pub fn may_be_empty(&self) -> bool {
        self.membership() == Membership::Live
            || self.spec.routes.as_ref().is_some_and(|routes| routes.allow_empty)
    }

    /// Whether routes follow the ServiceExposes after the share has become joinable.
    pub fn membership(&self) -> Membership {
        self.spec.routes.as_ref().map(|routes| routes.membership).unwrap_or_default()
    }

    /// Whether a ServiceExpose with this name and these labels is selected.
    pub fn selects(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        match &self.spec.routes {
            None => true,
            Some(RouteSelection { names: Some(names), .. }) => names.iter().any(|wanted| wanted == name),
            Some(RouteSelection { selector: Some(selector), .. }) => selector.matches(labels),
            Some(RouteSelection { names: None, selector: None, .. }) => true,
        }
    }
}
