//! A hub on a free port, HTTP by hand, and an agent that speaks the recorded frames by hand, so that no client of ours
//! can share a mistake with the hub.

use std::{collections::VecDeque, path::Path, sync::Arc, time::Duration};

use connect_hub::tls::client_config;
use connect_hubd::{Hub, HubConfig, Limits, TlsFiles};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};
use uuid::Uuid;

/// How long a state may take to come: far more than it does, also on a machine that is busy compiling.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// The key of workspace `lab`.
pub const KEY: &str = "pc_000000000000000000000000000000000000000000000001";
/// The key of another workspace.
pub const OTHER_KEY: &str = "pc_000000000000000000000000000000000000000000000002";

/// A hub with its data in a folder that goes with it.
pub struct TestHub {
    pub hub: Hub,
    pub data: TempDir,
    pub url: String,
    /// Whom a client of this hub trusts.
    pub trust: Arc<rustls::ClientConfig>,
    http: reqwest::Client,
}

/// An answer: its status, its body, its headers.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub headers: reqwest::header::HeaderMap,
}

/// An agent that is registered, with what it needs to ask and to connect.
#[derive(Debug, Clone)]
pub struct Agent {
    pub id: Uuid,
    pub token: String,
    pub key: &'static str,
}

/// A socket whose frames are written and read by hand.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Events that came while another was waited for.
    early: VecDeque<(String, Value)>,
    next_ack: u64,
    /// What came with `connected`.
    pub welcome: Value,
}

/// A data connection whose frames are written and read by hand.
pub struct Data(pub TcpStream);

// === impl TestHub ===

impl TestHub {
    pub async fn start() -> Self {
        Self::with_limits(Limits::default()).await
    }

    pub async fn with_limits(limits: Limits) -> Self {
        Self::over(tempfile::tempdir().expect("a folder"), limits).await
    }

    /// A hub over data that are there.
    pub async fn over(data: TempDir, limits: Limits) -> Self {
        let hub = start(data.path(), limits, None).await;
        hub.ensure_api_key("lab", "test", KEY).await.expect("imports a key");
        hub.ensure_api_key("other", "test", OTHER_KEY).await.expect("imports a key");
        let url = format!("http://{}", hub.address());
        let http = http();
        Self { hub, data, url, trust: client_config(None).expect("roots"), http }
    }

    /// A hub with a certificate of its own.
    pub async fn with_tls() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("makes a certificate");
        let files = TlsFiles { certificate: data.path().join("tls.crt"), key: data.path().join("tls.key") };
        std::fs::write(&files.certificate, made.cert.pem()).expect("writes");
        std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("writes");
        let http = http();
        let hub = start(data.path(), Limits::default(), Some(files)).await;
        hub.ensure_api_key("lab", "test", KEY).await.expect("imports a key");
        let url = format!("https://{}", hub.address());
        let trust = client_config(Some(made.cert.pem().as_bytes())).expect("a root");
        Self { hub, data, url, trust, http }
    }

    /// Stops and starts again over the same data.
    pub async fn restart(self) -> Self {
        let Self { hub, data, .. } = self;
        hub.stop().await;
        Self::over(data, Limits::default()).await
    }

    /// One request. `headers` beyond the content type.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(|body| serde_json::to_vec(body).expect("JSON"));
        self.ask_raw(method, path, headers, body).await
    }

    pub async fn ask_raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Answer {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.url)).timeout(PATIENCE);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: not JSON: {text}"));
        Answer { status, body, headers }
    }

    /// A new agent of the key's workspace.
    pub async fn agent(&self, key: &'static str) -> Agent {
        let agent = Agent { id: Uuid::new_v4(), token: Uuid::new_v4().simple().to_string().repeat(2), key };
        let body = json!({"agentId": agent.id, "token": agent.token, "label": "test agent"});
        let answer = self.ask("POST", "/v1/agents/register", &[("x-api-key", key)], Some(&body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        agent
    }

    /// A request as an agent.
    pub async fn ask_as(&self, agent: &Agent, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let id = agent.id.to_string();
        self.ask(method, path, &[("x-api-key", agent.key), ("x-agent-id", &id)], body).await
    }

    /// A new service of the agent.
    pub async fn service(&self, agent: &Agent, name: &str, reach: &str) -> Uuid {
        let body = json!({"agentId": agent.id, "name": name, "targetHost": "10.0.0.1", "targetPort": 5432,
                          "protocol": "tcp", "reach": reach});
        let answer = self.ask_as(agent, "POST", "/v1/services/register", Some(&body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["service"]["id"].as_str().expect("an id").parse().expect("a UUID")
    }

    /// A new share of the agent with a route to each service, and whatever else `extra` asks for.
    pub async fn share(&self, agent: &Agent, services: &[Uuid], extra: Value) -> Value {
        let mut body = json!({"routes": services.iter().map(|id| route(*id)).collect::<Vec<_>>()});
        for (field, value) in extra.as_object().expect("an object") {
            body[field] = value.clone();
        }
        let answer = self.ask_as(agent, "POST", "/v1/env-shares", Some(&body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body["share"].clone()
    }

    /// Joins with the code alone.
    pub async fn join_as_guest(&self, code: &Value) -> Agent {
        let path = format!("/v1/env-shares/{}/join", code.as_str().expect("a code"));
        let answer = self.ask("POST", &path, &[], Some(&json!({"agentLabel": "guest laptop"}))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let text = |field: &str| answer.body["agent"][field].as_str().expect("is there").to_owned();
        Agent { id: text("agentId").parse().expect("a UUID"), token: text("token"), key: "" }
    }

    /// A socket of the agent, heard `connected` already, that understands everything this hub does.
    pub async fn connect(&self, agent: &Agent) -> Socket {
        self.connect_with(agent, &["half-close", "share-events", "data-connections"]).await
    }

    pub async fn connect_with(&self, agent: &Agent, features: &[&str]) -> Socket {
        let mut socket = Socket::open(&self.url).await;
        let auth = json!({"agentId": agent.id, "token": agent.token, "features": features});
        socket.send(&format!("40/agent,{auth}")).await;
        assert!(socket.frame().await.expect("open").starts_with("40/agent,{\"sid\":"));
        socket.welcome = socket.event("connected").await;
        socket
    }
}

/// A hub over a folder.
pub async fn start(data: &Path, limits: Limits, tls: Option<TlsFiles>) -> Hub {
    connect_hubd::init(data).await.expect("a folder for a hub"); // certificates may lie there
    let listen = "127.0.0.1:0".parse().expect("an address");
    let config = HubConfig { listen, public_url: None, data: data.to_owned(), limits };
    Hub::start_with_tls(config, tls).await.expect("starts")
}

pub fn http() -> reqwest::Client {
    // An error means that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// A route as a maker gives it.
pub fn route(service: Uuid) -> Value {
    json!({"serviceName": "db", "serviceId": service, "targetHost": "10.0.0.1", "targetPort": 5432,
           "localPort": 15432, "protocol": "tcp"})
}

// === impl Socket ===

impl Socket {
    /// A websocket on which the engine has been opened and no namespace joined.
    pub async fn open(url: &str) -> Self {
        let url = format!("{}/socket.io/?EIO=4&transport=websocket", url.replacen("http", "ws", 1));
        let (stream, _) = tokio_tungstenite::connect_async(url).await.expect("connects");
        let mut socket = Self { stream, early: VecDeque::new(), next_ack: 0, welcome: Value::Null };
        assert!(socket.frame().await.expect("open").starts_with("0{"));
        socket
    }

    pub async fn send(&mut self, frame: &str) {
        self.try_send(frame).await.expect("sends");
    }

    pub async fn try_send(&mut self, frame: &str) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        self.stream.send(Message::text(frame)).await
    }

    /// The next frame that is no ping, which is answered; `None` when the websocket is closed.
    pub async fn frame(&mut self) -> Option<String> {
        // A ping is no answer: the hub's pings must not keep a hopeless wait alive.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let message =
                tokio::time::timeout_at(deadline, self.stream.next()).await.expect("a frame in time")?;
            match message {
                // The hub may have closed after it had sent the ping.
                Ok(Message::Text(text)) if text.as_str() == "2" => self.try_send("3").await.ok()?,
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn emit(&mut self, event: &str, payload: Value) {
        self.send(&format!("42/agent,{}", json!([event, payload]))).await;
    }

    /// Emits and returns the acknowledgement.
    pub async fn call(&mut self, event: &str, payload: Value) -> Value {
        self.next_ack += 1;
        let id = self.next_ack;
        self.send(&format!("42/agent,{id}{}", json!([event, payload]))).await;
        let prefix = format!("43/agent,{id}");
        loop {
            let frame = self.frame().await.expect("open");
            if let Some(reply) = frame.strip_prefix(&prefix) {
                let reply: Value = serde_json::from_str(reply).expect("JSON");
                return reply[0].clone();
            }
            self.keep(&frame);
        }
    }

    /// The payload of the next event of this name; others are kept.
    pub async fn event(&mut self, name: &str) -> Value {
        if let Some(at) = self.early.iter().position(|(early, _)| early == name) {
            return self.early.remove(at).expect("is there").1;
        }
        loop {
            let frame = self.frame().await.unwrap_or_else(|| panic!("closed while waiting for {name}"));
            self.keep(&frame);
            if self.early.back().is_some_and(|(last, _)| last == name) {
                return self.early.pop_back().expect("is there").1;
            }
        }
    }

    /// The next event, whatever it is.
    pub async fn any_event(&mut self) -> (String, Value) {
        loop {
            if let Some(event) = self.early.pop_front() {
                return event;
            }
            let frame = self.frame().await.expect("open");
            self.keep(&frame);
        }
    }

    /// Nothing else has come before the hub answers one more question: what it did until then sent us no event.
    pub async fn expect_silence(&mut self) {
        self.call("heartbeat", Value::Null).await;
        assert_eq!(self.early, [], "unexpected events");
    }

    fn keep(&mut self, frame: &str) {
        let Some(event) = frame.strip_prefix("42/agent,") else { return };
        let event: Value = serde_json::from_str(event).expect("JSON");
        self.early.push_back((event[0].as_str().expect("a name").to_owned(), event[1].clone()));
    }

    /// Begins a bridge and returns its id and what the hub said.
    pub async fn reach(&mut self, service: Uuid) -> (String, Value) {
        let id = Uuid::new_v4().to_string();
        let reply = self.call("reach_connect", json!({"connectionId": id, "serviceId": service})).await;
        (id, reply)
    }

    pub async fn close(mut self) {
        self.stream.close(None).await.expect("closes");
    }

    /// The stream itself, for whoever wants to be rude.
    pub fn into_stream(self) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        self.stream
    }
}

// === impl Data ===

impl Data {
    pub const OPEN: u8 = 1;
    pub const READY: u8 = 2;
    pub const REFUSED: u8 = 3;
    pub const DATA: u8 = 4;
    pub const FIN: u8 = 5;
    pub const PING: u8 = 6;

    /// The connection after its upgrade, or the status of the answer.
    pub async fn ask(hub: &TestHub, agent: Uuid, ticket: &str, role: &str) -> Result<Self, u16> {
        let mut stream = TcpStream::connect(hub.hub.address()).await.expect("connects");
        let request = format!(
            "GET /v1/data HTTP/1.1\r\nhost: hub\r\nconnection: upgrade\r\nupgrade: private-connect-data\r\n\
             x-agent-id: {agent}\r\nx-data-ticket: {ticket}\r\nx-data-role: {role}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("the head of an answer", stream.read_u8()).await.expect("an answer"));
        }
        let status = String::from_utf8(head).expect("text")[9..12].parse().expect("a status");
        if status == 101 { Ok(Self(stream)) } else { Err(status) }
    }

    /// A connection that belongs to the socket.
    pub async fn of(hub: &TestHub, agent: &Agent, socket: &Socket, role: &str) -> Self {
        let ticket = socket.welcome["dataTicket"].as_str().expect("a ticket");
        Self::ask(hub, agent.id, ticket, role).await.expect("an upgrade")
    }

    pub async fn send(&mut self, kind: u8, payload: &[u8]) {
        let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
        self.0.write_all(&[&[kind, a, b, c], payload].concat()).await.expect("writes");
    }

    pub async fn open(&mut self, service: Uuid) -> Value {
        let open = json!({"connectionId": Uuid::new_v4(), "serviceId": service});
        self.send(Self::OPEN, open.to_string().as_bytes()).await;
        open
    }

    /// The next frame; `None` when the connection has ended.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let mut header = [0; 4];
            self.0.read_exact(&mut header).await.ok()?;
            let [kind, a, b, c] = header;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((kind, payload))
        };
        within("a frame", read).await
    }

    /// The next frame, which holds this message.
    pub async fn message(&mut self, kind: u8) -> Value {
        let (got, payload) = self.frame().await.expect("a frame");
        assert_eq!(got, kind);
        serde_json::from_slice(&payload).expect("JSON")
    }
}

/// What comes before anybody loses patience.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// A bridge between two sockets, ready.
pub async fn bridge(joiner: &mut Socket, exposer: &mut Socket, service: Uuid) -> String {
    let (id, reply) = joiner.reach(service).await;
    assert_eq!(reply["success"], true, "{reply}");
    let dial = exposer.event("dial").await;
    assert_eq!(dial["connectionId"], json!(id));
    exposer.emit("dial_success", json!({"connectionId": id})).await;
    assert_eq!(joiner.event("reach_ready").await, json!({"connectionId": id}));
    id
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, poll).await.is_ok(), "never: {what}");
}
