//! Somebody who has joined a share, with one open connection: what the operator carries, seen from both ends.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use connect_crds::secret_key;
use connect_hub::client::{Client, ClientOptions};
use connect_hub::code_key::CodeKey;
use connect_hub::join::{Join, JoinConfig, LocalRoute};
use connect_hub::tls::client_config;
use connect_hub::url::{HubUrl, InsecureHttp};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Service;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::scenario::{Fixture, ROUTE};
use crate::wait::{SOON, eventually};

/// The port of the Service.
pub(super) const PORT: u16 = 8080;

/// A test user with an open connection.
pub struct TestUser {
    join: Join,
    /// The test user's end.
    there: TcpStream,
    /// The Service's end.
    here: TcpStream,
    service: TcpListener,
}

impl TestUser {
    /// Joins a share as soon as it has a code, and connects.
    ///
    /// # Errors
    /// It does not come about in time.
    pub async fn join(fixture: &Fixture, share: &str) -> Result<Self> {
        let address = fixture.api::<Service>().get(ROUTE).await?.spec.and_then(|spec| spec.cluster_ip);
        let service =
            TcpListener::bind((address.context("the Service has an address")?.as_str(), PORT)).await?;
        let join = join(fixture, share).await?;
        let (there, here) = eventually("bytes arrive", SOON, || connect(&join, &service)).await?;
        Ok(Self { join, there, here, service })
    }

    /// Sends a byte and sees it arrive.
    ///
    /// # Errors
    /// It does not.
    pub async fn is_heard(&mut self) -> Result<()> {
        self.there.write_all(b"!").await?;
        let heard = timeout(SOON, self.here.read_u8()).await.context("nothing is heard")??;
        ensure!(heard == b'!', "something else is heard");
        Ok(())
    }

    /// Whether the Service's end is closed within this time.
    pub async fn is_cut(&mut self, within: Duration) -> bool {
        let mut heard = [0];
        // Nothing more was sent, so whatever comes is the end.
        timeout(within, self.here.read(&mut heard)).await.is_ok()
    }

    /// Whether a new connection gets through.
    pub async fn reaches(&self) -> bool {
        connect(&self.join, &self.service).await.is_ok()
    }
}

/// Joins a share as soon as it has a code; its route is a port of this machine then.
///
/// # Errors
/// It does not come about in time.
pub(super) async fn join(fixture: &Fixture, share: &str) -> Result<Join> {
    let code = eventually("the share has a code", SOON, || fixture.code(share, secret_key::CODE)).await?;
    let secret = fixture.code(share, secret_key::SECRET).await.ok();
    let (url, tls) = (HubUrl::parse(&fixture.real_hub, InsecureHttp::Refused)?, client_config(None)?);
    let client = Client::new(url.clone(), ClientOptions { api_key: None, tls: tls.clone() })?;
    let joined = client.join(&SecretString::from(code.clone()), "test_user", None).await?;
    let route = joined.share.routes.first().context("it has a route")?;
    let route = LocalRoute {
        name: route.service_name.clone(),
        service_id: route.service_id.context("the hub says which service it is")?,
        wanted_port: 0,
        protocol: route.protocol.clone(),
    };
    let join = Join::start(JoinConfig {
        url,
        tls,
        identity: joined.agent.context("the hub made somebody of us")?.identity,
        share_id: joined.share.id,
        code_key: secret.map(|secret| CodeKey::new(&code, &SecretString::from(secret))),
        // Later than any share ends: a test user who would not go.
        ends_at: Timestamp::now() + SignedDuration::from_hours(200),
        routes: vec![route],
        bind: Vec::new(),
        recheck: None,
    })
    .await?;
    Ok(join)
}

async fn connect(join: &Join, service: &TcpListener) -> Result<(TcpStream, TcpStream)> {
    /// Enough for one try.
    const TRY: Duration = Duration::from_secs(3);
    let port = join.routes().first().context("it has a route")?.port;
    let mut there = TcpStream::connect(("127.0.0.1", port)).await?;
    there.write_all(b"?").await?;
    let (mut here, _) = timeout(TRY, service.accept()).await.context("nobody connects")??;
    let heard = timeout(TRY, here.read_u8()).await.context("nothing is heard")??;
    ensure!(heard == b'?', "something else is heard");
    Ok((there, here))
}
