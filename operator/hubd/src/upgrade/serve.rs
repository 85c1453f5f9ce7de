//! A joining agent's data connection: `open` by `open`, until one is allowed; then it is half of a bridge.

use std::sync::Arc;

use connect_frames::frame::{self, Kind, PING, Refused, RefusedCode};
use tokio::io::AsyncWriteExt as _;

use super::relay;
use crate::{
    agents::Session,
    core::Core,
    data::{
        Connection,
        pool::{Taken, Waiting},
        reader::OpenFrame,
    },
    limits::{DATA_REFUSAL_TIMEOUT, DATA_SIGN_AFTER, DATA_WANTED_TIMEOUT},
    reach::{self, DataBridge},
};

/// Why a stream is not begun.
type NotBegun = (RefusedCode, &'static str);

/// Serves the connection until it ends, its bridge is cut, or its socket goes.
pub async fn run(core: &Arc<Core>, joiner: &Arc<Session>, mut connection: Connection, waiting: Waiting) {
    let killed = connection.stream.killed.clone();
    let serving = async {
        loop {
            let Connection { reader, stream } = &mut connection;
            let Ok(OpenFrame { open, bytes }) = reader.open(&mut stream.socket).await else { return };
            let mut beginning =
                std::pin::pin!(begin(core, joiner, &open.connection_id, open.service_id, &bytes));
            let begun = match tokio::time::timeout(DATA_SIGN_AFTER, beginning.as_mut()).await {
                Ok(begun) => begun,
                Err(_) => {
                    // A joiner that hears nothing would take the connection for dead.
                    let saying = stream.socket.write_all(&PING);
                    let (said, begun) =
                        tokio::join!(tokio::time::timeout(DATA_REFUSAL_TIMEOUT, saying), beginning);
                    if !matches!(said, Ok(Ok(()))) {
                        return;
                    }
                    begun
                }
            };
            match begun {
                Ok((begun, exposer)) => {
                    drop(waiting);
                    relay::run(&begun, connection, exposer).await;
                    return;
                }
                Err((code, why)) => {
                    let refused = Refused { code, message: why.to_owned() };
                    let refusal = frame::message(Kind::Refused, &refused);
                    let writing = stream.socket.write_all(&refusal);
                    if !matches!(tokio::time::timeout(DATA_REFUSAL_TIMEOUT, writing).await, Ok(Ok(()))) {
                        return;
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = killed.cancelled() => {}
        () = joiner.data.gone().cancelled() => {}
        () = serving => {}
    }
}

/// Finds out whether the joiner may, and who serves it; the `open` is with the exposing agent then.
async fn begin(
    core: &Arc<Core>,
    joiner: &Arc<Session>,
    id: &str,
    service: uuid::Uuid,
    open: &[u8],
) -> Result<(DataBridge, Connection), NotBegun> {
    let (begun, exposer) =
        reach::reach_by_data(core, joiner, id, service).await.map_err(|why| (RefusedCode::Refused, why))?;
    let connection = tokio::select! {
        biased;
        () = begun.bridge.cut.cancelled() => return Err((RefusedCode::Refused, "Connection was closed")),
        connection = hand_over(&exposer, open) => connection?,
    };
    Ok((begun, connection))
}

/// Gives the `open` to the exposing agent.
async fn hand_over(exposer: &Session, open: &[u8]) -> Result<Connection, NotBegun> {
    if !exposer.features.data_connections {
        return Err((RefusedCode::Unsupported, "Exposing agent has no data connections"));
    }
    let unavailable = (RefusedCode::Unavailable, "Exposing agent has no data connection");
    let until = tokio::time::Instant::now() + DATA_WANTED_TIMEOUT;
    loop {
        let mut connection = match exposer.data.take() {
            Taken::Now(connection) => connection,
            Taken::Never => return Err(unavailable),
            Taken::Later(later) => {
                let _ = exposer.emit("data_wanted", &serde_json::json!({}), 0); // one that is gone ends the wait
                let later = tokio::time::timeout_at(until, later).await;
                later.ok().and_then(Result::ok).ok_or(unavailable)?
            }
        };
        let writing = connection.stream.socket.write_all(open);
        if matches!(tokio::time::timeout_at(until, writing).await, Ok(Ok(()))) {
            return Ok(connection);
        }
    }
}
