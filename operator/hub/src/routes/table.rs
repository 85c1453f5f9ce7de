//! The routes and shares themselves, and what is decided about them without a clock, a task or a lock.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use connect_frames::expirations::Expirations;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::mismatches::Counted;
use super::share_state::ShareState;
use super::traffic::Traffic;
use super::{Dial, EndReason, Refusal, Route, ShareKey};
use crate::code_key::Verification;

#[derive(Default)]
pub(super) struct Table {
    pub(super) services: HashMap<Uuid, Entry>,
    pub(super) shares: HashMap<ShareKey, ShareEntry>,
    pub(super) expirations: Expirations<ShareKey, Timestamp>,
}

pub(super) struct Entry {
    pub(super) route: Route,
    /// Cancelled when the connections of this route must go.
    pub(super) cut: CancellationToken,
    pub(super) traffic: Arc<Traffic>,
}

#[derive(Default)]
pub(super) struct ShareEntry {
    pub(super) state: Arc<ShareState>,
    pub(super) services: HashSet<Uuid>,
    pub(super) verification: Arc<Verification>,
    pub(super) mismatches: Arc<Mutex<Counted>>,
}

// === impl Table ===

impl Table {
    pub(super) fn authorize(&self, service_id: Uuid, now: Timestamp) -> Result<Dial, Refusal> {
        let Entry { route, .. } = self.services.get(&service_id).ok_or(Refusal::UnknownService)?;
        if let Some(share) = &route.share {
            let share = self.shares.get(share).ok_or(Refusal::EndNotSet)?;
            share.state.refusal(now).map_or(Ok(()), Err)?;
        }
        if route.targets.is_empty() {
            return Err(Refusal::NoTarget);
        }
        Ok(Dial { service_id, name: route.name.clone(), targets: route.targets.clone() })
    }

    /// Closes the share and gives what to cut; `None` when it was closed before.
    pub(super) fn close(&mut self, share: &ShareKey, why: EndReason) -> Option<Vec<CancellationToken>> {
        self.expirations.disarm(share);
        let entry = self.shares.entry(share.clone()).or_default();
        if !entry.state.close(why) {
            return None;
        }
        let services = entry.services.clone();
        Some(self.replace_cuts(&services))
    }

    pub(super) fn replace_cuts(&mut self, services: &HashSet<Uuid>) -> Vec<CancellationToken> {
        let entries = services.iter().filter_map(|id| Some((*id, self.services.get(id)?.cut.clone())));
        let cuts: Vec<(Uuid, CancellationToken)> = entries.collect();
        cuts.into_iter()
            .map(|(id, cut)| {
                if let Some(entry) = self.services.get_mut(&id) {
                    entry.cut = CancellationToken::new();
                }
                cut
            })
            .collect()
    }

    pub(super) fn leave_share(&mut self, service_id: Uuid, route: &Route) {
        let share = route.share.as_ref().and_then(|share| self.shares.get_mut(share));
        if let Some(share) = share {
            share.services.remove(&service_id);
        }
    }
}

// === impl Entry ===

impl Entry {
    pub(super) fn replace_cut(&self) -> CancellationToken {
        self.cut.cancel();
        CancellationToken::new()
    }
}
