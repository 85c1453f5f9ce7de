//! A hub in this process on a server library that is not ours. It keeps no accounts: any agent may expose, any may reach.

use std::collections::HashMap;
use std::future::{Ready, ready as ready_future};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Packets that may wait for one agent: tests send faster than a real peer could.
const PACKETS: usize = 1 << 20;

/// A running hub.
pub struct OxideHub {
    pub url: String,
    io: SocketIo,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    features: Vec<&'static str>,
    agents: Vec<SocketRef>,
    exposers: HashMap<String, SocketRef>,
    bridges: HashMap<String, Bridge>,
}

struct Bridge {
    joiner: SocketRef,
    exposer: SocketRef,
    ready: bool,
    fins: usize,
}

impl OxideHub {
    pub async fn start(features: &[&'static str]) -> Self {
        let state = Arc::new(Mutex::new(State { features: features.to_vec(), ..State::default() }));
        let (layer, io) = SocketIo::builder().max_buffer_size(PACKETS).build_layer();
        let shared = Arc::clone(&state);
        io.ns("/agent", async move |socket: SocketRef, Data(auth): Data<Value>| {
            greet(&socket, &auth, &shared);
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let app = axum::Router::new().layer(layer);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("serving") });
        Self { url, io, state, task }
    }

    /// Says something to every agent.
    pub fn tell_all(&self, event: &str, payload: &Value) {
        for agent in &self.state.lock().expect("lock").agents {
            let _ = agent.emit(event, payload); // those that left do not count
        }
    }

    /// Closes every socket, as a restart does.
    pub async fn drop_sockets(&self) {
        let _ = self.io.of("/agent").expect("namespace").disconnect().await; // those that left do not count
    }
}

impl Drop for OxideHub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Shared = Arc<Mutex<State>>;

fn greet(socket: &SocketRef, auth: &Value, state: &Shared) {
    if auth["agentId"].is_null() || auth["token"].is_null() {
        let _ = socket.clone().disconnect();
        return;
    }
    let simple = |name: &'static str, act: fn(&mut State, &str, &Value)| {
        let state = Arc::clone(state);
        socket.on(name, move |Data(payload): Data<Value>| {
            let id = payload["connectionId"].as_str().unwrap_or_default().to_owned();
            act(&mut state.lock().expect("lock"), &id, &payload);
            ready_now()
        });
    };
    simple("dial_success", ready);
    simple("dial_error", |state, id, _| close(state, id, Side::Joiner));
    simple("data", |state, id, payload| pass(state, id, Side::Joiner, "reach_data", payload));
    simple("reach_data", |state, id, payload| pass(state, id, Side::Exposer, "data", payload));
    simple("fin", |state, id, payload| fin(state, id, Side::Joiner, "reach_fin", payload));
    simple("reach_fin", |state, id, payload| fin(state, id, Side::Exposer, "fin", payload));
    let shared = Arc::clone(state);
    socket.on("e2e_handshake", move |socket: SocketRef, Data(payload): Data<Value>| {
        relay(&shared.lock().expect("lock"), &socket, &payload);
        ready_now()
    });
    simple("close", |state, id, _| close(state, id, Side::Joiner));
    simple("reach_close", |state, id, _| close(state, id, Side::Exposer));
    socket.on("heartbeat", |ack: AckSender| {
        let _ = ack.send(&json!({"success": true})); // an agent that left does not wait
        ready_now()
    });
    let shared = Arc::clone(state);
    socket.on("expose", move |socket: SocketRef, Data(payload): Data<Value>, ack: AckSender| {
        let id = payload["serviceId"].as_str().unwrap_or_default().to_owned();
        shared.lock().expect("lock").exposers.insert(id, socket);
        let _ = ack.send(&json!({"success": true})); // an agent that left does not wait
        ready_now()
    });
    let shared = Arc::clone(state);
    socket.on("reach_connect", move |socket: SocketRef, Data(payload): Data<Value>, ack: AckSender| {
        let answer = reach(&mut shared.lock().expect("lock"), socket, &payload);
        let _ = ack.send(&answer); // an agent that left does not wait
        ready_now()
    });
    let mut state = state.lock().expect("lock");
    state.agents.push(socket.clone());
    let _ = socket.emit("connected", &json!({"message": "Connected to hub", "features": state.features}));
}

/// Handlers do their work before they return: the library runs what they return as tasks, in no order.
fn ready_now() -> Ready<()> {
    ready_future(())
}

#[derive(Clone, Copy)]
enum Side {
    Joiner,
    Exposer,
}

fn reach(state: &mut State, joiner: SocketRef, payload: &Value) -> Value {
    let service = payload["serviceId"].as_str().unwrap_or_default();
    let id = payload["connectionId"].as_str().unwrap_or_default().to_owned();
    let Some(exposer) = state.exposers.get(service).cloned() else {
        return json!({"success": false, "error": "Service not found"});
    };
    let mut dial =
        json!({"connectionId": id, "serviceId": service, "targetHost": "169.254.169.254", "targetPort": 80});
    let mut answer = json!({"success": true});
    if state.features.contains(&"e2e") {
        (dial["e2e"], answer["e2e"]) = (true.into(), true.into());
    }
    if !exposer.connected() || exposer.emit("dial", &dial).is_err() {
        return json!({"success": false, "error": "Exposing agent is not connected"});
    }
    state.bridges.insert(id, Bridge { joiner, exposer, ready: false, fins: 0 });
    answer
}

fn ready(state: &mut State, id: &str, payload: &Value) {
    if let Some(bridge) = state.bridges.get_mut(id) {
        bridge.ready = true;
        let _ = bridge.joiner.emit("reach_ready", payload); // a joiner that left does not wait
    }
}

/// Passes bytes on; those before readiness are lost, as at the vendor's hub.
fn pass(state: &mut State, id: &str, to: Side, event: &str, payload: &Value) {
    if let Some(bridge) = state.bridges.get(id)
        && bridge.ready
    {
        let peer = bridge.side(to);
        peer.emit(event, payload).expect("the queue of a test hub holds everything");
    }
}

/// Passes a handshake on to the other side.
fn relay(state: &State, from: &SocketRef, payload: &Value) {
    let Some(bridge) = payload["connectionId"].as_str().and_then(|id| state.bridges.get(id)) else { return };
    let to = if bridge.joiner.id == from.id { Side::Exposer } else { Side::Joiner };
    let _ = bridge.side(to).emit("e2e_handshake", payload); // a peer that left does not wait
}

fn fin(state: &mut State, id: &str, to: Side, event: &str, payload: &Value) {
    pass(state, id, to, event, payload);
    if let Some(bridge) = state.bridges.get_mut(id) {
        bridge.fins += 1;
        if bridge.fins == 2 {
            state.bridges.remove(id);
        }
    }
}

fn close(state: &mut State, id: &str, to: Side) {
    if let Some(bridge) = state.bridges.remove(id) {
        let event = match to {
            Side::Joiner => "reach_close",
            Side::Exposer => "close",
        };
        let _ = bridge.side(to).emit(event, &json!({"connectionId": id})); // a peer that left knows
    }
}

impl Bridge {
    fn side(&self, side: Side) -> &SocketRef {
        match side {
            Side::Joiner => &self.joiner,
            Side::Exposer => &self.exposer,
        }
    }
}
