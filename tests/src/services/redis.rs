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
                set_and_get(address, "ready", "yes").await
            }
        })
        .await;
        match answers {
            Ok(_) => Ok(Self { process }),
            Err(error) => Err(error.context(process.failure("it does not answer"))),
        }
    }

    /// Lets it go on after we have ended.
    pub fn release(self) -> u32 {
        self.process.release()
    }
}

/// `SET key value`, then `GET key` on the same connection: what was read.
///
/// # Errors
/// The server does not answer or answers something else.
pub async fn set_and_get(address: SocketAddr, key: &str, value: &str) -> Result<String> {
    let talk = async {
        let mut redis = TcpStream::connect(address).await.context("cannot connect to Redis")?;
        let set = ask(&mut redis, &["SET", key, value]).await?;
        ensure!(set == "+OK\r\n", "Redis answers SET with {set:?}");
        let got = ask(&mut redis, &["GET", key]).await?;
        let body = got.strip_prefix(&format!("${}\r\n", value.len()));
        let body = body.and_then(|body| body.strip_suffix("\r\n"));
        body.map(str::to_owned).with_context(|| format!("Redis answers GET with {got:?}"))
    };
    timeout(ANSWER, talk).await.context("Redis does not answer")?
}

/// Sends one command; reads one answer, which for these commands is one or two lines.
async fn ask(redis: &mut TcpStream, words: &[&str]) -> Result<String> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    redis.write_all(request.as_bytes()).await.context("cannot write to Redis")?;
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
