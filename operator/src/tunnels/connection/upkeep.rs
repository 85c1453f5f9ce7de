//! Keeping up what was entered: follows the tunnel, takes the hub's events, reads its lists, rotates the token.

use std::sync::atomic::Ordering;
use std::time::Duration;

use connect_hub::client::{Client, Join};
use connect_hub::tunnel::routes::{EndReason, ShareEnded};
use connect_hub::tunnel::{TunnelEvent, TunnelState};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval};

use super::{HubConnection, THIS};
use crate::error::Error;
use crate::faults::{point, quick};
use crate::retry_delays::RetryDelays;
use crate::tunnels::HubChange;
use crate::tunnels::directory::{Difference, Directory, KnownService};
use crate::tunnels::problem::{HubProblem, HubState};
use crate::tunnels::token::AgentToken;

/// How often the lists are read: hubs limit calls per address, and one cluster is one address (`operator/hub/PROTOCOL.md`, part 1).
const REFRESH_EVERY: Duration = Duration::from_secs(60);

/// How long a tunnel may be down before its objects say so: a hub's restart is not news.
const TUNNEL_GRACE: Duration = Duration::from_secs(5);

/// When the agent is made known to its hub again, after the hub has said that it does not know it.
#[derive(Default)]
struct Repair {
    due: Option<Instant>,
    /// Grows while it does not help: a key that is really bad is tried every half minute.
    backoff: RetryDelays,
}

impl Repair {
    /// Soon, and later each time.
    fn plan(&mut self) {
        if self.due.is_none() {
            self.due = Some(Instant::now() + self.backoff.failed(THIS));
        }
    }

    async fn is_due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn is_tried(&mut self) {
        self.due = None;
    }

    /// The hub knows us.
    fn is_over(&mut self) {
        self.due = None;
        self.backoff.succeeded(THIS);
    }
}

/// Completes when the tunnel has been down for so long that objects say so.
async fn grace_over(down_since: Option<Instant>) {
    match down_since {
        Some(since) => tokio::time::sleep_until(since + TUNNEL_GRACE).await,
        None => std::future::pending().await,
    }
}

/// Whether the hub does not know the agent that asks, or the key.
fn is_unknown(error: &connect_hub::Error) -> bool {
    matches!(error.status(), Some(401 | 403))
}

impl HubConnection {
    /// Never ends by itself.
    pub(super) async fn keep_up(&self, mut token: AgentToken) {
        let (Some(tunnel), Some(client)) = (self.tunnel.get(), self.client.get()) else { return };
        let mut tunnel_state = tunnel.state();
        // What it is now counts as news: it may be up already.
        tunnel_state.mark_changed();
        let mut events = tunnel.events();
        let mut ended = self.routes.ended();
        let mut mismatched = self.routes.mismatched();
        let mut refresh =
            tokio::time::interval_at(Instant::now() + quick(REFRESH_EVERY), quick(REFRESH_EVERY));
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut down_since = Some(Instant::now());
        let mut repair = Repair::default();
        loop {
            tokio::select! {
                changed = tunnel_state.changed() => if changed.is_err() { return },
                () = grace_over(down_since) => {
                    self.say(self.tunnel_verdict(&tunnel_state.borrow()));
                    down_since = None;
                    continue;
                }
                event = events.recv() => {
                    self.take(event, &mut token, client).await;
                    continue;
                }
                end = ended.recv() => {
                    self.pass_on(end);
                    continue;
                }
                mismatch = mismatched.recv() => {
                    self.tell(mismatch.map_or(HubChange::Hub, HubChange::Mismatch));
                    continue;
                }
                () = repair.is_due() => {
                    self.repair(&mut token, client, &mut repair).await;
                    continue;
                }
                _ = refresh.tick() => {}
            }
            let state = tunnel_state.borrow_and_update().clone();
            down_since = self.follow(&state, down_since);
            match &state {
                TunnelState::Connected { .. } => {
                    self.look_again(&mut refresh, &mut repair).await;
                    token.rotate_when_due(&state, client).await;
                }
                TunnelState::Refused { .. } => repair.plan(),
                _ => {}
            }
        }
    }

    /// Reads what the hub has, and says when to do it again.
    async fn look_again(&self, refresh: &mut Interval, repair: &mut Repair) {
        match self.refresh().await {
            Ok(()) => {
                repair.is_over();
                refresh.reset();
            }
            Err(error) => {
                refresh.reset_after(self.backoff.failed(THIS));
                if is_unknown(&error) {
                    repair.plan();
                }
            }
        }
    }

    /// Makes us known again at a hub that does not know us. What it has of ours is read again when the tunnel is up.
    async fn repair(&self, token: &mut AgentToken, client: &Client, repair: &mut Repair) {
        repair.is_tried();
        let known = async {
            // It may be another version of the hub that has been set up again.
            let entering = |source| Error::Hub { doing: "entering the hub", source };
            let features = point("reading the health", client.health()).await.map_err(entering)?.features;
            token.make_known_again(client).await?;
            Ok::<_, Error>(features)
        };
        match known.await {
            Ok(features) => {
                self.is_entered_as(token, features);
                tracing::info!(hub = %self.url(), agent = %token.agent(), "made the agent known again at the hub");
            }
            Err(error) => {
                self.say(HubState::Down(HubProblem::of_entering(self.url(), &error)));
                repair.plan();
            }
        }
    }

    /// Says what a tunnel that is down means for the hub; returns since when it has been down.
    fn follow(&self, state: &TunnelState, down_since: Option<Instant>) -> Option<Instant> {
        match state {
            TunnelState::Connected { .. } => None,
            // That the hub does not know us may be over in a moment: see `repair`.
            TunnelState::Refused { .. } | TunnelState::Connecting { .. } | TunnelState::Stopped => {
                match self.state() {
                    HubState::Ready | HubState::Starting => down_since.or_else(|| Some(Instant::now())),
                    HubState::Down(_) => None,
                }
            }
        }
    }

    /// Reads the lists and says whether the hub is ready; tells only those whom a difference concerns.
    async fn refresh(&self) -> Result<(), connect_hub::Error> {
        match self.read_lists().await {
            Ok(difference) => {
                self.backoff.succeeded(THIS);
                let is_news = self.say(HubState::Ready);
                match difference {
                    // Everybody has just been told to look at everything.
                    _ if is_news => {}
                    Difference::None => {}
                    Difference::Shares(markers) => {
                        markers.into_iter().for_each(|marker| self.tell(HubChange::Share(marker)));
                    }
                    Difference::Services => {
                        self.full.store(false, Ordering::Release);
                        self.tell(HubChange::Hub);
                    }
                }
                Ok(())
            }
            Err(error) => {
                self.say(HubState::Down(self.problem(&error)));
                Err(error)
            }
        }
    }

    /// Replaces what is known by what the hub lists, and says how it differs.
    ///
    /// # Errors
    /// The hub refused or did not answer.
    pub async fn read_lists(&self) -> Result<Difference, connect_hub::Error> {
        let Some((client, agent)) = self.entered() else { return Ok(Difference::None) };
        self.unanswered.store(false, Ordering::Release);
        let services = point("listing services", client.services()).await?;
        let shares = point("listing shares", client.shares(agent)).await?;
        let (ours, foreign): (Vec<_>, Vec<_>) =
            services.into_iter().partition(|row| row.agent_id == Some(agent));
        let ours =
            ours.into_iter().map(|row| (row.name, KnownService { id: row.id, tunnel_port: row.tunnel_port }));
        let foreign = foreign.into_iter().map(|row| row.name).collect();
        let fresh = Directory::new(ours, shares).beside(foreign);
        Ok(self.with_directory(|directory| {
            let difference = fresh.difference(directory);
            *directory = fresh;
            difference
        }))
    }

    async fn take(&self, event: Result<TunnelEvent, RecvError>, token: &mut AgentToken, client: &Client) {
        match event {
            Ok(TunnelEvent::ShareJoined { id, count, agent_label, joined_at }) => {
                let join = Join { agent_label, joined_at, connected: false };
                if let Some(marker) = self.with_directory(|directory| directory.joined(id, count, join)) {
                    self.tell(HubChange::Share(marker));
                }
            }
            Ok(TunnelEvent::SharePresence { id, count, connected, joins }) => {
                let marker = self.with_directory(|directory| directory.present(id, count, connected, joins));
                if let Some(marker) = marker {
                    self.tell(HubChange::Share(marker));
                }
            }
            Ok(TunnelEvent::TokenExpired) => token.rotate(client).await,
            Ok(TunnelEvent::TokenExpiring { .. }) => token.rotate_when_rested(client).await,
            Ok(TunnelEvent::Replaced) => {
                tracing::warn!(hub = %self.url(), "another process uses our agent id at the hub; only one may");
                self.tell(HubChange::Replaced);
            }
            // Missed events are in the lists, which are read every minute.
            Err(_) => {}
        }
    }

    /// Tells of shares that ended by the clock. Whoever ends one otherwise is at work on it, and needs no telling.
    fn pass_on(&self, end: Result<ShareEnded, RecvError>) {
        match end {
            Ok(ShareEnded { share, why: EndReason::Expired }) => self.tell(HubChange::Expired(share)),
            Ok(_) => {}
            Err(_) => self.tell(HubChange::Hub),
        }
    }

    /// Tells everybody what can be said of the hub now; nobody, and `false`, when that was said before.
    pub(super) fn say(&self, state: HubState) -> bool {
        if self.state() == state {
            return false;
        }
        let hub = self.url();
        match &state {
            HubState::Ready => tracing::info!(%hub, "the hub is connected"),
            HubState::Starting => {}
            HubState::Down(HubProblem { reason, message, stalled }) => {
                tracing::warn!(%hub, reason = stalled.unwrap_or(reason), message, "the hub cannot be used");
            }
        }
        self.state_tx.send_replace(state);
        self.tell(HubChange::Hub);
        true
    }

    fn tunnel_verdict(&self, state: &TunnelState) -> HubState {
        let hub = self.url();
        match state {
            TunnelState::Connected { .. } => HubState::Ready,
            TunnelState::Refused { message } => HubState::Down(HubProblem::token_refused(hub, message)),
            TunnelState::Connecting { last_error, reason } => {
                HubState::Down(HubProblem::tunnel_down(hub, last_error.as_deref(), reason))
            }
            TunnelState::Stopped => HubState::Down(HubProblem::unreachable(hub, "the tunnel has stopped")),
        }
    }
}
