//! What passes on a hub's sockets: events, which have places and faults as calls have, and bytes, which pass as they are.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{accept_hdr_async, client_async};

use super::State;
use crate::faults::injection_point::{self, Said};
use crate::faults::plan::{DELAY, Fault};

/// Bytes carried at once.
const CHUNK: usize = 16 * 1024;

/// Passes a socket on message by message, until either end or a fault ends it.
pub(super) async fn events(state: &State, client: TcpStream, hub: SocketAddr) -> Result<()> {
    state.hangs_while_silent().await;
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let note_path = |request: &Request, answer: Response| -> Result<Response, ErrorResponse> {
        path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        Ok(answer)
    };
    let client = accept_hdr_async(client, note_path).await.context("it is no websocket")?;
    let stream = TcpStream::connect(hub).await.context("the hub is away")?;
    let (hub, _) = client_async(format!("ws://{hub}{path}"), stream).await.context("the hub refuses it")?;
    let ((mut to_client, mut from_client), (mut to_hub, mut from_hub)) = (client.split(), hub.split());
    let ended = tokio::select! {
        ended = pass(state, Said::ToHub, &mut from_client, &mut to_hub) => ended,
        ended = pass(state, Said::ByHub, &mut from_hub, &mut to_client) => ended,
    };
    // What one end has done is not felt at the other.
    state.hangs_while_silent().await;
    ended
}

async fn pass(
    state: &State,
    said: Said,
    from: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    to: &mut (impl Sink<Message, Error = Error> + Unpin),
) -> Result<()> {
    while let Some(message) = from.next().await {
        let message = message?;
        state.hangs_while_silent().await;
        let named = message.to_text().ok().and_then(|text| injection_point::of_socket_event(said, text));
        let fault = named.and_then(|name| {
            let (_, place) = state.note(name, false, &[]);
            state.strikes(&place)
        });
        match fault {
            None => to.send(message).await?,
            Some(Fault::Drop) => bail!("dropped"),
            Some(Fault::Lose) => {
                to.send(message).await?;
                bail!("lost");
            }
            Some(Fault::Duplicate) => {
                to.send(message.clone()).await?;
                to.send(message).await?;
            }
            Some(Fault::Garble) => {
                let text = message.to_text()?;
                let half = text.chars().take(text.chars().count() / 2).collect::<String>();
                to.send(Message::text(half)).await?;
            }
            Some(Fault::Delay) => {
                tokio::time::sleep(DELAY).await;
                to.send(message).await?;
            }
            Some(Fault::KillBefore) => {
                state.kill();
                bail!("killed");
            }
            Some(Fault::KillAfter) => {
                to.send(message).await?;
                state.kill();
                bail!("killed");
            }
            Some(fault @ (Fault::Refuse(_) | Fault::Hide)) => bail!("{fault:?} does not happen to events"),
        }
    }
    Ok(())
}

/// Passes a connection on as it is.
pub(super) async fn bytes(state: &State, mut client: TcpStream, hub: SocketAddr) -> Result<()> {
    state.hangs_while_silent().await;
    let mut hub = TcpStream::connect(hub).await.context("the hub is away")?;
    let ((mut from_client, mut to_client), (mut from_hub, mut to_hub)) = (client.split(), hub.split());
    let carried = tokio::try_join!(
        carry(state, &mut from_client, &mut to_hub),
        carry(state, &mut from_hub, &mut to_client)
    );
    // What one end has done is not felt at the other.
    state.hangs_while_silent().await;
    carried.map(|_| ()).context("the connection broke")
}

/// Carries bytes one way, and holds them up while nothing gets through.
async fn carry(
    state: &State,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await?;
        state.hangs_while_silent().await;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..count]).await?;
    }
}
