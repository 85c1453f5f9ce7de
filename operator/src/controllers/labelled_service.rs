//! A Service with the label `connect.privateconnect.co/expose: "true"`: it owns a ServiceExpose, for as long as it has the label.
//!
//! | step | does | needs a client |
//! |---|---|---|
//! | [`desired()`] | reads label and annotations | no |
//! | [`plan`] | compares with the ServiceExpose of the Service's name | no |
//! | [`apply`] | makes, changes or removes it; tells the Service what stands in the way | yes |
//!
//! Nothing is remembered: what is owned by a Service says so itself, so a label that was taken off while the operator was away
//! is noticed at the next start. The cluster's garbage collector takes what a deleted Service owned.

use std::sync::Arc;

use connect_crds::{ServiceExpose, ServiceExposeSpec};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use crate::cluster::{FIELD_MANAGER, call};
use crate::context::{Context, Notice};
use crate::controllers::RESYNC;
use crate::error::{Error, chain};
use crate::labels::{Desired, desired, is_owned_by};

/// Label by which tools and people know who keeps an object.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// What is to be done about a Service.
#[derive(Clone, Debug, PartialEq)]
enum Plan {
    /// All is as it should be.
    Nothing,
    /// Make its ServiceExpose.
    Create(ServiceExposeSpec),
    /// Change it.
    Change(ServiceExposeSpec),
    /// Remove it: the label is gone, or asks for what cannot be changed.
    Remove,
    /// Its name is taken by one that is somebody else's.
    Taken,
}

/// Brings one Service's ServiceExpose into agreement with its label.
///
/// # Errors
/// Whatever must be tried again.
pub async fn reconcile(service: Arc<Service>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = service.namespace().ok_or(Error::Incomplete("namespace"))?;
    let expose = context.stores.exposes.get(&ObjectRef::new(&service.name_any()).within(&namespace));
    let desired = desired(&service);
    let labelled = desired.is_some();
    let plan = plan(&service, desired, expose.as_deref());
    match apply(&service, plan, expose.as_deref(), &context).await {
        // Somebody was faster; the watch will say so.
        Err(error) if error.is_conflict() || error.is_not_found() => {}
        Err(error) if error.is_refusal() => {
            let note = format!("a ServiceExpose for this Service is refused: {}", chain(&error));
            context.tell_once(&*service, warning("ExposeRefused", note)).await;
        }
        other => other?,
    }
    Ok(if labelled { Action::requeue(RESYNC) } else { Action::await_change() })
}

/// Decides. Pure.
fn plan(service: &Service, desired: Option<Desired>, expose: Option<&ServiceExpose>) -> Plan {
    let going = service.metadata.deletion_timestamp.is_some()
        || expose.is_some_and(|expose| expose.metadata.deletion_timestamp.is_some());
    if going {
        return Plan::Nothing;
    }
    match (desired, expose) {
        (None, Some(expose)) if is_owned_by(expose, service) => Plan::Remove,
        (None, _) => Plan::Nothing,
        (Some(desired), None) => Plan::Create(desired.spec),
        // Of a Service of the same name that is gone: the garbage collector is about to take it.
        (Some(_), Some(expose)) if !is_owned_by(expose, service) => match is_owned_by_a_service(expose) {
            true => Plan::Nothing,
            false => Plan::Taken,
        },
        // What cannot be read changes nothing; the ServiceExpose says so, and nothing is shared meanwhile.
        (Some(desired), Some(_)) if desired.validation_message.is_some() => Plan::Nothing,
        (Some(desired), Some(expose)) if desired.spec == expose.spec => Plan::Nothing,
        // Teammates know a route by its name, so the API server lets nobody change it.
        (Some(desired), Some(expose)) if desired.spec.route_name != expose.spec.route_name => Plan::Remove,
        (Some(desired), Some(_)) => Plan::Change(desired.spec),
    }
}

fn is_owned_by_a_service(expose: &ServiceExpose) -> bool {
    expose.owner_references().iter().any(|owner| owner.kind == Service::kind(&()))
}

async fn apply(
    service: &Service,
    plan: Plan,
    expose: Option<&ServiceExpose>,
    context: &Context,
) -> Result<(), Error> {
    let name = service.name_any();
    let namespace = service.namespace().ok_or(Error::Incomplete("namespace"))?;
    let api: Api<ServiceExpose> = Api::namespaced(context.common.client.clone(), &namespace);
    match (plan, expose) {
        (Plan::Create(spec), _) => {
            let params =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            call("making the ServiceExpose of a Service", api.create(&params, &owned(service, spec)?))
                .await?;
        }
        (Plan::Change(spec), Some(expose)) => {
            let patch = json!({ "metadata": { "uid": expose.uid() }, "spec": with_absences(&spec) });
            let params =
                PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            call("changing the ServiceExpose of a Service", api.patch(&name, &params, &Patch::Merge(&patch)))
                .await?;
        }
        (Plan::Remove, Some(expose)) => {
            let params = DeleteParams::default()
                .preconditions(Preconditions { uid: expose.uid(), resource_version: None });
            call("removing the ServiceExpose of a Service", api.delete(&name, &params)).await?;
        }
        (Plan::Taken, _) => {
            let note = format!(
                "ServiceExpose {name} is there already and is not this Service's: remove it, or this Service's label"
            );
            context.tell_once(service, warning("ExposeConflict", note)).await;
        }
        (Plan::Nothing | Plan::Change(_) | Plan::Remove, _) => {}
    }
    Ok(())
}

/// The ServiceExpose of a Service, which goes with it.
fn owned(service: &Service, spec: ServiceExposeSpec) -> Result<ServiceExpose, Error> {
    let owner = OwnerReference {
        api_version: Service::api_version(&()).into_owned(),
        kind: Service::kind(&()).into_owned(),
        name: service.name_any(),
        uid: service.uid().ok_or(Error::Incomplete("uid"))?,
        controller: Some(true),
        // To hold the owner back would need a right on Services.
        block_owner_deletion: None,
    };
    let metadata = ObjectMeta {
        name: service.metadata.name.clone(),
        namespace: service.namespace(),
        labels: Some([(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned())].into()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    Ok(ServiceExpose { metadata, spec, status: None })
}

/// The spec as a merge patch: what it does not say is taken away.
fn with_absences(spec: &ServiceExposeSpec) -> serde_json::Value {
    let mut patch = json!({ "localPort": null, "reach": null, "hubRef": null });
    let said = serde_json::to_value(spec).unwrap_or_default();
    for (name, value) in said.as_object().into_iter().flatten() {
        patch[name] = value.clone();
    }
    patch
}

/// What a Service is told.
pub fn warning(reason: &'static str, note: String) -> Notice {
    Notice { warning: true, reason, action: "Expose", note }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(labels: &str, annotations: &str) -> Service {
        let text = format!(
            "metadata: {{name: api, namespace: shop, uid: u-1, labels: {labels}, annotations: {annotations}}}\nspec: {{ports: [{{port: 80}}]}}"
        );
        serde_saphyr::from_str(&text).expect("fixture")
    }

    #[test]
    fn what_is_owned_follows_the_label_and_nothing_else_is_touched() {
        let labelled = "{connect.privateconnect.co/expose: 'true'}";
        let planned =
            |service: &Service, expose: Option<&ServiceExpose>| plan(service, desired(service), expose);
        let asking = service(labelled, "{}");
        let spec = desired(&asking).expect("labelled").spec;
        let expose = owned(&asking, spec.clone()).expect("a UID");
        let silent = service("{}", "{}");

        assert_eq!(planned(&asking, None), Plan::Create(spec.clone()));
        assert_eq!(planned(&asking, Some(&expose)), Plan::Nothing);
        assert_eq!(planned(&silent, Some(&expose)), Plan::Remove);
        assert_eq!(planned(&silent, None), Plan::Nothing);

        let elsewhere = service(labelled, "{connect.privateconnect.co/local-port: '8080'}");
        assert!(
            matches!(planned(&elsewhere, Some(&expose)), Plan::Change(spec) if spec.local_port.is_some())
        );
        let renamed = service(labelled, "{connect.privateconnect.co/route-name: shop}");
        assert_eq!(planned(&renamed, Some(&expose)), Plan::Remove, "made anew once it is gone");
        let wrong = service(labelled, "{connect.privateconnect.co/local-port: never}");
        assert_eq!(planned(&wrong, Some(&expose)), Plan::Nothing);

        let somebodys = ServiceExpose::new("api", spec);
        assert_eq!(planned(&asking, Some(&somebodys)), Plan::Taken);
        assert_eq!(planned(&silent, Some(&somebodys)), Plan::Nothing);
        let mut predecessors = expose.clone();
        predecessors.owner_references_mut()[0].uid = "u-0".to_owned();
        assert_eq!(planned(&asking, Some(&predecessors)), Plan::Nothing);
        let mut going = expose;
        going.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(planned(&silent, Some(&going)), Plan::Nothing);
    }
}
