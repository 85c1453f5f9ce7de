//! Gateways in front of a hub, nginx and HAProxy (`lab tools` installs them): what they do to connections that rest, to
//! websockets and to data connections, and what is said about it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use connect_hub::Error;
use connect_hub::client::{Client, ClientOptions};
use connect_hub::dial::Obstacle;
use connect_tools::between;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::support::embedded::EmbeddedHub;
use crate::support::lab::{Hub, Lab, dial_echo};
use crate::support::services::{echo, exchange};
use crate::support::{tls, url, within};

/// How long these gateways let a connection rest: less than twice what a connection rests before it is pinged.
const PATIENCE: Duration = Duration::from_secs(14);

/// How often a gateway that starts is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A running gateway. It goes when this is dropped.
struct Gateway {
    address: SocketAddr,
    _folder: TempDir,
    _child: Child,
}

impl Gateway {
    async fn nginx(locations: &str) -> Self {
        Self::start(|folder, address| between::nginx(folder, address, locations)).await
    }

    async fn haproxy(rules: &str, backends: &str) -> Self {
        Self::start(|folder, address| between::haproxy(folder, address, PATIENCE, rules, backends)).await
    }

    async fn start(
        command: impl FnOnce(&Path, SocketAddr) -> std::io::Result<std::process::Command>,
    ) -> Self {
        let address = free().await;
        let folder = tempfile::tempdir().expect("a folder");
        let command = command(folder.path(), address).expect("written");
        let child =
            Command::from(command).stdout(Stdio::null()).kill_on_drop(true).spawn().expect(
                "nginx and haproxy are needed for this test: cargo run --bin lab -- tools installs them",
            );
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(LOOK).await;
            }
        };
        within("the gateway listens", listens).await;
        Self { address, _folder: folder, _child: child }
    }

    fn client(&self) -> Client {
        let options = ClientOptions { api_key: None, tls: tls() };
        Client::new(url(&format!("http://{}", self.address)), options).expect("a client")
    }

    /// The lab's own hub, which everybody reaches through this gateway.
    async fn lab(&self, mut hub: EmbeddedHub) -> Lab {
        hub.url = format!("http://{}", self.address);
        Lab::start(Hub::Embedded(hub)).await
    }
}

async fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    listener.local_addr().expect("is bound")
}

/// Takes connections, gives them these bytes and nothing more, and counts those of joiners.
struct Silent {
    address: SocketAddr,
    joiners: Arc<AtomicUsize>,
}

impl Silent {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("is bound");
        let joiners = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&joiners);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut head = [0; 2048];
                    let length = stream.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
                    counted.fetch_add(usize::from(head.contains("x-data-role: join")), Ordering::SeqCst);
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest).await;
                });
            }
        });
        Self { address, joiners }
    }

    fn joiners(&self) -> usize {
        self.joiners.load(Ordering::SeqCst)
    }
}

fn nginx_passes(hub: &EmbeddedHub) -> String {
    format!(
        "proxy_http_version 1.1; proxy_set_header Host $http_host;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $wish;\n\
         proxy_read_timeout {seconds}s; proxy_send_timeout {seconds}s;\n\
         location / {{ proxy_pass {}; }}",
        hub.url,
        seconds = PATIENCE.as_secs(),
    )
}

fn haproxy_passes(hub: &EmbeddedHub) -> String {
    format!("backend hub\n server hub {}", hub.hub.address())
}

/// A stream that rests outlives a gateway that has lost its patience with a request meanwhile.
async fn rests_longer_than_patience(gateway: &Gateway, lab: &Lab) {
    let route = lab.expose("share", "api", echo().await).await;
    let join = lab.join(vec![route]).await;
    let mut stream = dial_echo(&join, 0).await;
    let mut waiting = TcpStream::connect(gateway.address).await.expect("connects");
    waiting.write_all(b"GET /silence HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    let mut status = [0; 12];
    within("the gateway loses its patience", waiting.read_exact(&mut status)).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 504");
    assert_eq!(within("an echo", exchange(&mut stream, b"still here")).await, b"still here");
}

#[tokio::test]
async fn a_stream_that_rests_is_not_cut_by_nginx() {
    let (hub, silent) = (EmbeddedHub::start().await, Silent::start("").await);
    let locations =
        format!("{}\nlocation /silence {{ proxy_pass http://{}; }}", nginx_passes(&hub), silent.address);
    let gateway = Gateway::nginx(&locations).await;
    let lab = gateway.lab(hub).await;
    rests_longer_than_patience(&gateway, &lab).await;
}

#[tokio::test]
async fn a_stream_that_rests_is_not_cut_by_haproxy() {
    let (hub, silent) = (EmbeddedHub::start().await, Silent::start("").await);
    let backends = format!("{}\nbackend silence\n server silent {}", haproxy_passes(&hub), silent.address);
    let gateway = Gateway::haproxy(" use_backend silence if { path /silence }", &backends).await;
    let lab = gateway.lab(hub).await;
    rests_longer_than_patience(&gateway, &lab).await;
}

#[tokio::test]
async fn data_connections_that_hang_are_waited_for_once() {
    let upgraded =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: private-connect-data\r\n\r\n";
    for answer in ["", upgraded] {
        let (hub, silent) = (EmbeddedHub::start().await, Silent::start(answer).await);
        let backends =
            format!("{}\nbackend silence\n server silent {}", haproxy_passes(&hub), silent.address);
        let gateway = Gateway::haproxy(" use_backend silence if { path /v1/data }", &backends).await;
        let lab = gateway.lab(hub).await;
        let route = lab.expose("share", "api", echo().await).await;
        let join = lab.join(vec![route]).await;
        let mut first = dial_echo(&join, 0).await;
        let tried = silent.joiners();
        for _ in 0..8 {
            dial_echo(&join, 0).await;
        }
        // One more may be tried now and then, by nobody who waits for it.
        let again = silent.joiners() - tried;
        assert!(again <= 2, "{again} of 8 connections went the way that hangs: {answer:?}");
        assert_eq!(within("an echo", exchange(&mut first, b"as well")).await, b"as well");
    }
}

#[tokio::test]
async fn data_connections_that_lose_their_upgrade_are_done_without() {
    let hub = EmbeddedHub::start().await;
    let stripped = format!("location /v1/data {{ proxy_set_header Upgrade ''; proxy_pass {}; }}", hub.url);
    let gateway = Gateway::nginx(&format!("{}\n{stripped}", nginx_passes(&hub))).await;
    let lab = gateway.lab(hub).await;
    let route = lab.expose("share", "api", echo().await).await;
    let join = lab.join(vec![route]).await;
    dial_echo(&join, 0).await;
}

#[tokio::test]
async fn what_answers_in_place_of_the_hub_is_named_before_anything_is_used_up() {
    let hub = EmbeddedHub::start().await;
    let login = "location / { return 302 https://login.corp.example/?back=$request_uri; }";
    let page = "location / { default_type text/html; return 200 '<html>Please log in</html>'; }";
    let forbidden = "location / { default_type text/html; return 403 '<html>Blocked</html>'; }";
    for (locations, expected) in [
        (login, Obstacle::Redirect { to: "https://login.corp.example".into() }),
        (page, Obstacle::WebPage { status: 200 }),
        (forbidden, Obstacle::WebPage { status: 403 }),
    ] {
        let gateway = Gateway::nginx(locations).await;
        let error = within("an answer", gateway.client().health()).await.expect_err("no hub");
        assert!(matches!(&error, Error::Obstructed { obstacle, .. } if *obstacle == expected), "{error:?}");
        let error = within("an answer", gateway.client().check_way()).await.expect_err("no websocket");
        assert!(matches!(&error, Error::Obstructed { .. }), "{error:?}");
    }
    // A gateway that knows nothing of upgrades.
    let gateway = Gateway::nginx(&format!("location / {{ proxy_pass {}; }}", hub.url)).await;
    within("an answer", gateway.client().health()).await.expect("calls pass");
    let error = within("an answer", gateway.client().check_way()).await.expect_err("no websocket");
    let no_websocket = matches!(&error, Error::Obstructed { obstacle: Obstacle::NoWebSocket { .. }, .. });
    assert!(no_websocket, "{error:?}");
    // One that lets them hang.
    let silent = Silent::start("").await;
    let backends = format!("{}\nbackend silence\n server silent {}", haproxy_passes(&hub), silent.address);
    let gateway = Gateway::haproxy(" use_backend silence if { path_beg /socket.io }", &backends).await;
    within("an answer", gateway.client().health()).await.expect("calls pass");
    let error = within("an answer", gateway.client().check_way()).await.expect_err("no websocket");
    let no_websocket = matches!(&error, Error::Obstructed { obstacle: Obstacle::NoWebSocket { .. }, .. });
    assert!(no_websocket, "{error:?}");
}
