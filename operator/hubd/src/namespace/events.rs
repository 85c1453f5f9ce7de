//! One event of one socket, taken in order as it comes: nothing here waits. What needs the database is started here and
//! acknowledged later; what carries bytes is handed to its bridge at once.

use std::{borrow::Cow, sync::Arc};

use serde_json::json;
use socketioxide::{
    adapter::LocalAdapter,
    extract::AckSender,
    handler::{FromMessageParts as _, MessageHandler, Value},
    socket::Socket,
};
use uuid::Uuid;

use super::{
    handshake::Slot,
    incoming::{Body, Incoming, Text, text_to_pass_on},
};
use crate::{
    agents::Session,
    bridges::{Kind, Toward},
    core::Core,
    reach::{self, Reached},
};

/// Hears everything that a socket says.
pub(super) struct Events {
    pub core: Arc<Core>,
    pub slot: Slot,
}

/// The frame did not hold what its event needs.
struct Incomplete;

/// One event with everything needed to act on it.
struct Event<'a> {
    core: &'a Arc<Core>,
    session: &'a Arc<Session>,
    body: Body<'a>,
}

// === impl Events ===

impl MessageHandler<LocalAdapter, ()> for Events {
    fn call(&self, socket: Arc<Socket>, mut value: Value, ack_id: Option<i64>) {
        let Ok(ack) = AckSender::from_message_parts(&socket, &mut value, &ack_id);
        let Value::Str(frame, None) = value else { return }; // nothing of ours is binary
        let Some(session) = self.slot.get() else {
            reply(ack, Err("Agent not registered"));
            return;
        };
        let acted = Incoming::parse(&frame)
            .map_err(|_| Incomplete)
            .and_then(|Incoming { name, body }| Event { core: &self.core, session, body }.act(&name, ack));
        if acted.is_err() {
            let _ =
                session.emit("exception", &json!({"status": "error", "message": "Internal server error"}), 0);
        }
    }
}

// === impl Event ===

impl Event<'_> {
    fn act(self, name: &str, ack: AckSender) -> Result<(), Incomplete> {
        match name {
            "reach_data" => self.carry(Toward::Exposer, Kind::Data),
            "data" => self.carry(Toward::Joiner, Kind::Data),
            "reach_fin" => self.finish(Toward::Exposer),
            "fin" => self.finish(Toward::Joiner),
            "reach_close" => self.close(Toward::Exposer),
            "close" => self.close(Toward::Joiner),
            "dial_success" => self.dialled(None),
            "dial_error" => self.dialled(Some(())),
            "e2e_handshake" => self.shake_hands(),
            "reach_connect" => self.reach_connect(ack),
            "expose" => self.expose(ack),
            "heartbeat" => {
                let alive = self.core.agents.is_newest(self.session);
                let _ = ack.send(&json!({ "success": alive }));
                Ok(())
            }
            _ => Ok(()), // as recorded: what is not known is not answered
        }
    }

    /// Bytes on their way: from the joining side toward the exposing one, or back.
    fn carry(self, toward: Toward, kind: Kind) -> Result<(), Incomplete> {
        let id = required(&self.body.connection_id)?;
        let text = match kind {
            Kind::Data => self.body.data,
            Kind::Handshake => self.body.payload,
        };
        let text = text.ok_or(Incomplete)?;
        if let Some(bridge) = self.core.bridges.sent_by(self.session, toward, id) {
            let text = text_to_pass_on(text).ok_or(Incomplete)?;
            self.core.bridges.push(&bridge, toward, kind, text);
        }
        Ok(())
    }

    /// A handshake may come from either side; the bridge knows which one this is.
    fn shake_hands(self) -> Result<(), Incomplete> {
        self.session.shakes_hands();
        let id = required(&self.body.connection_id)?;
        let toward = self.core.bridges.direction_from(self.session, id).unwrap_or(Toward::Exposer);
        self.carry(toward, Kind::Handshake)
    }

    fn finish(self, toward: Toward) -> Result<(), Incomplete> {
        let id = required(&self.body.connection_id)?;
        if let Some(bridge) = self.core.bridges.sent_by(self.session, toward, id) {
            self.core.bridges.finish(&bridge, toward);
        }
        Ok(())
    }

    fn close(self, toward: Toward) -> Result<(), Incomplete> {
        let id = required(&self.body.connection_id)?;
        if let Some(bridge) = self.core.bridges.sent_by(self.session, toward, id) {
            self.core.bridges.close(&bridge, toward);
        }
        Ok(())
    }

    fn dialled(self, failed: Option<()>) -> Result<(), Incomplete> {
        let id = required(&self.body.connection_id)?;
        let Some(bridge) = self.core.bridges.sent_by(self.session, Toward::Joiner, id) else { return Ok(()) };
        match failed {
            None => self.core.bridges.dial_succeeded(&bridge),
            Some(()) => {
                let why = self.body.error.as_ref().map_or("", |text| text.0.as_ref());
                self.core.bridges.dial_failed(&bridge, why);
            }
        }
        Ok(())
    }

    fn reach_connect(self, ack: AckSender) -> Result<(), Incomplete> {
        let id = required(&self.body.connection_id)?;
        let Some(service) = self.body.service_id.as_ref().and_then(|text| Uuid::parse_str(&text.0).ok())
        else {
            reply(ack, Err("Service not found"));
            return Ok(());
        };
        reach::reach(self.core, self.session, id, service, move |outcome| {
            reply_reached(ack, outcome);
        });
        Ok(())
    }

    /// The agent says that it serves a service of its own. Everything else in the event is not believed.
    fn expose(self, ack: AckSender) -> Result<(), Incomplete> {
        let service = Uuid::parse_str(required(&self.body.service_id)?).map_err(|_| Incomplete)?;
        let Ok(room) = self.session.calls.clone().try_acquire_owned() else {
            reply(ack, Err("Too many requests at a time"));
            return Ok(());
        };
        let (core, session) = (self.core.clone(), self.session.clone());
        tokio::spawn(async move {
            let outcome = match core.store.service(service).await {
                Ok(Some(row)) if row.agent == Some(session.agent) => Ok(()),
                Ok(Some(row)) if Some(&row.workspace) == session.workspace.as_ref() => {
                    Err("Not authorized to expose this service")
                }
                Ok(_) => Err("Service not found"),
                Err(error) => {
                    tracing::error!(error = crate::error_chain(&error), "cannot look for an exposed service");
                    Err("Internal server error")
                }
            };
            if outcome.is_ok() {
                session.expose(service);
            }
            reply(ack, outcome);
            drop(room);
        });
        Ok(())
    }
}

/// Acknowledges as recorded. A socket that has gone needs no answer.
fn reply(ack: AckSender, outcome: Result<(), &str>) {
    let _ = match outcome {
        Ok(()) => ack.send(&json!({"success": true})),
        Err(error) => ack.send(&json!({"success": false, "error": error})),
    };
}

/// The same, with what is known about the other end.
fn reply_reached(ack: AckSender, outcome: Result<Reached, &str>) {
    match outcome {
        Ok(Reached { e2e: Some(e2e) }) => {
            let _ = ack.send(&json!({"success": true, "e2e": e2e})); // as in `reply`
        }
        outcome => reply(ack, outcome.map(drop)),
    }
}

fn required<'a>(text: &'a Option<Text<'_>>) -> Result<&'a str, Incomplete> {
    match text {
        Some(Text(Cow::Borrowed(text))) => Ok(text),
        Some(Text(Cow::Owned(text))) => Ok(text),
        None => Err(Incomplete),
    }
}
