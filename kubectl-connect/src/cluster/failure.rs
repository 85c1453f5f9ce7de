//! What the API server says, as one sentence that says what to do.

use std::time::Duration;

use connect_hub::dial::DialError;
use kube::core::Status;

use super::login;
use crate::failure::{Failure, advice, chain, root};
use crate::settings::duration;

/// Reason kube gives an error whose body was not from an API server; its message is then that body.
const FOREIGN_BODY: &str = "Failed to parse error data";

/// What was asked of the cluster, for sentences about it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `get`, `list`, `watch`, `create`, `patch` or `delete`.
    pub verb: &'static str,
    /// What it was about.
    pub kind: Kind,
    /// The object, where one was named.
    pub name: Option<&'a str>,
    /// Where; `None` for all namespaces.
    pub namespace: Option<&'a str>,
}

/// The kinds this plugin deals with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A share.
    EnvironmentShare,
    /// A route.
    ServiceExpose,
    /// A Service of the cluster.
    Service,
    /// A share's code, or a hub.
    Secret,
    /// Where objects live.
    Namespace,
    /// Where a hub runs.
    Pod,
    /// The way to it.
    PortForward,
    /// What the operator holds.
    Lease,
    /// What happened to an object.
    Event,
    /// A question about permissions.
    AccessReview,
    /// The version of the API server.
    Version,
}

// === impl Kind ===

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::EnvironmentShare => "EnvironmentShare",
            Kind::ServiceExpose => "ServiceExpose",
            Kind::Service => "Service",
            Kind::Secret => "Secret",
            Kind::Namespace => "Namespace",
            Kind::Pod => "Pod",
            Kind::PortForward => "the port-forward to Pod",
            Kind::Lease => "Lease",
            Kind::Event => "Event",
            Kind::AccessReview => "SelfSubjectAccessReview",
            Kind::Version => "the version",
        }
    }

    fn resource(self) -> &'static str {
        match self {
            Kind::EnvironmentShare => "environmentshares.connect.privateconnect.co",
            Kind::ServiceExpose => "serviceexposes.connect.privateconnect.co",
            Kind::Service => "services",
            Kind::Secret => "secrets",
            Kind::Namespace => "namespaces",
            Kind::Pod => "pods",
            Kind::PortForward => "pods/portforward",
            Kind::Lease => "leases.coordination.k8s.io",
            Kind::Event => "events.events.k8s.io",
            Kind::AccessReview => "selfsubjectaccessreviews.authorization.k8s.io",
            Kind::Version => "/version",
        }
    }

    fn is_ours(self) -> bool {
        matches!(self, Kind::EnvironmentShare | Kind::ServiceExpose)
    }
}

// === impl Call ===

impl Call<'_> {
    fn place(&self) -> String {
        match self.namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in all namespaces".to_owned(),
        }
    }

    fn object(&self) -> String {
        match self.name {
            Some(name) => format!("{} {name}", self.kind.name()),
            None => format!("{}s", self.kind.name()),
        }
    }
}

/// Whether an error says that the object, and not its kind or namespace, does not exist.
pub fn is_missing_object(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code == 404 && named(status).is_some_and(|kind| kind != "namespaces")
        }
        _ => false,
    }
}

/// Whether an error says that the user lacks a permission.
pub fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// Why no client could be made.
pub fn of_client(error: &kube::Error, url: &str) -> Failure {
    match login::cause(error) {
        Some(cause) => login::failure(cause),
        None => Failure::new(format!("Cannot use the kubeconfig for {url}: {}", root(error))),
    }
}

/// Why a call failed.
pub fn of_call(error: &kube::Error, call: &Call<'_>, url: &str) -> Failure {
    if let Some(cause) = login::cause(error) {
        return login::failure(cause).refusal();
    }
    match error {
        kube::Error::Api(status) if (400..500).contains(&status.code) => of_status(status, call).refusal(),
        kube::Error::Api(status) => of_status(status, call),
        kube::Error::SerdeError(_) => Failure::fault(format!(
            "The cluster's answer about {} cannot be read: {}",
            call.object(),
            chain(error)
        ))
        .hint("The CustomResourceDefinitions may be older or newer than this plugin."),
        error => {
            let failure = match DialError::obstacle(error) {
                Some(obstacle) => {
                    Failure::new(format!("Cannot reach the cluster at {url}: {}", obstacle.what()))
                        .hint(advice(obstacle))
                }
                None => Failure::new(format!("Cannot reach the cluster at {url}: {}", root(error)))
                    .hint("Check the cluster and the context with: kubectl cluster-info"),
            };
            if is_unsent(error) { failure.refusal() } else { failure }
        }
    }
}

/// Whether there never was a connection to send a request over, so that certainly nothing was done.
fn is_unsent(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(client) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return client.is_connect();
        }
        cause = error.source();
    }
    false
}

/// Why a call was given up.
pub fn timed_out(call: &Call<'_>, url: &str, after: Duration) -> Failure {
    let Call { verb, .. } = call;
    let after = duration::print(after);
    Failure::new(format!("The cluster at {url} did not answer within {after} ({verb} {})", call.object()))
        .hint("Check the cluster, or wait longer with --request-timeout.")
}

fn of_status(status: &Status, call: &Call<'_>) -> Failure {
    let words = words(status);
    let Call { verb, kind, .. } = call;
    match status.code {
        401 => Failure::new(
            "The cluster does not accept your credentials: log in again, or choose another --context",
        ),
        403 if words.contains(" cannot ") => {
            Failure::new(format!("You do not have permission to {verb} {} {}", kind.resource(), call.place()))
                .hint(format!("Ask for the verb {verb} on {}.", kind.resource()))
                .forbidden()
        }
        404 => not_found(status, call),
        409 => Failure::new(format!("{} was changed or is managed by somebody else: {words}", call.object())),
        400 | 403 | 422 => Failure::new(format!("The cluster refuses {}: {words}", call.object())),
        429 => Failure::new("The cluster is busy and asks to come back later: try again in a minute"),
        code => Failure::fault(format!(
            "The cluster failed with status {code} ({verb} {}): {words}",
            call.object()
        )),
    }
}

fn not_found(status: &Status, call: &Call<'_>) -> Failure {
    let namespace = call.namespace.unwrap_or("default");
    match named(status) {
        Some("namespaces") => Failure::new(format!("Namespace {namespace} does not exist"))
            .hint("See them with: kubectl get namespaces"),
        None if call.kind.is_ours() => crds_missing(call.kind),
        _ => Failure::new(format!("{} does not exist {}", call.object(), call.place())),
    }
}

/// The cluster does not know our kinds.
fn crds_missing(kind: Kind) -> Failure {
    Failure::new(format!(
        "The cluster does not know {}: its CustomResourceDefinitions are not installed",
        kind.name()
    ))
    .hint("Install them with the chart private-connect-crds, or: kubectl apply -f crds/")
}

/// The kind of the object that a status speaks of by name.
fn named(status: &Status) -> Option<&str> {
    let details = status.details.as_ref()?;
    (!details.name.is_empty()).then_some(details.kind.as_str())
}

/// The server's reasons in one line: the causes where it lists them, else its message; never a foreign body.
fn words(status: &Status) -> String {
    if status.reason == FOREIGN_BODY {
        return "the answer is not from a Kubernetes API server".to_owned();
    }
    let causes: Vec<&str> = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        .map(|cause| cause.message.strip_prefix("Invalid value: ").unwrap_or(&cause.message))
        .filter(|message| !message.is_empty())
        .collect();
    if causes.is_empty() { status.message.clone() } else { causes.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARES: Call<'_> =
        Call { verb: "create", kind: Kind::EnvironmentShare, name: None, namespace: Some("staging") };

    fn status(json: serde_json::Value) -> kube::Error {
        kube::Error::Api(Box::new(serde_json::from_value(json).expect("a status")))
    }

    fn said(json: serde_json::Value, call: &Call<'_>) -> (String, u8) {
        let failure = of_call(&status(json), call, "https://cluster");
        (failure.render(), failure.exit().code())
    }

    #[test]
    fn each_answer_has_its_sentence() {
        for (json, text, code) in [
            (
                serde_json::json!({"code": 401, "reason": "Unauthorized", "message": "Unauthorized"}),
                "[x] The cluster does not accept your credentials: log in again, or choose another --context\n",
                1,
            ),
            (
                serde_json::json!({"code": 403, "reason": "Forbidden", "message": "environmentshares.connect.privateconnect.co is forbidden: User \"mia\" cannot create resource"}),
                "[x] You do not have permission to create environmentshares.connect.privateconnect.co in namespace staging\n\
                 Ask for the verb create on environmentshares.connect.privateconnect.co.\n",
                1,
            ),
            (
                serde_json::json!({"code": 403, "reason": "Forbidden", "message": "unable to create new content in namespace staging because it is being terminated"}),
                "[x] The cluster refuses EnvironmentShares: unable to create new content in namespace staging because it is being terminated\n",
                1,
            ),
            (
                serde_json::json!({"code": 404, "reason": "NotFound", "details": {"name": "staging", "kind": "namespaces"}}),
                "[x] Namespace staging does not exist\nSee them with: kubectl get namespaces\n",
                1,
            ),
            (
                serde_json::json!({"code": 404, "reason": "Failed to parse error data", "message": "404 page not found"}),
                "[x] The cluster does not know EnvironmentShare: its CustomResourceDefinitions are not installed\n\
                 Install them with the chart private-connect-crds, or: kubectl apply -f crds/\n",
                1,
            ),
            (
                serde_json::json!({"code": 422, "reason": "Invalid", "message": "long", "details": {"name": "x", "causes": [{"message": "Invalid value: set either expires or expirationTime, not both"}]}}),
                "[x] The cluster refuses EnvironmentShares: set either expires or expirationTime, not both\n",
                1,
            ),
            (
                serde_json::json!({"code": 429, "reason": "TooManyRequests", "message": "x"}),
                "[x] The cluster is busy and asks to come back later: try again in a minute\n",
                1,
            ),
            (
                serde_json::json!({"code": 502, "reason": "Failed to parse error data", "message": "<html><body>bad gateway"}),
                "[x] The cluster failed with status 502 (create EnvironmentShares): the answer is not from a Kubernetes API server\n",
                2,
            ),
        ] {
            assert_eq!(said(json.clone(), &SHARES), (text.to_owned(), code), "{json}");
        }
    }

    #[test]
    fn an_object_that_is_missing_is_told_from_a_kind_that_is() {
        let object = serde_json::json!({"code": 404, "reason": "NotFound", "details": {"name": "db", "kind": "services"}});
        let get = Call { verb: "get", kind: Kind::Service, name: Some("db"), namespace: Some("staging") };
        assert_eq!(said(object.clone(), &get).0, "[x] Service db does not exist in namespace staging\n");
        assert!(is_missing_object(&status(object)));
        let kind = serde_json::json!({"code": 404, "reason": "NotFound", "details": {}});
        assert!(!is_missing_object(&status(kind)));
    }

    #[test]
    fn a_network_that_fails_is_said_by_its_root() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let failure = of_call(&kube::Error::Service(Box::new(refused)), &SHARES, "https://cluster:6443");
        assert_eq!(
            failure.render(),
            "[x] Cannot reach the cluster at https://cluster:6443: connection refused\n\
             Check the cluster and the context with: kubectl cluster-info\n"
        );
    }

    #[test]
    fn a_deadline_names_what_was_asked() {
        let list = Call { verb: "list", namespace: None, ..SHARES };
        assert_eq!(
            timed_out(&list, "https://cluster", Duration::from_secs(10)).render(),
            "[x] The cluster at https://cluster did not answer within 10s (list EnvironmentShares)\n\
             Check the cluster, or wait longer with --request-timeout.\n"
        );
    }
}
