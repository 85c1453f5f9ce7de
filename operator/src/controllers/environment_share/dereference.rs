//! Fetches what an EnvironmentShare names; judges nothing.
//!
//! Everything comes from caches; only the addresses of a headless Service may cost a call, once until they change.

use std::sync::Arc;

use connect_crds::condition::Verdict;
use connect_crds::{EnvironmentShare, Maker, ServiceExpose, ShareMarker};
use connect_hub::client::ShareRow;
use connect_hub::tunnel::routes::Mismatches;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::code_secret::{self, CodeSecret};
use super::reuse::{Reuse, Reused};
use super::validate::over;
use crate::args::ShareIsolation;
use crate::context::Context;
use crate::credentials::HubSecretProblem;
use crate::error::Error;
use crate::names::{is_common_name, is_service_of, share_key};
use crate::target::{Problem, Target};
use crate::tunnels::{HubConnection, HubState, KnownService, service_key, signature_of};

/// What the spec names, as it is now.
pub struct Found {
    /// The hub, and what can be said of it.
    pub hub: Result<(Arc<HubConnection>, HubState), HubSecretProblem>,
    /// The namespace's ServiceExposes with where they lead, by name.
    pub exposes: Vec<(Arc<ServiceExpose>, Result<Target, Problem>)>,
    /// The code's Secret as stored, when it is this share's.
    pub stored_secret: Option<Arc<Secret>>,
    /// What that Secret says.
    pub code: Option<CodeSecret>,
    /// This object's shares at the hub, oldest first.
    pub rows: Vec<ShareRow>,
    /// Who we are in names at the hub, once it was entered.
    pub maker: Option<Maker>,
    /// What the share has at the hub.
    pub isolation: ShareIsolation,
    /// Services at the hub that are this share's or, in common with others, its namespace's; by their names there.
    pub services: Vec<(String, KnownService)>,
    /// Those of them that were made for another share.
    pub reused: Vec<Reused>,
    /// Whether another live share may use services in common of which nobody knows yet: after a start.
    pub has_unknown_shares: bool,
    /// Connections whose ends did not know the same secret, to the share or to the services that it has in common with others.
    pub mismatches: Mismatches,
    /// What the installed definition lacks.
    pub outdated: Option<Verdict>,
}

// === impl Found ===

impl Found {
    /// The share at the hub whose code teammates have, as far as it is known.
    pub fn row_in_the_secret(&self) -> Option<&ShareRow> {
        self.rows.iter().find(|row| self.is_in_the_secret(row))
    }

    /// Whether the Secret holds the code of this share at the hub.
    pub fn is_in_the_secret(&self, row: &ShareRow) -> bool {
        self.code.as_ref().is_some_and(|code| row.has_code(&code.code))
    }
}

/// Fetches what the spec names.
///
/// # Errors
/// The API server did not answer, or the object lacks its UID or namespace.
pub async fn dereference(share: &EnvironmentShare, context: &Context) -> Result<Found, Error> {
    let namespace = share.namespace().ok_or(Error::Incomplete("namespace"))?;
    let uid = share.uid().ok_or(Error::Incomplete("uid"))?;
    let hub = context.hub(&namespace, share.spec.hub_ref.as_ref());
    let mut exposes = Vec::new();
    for expose in context.exposes_of(&namespace) {
        let target = context.target(&expose).await?;
        exposes.push((expose, target));
    }
    let (secret, code) = code_of(share, context).unzip();
    let maker = hub.as_ref().ok().and_then(|hub| hub.maker());
    let rows = match (&hub, &maker) {
        (Ok(hub), Some(maker)) => rows_of(share, &uid, hub, maker, code.as_ref(), context),
        _ => Vec::new(),
    };
    let Services { isolation, services, reused, has_unknown_shares } =
        services_of(share, hub.as_ref().ok(), maker.as_ref(), code.as_ref(), context);
    let mismatches = hub.as_ref().map(|hub| mismatches(share, isolation, &services, hub)).unwrap_or_default();
    let hub = hub.map(|hub| (hub.state(), hub)).map(|(state, hub)| (hub, state));
    let outdated = context.common.definitions.stalled::<EnvironmentShare>();
    Ok(Found {
        hub,
        exposes,
        stored_secret: secret,
        code,
        rows,
        maker,
        isolation,
        services,
        reused,
        has_unknown_shares,
        mismatches,
        outdated,
    })
}

/// What the share has of services at the hub.
struct Services {
    isolation: ShareIsolation,
    services: Vec<(String, KnownService)>,
    reused: Vec<Reused>,
    has_unknown_shares: bool,
}

fn services_of(
    share: &EnvironmentShare,
    hub: Option<&Arc<HubConnection>>,
    maker: Option<&Maker>,
    code: Option<&CodeSecret>,
    context: &Context,
) -> Services {
    let services_that = |is_wanted: &dyn Fn(&str, &Maker) -> bool| match (hub, maker) {
        (Some(hub), Some(maker)) => {
            hub.with_directory(|directory| directory.services_that(|name| is_wanted(name, maker)))
        }
        _ => Vec::new(),
    };
    let mut services = services_that(&|name, maker| is_service_of(share, name, maker));
    // A share keeps what it was opened with; services of its own say so as well, should its Secret be gone.
    let isolation = match code {
        Some(code) => code.isolation,
        None if !services.is_empty() => ShareIsolation::Route,
        None => context.common.settings.isolation,
    };
    if isolation == ShareIsolation::Shared {
        let namespace = share.namespace().unwrap_or_default();
        let services = services_that(&|name, maker| is_common_name(&namespace, name, maker));
        let has_unknown_shares = hub.is_some_and(|hub| unknown_shares(share, hub, context));
        return Services { isolation, services, reused: Vec::new(), has_unknown_shares };
    }
    let mut reused = Vec::new();
    if let (Some(hub), Some(maker)) = (hub, maker) {
        let reuse = Reuse { share, hub, maker, code, context };
        reused = reuse.of_the_share();
        services.retain(|(name, known)| !reuse.is_lent(name, known.id));
        for Reused { service, known, .. } in &reused {
            if !services.iter().any(|(name, _)| name == service) {
                services.push((service.clone(), *known));
            }
        }
    }
    Services { isolation, services, reused, has_unknown_shares: false }
}

/// What was counted of connections that did not know the secret.
fn mismatches(
    share: &EnvironmentShare,
    isolation: ShareIsolation,
    services: &[(String, KnownService)],
    hub: &HubConnection,
) -> Mismatches {
    match isolation {
        ShareIsolation::Route => hub.routes().mismatches(&share_key(share)),
        ShareIsolation::Shared => {
            let of = |(name, _): &(String, KnownService)| hub.routes().mismatches(&service_key(name));
            let both = |one: Mismatches, other: Mismatches| Mismatches {
                count: one.count + other.count,
                repeated: one.repeated || other.repeated,
            };
            services.iter().map(of).fold(Mismatches::default(), both)
        }
    }
}

/// The shares at the hub that are this object's. A marker in its old form does not say that for certain: there the code in the
/// object's Secret does, and without one that nobody else can be meant.
fn rows_of(
    share: &EnvironmentShare,
    uid: &str,
    hub: &HubConnection,
    maker: &Maker,
    code: Option<&CodeSecret>,
    context: &Context,
) -> Vec<ShareRow> {
    let marker = ShareMarker::of(uid);
    let mut rows = hub.with_directory(|directory| directory.shares(&marker, maker));
    let is_certain = |row: &ShareRow| signature_of(row).is_some_and(|signature| !signature.marker.is_old());
    let is_ours = |row: &ShareRow| code.is_some_and(|code| row.has_code(&code.code));
    if rows.iter().any(|row| !is_certain(row) && !is_ours(row)) {
        let is_contested = context.has_share(|other| {
            other
                .metadata
                .uid
                .as_deref()
                .is_some_and(|other| other != uid && marker.in_old_form().may_be(&ShareMarker::of(other)))
        });
        rows.retain(|row| {
            is_certain(row) || is_ours(row) || !(is_contested || context.is_code_of_another(share, &row.code))
        });
    }
    rows
}

/// The code's Secret, when it is this share's, and what it says.
pub fn code_of(share: &EnvironmentShare, context: &Context) -> Option<(Arc<Secret>, CodeSecret)> {
    let name = ObjectRef::new(&share.code_secret_name()).within(share.metadata.namespace.as_deref()?);
    let secret = context.stores.codes.get(&name)?;
    let code = code_secret::read(&secret, share)?;
    Some((secret, code))
}

/// Whether there are other live shares of the namespace of which the hub's connection does not know what they use.
fn unknown_shares(share: &EnvironmentShare, hub: &HubConnection, context: &Context) -> bool {
    let now = context.now();
    let is_unknown = |other: &EnvironmentShare| {
        other.metadata.namespace == share.metadata.namespace
            && other.metadata.uid != share.metadata.uid
            && other.metadata.deletion_timestamp.is_none()
            && other.spec.hub_ref == share.spec.hub_ref
            && over(other, other.ends_at(now).ok(), now).is_none()
            && !hub.knows_use_of(&share_key(other))
    };
    context.stores.shares.find(is_unknown).is_some()
}
