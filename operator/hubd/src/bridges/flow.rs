//! Bytes through a bridge. What can go at once goes at once; what cannot waits in its queue, and a task that lives only
//! as long as something waits empties it. The sender's account (see [`crate::wire`]) slows the sender down.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::{
    Bridges,
    bridge::{Bridge, Toward},
    queue::{Item, Kind, weight},
};
use crate::{
    agents::{Gone, Session},
    limits::QUEUE_BYTES,
    wire::NoWindow,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DataEvent<'a> {
    connection_id: &'a str,
    data: &'a RawValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HandshakeEvent<'a> {
    connection_id: &'a str,
    payload: &'a RawValue,
}

/// Whether a queue goes on after one item.
enum Then {
    GoOn,
    Stop,
}

// === impl Bridges ===

impl Bridges {
    /// Takes one text from its sender.
    pub fn push(&self, bridge: &Arc<Bridge>, toward: Toward, kind: Kind, text: Box<RawValue>) {
        if bridge.is_past_end() {
            return self.expire(bridge);
        }
        // Until the bridge is allowed nobody receives: what comes early waits with the rest. A check wants no bytes.
        let (Some(sender), receiver) = (bridge.sender(toward), bridge.receiver(toward)) else { return };
        if toward == Toward::Joiner && receiver.is_none() {
            return;
        }
        let weight = weight(&text);
        let mut queue = bridge.queue(toward).lock();
        if queue.shut {
            return;
        }
        if let Some(receiver) = receiver.filter(|_| queue.ready && !queue.draining)
            && receiver.wire.try_reserve(weight)
        {
            // Under the queue's lock, so that a cut that has emptied the queue is not followed by this.
            let _ = send(bridge, toward, &receiver, kind, &text, weight);
            return;
        }
        if queue.weight + weight > QUEUE_BYTES {
            drop(queue);
            tracing::warn!(agent = %sender.agent, "a bridge is reset: its sender does not stop");
            return self.hang_up(bridge);
        }
        queue.weight += weight;
        queue.items.push_back(Item::Text { kind, text, _queued: sender.wire.queue(weight) });
        self.start_draining(&mut queue, bridge, toward);
    }

    /// The sender will send no more bytes, but goes on receiving.
    pub fn finish(&self, bridge: &Arc<Bridge>, toward: Toward) {
        self.push_end(bridge, toward, Item::Fin);
    }

    /// The sender is gone: what it sent is still delivered, what was meant for it is not.
    pub fn close(&self, bridge: &Arc<Bridge>, toward: Toward) {
        if bridge.answer(Err("the joining agent hung up".to_owned())) {
            // Still being dialled: nothing can be delivered.
            return self.hang_up(bridge);
        }
        bridge.queue(toward.back()).clear();
        if bridge.receiver(toward).is_none() {
            self.hang_up(bridge);
        } else {
            self.push_end(bridge, toward, Item::Close);
        }
    }

    fn push_end(&self, bridge: &Arc<Bridge>, toward: Toward, item: Item) {
        let mut queue = bridge.queue(toward).lock();
        // A close may still follow a fin; nothing follows a close.
        let follows =
            !queue.shut || (matches!(item, Item::Close) && !matches!(queue.items.back(), Some(Item::Close)));
        if !follows || bridge.is_closed() {
            return;
        }
        queue.shut = true;
        queue.items.push_back(item);
        self.start_draining(&mut queue, bridge, toward);
    }

    /// Lets a queue flow, now that its other end may be sent to.
    pub(super) fn set_ready(&self, bridge: &Arc<Bridge>, toward: Toward) {
        let mut queue = bridge.queue(toward).lock();
        queue.ready = true;
        self.start_draining(&mut queue, bridge, toward);
    }

    fn start_draining(&self, queue: &mut super::queue::QueueState, bridge: &Arc<Bridge>, toward: Toward) {
        if queue.ready && !queue.draining && !queue.items.is_empty() {
            queue.draining = true;
            tokio::spawn(drain(self.clone(), bridge.clone(), toward));
        }
    }

    /// Sends one item, for which there is room.
    fn deliver(&self, bridge: &Arc<Bridge>, toward: Toward, receiver: &Arc<Session>, item: &Item) -> Then {
        if bridge.is_past_end() {
            receiver.wire.give_back(item.weight());
            self.expire(bridge);
            return Then::Stop;
        }
        match item {
            Item::Text { kind, text, .. } => {
                let queue = bridge.queue(toward).lock();
                if bridge.is_closed() {
                    receiver.wire.give_back(item.weight());
                    return Then::Stop;
                }
                let sent = send(bridge, toward, receiver, *kind, text, item.weight());
                drop(queue);
                if sent.is_ok() { Then::GoOn } else { Then::Stop }
            }
            Item::Fin => self.deliver_fin(bridge, toward, receiver, item.weight()),
            Item::Close => {
                if self.remove(bridge) {
                    let _ = receiver.emit(
                        close_event(toward),
                        &json!({"connectionId": &*bridge.id}),
                        item.weight(),
                    );
                }
                Then::Stop
            }
        }
    }

    /// One direction is finished. A receiver that knows half-close is told so. One that does not: a joining agent is
    /// closed, for most services end like that; an exposing agent hears nothing, for its service may still be answering,
    /// and it will close by itself.
    fn deliver_fin(
        &self,
        bridge: &Arc<Bridge>,
        toward: Toward,
        receiver: &Arc<Session>,
        weight: usize,
    ) -> Then {
        let id = json!({"connectionId": &*bridge.id});
        match toward {
            _ if receiver.features.half_close => {
                let event = if toward == Toward::Exposer { "fin" } else { "reach_fin" };
                let _ = receiver.emit(event, &id, weight);
            }
            Toward::Exposer => receiver.wire.give_back(weight),
            Toward::Joiner => {
                receiver.wire.give_back(weight);
                self.hang_up(bridge);
                return Then::Stop;
            }
        }
        bridge.queue(toward).lock().finished = true;
        if bridge.queue(toward.back()).lock().finished {
            self.remove(bridge); // both directions are done: nobody has anything left to say
            return Then::Stop;
        }
        Then::GoOn
    }
}

/// Empties one queue, and ends when it is empty or the bridge is.
async fn drain(bridges: Bridges, bridge: Arc<Bridge>, toward: Toward) {
    loop {
        let item = {
            let mut queue = bridge.queue(toward).lock();
            let Some(item) = queue.items.pop_front() else {
                queue.draining = false;
                return;
            };
            if matches!(item, Item::Text { .. }) {
                queue.weight = queue.weight.saturating_sub(item.weight());
            }
            item
        };
        let (Some(sender), Some(receiver)) = (bridge.sender(toward), bridge.receiver(toward)) else { return };
        let holds_up_its_sender = || sender.wire.is_paused() || bridge.is_closed();
        match receiver.wire.reserve(item.weight(), bridges.inner.stall, holds_up_its_sender).await {
            Ok(()) => {}
            Err(NoWindow::Closed) => return, // the receiver's leaving ends the bridge
            Err(NoWindow::Stalled) => {
                tracing::info!(agent = %receiver.agent, "a bridge is reset: its receiver takes nothing and holds up others");
                bridges.hang_up(&bridge);
                return;
            }
        }
        if matches!(bridges.deliver(&bridge, toward, &receiver, &item), Then::Stop) {
            return;
        }
    }
}

/// Sends one text in the words of its direction.
fn send(
    bridge: &Bridge,
    toward: Toward,
    receiver: &Session,
    kind: Kind,
    text: &RawValue,
    weight: usize,
) -> Result<(), Gone> {
    let connection_id = &*bridge.id;
    match kind {
        Kind::Data => {
            let event = if toward == Toward::Exposer { "data" } else { "reach_data" };
            receiver.emit(event, &DataEvent { connection_id, data: text }, weight)
        }
        Kind::Handshake => {
            receiver.emit("e2e_handshake", &HandshakeEvent { connection_id, payload: text }, weight)
        }
    }
}

pub(super) fn close_event(toward: Toward) -> &'static str {
    match toward {
        Toward::Exposer => "close",
        Toward::Joiner => "reach_close",
    }
}
