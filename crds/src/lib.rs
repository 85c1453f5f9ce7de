//! The custom resources of `connect.privateconnect.co`: what users write and read.
//!
//! Nothing here talks to a cluster or a hub, so every other crate may depend on it.
//! The YAML beside this crate (`crds/*.yaml`) is generated from these types by `make generate`.

#![allow(clippy::duplicated_attributes, reason = "each printer column names its arguments alike")]

pub mod condition;
pub mod definition;
pub mod environment_share;
pub mod expiry;
pub mod gitops;
pub mod labelled;
pub mod port;
pub mod selector;
pub mod service_expose;
pub mod service_port;
pub mod share_marker;

pub use environment_share::{
    Encryption, EnvironmentShare, EnvironmentShareSpec, EnvironmentShareStatus, HeldEncryption, JoinRecord,
    Joins, Membership, RouteSelection, RouteStatus,
};
pub use expiry::{Expiry, InvalidExpiry};
pub use port::{LocalPort, PortRef};
pub use selector::{Requirement, Selector};
pub use service_expose::{
    HubRef, Protocol, Reach, ServiceExpose, ServiceExposeSpec, ServiceExposeStatus, ServiceRef,
};
pub use share_marker::{Maker, ShareMarker, Signature};

/// API group of both kinds, and prefix of every label, annotation and Secret type of this product.
pub const GROUP: &str = "connect.privateconnect.co";

/// Version of both kinds.
pub const VERSION: &str = "v1alpha1";

/// Type of the Secret that holds a share's code.
pub const SHARE_CODE_SECRET_TYPE: &str = "connect.privateconnect.co/share-code";

/// Type of the Secret that a `hubRef` names: keys `url` and `apiKey`, and `ca.crt` for a private CA.
pub const HUB_SECRET_TYPE: &str = "connect.privateconnect.co/hub";

/// Finalizer that keeps an object until the hub has been told of its end.
pub const FINALIZER: &str = "connect.privateconnect.co/hub";

/// Name of the Lease that the active operator holds, in its own namespace.
pub const OPERATOR_LEASE: &str = "private-connect-operator";

/// Annotation of that Lease: the version of the operator that took it.
pub const VERSION_ANNOTATION: &str = "connect.privateconnect.co/version";

/// Annotation of that Lease: the namespaces that the operator serves, separated by commas; absent when it serves all.
pub const NAMESPACES_ANNOTATION: &str = "connect.privateconnect.co/namespaces";

/// Annotation of an EnvironmentShare: a text that was not there before asks for a new code. The old one is refused, and
/// whoever joined with it is cut off.
pub const ROTATE_ANNOTATION: &str = "connect.privateconnect.co/rotate";

/// Annotation of a share's code Secret: the text of [`ROTATE_ANNOTATION`] for which its code was made.
pub const ROTATED_ANNOTATION: &str = "connect.privateconnect.co/rotated";

/// Name of the Secret that holds the operator's identity at its hub, in its own namespace; identities at other hubs have a
/// suffix.
pub const IDENTITY_SECRET: &str = "private-connect-identity";

/// Name of the Secret that holds the API key of the operator's embedded hub, in its own namespace.
pub const EMBEDDED_HUB_SECRET: &str = "private-connect-embedded-hub";

/// Keys in a share's code Secret and in a hub Secret.
pub mod secret_key {
    /// The share code as its hub knows it.
    pub const CODE: &str = "code";
    /// What belongs behind it, and no hub is told; absent in shares of hubs that may not pass it on.
    pub const SECRET: &str = "secret";
    /// The command a teammate types.
    pub const JOIN_COMMAND: &str = "joinCommand";
    /// When the share ends, RFC 3339 in UTC.
    pub const EXPIRATION_TIME: &str = "expirationTime";
    /// The hub a teammate connects to.
    pub const HUB_URL: &str = "hubUrl";
    /// Identity Secret: the operator's id at the hub.
    pub const AGENT_ID: &str = "agentId";
    /// Hub Secret: the hub's URL.
    pub const URL: &str = "url";
    /// Hub Secret: an API key of the hub.
    pub const API_KEY: &str = "apiKey";
    /// Hub Secret: PEM certificates of a private CA (optional).
    pub const CA: &str = "ca.crt";
}

/// The generation that a status speaks of while no operator has looked at its object. No object has it, so that every tool that
/// compares generations waits, also one that takes an object without a status for ready.
pub const UNSEEN_GENERATION: i64 = -1;

/// The status of an object that no operator has looked at.
fn unseen_status() -> serde_json::Value {
    serde_json::json!({ "observedGeneration": UNSEEN_GENERATION })
}

/// The YAML of one kind's CustomResourceDefinition, as committed in `crds/`.
///
/// # Errors
/// Fails when the definition cannot be written as JSON, which no released type does.
pub fn manifest<K: kube::CustomResourceExt>() -> Result<serde_json::Value, serde_json::Error> {
    serde_json::to_value(K::crd())
}
