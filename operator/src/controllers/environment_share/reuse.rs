//! Services of ended shares that live ones use, at hubs that have no room for more and delete none.
//!
//! A hub's service keeps its id for ever, and such hubs connect whoever knows an id. Whoever had joined the ended share and kept the
//! id can reach the service again while the live share uses it. So only the same route of the same namespace is taken, which they
//! could reach before, and only once the ended share is over everywhere. See decision 25.

use connect_crds::{EnvironmentShare, Maker, ShareMarker};
use kube::ResourceExt;
use uuid::Uuid;

use super::code_secret::CodeSecret;
use super::dereference::code_of;
use super::validate::over;
use crate::context::Context;
use crate::names::{
    is_service_of, old_service_name, other_service_name, service_name, share_key, share_of_service,
};
use crate::tunnels::{HubConnection, KnownService};

/// A route that uses another share's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reused {
    /// The route.
    pub route: String,
    /// The name of the service at the hub.
    pub service: String,
    /// What the hub told of it.
    pub known: KnownService,
}

/// Who asks, and where.
pub struct Reuse<'a> {
    /// The share that needs services.
    pub share: &'a EnvironmentShare,
    /// The hub.
    pub hub: &'a HubConnection,
    /// Who we are in names there.
    pub maker: &'a Maker,
    /// What the share's Secret says.
    pub code: Option<&'a CodeSecret>,
    /// Where other shares are known.
    pub context: &'a Context,
}

/// Since when a share uses a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// It is about to.
    Now,
    /// Its Secret says that it did before.
    Before,
}

/// Whether a Secret notes this service.
fn notes(code: &CodeSecret, id: Uuid) -> bool {
    code.services.as_ref().is_some_and(|services| services.contains(&id))
}

// === impl Reuse ===

impl Reuse<'_> {
    /// The services that the share uses and that were made for another: those it took, or, after a start, those its Secret notes.
    pub fn of_the_share(&self) -> Vec<Reused> {
        let Self { share, hub, code, .. } = *self;
        let key = share_key(share);
        let taken = hub.with_reused(|reused| reused.of(&key));
        if !taken.is_empty() {
            let known = |service: &str| hub.with_directory(|directory| directory.service(service));
            let one = |(route, service): (String, String)| {
                let known = known(&service)?;
                Some(Reused { route, service, known })
            };
            return taken.into_iter().filter_map(one).collect();
        }
        let Some((code, ids)) = code.and_then(|code| Some((code, code.services.as_ref()?))) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (route, id) in code.routes.iter().zip(ids) {
            let noted = self.services_of(route).into_iter().find(|one| one.known.id == *id);
            // The Secret may have been written by somebody else: what it notes is taken only as if it were taken now.
            if let Some(one) = noted.filter(|one| self.is_unused(one, Since::Before))
                && self.takes(&one)
            {
                found.push(one);
            }
        }
        found
    }

    /// Takes a service that an ended share had for this route, if there is one.
    pub fn take(&self, route: &str) -> Option<Reused> {
        let mut services = self.services_of(route);
        services.sort_by(|one, other| one.service.cmp(&other.service));
        let is_free = |one: &Reused| self.is_unused(one, Since::Now) && !self.has_orphans();
        services.into_iter().find(|one| is_free(one) && self.takes(one))
    }

    /// Whether nobody else has just taken it.
    fn takes(&self, Reused { route, service, .. }: &Reused) -> bool {
        let key = share_key(self.share);
        self.hub.with_reused(|reused| reused.take(&key, service, route))
    }

    /// The name of this route's service while another share uses the one that was made for it.
    pub fn another_name(&self, route: &str) -> String {
        let name = other_service_name(self.share, route, self.maker);
        let key = share_key(self.share);
        // Nobody else makes such a name.
        self.hub.with_reused(|reused| reused.take(&key, &name, route));
        name
    }

    /// Whether another share uses a service that was made for this one.
    pub fn is_lent(&self, service: &str, id: Uuid) -> bool {
        if self.code.is_some_and(|code| notes(code, id)) {
            return false;
        }
        let key = share_key(self.share);
        self.hub.with_reused(|reused| reused.user(service).is_some_and(|user| *user != key))
            || self.is_noted_by_another(id)
    }

    /// The services that were made for this route of any share of the namespace, apart from the share's own.
    fn services_of(&self, route: &str) -> Vec<Reused> {
        let Self { share, hub, maker, .. } = *self;
        let namespace = share.namespace().unwrap_or_default();
        let own = [service_name(share, route, maker), old_service_name(share, route)];
        let is_wanted = |name: &str| {
            share_of_service(&namespace, route, maker, name).is_some() && !own.iter().any(|own| own == name)
        };
        let services = hub.with_directory(|directory| directory.services_that(is_wanted));
        let reused = |(service, known)| Reused { route: route.to_owned(), service, known };
        services.into_iter().map(reused).collect()
    }

    /// Whether no other share uses the service, or might: those that it can have been made for are over everywhere, or, if this one
    /// has used it before, have others.
    fn is_unused(&self, one: &Reused, since: Since) -> bool {
        let Self { share, context, maker, .. } = *self;
        let id = one.known.id;
        let is_owner = |other: &EnvironmentShare| {
            other.namespace() == share.namespace() && is_service_of(other, &one.service, maker)
        };
        let has_others = |other: &EnvironmentShare| {
            since == Since::Before && code_of(other, context).is_some_and(|(_, code)| !notes(&code, id))
        };
        let is_in_use = |other: &EnvironmentShare| {
            other.uid() != share.uid() && is_owner(other) && self.may_live(other) && !has_others(other)
        };
        !context.has_share(is_in_use) && !self.is_noted_by_another(id)
    }

    /// Whether a share may still have something at the hub.
    fn may_live(&self, other: &EnvironmentShare) -> bool {
        let Self { hub, maker, context, .. } = *self;
        let now = context.now();
        let marker = ShareMarker::of(&other.uid().unwrap_or_default());
        over(other, other.ends_at(now).ok(), now).is_none()
            || other.metadata.deletion_timestamp.is_some()
            || code_of(other, context).is_some()
            || !hub.with_directory(|directory| directory.shares(&marker, maker)).is_empty()
    }

    fn is_noted_by_another(&self, id: Uuid) -> bool {
        let Self { share, context, .. } = *self;
        context.has_share(|other| {
            other.uid() != share.uid()
                && other.namespace() == share.namespace()
                && code_of(other, context).is_some_and(|(_, code)| notes(&code, id))
        })
    }

    /// Whether the hub has a share of ours that belongs to no object: its code may still be good.
    fn has_orphans(&self) -> bool {
        let Self { hub, maker, context, .. } = *self;
        let markers: Vec<ShareMarker> = hub.with_directory(|directory| {
            let ours = directory.all_shares().filter(|(signature, rows)| {
                !rows.is_empty() && signature.maker.as_ref().is_none_or(|other| other == maker)
            });
            ours.map(|(signature, _)| signature.marker.clone()).collect()
        });
        markers.iter().any(|marker| {
            !context.has_share(|other| {
                let own = ShareMarker::of(&other.uid().unwrap_or_default());
                *marker == own || (marker.is_old() && marker.may_be(&own))
            })
        })
    }
}
