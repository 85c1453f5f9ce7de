//! Whatever stands between teammates, operators, hubs and API servers: proxies that let through or refuse, and gateways that
//! spoil websockets. Nothing is used up before the way is known to work.

mod api_server;
mod gateways;
mod proxies;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use connect_tests::between::{Between, Trust};
use connect_tests::control_plane::{Kubectl, Output};
use connect_tests::hub::Hub;
use connect_tests::process::Process;
use connect_tests::services::transfer::download;
use connect_tests::wait::{PATIENTLY, SOON, eventually};

use crate::world::World;

/// From where the proxies connect. Whoever comes to a guarded server from elsewhere has not gone through one.
const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// To Linux this is the address from which one connects, and not one that no proxy is used for.
const HERE: &str = "0.0.0.0";

/// Variables of an environment.
type Variables<'a> = [(&'a str, &'a str)];

/// A proxy of each kind, which want a user and a password.
struct Proxies {
    http: Between,
    socks: Between,
    /// The port of TLS before the first.
    tls: u16,
}

impl Proxies {
    async fn start(trust: &Trust) -> Result<Self> {
        let http = Between::tinyproxy(&format!("BasicAuth mia p_s-s.w\nBind {OUTSIDE}")).await?;
        let socks = Between::microsocks(&["-u", "mia", "-P", "p_s-s.w", "-b", &OUTSIDE.to_string()]).await?;
        let tls = trust.before(http.address(), "127.0.0.1", None).await?;
        Ok(Self { http, socks, tls })
    }

    /// The URL of each, for this user.
    fn urls(&self, login: &str) -> [String; 3] {
        [
            format!("http://{login}{}", self.http.address()),
            format!("https://{login}127.0.0.1:{}", self.tls),
            format!("socks5://{login}{}", self.socks.address()),
        ]
    }
}

/// The user and password that proxies want, as URLs have them.
const LOGIN: &str = "mia:p%5Fs-s%2Ew@";

/// Where a hub of this process listens.
fn address(hub: &Hub) -> Result<SocketAddr> {
    Ok(hub.url().strip_prefix("http://").context("plain http")?.parse()?)
}

/// A file with the certificate of an authority.
fn written(trust: &Trust, folder: &Path) -> Result<PathBuf> {
    let file = folder.join("ca.pem");
    std::fs::write(&file, trust.pem())?;
    Ok(file)
}

/// What `kubectl connect` says to these words in this environment.
async fn said(kubectl: &Kubectl, words: &[&str], variables: &Variables<'_>) -> Result<Output> {
    kubectl.run_by(variables, ["connect"].iter().chain(words)).await
}

/// Joins in this environment, and takes bytes from the route `api`, whose server is at `straight`.
async fn joins(world: &World, name: &str, words: &[String], variables: &Variables<'_>) -> Result<()> {
    let mut command = world.kubectl_elsewhere()?.command(words);
    command.envs(variables.iter().copied());
    let mut joined = Process::start(name, command, &world.cluster.folder(name)?)?;
    let port = joined
        .printed("the route is a port of this machine", PATIENTLY, |said| {
            let (_, rest) = said.split_once("[ok] api → localhost:")?;
            rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u16>().ok()
        })
        .await?;
    eventually("bytes pass", SOON, || async {
        download(([127, 0, 0, 1], port).into(), "/bytes/1", |_| {}).await?.checksum().map(drop)
    })
    .await?;
    ensure!(joined.terminate()?.success(), "{}", joined.stderr());
    Ok(())
}
