//! `ServiceExpose`: one port of one Service as a named route at a hub.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::port::{LocalPort, PortRef};

/// ServiceExpose makes one port of one Service of its namespace a named route that an EnvironmentShare can share with
/// teammates. By itself it gives nobody access.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "connect.privateconnect.co",
    version = "v1alpha1",
    kind = "ServiceExpose",
    plural = "serviceexposes",
    singular = "serviceexpose",
    shortname = "svcexpose",
    category = "connect",
    namespaced,
    status = "ServiceExposeStatus",
    doc = "ServiceExpose makes one port of one Service of its namespace a named route that an EnvironmentShare can share with teammates. By itself it gives nobody access.",
    derive = "PartialEq",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Route", type_ = "string", json_path = ".status.routeName"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(name = "Hub", type_ = "string", json_path = ".spec.hubRef.name", priority = 1),
    printcolumn(name = "Connections", type_ = "integer", json_path = ".status.connections", priority = 1)
)]
#[kube(validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name must have at most 63 characters, because it is the default name of the route"))]
#[x_kube(validation = Rule::new("has(self.routeName) == has(oldSelf.routeName) && (!has(self.routeName) || self.routeName == oldSelf.routeName)").message("routeName is immutable: teammates and shares know the route by it; create a new ServiceExpose instead"))]
#[x_kube(validation = Rule::new("!has(self.protocol) || self.protocol != 'UDP'").message("UDP cannot be exposed: hubs carry TCP connections only; use TCP, HTTP, HTTPS or Auto"))]
#[x_kube(validation = Rule::new("!has(self.public) || !self.public || !has(self.reach) || self.reach == 'Workspace'").message("public implies reach: Workspace; remove reach: Shared or set public to false"))]
#[serde(rename_all = "camelCase")]
pub struct ServiceExposeSpec {
    /// The Service, in this namespace, and which of its ports.
    pub service_ref: ServiceRef,

    /// What teammates see and type: lower-case letters, digits and hyphens, at most 63. Default: the Service's name.
    /// Cannot be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), extend("x-kubernetes-validations" = [{"rule": "size(self) <= 63 && self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "message": "routeName must have 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends"}]))]
    pub route_name: Option<String>,

    /// The port suggested for the teammate's machine, 1 to 65535. Default: the number of the Service's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_port: Option<LocalPort>,

    /// What is spoken on the port: Auto, TCP, HTTP or HTTPS. It is told to teammates and changes no byte. UDP is refused,
    /// because hubs carry TCP connections only.
    #[serde(default)]
    pub protocol: Protocol,

    /// Who reaches the route: Shared, only through a share that names it; Workspace, also by its name for everybody of the
    /// hub's workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Reach>,

    /// Ask the hub for a public URL. Everybody on the internet may then read from the route; implies reach Workspace.
    #[serde(default)]
    pub public: bool,

    /// A Secret of this namespace with the keys url and apiKey of the hub to use. Default: the operator's hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_ref: Option<HubRef>,
}

/// A Service of the same namespace and one of its ports.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// Name of the Service.
    #[schemars(length(max = 1000), extend("x-kubernetes-validations" = [{"rule": "size(self) >= 1 && size(self) <= 63", "message": "the name of a Service has 1 to 63 characters"}]))]
    pub name: String,
    /// Number or name of one of the Service's ports.
    pub port: PortRef,
}

/// A Secret of the same namespace that says which hub to use.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubRef {
    /// Name of the Secret. Its keys: url, apiKey, and optionally ca.crt with the certificates of a private CA.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// Not known; hubs treat it as TCP.
    #[default]
    Auto,
    /// Plain TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// HTTP.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP over TLS.
    #[serde(rename = "HTTPS")]
    Https,
    /// Refused, with a sentence that says why.
    #[serde(rename = "UDP")]
    Udp,
}

impl JsonSchema for Protocol {
    fn schema_name() -> Cow<'static, str> {
        "Protocol".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // An enumeration would list UDP among what is supported, or leave out the sentence that says why it is not.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 64,
            "x-kubernetes-validations": [{
                "rule": "self in ['Auto', 'TCP', 'HTTP', 'HTTPS', 'UDP']",
                "message": "protocol must be Auto, TCP, HTTP or HTTPS, written like this"
            }]
        })
    }
}

impl Protocol {
    /// The name as hubs write it.
    pub fn as_hub_str(self) -> &'static str {
        match self {
            Protocol::Auto => "auto",
            Protocol::Tcp => "tcp",
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Udp => "udp",
        }
    }
}

/// Who reaches the route. Shared, the default: only teammates who join a share with it. Workspace: also, by its name, everybody
/// of the hub's workspace. With public: true it is always Workspace.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reach {
    /// Only through a share that names the route.
    #[default]
    Shared,
    /// Also by its name, for everybody of the hub's workspace.
    Workspace,
}

/// What the operator found and did.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[schemars(extend("default" = crate::unseen_status()))]
#[serde(rename_all = "camelCase")]
pub struct ServiceExposeStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The route's name as teammates see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_name: Option<String>,
    /// The hub's id of the route; only for reach Workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<String>,
    /// Where connections are taken to, as Service and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The public URL that the hub gave; only when public was asked for.
    #[serde(default, rename = "publicURL", skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Connections open to the route, through all shares; counted every 30 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// What the route says about itself: Accepted, ResolvedRefs, Programmed, Ready, and Stalled while a human is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl ServiceExpose {
    /// The name teammates see: `routeName`, or the Service's name.
    pub fn route_name(&self) -> &str {
        self.spec.route_name.as_deref().unwrap_or(&self.spec.service_ref.name)
    }

    /// Who reaches the route; `public` implies the workspace.
    pub fn reach(&self) -> Reach {
        match self.spec.reach {
            Some(reach) => reach,
            None if self.spec.public => Reach::Workspace,
            None => Reach::Shared,
        }
    }
}
