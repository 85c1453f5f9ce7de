//! Judges a ServiceExpose and what it names. Pure.

use std::sync::Arc;

use connect_crds::condition::{Verdict, kind, reason};
use connect_crds::{Protocol, Reach, ServiceExpose};
use kube::ResourceExt;

use crate::target::{Problem, Target};

/// What is to be done about a ServiceExpose.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Why the spec cannot be acted on: the condition Accepted.
    pub refused: Option<Verdict>,
    /// Where connections go, or why they cannot.
    pub target: Result<Target, Problem>,
    /// Who reaches the route.
    pub reach: Reach,
}

/// Judges spec and target. `all` are the ServiceExposes known, this one among them.
pub fn validate(
    expose: &ServiceExpose,
    target: Result<Target, Problem>,
    all: &[Arc<ServiceExpose>],
) -> Validated {
    let reach = expose.reach();
    let refused = if expose.spec.protocol == Protocol::Udp {
        let message = "UDP cannot be exposed: hubs carry TCP connections only; use TCP, HTTP, HTTPS or Auto";
        Some(Verdict::no(kind::ACCEPTED, reason::TARGET_NOT_ALLOWED, message))
    } else if let Err(
        problem @ (Problem::NotAllowed { .. } | Problem::NotTcp { .. } | Problem::Annotation { .. }),
    ) = &target
    {
        Some(Verdict::no(kind::ACCEPTED, problem.reason(), problem.to_string()))
    } else {
        rival(expose, reach, all).map(|rival| {
            let place = rival.namespace().unwrap_or_default();
            let message = format!("ServiceExpose {} in namespace {place} is older and has the route name {} already; set another routeName", rival.name_any(), expose.route_name());
            Verdict::no(kind::ACCEPTED, reason::ROUTE_NAME_CONFLICT, message)
        })
    };
    Validated { refused, target, reach }
}

/// An older ServiceExpose with the same route name: in the same namespace, or, when both are reached by name through the
/// same hub, anywhere.
fn rival<'a>(
    expose: &ServiceExpose,
    reach: Reach,
    all: &'a [Arc<ServiceExpose>],
) -> Option<&'a Arc<ServiceExpose>> {
    let age = |expose: &ServiceExpose| {
        (expose.creation_timestamp().map(|time| time.0), expose.namespace(), expose.name_any())
    };
    all.iter().find(|other| {
        let same_place = other.namespace() == expose.namespace() && other.spec.hub_ref == expose.spec.hub_ref;
        let both_named = reach == Reach::Workspace
            && other.reach() == Reach::Workspace
            && expose.spec.hub_ref.is_none()
            && other.spec.hub_ref.is_none();
        other.metadata.uid != expose.metadata.uid
            && other.metadata.deletion_timestamp.is_none()
            && other.route_name() == expose.route_name()
            && (same_place || both_named)
            && age(other) < age(expose)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expose(yaml: &str) -> Arc<ServiceExpose> {
        let full = format!("apiVersion: connect.privateconnect.co/v1alpha1\nkind: ServiceExpose\n{yaml}");
        Arc::new(serde_saphyr::from_str(&full).expect("fixture"))
    }

    fn refusal(expose: &ServiceExpose, all: &[Arc<ServiceExpose>]) -> Option<&'static str> {
        let target = Err(Problem::ServiceNotFound("s".to_owned()));
        validate(expose, target, all).refused.map(|verdict| verdict.reason)
    }

    #[test]
    fn the_older_of_two_routes_keeps_the_name() {
        let old = expose(
            "metadata: {name: a, namespace: shop, uid: '1', creationTimestamp: '2026-01-01T00:00:00Z'}\nspec: {serviceRef: {name: db, port: 1}}",
        );
        let young = expose(
            "metadata: {name: b, namespace: shop, uid: '2', creationTimestamp: '2026-01-02T00:00:00Z'}\nspec: {serviceRef: {name: db, port: 1}}",
        );
        let all = [old.clone(), young.clone()];
        assert_eq!(refusal(&old, &all), None);
        assert_eq!(refusal(&young, &all), Some(reason::ROUTE_NAME_CONFLICT));
    }

    #[test]
    fn other_namespaces_matter_only_for_routes_that_the_workspace_reaches() {
        let here = |reach: &str| {
            expose(&format!(
                "metadata: {{name: a, namespace: shop, uid: '1', creationTimestamp: '2026-01-02T00:00:00Z'}}\nspec: {{reach: {reach}, serviceRef: {{name: db, port: 1}}}}"
            ))
        };
        let there = |reach: &str| {
            expose(&format!(
                "metadata: {{name: a, namespace: other, uid: '2', creationTimestamp: '2026-01-01T00:00:00Z'}}\nspec: {{reach: {reach}, serviceRef: {{name: db, port: 1}}}}"
            ))
        };
        assert_eq!(refusal(&here("Shared"), &[here("Shared"), there("Shared")]), None);
        assert_eq!(refusal(&here("Shared"), &[here("Shared"), there("Workspace")]), None);
        assert_eq!(
            refusal(&here("Workspace"), &[here("Workspace"), there("Workspace")]),
            Some(reason::ROUTE_NAME_CONFLICT)
        );
    }

    #[test]
    fn udp_is_refused() {
        let udp = expose(
            "metadata: {name: a, namespace: shop, uid: '1'}\nspec: {protocol: UDP, serviceRef: {name: db, port: 1}}",
        );
        assert_eq!(refusal(&udp, std::slice::from_ref(&udp)), Some(reason::TARGET_NOT_ALLOWED));
    }
}
