//! An API server that only does what a way through a cluster needs: one Service, one ready Pod, and the Pod's port over a
//! websocket in the protocol that kubectl's port-forward speaks.
//!
//! The control plane of the tests has no nodes, so its own API server has nobody to forward to.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};
use futures::{SinkExt, StreamExt};
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// The protocol: a message's first byte is its channel, and every channel begins with the port.
const PROTOCOL: &str = "v4.channel.k8s.io";

/// The channels of the only port: its bytes, and what went wrong with it.
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// Largest message, in bytes of the Pod.
const CHUNK: usize = 32 * 1024;

/// Where the API server listens; it ends with the runtime.
pub struct ApiServer {
    /// Its address.
    pub address: SocketAddr,
}

impl ApiServer {
    /// Serves the Service `hub`, port 3001, behind which a Pod is whatever listens at `target`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // A client that has gone is none of our business.
                    let _ = serve(stream, target).await;
                });
            }
        });
        Ok(Self { address })
    }

    /// A kubeconfig that means this server.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "it", "user": {}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        })
        .to_string()
    }
}

async fn serve(stream: TcpStream, target: SocketAddr) -> Result<()> {
    let mut head = [0; 256];
    let count = stream.peek(&mut head).await?;
    let line = String::from_utf8_lossy(&head[..count]).lines().next().unwrap_or_default().to_owned();
    let path = line.split(' ').nth(1).unwrap_or_default();
    match path.split('?').next().unwrap_or_default() {
        "/api/v1/namespaces/team/pods/hub-0/portforward" => forward(stream, target).await,
        "/api/v1/namespaces/team/services/hub" => answer(stream, 200, &service()).await,
        "/api/v1/namespaces/team/pods" => answer(stream, 200, &pods(target)).await,
        _ => answer(stream, 404, &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not here"})).await,
    }
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hub", "namespace": "team"},
        "spec": {"selector": {"app": "hub"}, "ports": [{"name": "hub", "port": 3001, "targetPort": "hub"}]},
    })
}

fn pods(target: SocketAddr) -> Value {
    let pod = |name: &str, ready: &str| {
        json!({
            "metadata": {"name": name, "namespace": "team"},
            "spec": {"containers": [{"name": "hub", "image": "hub", "ports": [{"name": "hub", "containerPort": target.port()}]}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    };
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod("hub-1", "False"), pod("hub-0", "True")]})
}

/// One request, one answer.
async fn answer(mut stream: TcpStream, status: u16, body: &Value) -> Result<()> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut read).await? == 0 {
            bail!("the client has gone");
        }
    }
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.context("the client has gone")
}

/// Carries bytes between the websocket and the target.
async fn forward(stream: TcpStream, target: SocketAddr) -> Result<()> {
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let accept = |_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
        Ok(response)
    };
    let (mut to_client, mut from_client) = tokio_tungstenite::accept_hdr_async(stream, accept).await?.split();
    let [low, high] = target.port().to_le_bytes();
    for channel in [DATA, ERROR] {
        to_client.send(Message::binary(vec![channel, low, high])).await?;
    }
    let (mut from_target, mut to_target) = TcpStream::connect(target).await?.into_split();
    let inward = async {
        while let Some(message) = from_client.next().await {
            match message? {
                Message::Binary(bytes) if bytes.first() == Some(&DATA) => {
                    to_target.write_all(&bytes[1..]).await?;
                }
                Message::Close(_) => break,
                _ => {}
            }
        }
        anyhow::Ok(())
    };
    let outward = async {
        loop {
            let mut message = vec![DATA];
            if from_target.read_buf(&mut bytes::BufMut::limit(&mut message, CHUNK)).await? == 0 {
                to_client.send(Message::Close(None)).await?;
                return anyhow::Ok(());
            }
            to_client.send(Message::binary(message)).await?;
        }
    };
    tokio::select! {
        ended = inward => ended,
        ended = outward => ended,
    }
}
