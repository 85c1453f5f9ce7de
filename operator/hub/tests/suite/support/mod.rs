//! What every test needs: hubs, Services, deadlines.

pub mod embedded;
pub mod lab;
pub mod node;
pub mod oxide;
pub mod raw;
pub mod services;

use std::sync::Arc;
use std::time::Duration;

use connect_hub::identity::Identity;
use connect_hub::join::{Join, JoinConfig, JoinEvent, LocalRoute};
use connect_hub::tunnel::{Tunnel, TunnelState};
use connect_hub::url::{HubUrl, InsecureHttp};
use jiff::{Timestamp, ToSpan};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Long enough for a busy machine; no test waits this long unless it fails.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How often a state that tells nobody about its changes is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// The result of `work`, which must come before the deadline.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Waits until `state` holds.
pub async fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    within(what, async {
        while !state() {
            sleep(LOOK).await;
        }
    })
    .await;
}

/// Waits until the tunnel is connected.
pub async fn connected(tunnel: &Tunnel) {
    let mut state = tunnel.state();
    within("tunnel connected", async {
        state
            .wait_for(|state| matches!(state, TunnelState::Connected { .. }))
            .await
            .map(drop)
            .expect("tunnel lives");
    })
    .await;
}

/// Waits for the event that `wanted` accepts and gives it.
pub async fn event(join: &mut Join, what: &str, mut wanted: impl FnMut(&JoinEvent) -> bool) -> JoinEvent {
    within(what, async {
        loop {
            let event = join.next_event().await;
            if wanted(&event) {
                return event;
            }
        }
    })
    .await
}

pub fn url(text: &str) -> HubUrl {
    HubUrl::parse(text, InsecureHttp::Refused).expect("a loopback URL")
}

pub fn tls() -> Arc<rustls::ClientConfig> {
    connect_hub::tls::client_config(None).expect("TLS")
}

/// A join of one service under any port.
pub fn local_join(hub: &str, service_id: Uuid) -> JoinConfig {
    let route = LocalRoute { name: "api".into(), service_id, wanted_port: 0, protocol: "tcp".into() };
    JoinConfig {
        url: url(hub),
        tls: tls(),
        identity: Identity::generate(),
        share_id: None,
        code_key: None,
        ends_at: Timestamp::now() + 1.hour(),
        routes: vec![route],
        bind: Vec::new(),
        recheck: None,
    }
}

/// An identity that never changes.
pub fn fixed(identity: Identity) -> watch::Receiver<Identity> {
    watch::channel(identity).1
}
