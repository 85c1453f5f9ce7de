//! The ways in which a bridge ends before its two sides have ended it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::json;
use uuid::Uuid;

use super::{
    Bridges, Cut,
    bridge::{Bridge, Toward},
    flow::close_event,
};
use crate::{agents::Session, store::EndReason, timestamp::Timestamp};

// === impl Bridges ===

impl Bridges {
    /// Ends a bridge for both sides at once. What waits is not delivered.
    pub fn hang_up(&self, bridge: &Arc<Bridge>) {
        self.end(bridge, |joiner| {
            let _ = joiner.emit(close_event(Toward::Joiner), &json!({"connectionId": &*bridge.id}), 0);
        });
    }

    /// The exposing agent did not answer in time. It is told, so that a late connection of its does not stay.
    pub fn time_out(&self, bridge: &Arc<Bridge>) {
        self.end(bridge, |joiner| {
            let error = json!({"connectionId": &*bridge.id, "error": "Connection timeout"});
            let _ = joiner.emit("reach_error", &error, 0);
        });
    }

    fn end(&self, bridge: &Arc<Bridge>, tell_joiner: impl FnOnce(&Session)) {
        let exposer = bridge.receiver(Toward::Exposer);
        if !self.remove(bridge) || bridge.by_data {
            return; // over data connections the cut itself says it
        }
        bridge.answer(Err("the hub hung up".to_owned()));
        if let Some(joiner) = bridge.joiner.as_ref().filter(|joiner| !joiner.is_closed()) {
            tell_joiner(joiner);
        }
        if let Some(exposer) = exposer.filter(|exposer| !exposer.is_closed()) {
            let _ = exposer.emit(close_event(Toward::Exposer), &json!({"connectionId": &*bridge.id}), 0);
        }
    }

    /// A socket has gone: its bridges end, and their other sides hear of it.
    pub fn leave(&self, session: &Arc<Session>) {
        for bridge in self.matching(|bridge| bridge.involves(session)) {
            self.hang_up(&bridge);
        }
    }

    /// Cuts everything that lives by these shares, after telling the joining agents why. Gives back which sockets were told,
    /// and what was cut.
    pub fn end_shares(&self, ended: &HashMap<Uuid, EndReason>) -> (HashSet<(usize, Uuid)>, Cut) {
        self.rights_changed();
        let (mut told, mut cut) = (HashSet::new(), Cut::default());
        for bridge in self.matching(|bridge| bridge.share().is_some_and(|share| ended.contains_key(&share))) {
            cut.count(&bridge);
            let share = bridge.share();
            if let (Some(joiner), Some((share, reason))) =
                (&bridge.joiner, share.and_then(|share| ended.get_key_value(&share)))
                && told.insert((joiner.key(), *share))
            {
                tell_end(joiner, *share, *reason);
            }
            self.hang_up(&bridge);
        }
        (told, cut)
    }

    /// The clock passed the end of this bridge's share before the timer did.
    pub fn expire(&self, bridge: &Arc<Bridge>) {
        if let Some(share) = bridge.share() {
            self.end_shares(&HashMap::from([(share, EndReason::Expired)]));
        }
    }

    /// A share ends at another time now.
    pub fn move_end(&self, share: Uuid, end: Timestamp) {
        self.rights_changed();
        for bridge in self.matching(|bridge| bridge.share() == Some(share)) {
            bridge.set_end(share, end);
        }
    }

    /// A share leads only to these services now. What was cut.
    pub fn keep_routes(&self, share: Uuid, services: &HashSet<Uuid>) -> Cut {
        self.cut_matching(|bridge| bridge.share() == Some(share) && !services.contains(&bridge.service))
    }

    /// A service is gone, or has come into other hands. What was cut.
    pub fn cut_service(&self, service: Uuid) -> Cut {
        self.cut_matching(|bridge| bridge.service == service)
    }

    fn cut_matching(&self, wanted: impl Fn(&Bridge) -> bool) -> Cut {
        self.rights_changed();
        let mut cut = Cut::default();
        for bridge in self.matching(wanted) {
            cut.count(&bridge);
            self.hang_up(&bridge);
        }
        cut
    }
}

/// Tells a joining agent that a share is over, if it understands that.
pub fn tell_end(joiner: &Session, share: Uuid, reason: EndReason) {
    if joiner.features.share_events {
        let _ = joiner.emit("share_ended", &json!({"id": share, "reason": reason}), 0);
    }
}

/// Tells a joining agent that a share ends at another time, if it understands that.
pub fn tell_new_end(joiner: &Session, share: Uuid, end: Timestamp) {
    if joiner.features.share_events {
        let _ = joiner.emit("share_changed", &json!({"id": share, "expiresAt": end}), 0);
    }
}
