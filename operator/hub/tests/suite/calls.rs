//! HTTP calls and sockets against servers that are slow, talkative, or certified by somebody private; and what a person
//! gets to read, which is never a secret.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use connect_hub::Error;
use connect_hub::client::{Client, ClientOptions, NewRoute, NewShare, Revoked, Share, ShareEnd};
use connect_hub::identity::Identity;
use connect_hub::join::{Join, JoinEnd, JoinEvent, LocalRoute, Recheck, Timing};
use connect_hub::tunnel::{EndReason, ShareKey};
use connect_hub::tunnel::{Limits, Memory, Routes, SystemClock, Tunnel, TunnelConfig};
use futures::{SinkExt, StreamExt};
use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::support::lab::{API_KEY, Hub, Lab, dial_echo};
use crate::support::raw::OPEN;
use crate::support::services::{echo, ended, nobody};
use crate::support::{connected, event, fixed, tls, url, within};

fn client(hub: &str) -> Client {
    let options = ClientOptions { api_key: Some(API_KEY.into()), tls: tls() };
    Client::new(url(hub), options).expect("a client")
}

/// A server that answers every request with these bytes, and then says nothing more.
async fn answers(bytes: &'static [u8], times: usize) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await; // what is asked does not matter
                for _ in 0..times {
                    if stream.write_all(bytes).await.is_err() {
                        return; // the client has read enough
                    }
                }
                std::future::pending::<()>().await;
            });
        }
    });
    format!("http://{address}")
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    const HEAD_AND_CHUNK: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n[\"0123456789\", \"0123456789\"]";
    let hub = answers(HEAD_AND_CHUNK, 1 << 20).await;
    let error = within("the limit", client(&hub).services()).await.expect_err("too large");
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    assert!(chain(&error).contains("larger than"), "{}", chain(&error));
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_does_not_answer_is_left_at_the_deadline() {
    let hub = answers(b"", 0).await;
    let error = client(&hub).health().await.expect_err("no answer");
    assert!(matches!(error, Error::TimedOut { call: "read health", .. }), "{error:?}");
    assert_eq!((error.reason(), error.is_retryable()), ("HubUnreachable", true));
}

#[tokio::test]
async fn an_answer_of_another_shape_is_malformed_and_quotes_nothing() {
    let hub =
        answers(b"HTTP/1.1 200 OK\r\ncontent-length: 26\r\n\r\n{\"share\":{\"code\":\"secret\"}}", 1).await;
    let code = SecretString::from("hunter2");
    let error = client(&hub).preview(&code).await.expect_err("no preview");
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));
}

#[tokio::test]
async fn no_error_and_no_debug_output_holds_a_code_or_a_key() {
    let nobody = nobody().await;
    let client = client(&format!("http://{nobody}"));
    let code = SecretString::from("hunter2");
    let error = client.preview(&code).await.expect_err("nobody is there");
    let identity = Identity::generate();
    let recheck = Recheck { client: client.clone(), code: code.clone() };
    let shown = format!("{} {error:?} {client:?} {identity:?} {recheck:?}", chain(&error));
    assert!(!shown.contains("hunter2") && !shown.contains(API_KEY), "{shown}");
    assert!(error.to_string().starts_with("cannot connect to hub at http://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_text_that_can_be_no_code_is_answered_like_any_unknown_code() {
    let client = client("http://127.0.0.1:9");
    for text in ["", " ", "../agents", "abc/join", "a%2e", "ключ", "a b", "a\r\nx-api-key: y"] {
        let code = SecretString::from(text);
        let error = client.preview(&code).await.expect_err("no such share");
        assert_eq!((error.status(), error.reason()), (Some(404), "NotFound"), "{text}");
        let revoked = client.revoke_share(Uuid::new_v4(), &code).await;
        assert!(matches!(revoked, Ok(Revoked::Absent)), "{text}");
    }
}

#[tokio::test]
async fn a_private_certificate_is_trusted_for_calls_and_socket_when_named() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("self-signed");
    let hub = tls_hub(&made).await;
    let trusting = connect_hub::tls::client_config(Some(made.cert.pem().as_bytes())).expect("TLS");

    let with = |tls| Client::new(url(&hub), ClientOptions { api_key: None, tls }).expect("a client");
    let health = within("health", with(Arc::clone(&trusting)).health()).await.expect("trusted");
    assert_eq!(health.version.as_deref(), Some("7"));
    let error = within("health", with(tls()).health()).await.expect_err("not trusted");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");

    let config =
        TunnelConfig { url: url(&hub), tls: trusting, limits: Limits::default(), memory: Memory::default() };
    let tunnel = Tunnel::start(config, fixed(Identity::generate()), Routes::new(Arc::new(SystemClock)));
    connected(&tunnel).await;
}

/// A hub behind TLS: health for HTTP, a welcome for the socket.
async fn tls_hub(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let mut stream = BufReader::new(stream);
                let Ok(first) = stream.fill_buf().await else { return };
                if first.starts_with(b"GET /health ") {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"version\":\"7\"}";
                    let _ = stream.write_all(answer).await; // a client that left does not read
                    return;
                }
                let mut socket = tokio_tungstenite::accept_async(stream).await.expect("websocket");
                for frame in [OPEN, r#"40/agent,{"sid":"n"}"#, r#"42/agent,["connected",{}]"#] {
                    socket.send(Message::text(frame)).await.expect("sent");
                }
                while socket.next().await.is_some() {}
            });
        }
    });
    format!("https://localhost:{port}")
}

/// A share of this route, as a hub takes it that knows whole hours only.
fn an_hour_of(local: &LocalRoute) -> NewShare {
    let route = NewRoute {
        service_name: local.name.clone(),
        service_id: Some(local.service_id),
        target_host: local.name.clone(),
        target_port: 80,
        local_port: None,
        protocol: "tcp".into(),
    };
    NewShare { name: None, end: ShareEnd::Hours(1), max_joins: None, routes: vec![route] }
}

/// Somebody who shares a route at a hub that knows whole hours only.
struct Owner {
    client: Client,
    lab: Lab,
    local: LocalRoute,
    agent_id: Uuid,
}

impl Owner {
    async fn start() -> Self {
        let hub = Hub::node().await;
        let client = client(hub.url().as_str());
        let lab = Lab::start(hub).await;
        let local = lab.expose("one", "api", echo().await).await;
        let agent_id = lab.hub.identity().await.agent_id;
        Self { client, lab, local, agent_id }
    }

    /// A new share, and a join of it that asks the hub so often whether it still is.
    async fn joined(&self, recheck_interval: Duration) -> (Share, Join) {
        let new = an_hour_of(&self.local);
        let share = self.client.create_share(self.agent_id, &new, None).await.expect("created");
        let mut config = self.lab.join_config(vec![self.local.clone()]).await;
        config.recheck = Some(Recheck { client: self.client.clone(), code: share.code.clone() });
        let timing = Timing { recheck_interval, ..Timing::default() };
        let join = within("a join", Join::start_with(config, timing)).await.expect("joined");
        (share, join)
    }
}

#[tokio::test]
async fn an_idle_join_ends_at_the_time_that_the_other_end_told_though_the_hub_knows_hours_only() {
    let owner = Owner::start().await;
    let Owner { client, lab, agent_id, .. } = &owner;
    // So seldom that only what it was told can make it ask.
    let (share, mut join) = owner.joined(Duration::from_secs(3600)).await;
    let (mut over, ends_at) =
        (lab.routes.ended(), jiff::Timestamp::now() + jiff::SignedDuration::from_secs(8));
    lab.routes.set_end(&ShareKey("one".into()), ends_at);
    drop(dial_echo(&join, 0).await);
    let told = event(&mut join, "the end", |event| matches!(event, JoinEvent::Moved { .. })).await;
    let JoinEvent::Moved { ends_at: told } = told else { panic!("{told:?}") };
    assert!(told.duration_since(ends_at).abs() < jiff::SignedDuration::from_millis(1), "{told} {ends_at}");
    within("the end of the share", over.recv()).await.expect("told");
    client.revoke_share(*agent_id, &share.code).await.expect("revoked");
    let end = event(&mut join, "the end of the join", |event| matches!(event, JoinEvent::Ended { .. })).await;
    assert_eq!(end, JoinEvent::Ended { reason: JoinEnd::Expired });
}

#[tokio::test]
async fn a_hub_that_tells_nobody_about_ends_is_asked() {
    let owner = Owner::start().await;
    let Owner { client, lab, agent_id, .. } = &owner;
    // Asked often; or so seldom that only a refused connection makes it ask.
    for recheck_interval in [Duration::from_millis(20), Duration::from_secs(3600)] {
        let (share, mut join) = owner.joined(recheck_interval).await;
        let mut connection = dial_echo(&join, 0).await;

        client.revoke_share(*agent_id, &share.code).await.expect("revoked");
        lab.routes.end(&ShareKey("one".into()), EndReason::Expired);
        ended(&mut connection).await;
        let refused = tokio::net::TcpStream::connect(("127.0.0.1", join.routes()[0].port)).await;
        let end =
            event(&mut join, "the end of the join", |event| matches!(event, JoinEvent::Ended { .. })).await;
        // The hub says "revoked" to whatever the operator ended.
        assert_eq!(end, JoinEvent::Ended { reason: JoinEnd::Over });
        drop(refused);
        lab.routes.forget(&ShareKey("one".into()));
        lab.routes
            .set_end(&ShareKey("one".into()), jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1));
    }
}
