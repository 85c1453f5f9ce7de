//! What the exposing agent answers to a dial.

use std::sync::Arc;

use serde_json::json;

use super::{
    Bridges,
    bridge::{Bridge, Toward},
};

/// What we repeat of an agent's own words about a failed dial.
const REASON_CHARS: usize = 200;

// === impl Bridges ===

impl Bridges {
    /// The exposing agent has reached its service: both sides may send.
    pub fn dial_succeeded(&self, bridge: &Arc<Bridge>) {
        if !bridge.answer(Ok(())) {
            return;
        }
        if let Some(joiner) = &bridge.joiner {
            let _ = joiner.emit("reach_ready", &json!({"connectionId": &*bridge.id}), 0);
        }
        self.set_ready(bridge, Toward::Joiner);
        self.set_ready(bridge, Toward::Exposer);
    }

    /// The exposing agent has not; the joining one hears no more than that, as recorded.
    pub fn dial_failed(&self, bridge: &Arc<Bridge>, why: &str) {
        let why = why.chars().filter(|c| !c.is_control()).take(REASON_CHARS).collect();
        if bridge.answer(Err(why))
            && self.remove(bridge)
            && let Some(joiner) = &bridge.joiner
        {
            let _ = joiner.emit("reach_close", &json!({"connectionId": &*bridge.id}), 0);
        }
    }
}
