//! ServiceExpose: a route that shares can share, and by choice one that the hub's workspace reaches by name.
//!
//! | step | does | needs a client |
//! |---|---|---|
//! | dereference | fetches hub and target ([`Context::hub`], [`Context::target`]) | yes |
//! | [`validate`] | judges spec and what was fetched | no |
//! | [`apply`] | puts a Workspace route at the hub, or takes it away | yes |
//! | [`report`] | says so in status | no, and yes to write |
//!
//! A route of reach Shared costs the hub nothing: every share that takes it makes its own service there.

mod apply;
mod drain;
mod report;
mod validate;

use std::sync::Arc;

use connect_crds::ServiceExpose;
use kube::ResourceExt;
use kube::runtime::controller::Action;

pub use drain::let_go;

use crate::context::Context;
use crate::controllers::RESYNC;
use crate::error::Error;

/// Brings one ServiceExpose and the hub into agreement.
///
/// # Errors
/// Whatever must be tried again; what a human should know is in status.
pub async fn reconcile(expose: Arc<ServiceExpose>, context: Arc<Context>) -> Result<Action, Error> {
    let namespace = expose.namespace().ok_or(Error::Incomplete("namespace"))?;
    let hub = context.hub(&namespace, expose.spec.hub_ref.as_ref());
    if expose.metadata.deletion_timestamp.is_some() {
        return apply::cleanup(&expose, hub.ok().as_deref(), &context).await;
    }
    // Client: only a headless Service's addresses may cost a call.
    let target = context.target(&expose).await?;
    // No client: may it be shared, and does another have its name?
    let valid = validate::validate(&expose, target, &context.stores.exposes.state());
    // Client: only routes of reach Workspace are at the hub.
    let done = apply::apply(&expose, &valid, hub.as_deref().ok(), &context).await?;
    // No client, then one write if anything differs.
    report::report(&expose, &valid, &hub, &done, &context).await?;
    Ok(Action::requeue(done.look_again().unwrap_or(RESYNC)))
}
