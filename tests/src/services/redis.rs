//! A real Redis server, spoken to in its own protocol.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::Process;
use crate::toolchain;
use crate::wait::{PATIENTLY, eventually};

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A running server.
pub struct Redis {
    process: Process,
}

impl Redis {
    /// Serves on this address, keeping everything in memory.
    ///
    /// # Errors
    /// Redis is missing and cannot be installed, or it does not answer in time.
    pub async fn start(address: SocketAddr, logs: &Path) -> Result<Self> {
        let mut command = Command::new(toolchain::redis_server().await?);
        command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--protected-mode", "no", "--daemonize", "no"]);
        let mut process = Process::start("redis", command, logs)?;
        let answers = eventually("Redis answers", PATIENTLY, || {
            let running = process.must_run();
            async move {
                running?;
                set(address, "ready", "yes").await
            }
        })
        .await;
        match answers {
            Ok(()) => Ok(Self { process }),
            Err(error) => Err(error.context(process.failure("it does not answer"))),
        }
    }

    /// Lets it go on after we have ended.
    pub fn release(self) -> u32 {
        self.process.release()
    }
}

/// `SET key value`.
///
/// # Errors
/// The server does not answer or refuses.
pub async fn set(address: SocketAddr, key: &str, value: &str) -> Result<()> {
    let answer = ask(address, &["SET", key, value]).await?;
    ensure!(answer == "+OK\r\n", "Redis answers SET with {answer:?}");
    Ok(())
}

/// `GET key`.
///
/// # Errors
/// The server does not answer, or has no such key.
pub async fn get(address: SocketAddr, key: &str) -> Result<String> {
    let answer = ask(address, &["GET", key]).await?;
    let value = answer.split_once("\r\n").and_then(|(_, body)| body.strip_suffix("\r\n"));
    value.map(str::to_owned).with_context(|| format!("Redis answers GET with {answer:?}"))
}

/// Sends one command on a connection of its own; reads one answer, which for these commands is one or two lines.
async fn ask(address: SocketAddr, words: &[&str]) -> Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    timeout(ANSWER, talk(address, request.as_bytes())).await.context("Redis does not answer")?
}

async fn talk(address: SocketAddr, request: &[u8]) -> Result<String> {
    let mut redis = TcpStream::connect(address).await.context("cannot connect to Redis")?;
    redis.write_all(request).await.context("cannot write to Redis")?;
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        let lines = if text.starts_with('$') && !text.starts_with("$-1") { 2 } else { 1 };
        if text.ends_with("\r\n") && text.matches("\r\n").count() >= lines {
            return Ok(text);
        }
        let read = redis.read_buf(&mut answer).await.context("cannot read from Redis")?;
        ensure!(read > 0, "Redis closes the connection after {text:?}");
    }
}
