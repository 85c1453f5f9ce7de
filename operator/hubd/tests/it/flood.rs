//! Floods from one address, and people at another one who notice nothing. What they cost is read from the kernel.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _, future::join_all};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::watch,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use uuid::Uuid;

use crate::{
    process::{Process, key},
    support::{KEY, TestHub, eventually, http, within},
};

/// Where the flood comes from.
const FLOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// Where people are.
const PEOPLE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Connections of each kind; all kinds together are more than one address may have.
const CONNECTIONS: usize = 250;
const JOINERS: usize = 50;
/// Connections of one kind that are measured, and some before them; together not more than one address may have.
const MANY: usize = 900;
const FIRST: usize = 100;
/// What one stranger may cost while it asks for something or upgrades: see the hub's limits.
const UNPROVEN_KIB: u64 = 32;
/// What a stranger may cost, and how many of them one address may have: see the hub's limits.
const STRANGER_KIB: u64 = 16;
const STRANGERS: u64 = 1024;
/// What people who have joined may cost, and what the allocator keeps of what passed through.
const OTHERS_KIB: u64 = 16 * 1024;

const UPGRADE: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: hub\r\nconnection: upgrade\r\n\
                       upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

async fn connect(source: Ipv4Addr, hub: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(hub).await
}

/// Everything that strangers were seen to send, or might.
fn rude() -> Vec<(&'static str, Vec<u8>)> {
    let head = |bytes: usize| format!("GET /health HTTP/1.1\r\nx: {}", "y".repeat(bytes)).into_bytes();
    let frame = [&[0x82, 0xff][..], &900_000_u64.to_be_bytes(), &[0; 4], &[0; 200_000]].concat();
    let body = "POST /v1/agents/heartbeat HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\n";
    vec![
        ("nothing", Vec::new()),
        ("a head that never ends", head(6000)),
        ("a head of 400 KB", head(400_000)),
        ("requests without reading", b"GET /health HTTP/1.1\r\nhost: hub\r\n\r\n".repeat(5000)),
        ("a body that never ends", format!("{body}content-length: 4000\r\n\r\n{{").into_bytes()),
        (
            "a body of 100 KB",
            format!("{body}content-length: 100000\r\n\r\n{}", " ".repeat(99_999)).into_bytes(),
        ),
        ("an upgrade that proves nothing", UPGRADE.into()),
        ("an upgrade that sends a lot", [UPGRADE.as_bytes(), &frame].concat()),
    ]
}

/// Opens the connections of one kind, sends what there is to send, and keeps them.
async fn flood(hub: SocketAddr, bytes: &[u8]) -> Vec<TcpStream> {
    flood_of(CONNECTIONS, hub, bytes).await
}

/// As [`flood`], of so many connections.
async fn flood_of(count: usize, hub: SocketAddr, bytes: &[u8]) -> Vec<TcpStream> {
    let one = async || {
        let mut stream = connect(FLOOD, hub).await.ok()?;
        // The hub may close while it is being sent, or stop to read.
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.write_all(bytes)).await;
        Some(stream)
    };
    join_all((0..count).map(|_| one())).await.into_iter().flatten().collect()
}

/// Asks for something in the way that `curl` does, from where people are.
async fn ask(hub: SocketAddr, method: &str, path: &str, headers: &str, body: &Value) -> Value {
    let mut stream = connect(PEOPLE, hub).await.expect("connects");
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n{headers}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 20"), "{answer}");
    serde_json::from_str(body).expect("JSON")
}

/// Joins with a code alone and proves it: what a teammate does.
async fn join(hub: SocketAddr, code: &str) -> WebSocketStream<TcpStream> {
    let joined = ask(hub, "POST", &format!("/v1/env-shares/{code}/join"), "", &json!({})).await;
    let stream = connect(PEOPLE, hub).await.expect("connects");
    let url = format!("ws://{hub}/socket.io/?EIO=4&transport=websocket");
    let (mut socket, _) =
        within("an upgrade", tokio_tungstenite::client_async(url, stream)).await.expect("upgrades");
    let auth = json!({"agentId": joined["agent"]["agentId"], "token": joined["agent"]["token"]});
    socket.send(Message::text(format!("40/agent,{auth}"))).await.expect("sends");
    let connected = async { while !said(&mut socket).await.starts_with("42/agent,[\"connected\"") {} };
    within("a welcome", connected).await;
    socket
}

/// The next frame that is no ping, which is answered.
async fn said(socket: &mut WebSocketStream<TcpStream>) -> String {
    loop {
        let message = socket.next().await.expect("open").expect("a frame");
        match message.into_text().expect("text").as_str() {
            "2" => socket.send(Message::text("3")).await.expect("still open"),
            other => return other.to_owned(),
        }
    }
}

/// Stays joined until `over`, and then still is.
async fn stay(mut socket: WebSocketStream<TcpStream>, mut over: watch::Receiver<bool>) {
    tokio::select! {
        frame = said(&mut socket) => panic!("nobody has anything to say: {frame}"),
        over = over.wait_for(|over| *over) => if over.is_err() { return },
    }
    socket.send(Message::text("42/agent,7[\"heartbeat\"]")).await.expect("still open");
    assert_eq!(within("an answer", said(&mut socket)).await, "43/agent,7[{\"success\":true}]");
}

/// A figure of a process in KiB, as the kernel has it.
fn memory(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("readable");
    let line = status.lines().find(|line| line.starts_with(name)).expect("is there");
    line.split_whitespace().nth(1).and_then(|figure| figure.parse().ok()).expect("a figure")
}

/// How many connections a process has open, its listener and its own pairs of sockets included.
fn connections(process: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).expect("readable").flatten();
    let opened = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    opened.filter(|file| file.to_string_lossy().starts_with("socket:")).count()
}

/// The address of a hub's process.
fn address(process: &Process) -> SocketAddr {
    process.url.split_once("://").expect("a URL").1.parse().expect("an address")
}

/// Lets this process, and those that it starts, have as many files as the system allows.
fn allow_many_files() {
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, {
        let maximum = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        rustix::process::Rlimit { current: maximum, maximum }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_stranger_costs_what_the_limits_say() {
    allow_many_files();
    let mut costs = Vec::new();
    for (kind, bytes) in rude() {
        let data = tempfile::tempdir().expect("a folder");
        let _ = key(data.path(), &["create", "--workspace", "team"]);
        let process = Process::serve(data.path(), &[]);
        let hub = address(&process);
        // What the first ones cost is there once.
        let first = flood_of(FIRST, hub, &bytes).await;
        let before = memory(process.id(), "VmHWM");
        let rest = flood_of(MANY, hub, &bytes).await;
        assert_eq!(rest.len(), MANY);
        costs.push((kind, (memory(process.id(), "VmHWM") - before) as f64 / MANY as f64));
        drop((first, rest));
    }
    assert!(costs.iter().all(|(_, each)| *each <= UNPROVEN_KIB as f64), "KiB each: {costs:?}");
    println!("KiB each: {costs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_costs_little_and_keeps_nobody_out() {
    allow_many_files();
    let data = tempfile::tempdir().expect("a folder");
    let (_, printed) = key(data.path(), &["create", "--workspace", "team"]);
    let process = Process::serve(data.path(), &[]);
    let (hub, id) = (address(&process), Uuid::new_v4());
    let headers = format!("x-api-key: {}\r\nx-agent-id: {id}\r\n", printed.trim());
    let register = json!({"agentId": id, "token": "t".repeat(64)});
    ask(hub, "POST", "/v1/agents/register", &headers, &register).await;
    let share = json!({"expiresAt": "2999-01-01T00:00:00Z"});
    let share = ask(hub, "POST", "/v1/env-shares", &headers, &share).await;
    let code = share["share"]["code"].as_str().expect("a code").to_owned();
    join(hub, &code).await.close(None).await.expect("closes");
    let (before, others) = (memory(process.id(), "VmRSS"), connections(process.id()));

    let kinds = rude();
    let floods = join_all(kinds.iter().map(|(_, bytes)| flood(hub, bytes)));
    let joiners = join_all((0..JOINERS).map(|_| join(hub, &code)));
    let (over, told) = watch::channel(false);
    let staying = async {
        let joined = joiners.await.into_iter();
        joined.map(|joiner| tokio::spawn(stay(joiner, told.clone()))).collect::<Vec<_>>()
    };
    let (floods, staying) = tokio::join!(floods, staying);
    let peak = memory(process.id(), "VmHWM");
    let allowed = STRANGER_KIB * STRANGERS + OTHERS_KIB;
    assert!(peak - before <= allowed, "{before} KiB before, {peak} KiB at the peak");

    // Nobody reads, nobody goes on: the hub alone ends them.
    eventually("the flood is over", async || connections(process.id()) <= others + JOINERS).await;
    over.send_replace(true);
    for joiner in staying {
        joiner.await.expect("stayed");
    }
    drop(floods);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_hang_are_given_up() {
    let _ = http(); // installs the provider
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, private) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("makes a certificate");
    std::fs::write(&certificate, made.cert.pem()).expect("writes");
    std::fs::write(&private, made.signing_key.serialize_pem()).expect("writes");
    let flags =
        ["--tls-cert", certificate.to_str().expect("text"), "--tls-key", private.to_str().expect("text")];
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder of its own");
    let process = Process::serve(&data, &flags);
    let port = address(&process).port();
    let hub = (Ipv4Addr::LOCALHOST, port).into();
    let (before, others) = (memory(process.id(), "VmRSS"), connections(process.id()));

    // The beginning of a greeting, and one of 60 KB in records of 16 KB of which the last one lacks.
    let begun = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let record = |bytes: &[u8]| [&[0x16, 3, 1][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let first = [&[1, 0, 0xea, 0x60][..], &[3; 16_000]].concat();
    let long = [record(&first), record(&[0; 16_000]), record(&[0; 16_000])].concat();
    let floods = tokio::join!(flood(hub, &begun), flood(hub, &long), flood(hub, b""));
    let client = reqwest::Client::builder().no_proxy().local_address(Some(PEOPLE.into()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("adds");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = client.tls_backend_preconfigured(config).build().expect("a client");
    let health = within("an answer", client.get(format!("https://localhost:{port}/health")).send()).await;
    assert_eq!(health.expect("an answer").status(), 200);
    let peak = memory(process.id(), "VmHWM");
    let allowed = STRANGER_KIB * 3 * CONNECTIONS as u64 + OTHERS_KIB;
    assert!(peak - before <= allowed, "{before} KiB before, {peak} KiB at the peak");
    drop(client);
    eventually("the flood is over", async || connections(process.id()) <= others + 1).await;
    drop(floods);
}

/// Everything that the hub says over one connection until it closes it.
async fn hear(hub: &TestHub, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(hub.hub.address()).await.expect("connects");
    stream.write_all(bytes).await.expect("writes");
    let mut heard = Vec::new();
    // It may reset what it has not read; what it said before has arrived.
    let _ = within("the end", stream.read_to_end(&mut heard)).await;
    String::from_utf8(heard).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_is_refused_and_strangers_do_not_ask_for_ever() {
    let hub = TestHub::start().await;
    let long = format!("GET /health HTTP/1.1\r\nhost: hub\r\nx: {}\r\n\r\n", "y".repeat(9000));
    assert!(hear(&hub, long.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let fits =
        format!("GET /health HTTP/1.1\r\nhost: hub\r\nconnection: close\r\nx: {}\r\n\r\n", "y".repeat(7000));
    assert!(hear(&hub, fits.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    let body = json!({"agentId": Uuid::new_v4(), "token": "t".repeat(5000)});
    let answer = hub.ask("POST", "/v1/agents/heartbeat", &[], Some(&body)).await;
    assert_eq!((answer.status, &answer.body["message"]), (413, &json!("request entity too large")));

    let anonymous = "GET /health HTTP/1.1\r\nhost: hub\r\n\r\n".repeat(40);
    let heard = hear(&hub, anonymous.as_bytes()).await;
    assert_eq!(heard.matches("HTTP/1.1 200 ").count(), 16, "{heard}");
    assert_eq!(heard.matches("connection: close").count(), 1);
    let known = format!("GET /v1/workspace HTTP/1.1\r\nhost: hub\r\nx-api-key: {KEY}\r\n\r\n").repeat(40);
    let last = "GET /health HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n";
    let heard = hear(&hub, format!("{known}{last}").as_bytes()).await;
    assert_eq!(heard.matches("HTTP/1.1 200 ").count(), 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_waited_for_ten_seconds_on_a_kept_connection_too() {
    let hub = TestHub::start().await;
    let mut stream = TcpStream::connect(hub.hub.address()).await.expect("connects");
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: hub\r\n\r\nGET /hea").await.expect("writes");
    let mut heard = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut heard)).await;
    assert!(String::from_utf8_lossy(&heard).starts_with("HTTP/1.1 200 "));
    // One that rests is left alone meanwhile.
    let mut resting = TcpStream::connect(hub.hub.address()).await.expect("connects");
    resting.write_all(b"GET /health HTTP/1.1\r\nhost: hub\r\n\r\n").await.expect("writes");
    let mut began = TcpStream::connect(hub.hub.address()).await.expect("connects");
    began.write_all(b"GET /health HTTP/1.1\r\n").await.expect("writes");
    let _ = within("the end", began.read_to_end(&mut heard)).await;
    let mut answer = [0; 4096];
    let length = resting.read(&mut answer).await.expect("an answer");
    assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
    assert!(resting.read(&mut answer).now_or_never().is_none(), "still open");
}
