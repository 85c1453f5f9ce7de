//! What stands between teammates, operators and hubs: the system's proxies and gateways as processes, and fronts of ours that
//! speak TLS or that let nobody in but a proxy.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use connect_tools::between;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::control_plane::free_port;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::toolchain::in_between;
use crate::wait::{PATIENTLY, eventually};

/// How long a gateway waits for whoever says nothing.
const PATIENCE: Duration = Duration::from_secs(14);

/// How long the certificates of a [`Trust`] are valid from now on, and were before.
const VALID: [Duration; 2] = [Duration::from_secs(24 * 3600), Duration::from_secs(3600)];

/// This machine.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A proxy or gateway that runs. It goes when this is dropped.
pub struct Between {
    address: SocketAddr,
    process: Process,
    scratch: Scratch,
}

impl Between {
    /// tinyproxy with these further lines of configuration.
    ///
    /// # Errors
    /// It is missing and cannot be installed, or does not listen in time.
    pub async fn tinyproxy(lines: &str) -> Result<Self> {
        Self::start("tinyproxy", |folder, address| between::tinyproxy(folder, address, lines)).await
    }

    /// microsocks with these further arguments.
    ///
    /// # Errors
    /// As [`Self::tinyproxy`].
    pub async fn microsocks(arguments: &[&str]) -> Result<Self> {
        Self::start("microsocks", |_, address| Ok(between::microsocks(address, arguments))).await
    }

    /// nginx with these locations.
    ///
    /// # Errors
    /// As [`Self::tinyproxy`].
    pub async fn nginx(locations: &str) -> Result<Self> {
        Self::start("nginx", |folder, address| between::nginx(folder, address, locations)).await
    }

    /// HAProxy with these rules and backends.
    ///
    /// # Errors
    /// As [`Self::tinyproxy`].
    pub async fn haproxy(rules: &str, backends: &str) -> Result<Self> {
        Self::start("haproxy", |folder, address| between::haproxy(folder, address, PATIENCE, rules, backends))
            .await
    }

    async fn start(
        name: &str,
        command: impl FnOnce(&Path, SocketAddr) -> std::io::Result<Command>,
    ) -> Result<Self> {
        in_between().await?;
        let scratch = Scratch::new(name)?;
        let address = SocketAddr::from((HERE, free_port()?));
        let command = command(scratch.path(), address).context("cannot write its configuration")?;
        let process = Process::start(name, command, scratch.path())?;
        let mut started = Self { address, process, scratch };
        started.listens().await?;
        Ok(started)
    }

    async fn listens(&mut self) -> Result<()> {
        let (address, process) = (self.address, &mut self.process);
        eventually("what stands in between listens", PATIENTLY, || {
            let running = process.must_run();
            async move {
                running?;
                TcpStream::connect(address).await.map(drop).context("it does not listen")
            }
        })
        .await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What tinyproxy has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// Begins anew at the same address, as nginx with these locations.
    ///
    /// # Errors
    /// It does not listen in time.
    pub async fn become_nginx(&mut self, locations: &str) -> Result<()> {
        self.process.kill()?;
        let command = between::nginx(self.scratch.path(), self.address, locations)?;
        self.process = Process::start("nginx", command, self.scratch.path())?;
        self.listens().await
    }
}

/// An authority of its own, which nobody trusts who was not told to.
pub struct Trust {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Trust {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// TLS before whatever listens at `behind`, with a certificate for `name`. Listens at `only`, for connections from there alone,
    /// if that is said, else at 127.0.0.1. Gives its port.
    ///
    /// # Errors
    /// `name` cannot be in a certificate, or no port is free.
    pub async fn before(&self, behind: SocketAddr, name: &str, only: Option<IpAddr>) -> Result<u16> {
        let now = std::time::SystemTime::now();
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        let [after, before] = VALID;
        (params.not_before, params.not_after) = ((now - before).into(), (now + after).into());
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        front(only.unwrap_or(HERE), only, move |outside| {
            let acceptor = acceptor.clone();
            async move {
                let mut outside = acceptor.accept(outside).await?;
                let mut inside = TcpStream::connect(behind).await?;
                copy_bidirectional(&mut outside, &mut inside).await
            }
        })
        .await
    }
}

/// A way to whatever listens at `behind`, for connections from `only` alone. Gives its port on 127.0.0.1.
///
/// # Errors
/// No port is free.
pub async fn guarded(behind: SocketAddr, only: IpAddr) -> Result<u16> {
    front(HERE, Some(only), move |mut outside| async move {
        let mut inside = TcpStream::connect(behind).await?;
        copy_bidirectional(&mut outside, &mut inside).await
    })
    .await
}

async fn front<F>(
    at: IpAddr,
    only: Option<IpAddr>,
    relay: impl Fn(TcpStream) -> F + Send + Sync + 'static,
) -> Result<u16>
where
    F: Future<Output = std::io::Result<(u64, u64)>> + Send + 'static,
{
    let listener = TcpListener::bind((at, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((outside, from)) = listener.accept().await {
            if only.is_none_or(|only| only == from.ip()) {
                tokio::spawn(relay(outside));
            }
        }
    });
    Ok(port)
}
