//! A relay in front of a hub that notes what is asked of it over HTTP. It changes no byte.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Bytes relayed at once.
const CHUNK: usize = 16 * 1024;

/// The longest start of a line that is kept until its end comes: request lines are far shorter.
const LONGEST_LINE: usize = 64 * 1024;

/// How every request line ends.
const VERSION: &str = " HTTP/1.1\r";

/// The methods that hubs know.
const METHODS: [&str; 4] = ["GET /", "POST /", "PATCH /", "DELETE /"];

/// A relay; it ends when this value is dropped.
pub struct RecordingProxy {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    heard: Arc<Mutex<Vec<u8>>>,
    accepting: JoinHandle<()>,
}

impl RecordingProxy {
    /// Relays to the hub at this URL.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(hub: &str) -> Result<Self> {
        let hub = hub.strip_prefix("http://").context("the hub speaks http on this machine")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port")?;
        let url = format!("http://{}", listener.local_addr().context("it has an address")?);
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (noted, kept) = (requests.clone(), heard.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (hub, noted, kept) = (hub.clone(), noted.clone(), kept.clone());
                // A connection that breaks is the business of its two ends.
                tokio::spawn(async move { relay(client, &hub, &noted, &kept).await.ok() });
            }
        });
        Ok(Self { url, requests, heard, accepting })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything that was said to the hub so far, connections one among the other: HTTP as it is, WebSockets masked.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was asked of the hub's API so far, in order, with `:id` for whatever names one thing.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for RecordingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(
    mut client: TcpStream,
    hub: &str,
    noted: &Mutex<Vec<String>>,
    kept: &Mutex<Vec<u8>>,
) -> std::io::Result<()> {
    let mut hub = TcpStream::connect(hub).await?;
    let ((mut from_client, mut to_client), (mut from_hub, mut to_hub)) = (client.split(), hub.split());
    let asked = async {
        let (mut chunk, mut line) = (vec![0; CHUNK], Vec::new());
        loop {
            let read = from_client.read(&mut chunk).await?;
            if read == 0 {
                return to_hub.shutdown().await;
            }
            note(&chunk[..read], &mut line, noted);
            kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..read]);
            to_hub.write_all(&chunk[..read]).await?;
        }
    };
    let answered = async {
        copy(&mut from_hub, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(asked, answered).map(drop)
}

/// Takes these bytes apart into lines and notes those that are requests. A body has no line break of its own, so the next
/// request may begin in the middle of a line.
fn note(bytes: &[u8], line: &mut Vec<u8>, noted: &Mutex<Vec<String>>) {
    for byte in bytes {
        if *byte != b'\n' {
            line.push(*byte);
            if line.len() > LONGEST_LINE {
                line.clear();
            }
            continue;
        }
        if let Some(request) = request(&String::from_utf8_lossy(line)) {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        }
        line.clear();
    }
}

/// The method and path of a request line about the API.
fn request(line: &str) -> Option<String> {
    let line = line.strip_suffix(VERSION)?;
    let begin = METHODS.iter().filter_map(|method| line.rfind(method)).max()?;
    let (method, path) = line[begin..].split_once(' ')?;
    let mut parts = path.strip_prefix("/v1/")?.splitn(3, '/');
    let what = parts.next()?;
    let which = parts.next().map_or("", |which| if which == "register" { "/register" } else { "/:id" });
    let rest = parts.next().map(|rest| format!("/{rest}")).unwrap_or_default();
    Some(format!("{method} /v1/{what}{which}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_wherever_they_begin() {
        let noted = Mutex::default();
        let mut line = Vec::new();
        let text = "POST /v1/services/register HTTP/1.1\r\nhost: hub\r\n\r\n{\"name\":\"GET /v1/x\"}DELETE /v1/env-shares/abc HTTP/1.1\r\n\r\nGET /health HTTP/1.1\r\n\r\nGET /v1/services HTTP/1.1\r\n";
        for chunk in text.as_bytes().chunks(7) {
            note(chunk, &mut line, &noted);
        }
        let noted = noted.into_inner().expect("nobody has panicked");
        assert_eq!(noted, ["POST /v1/services/register", "DELETE /v1/env-shares/:id", "GET /v1/services"]);
    }
}
