//! Services to dial and bytes to send.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Accepted connections that a test has not asked for yet.
const ACCEPTED: usize = 256;

/// A Service whose connections the test plays by hand.
pub struct Manual {
    pub address: SocketAddr,
    /// Acceptor --connections--> test.
    accepted_rx: mpsc::Receiver<TcpStream>,
}

impl Manual {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (accepted_tx, accepted_rx) = mpsc::channel(ACCEPTED);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if accepted_tx.send(stream).await.is_err() {
                    return;
                }
            }
        });
        Self { address, accepted_rx }
    }

    /// The next connection.
    pub async fn accept(&mut self) -> TcpStream {
        super::within("a connection to the service", self.accepted_rx.recv()).await.expect("acceptor lives")
    }
}

/// A Service that sends back what it gets, and ends when its client does.
pub async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await; // a client that leaves early is fine
                let _ = write.shutdown().await;
            });
        }
    });
    address
}

/// An address that refuses connections.
pub async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    listener.local_addr().expect("bound")
}

/// Bytes that look random and are the same for the same seed.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// Sends `sent` and reads as many bytes back, both at once.
pub async fn exchange(stream: &mut TcpStream, sent: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = stream.split();
    let mut got = vec![0; sent.len()];
    super::within("an echo", async {
        let (wrote, read) = tokio::join!(write.write_all(sent), read.read_exact(&mut got));
        wrote.expect("written");
        read.expect("read");
    })
    .await;
    got
}

/// Reads until the end of the stream.
pub async fn rest(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut got = Vec::new();
    super::within("the end of a stream", stream.read_to_end(&mut got)).await.map(|_| got)
}

/// Waits until the stream has ended, in order or not, and nothing more came.
pub async fn ended(stream: &mut TcpStream) {
    let got = rest(stream).await;
    assert!(got.as_ref().is_ok_and(Vec::is_empty) || got.is_err(), "bytes after the end: {got:?}");
}

/// Waits until the stream is reset.
pub async fn reset(stream: &mut TcpStream) {
    let error = rest(stream).await.expect_err("a reset and no orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
