//! A hub that says exactly what a test wants, frame by frame.

use std::net::Ipv4Addr;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::within;

/// Waits for agents.
pub struct RawHub {
    pub url: String,
    listener: TcpListener,
}

/// One agent's socket, seen from the hub.
pub struct RawAgent {
    socket: WebSocketStream<TcpStream>,
    /// Whether a wish for a connection is answered with what the other end can: `None` as the vendor's hub does.
    pub peer_e2e: Option<bool>,
    /// Every text frame that came, one after the other.
    pub heard: String,
}

/// The open packet of the vendor's hub.
pub const OPEN: &str =
    r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

impl RawHub {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        Self { url, listener }
    }

    /// The next websocket, before anything was said.
    pub async fn accept_silently(&self) -> RawAgent {
        let (stream, _) = within("an agent", self.listener.accept()).await.expect("accepted");
        let socket = within("a websocket", tokio_tungstenite::accept_async(stream)).await.expect("websocket");
        RawAgent { socket, peer_e2e: Some(false), heard: String::new() }
    }

    /// The next agent, welcomed; `features` is what the hub says it can do.
    pub async fn accept(&self, features: &[&str]) -> RawAgent {
        let mut agent = self.accept_silently().await;
        agent.send(OPEN).await;
        let join = agent.receive().await.expect("the agent joins");
        assert!(join.starts_with("40/agent,{"), "{join}");
        agent.send(r#"40/agent,{"sid":"n"}"#).await;
        agent.emit("connected", &json!({"message": "Connected to hub", "features": features})).await;
        agent
    }
}

impl RawAgent {
    pub async fn send(&mut self, frame: &str) {
        self.socket.send(Message::text(frame)).await.expect("sent");
    }

    /// For what may be too much for the agent.
    pub async fn try_send(&mut self, frame: &str) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.socket.send(Message::text(frame)).await
    }

    pub async fn send_message(&mut self, message: Message) {
        self.socket.send(message).await.expect("sent");
    }

    pub async fn emit(&mut self, event: &str, payload: &Value) {
        self.send(&format!("42/agent,[\"{event}\",{payload}]")).await;
    }

    /// The next text frame; `None` when the agent left.
    pub async fn receive(&mut self) -> Option<String> {
        within("a frame of the agent", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        self.heard.push_str(&text);
                        return Some(text.to_string());
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        })
        .await
    }

    /// The next event and its payload, heartbeats aside. Answers what wants an answer.
    pub async fn event(&mut self) -> (String, Value) {
        loop {
            let (name, payload) = self.any_event("an event").await;
            if name != "heartbeat" {
                return (name, payload);
            }
        }
    }

    /// The payload of the next event with this name. Answers what wants an answer on the way.
    pub async fn expect(&mut self, wanted: &str) -> Value {
        loop {
            let (name, payload) = self.any_event(wanted).await;
            if name == wanted {
                return payload;
            }
        }
    }

    async fn any_event(&mut self, wanted: &str) -> (String, Value) {
        loop {
            let frame = self.receive().await.unwrap_or_else(|| panic!("the agent left before {wanted}"));
            let Some(event) = frame.strip_prefix("42/agent,") else { continue };
            let start = event.find('[').expect("an array");
            let (id, array) = event.split_at(start);
            if !id.is_empty() {
                let answer = json!({"success": true, "e2e": self.peer_e2e});
                self.send(&format!("43/agent,{id}[{answer}]")).await;
            }
            let array: Value = serde_json::from_str(array).expect("JSON");
            return (array[0].as_str().expect("a name").to_owned(), array[1].clone());
        }
    }
}
