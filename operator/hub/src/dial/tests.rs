//! The dialer through real proxies, tinyproxy and microsocks, which `lab tools` installs.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use connect_tools::between;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::*;

/// Long enough for a busy machine; no test waits this long unless it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How often a proxy that starts is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A running proxy. It goes when this is dropped.
pub(crate) struct RunningProxy {
    pub(crate) port: u16,
    folder: TempDir,
    _child: Child,
}

impl RunningProxy {
    /// tinyproxy with these further lines of configuration.
    pub(crate) async fn tinyproxy(lines: &str) -> Self {
        Self::start(|folder, address| between::tinyproxy(folder, address, lines)).await
    }

    /// microsocks with these further arguments.
    async fn microsocks(arguments: &[&str]) -> Self {
        Self::start(|_, address| Ok(between::microsocks(address, arguments))).await
    }

    async fn start(command: impl FnOnce(&Path, SocketAddr) -> io::Result<std::process::Command>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().await));
        let child = Command::from(command(folder.path(), address).expect("written"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("proxies are needed for this test: cargo run --bin lab -- tools installs them");
        let listens = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(LOOK).await;
            }
        };
        timeout(DEADLINE, listens).await.expect("it listens");
        Self { port: address.port(), folder, _child: child }
    }

    pub(crate) fn url(&self, credentials: &str) -> String {
        format!("http://{}", self.at(credentials))
    }

    fn at(&self, credentials: &str) -> String {
        format!("{credentials}127.0.0.1:{}", self.port)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    listener.local_addr().expect("is bound").port()
}

/// Gives back what it is sent.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

/// Answers every connection with these bytes and ends it.
async fn answering(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
    let address = listener.local_addr().expect("is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut some = [0; 1024];
            let _ = stream.read(&mut some).await;
            let _ = stream.write_all(bytes).await;
        }
    });
    address
}

pub(crate) fn trust() -> Arc<ClientConfig> {
    crate::tls::client_config(None).expect("TLS")
}

/// Dials through this proxy and proves by an echo that bytes pass; gives what is in the way otherwise.
async fn dialled(proxy: &str, target: SocketAddr) -> Result<(), DialError> {
    let dialer = Dialer::through(trust(), Proxies::only(proxy, "HTTPS_PROXY")?);
    let dialling = dialer.dial("127.0.0.1", target.port(), false);
    let mut stream = timeout(DEADLINE, dialling).await.expect("in time")?;
    let mut got = [0; 5];
    let exchange = async {
        stream.write_all(b"hello").await?;
        stream.read_exact(&mut got).await
    };
    timeout(DEADLINE, exchange).await.expect("in time").expect("bytes pass");
    assert_eq!(&got, b"hello");
    Ok(())
}

#[tokio::test]
async fn tinyproxy_lets_through_whoever_may() {
    let (echo, nobody) = (echo().await, SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().await)));
    let open = RunningProxy::tinyproxy("").await;
    let closed = RunningProxy::tinyproxy("BasicAuth mia p_s-s.w").await;
    let strict = RunningProxy::tinyproxy("ConnectPort 443").await;
    let target = format!("127.0.0.1:{}", echo.port());
    let forbidden = ProxyTrouble::Forbidden { target };
    for (proxy, credentials, to, expected) in [
        (&open, "", echo, None),
        (&open, "mia:any@", echo, None),
        (&closed, "mia:p%5Fs-s%2Ew@", echo, None),
        (&closed, "", echo, Some(ProxyTrouble::WantsLogin)),
        (&closed, "mia:hunter2@", echo, Some(ProxyTrouble::LoginRefused)),
        (&strict, "", echo, Some(forbidden)),
    ] {
        let result = dialled(&proxy.url(credentials), to).await;
        let trouble = match &result {
            Ok(()) => None,
            Err(DialError::Obstacle(Obstacle::Proxy { trouble, .. })) => Some((**trouble).clone()),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(trouble, expected, "{credentials}: {}", proxy.log());
        let said = result.err().map(|error| format!("{error} {error:?}")).unwrap_or_default();
        assert!(!said.contains("hunter2"), "{said}");
    }
    let failed = dialled(&open.url(""), nobody).await;
    let expected_failure = matches!(
        &failed,
        Err(DialError::Obstacle(Obstacle::Proxy { trouble, .. })) if matches!(**trouble, ProxyTrouble::Failed { .. })
    );
    assert!(expected_failure, "{failed:?}");
    assert!(open.log().contains(&format!("CONNECT 127.0.0.1:{}", echo.port())), "{}", open.log());
}

/// What the proxy did in place of connecting; nothing when it connected.
async fn trouble(proxy: &str, target: SocketAddr) -> Option<ProxyTrouble> {
    match dialled(proxy, target).await {
        Ok(()) => None,
        Err(DialError::Obstacle(Obstacle::Proxy { trouble, .. })) => Some(*trouble),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn microsocks_lets_through_whoever_may() {
    let (echo, nobody) = (echo().await, SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().await)));
    let open = RunningProxy::microsocks(&[]).await;
    let closed = RunningProxy::microsocks(&["-u", "mia", "-P", "p@s:s"]).await;
    for (proxy, credentials, expected) in [
        (&open, "", None),
        // One that asks for nothing is not told.
        (&open, "mia:any@", None),
        (&closed, "mia:p%40s%3As@", None),
        (&closed, "", Some(ProxyTrouble::WantsLogin)),
        (&closed, "mia:hunter2@", Some(ProxyTrouble::LoginRefused)),
    ] {
        for scheme in ["socks5", "socks5h"] {
            let url = format!("{scheme}://{}", proxy.at(credentials));
            assert_eq!(trouble(&url, echo).await, expected, "{scheme} {credentials}");
        }
    }
    let url = format!("socks5://{}", open.at(""));
    let failed = trouble(&url, nobody).await;
    assert!(matches!(failed, Some(ProxyTrouble::Failed { .. })), "{failed:?}");
}

#[tokio::test]
async fn a_proxy_that_is_none_is_named() {
    let echo = echo().await;
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().await));
    for proxy in [
        format!("http://{nobody}"),
        format!("https://{nobody}"),
        format!("socks5://{nobody}"),
        format!("http://mia:hunter2@{}", answering(b"220 mail.example.com\r\n").await),
        format!("http://{}", answering(b"").await),
        format!("https://{}", answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await),
        format!("socks5://{}", answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await),
    ] {
        let error = dialled(&proxy, echo).await.expect_err("no proxy");
        let said = error.to_string();
        let address = proxy.rsplit(['/', '@']).next().expect("a part");
        assert!(said.contains(address), "{said}");
        assert!(!said.contains("hunter2") && said.contains(": "), "{said}");
        assert!(matches!(error, DialError::Obstacle(Obstacle::Proxy { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn what_no_proxy_exempts_goes_straight() {
    let echo = echo().await;
    let dead = format!("http://127.0.0.1:{}", free_port().await);
    // To Linux this is this machine as well, and not by a name of it that no proxy is used for.
    let here = "0.0.0.0";
    for (exempt, straight) in
        [("", false), ("0.0.0.0", true), ("0.0.0.0/8", true), ("10.0.0.0/8", false), ("*", true)]
    {
        let variables = [("ALL_PROXY", dead.as_str()), ("NO_PROXY", exempt)];
        let proxies = Proxies::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        let dialled = Dialer::through(trust(), proxies).dial(here, echo.port(), false).await;
        assert_eq!(dialled.is_ok(), straight, "NO_PROXY={exempt}");
    }
}
