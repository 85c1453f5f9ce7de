//! Exactly one share at the hub for one object: found, made, changed.

use connect_crds::{EnvironmentShare, Maker, Membership, ShareMarker, Signature};
use connect_hub::client::{
    Client, Closing, NewRoute, NewShare, People, Share, ShareChange, ShareEnd, ShareRow, ShareState,
};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use uuid::Uuid;

use super::end::close_rows;
use super::services::{have_moved, target_port};
use crate::clock;
use crate::context::Context;
use crate::controllers::environment_share::code_secret::wanted_rotation;
use crate::controllers::environment_share::dereference::Found;
use crate::controllers::environment_share::validate::{Over, Route, Validated};
use crate::faults::point;
use crate::tunnels::{HubConnection, hub_share_name, signature_of};

/// How long before the hub closes a share another one is opened there, so that the code in the Secret is always good ...
const RENEW_AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// ... but not before nine tenths of its time, at hubs whose shares are short ...
const RENEW_AFTER_TENTHS: i32 = 9;

/// ... nor before this: a hub that closes shares at once must not be flooded with new ones.
const RENEW_AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// How it stands with the share at the hub.
pub enum Settled {
    /// It is there, and as it should be.
    Open(ShareRow),
    /// It was closed, because its code was used as often as it may be.
    Limit,
    /// The hub says that it has ended.
    Ended(Over),
}

/// All that is known while the share at the hub is looked after.
pub struct ShareSettlement<'a> {
    /// The object.
    pub share: &'a EnvironmentShare,
    /// What its spec comes to.
    pub valid: &'a Validated,
    /// What it names.
    pub found: &'a Found,
    /// When it ends.
    pub ends_at: Timestamp,
    /// The hub's ids of its routes, in their order.
    pub services: &'a [Uuid],
    /// The hub.
    pub hub: &'a HubConnection,
    /// Where other shares are known.
    pub context: &'a Context,
    /// Its API.
    pub client: &'a Client,
    /// Who we are there.
    pub agent: Uuid,
}

// === impl ShareSettlement ===

impl ShareSettlement<'_> {
    /// Exactly one share with our marker at the hub, with the right end and routes.
    ///
    /// # Errors
    /// The hub refused or did not answer.
    pub async fn settle(&self) -> Result<Settled, connect_hub::Error> {
        let Self { share, valid, found, hub, client, agent, context, .. } = *self;
        if valid.limit_reached && !hub.has("grants") {
            close_rows(&found.rows, hub, (client, agent), Closing::Revoked).await?;
            return Ok(Settled::Limit);
        }
        let Some(keep) = self.row_to_keep(clock::now()) else { return self.create().await };
        for (_, extra) in found.rows.iter().enumerate().filter(|(index, _)| *index != keep) {
            // What stands in another share's Secret is not for this one to close, whatever the hub calls it.
            if context.is_code_of_another(share, &extra.code) {
                continue;
            }
            point("closing a duplicate", client.revoke_share(agent, &extra.code)).await?;
            hub.with_directory(|directory| directory.forget(extra));
        }
        let mut row = found.rows[keep].clone();
        if hub.has("update-share") {
            row = self.update(row).await?;
        }
        hub.with_directory(|directory| {
            directory.forget(&row);
            directory.remember(row.clone());
        });
        Ok(Settled::Open(row))
    }

    /// The row whose code people have, or else the oldest. One whose time at the hub is nearly over is not kept: another
    /// takes its place, and it is closed once that other's code is in the Secret. While the code rotates: one that an earlier
    /// try has made.
    fn row_to_keep(&self, now: Timestamp) -> Option<usize> {
        let lasting = |row: &ShareRow| renewal_due(row, self.ends_at, self.hub).is_none_or(|due| now < due);
        let rows = || self.found.rows.iter().enumerate().filter(|(_, row)| lasting(row));
        let is_known = |row: &ShareRow| self.found.is_in_the_secret(row);
        if self.valid.rotates || (self.have_moved() && !self.hub.has("update-share")) {
            return rows().find(|(_, row)| !is_known(row) && self.is_open(row)).map(|(index, _)| index);
        }
        let (index, _) = rows().find(|(_, row)| is_known(row)).or_else(|| rows().next())?;
        Some(index)
    }

    /// Whether the code that teammates are to have is not in the Secret yet: there is no share at the hub that can be kept, or
    /// another try has made one of which the Secret does not know.
    pub fn makes_a_code(&self) -> bool {
        if self.valid.limit_reached && !self.hub.has("grants") {
            return false;
        }
        let kept = self.row_to_keep(clock::now()).map(|keep| &self.found.rows[keep]);
        kept.is_none_or(|row| !self.found.is_in_the_secret(row))
    }

    /// Whether the share of this row was not closed since the row was read.
    fn is_open(&self, row: &ShareRow) -> bool {
        let Signature { maker: Some(maker), marker } = self.signature() else { return true };
        let listed = self.hub.with_directory(|directory| directory.shares(&marker, &maker));
        listed.iter().any(|listed| listed.has_code(&row.code))
    }

    /// Whether the routes at the hub lead elsewhere than they should.
    fn have_moved(&self) -> bool {
        have_moved(self.share, &self.valid.routes, self.found, self.services)
    }

    /// What the share at the hub is to be known by.
    fn signature(&self) -> Signature {
        Signature {
            maker: self.found.maker.clone(),
            marker: ShareMarker::of(&self.share.uid().unwrap_or_default()),
        }
    }

    async fn create(&self) -> Result<Settled, connect_hub::Error> {
        let Self { share, valid, hub, ends_at, .. } = *self;
        let uid = share.uid().unwrap_or_default();
        let knows_keys = hub.has("idempotency-key");
        // People see the name; where a share is made with a key that the hub tells again, nothing is needed there to know it.
        let signature = (!(knows_keys && hub.has("share-keys"))).then(|| self.signature());
        let friendly = share.spec.display_name.clone().unwrap_or_else(|| share.name_any());
        let name = hub_share_name(&friendly, signature.as_ref());
        let now = clock::now();
        let end = if hub.has("expires-at") {
            ShareEnd::At(ends_at)
        } else {
            ShareEnd::Hours(whole_hours(ends_at, now, hub.longest()))
        };
        let new =
            NewShare { name: Some(name.clone()), end, max_joins: self.max_joins(), routes: self.routes() };
        let key =
            knows_keys.then(|| idempotency_key(self.found.maker.as_ref(), &uid, wanted_rotation(share)));
        if key.is_none()
            && let Some(row) = self.made_unheard().await?
        {
            return Ok(Settled::Open(row));
        }
        let (mut made, mut key) = (self.ask_for(&new, key.as_deref()).await?, key);
        if let Some(void) = key.take_if(|_| made.state == ShareState::Revoked && self.was_never_told()) {
            // We closed it, because its code could not be written: the key stands for that one for ever.
            let fresh = format!("{void}.{}", Uuid::new_v4().simple());
            made = self.ask_for(&new, Some(&fresh)).await?;
            key = Some(fresh);
        }
        match made.state {
            ShareState::Expired => return Ok(Settled::Ended(Over::Expired)),
            ShareState::Revoked => return Ok(Settled::Ended(Over::Revoked)),
            ShareState::Active => {}
        }
        let row = ShareRow {
            code: made.code,
            id: made.id,
            name: Some(name),
            idempotency_key: key.filter(|_| hub.has("share-keys")),
            expires_at: made.expires_at,
            route_count: valid.routes.len() as u64,
            join_count: 0,
            created_at: now,
            joins: Vec::new(),
            // Nobody has the code yet: said here as the hub would, so that its next list is no news.
            connected: hub.has("presence").then(People::default),
        };
        hub.with_directory(|directory| directory.remember(row.clone()));
        Ok(Settled::Open(row))
    }

    /// Asks for a share; where the hub refuses so many hours and says how many it takes, for as many.
    async fn ask_for(&self, new: &NewShare, key: Option<&str>) -> Result<Share, connect_hub::Error> {
        let ask = async |new: &NewShare| {
            let creating = self.client.create_share(self.agent, new, key);
            point("creating a share", creating).await.inspect_err(|_| self.hub.was_not_answered())
        };
        let refused = match ask(new).await {
            Err(connect_hub::Error::Rejected(refused)) => refused,
            other => return other,
        };
        match (&new.end, refused.longest_hours()) {
            (ShareEnd::Hours(hours), Some(longest)) if (1..*hours).contains(&longest) => {
                self.hub.keeps_at_most(longest);
                if new.max_joins.is_some() {
                    // Another code would have to follow, from which joins are counted anew: the next look refuses that.
                    return Err(connect_hub::Error::Rejected(refused));
                }
                ask(&NewShare { end: ShareEnd::Hours(longest), ..new.clone() }).await
            }
            _ => Err(connect_hub::Error::Rejected(refused)),
        }
    }

    /// Whether nobody was told the code that is wanted now.
    fn was_never_told(&self) -> bool {
        let told = self.share.status.as_ref().and_then(|status| status.code_secret_name.as_ref());
        told.is_none() && (self.valid.rotates || self.found.code.is_none())
    }

    /// What an earlier creation has made whose answer was lost, at a hub that would make another.
    async fn made_unheard(&self) -> Result<Option<ShareRow>, connect_hub::Error> {
        self.hub.catch_up().await?;
        let Signature { maker: Some(maker), marker } = self.signature() else { return Ok(None) };
        let mut rows = self.hub.with_directory(|directory| directory.shares(&marker, &maker));
        rows.retain(|row| signature_of(row).is_some_and(|signature| !signature.marker.is_old()));
        let seen = |row: &ShareRow| self.found.rows.iter().any(|seen| seen.has_code(&row.code));
        Ok(rows.into_iter().find(|row| !seen(row) && !self.found.is_in_the_secret(row)))
    }

    /// Changes end and routes of an open share, when they differ.
    async fn update(&self, mut row: ShareRow) -> Result<ShareRow, connect_hub::Error> {
        let Self { valid, found, ends_at, .. } = *self;
        let differs = row.expires_at.duration_since(ends_at).abs() >= SignedDuration::from_secs(1);
        let had = found.code.as_ref().map(|code| code.routes.as_slice()).unwrap_or_default();
        let others =
            had.len() != valid.routes.len() || valid.routes.iter().any(|route| !had.contains(&route.name));
        let rerouted = (valid.membership == Membership::Live && others) || self.have_moved();
        if !differs && !rerouted {
            return Ok(row);
        }
        let change = ShareChange {
            expires_at: differs.then_some(ends_at),
            max_joins: self.max_joins(),
            routes: rerouted.then(|| self.routes()),
        };
        let changing = self.client.update_share(self.agent, &row.code, &change);
        row.expires_at = point("changing a share", changing).await?.expires_at;
        Ok(row)
    }

    fn max_joins(&self) -> Option<u32> {
        self.share.spec.max_joins.and_then(|limit| u32::try_from(limit).ok())
    }

    fn routes(&self) -> Vec<NewRoute> {
        let one = |(route, id): (&Route, &Uuid)| NewRoute {
            service_name: route.name.clone(),
            service_id: Some(*id),
            // What joiners are told; a name of the cluster is none of their business.
            target_host: route.name.clone(),
            target_port: target_port(route),
            local_port: Some(route.port),
            protocol: route.protocol.as_hub_str().to_owned(),
        };
        self.valid.routes.iter().zip(self.services).map(one).collect()
    }
}

/// What makes two creations one: who makes it, the object, and which of its codes is meant.
pub fn idempotency_key(maker: Option<&Maker>, uid: &str, rotation: Option<&String>) -> String {
    let maker = maker.map(|maker| format!("{maker}.")).unwrap_or_default();
    match rotation {
        Some(rotation) => format!("{maker}{uid}.{}", ShareMarker::of(rotation)),
        None => format!("{maker}{uid}"),
    }
}

/// When another share must take this one's place, because the hub will close it before its end and cannot change that.
pub fn renewal_due(row: &ShareRow, ends_at: Timestamp, hub: &HubConnection) -> Option<Timestamp> {
    if hub.has("update-share") { None } else { renewal_time(row.created_at, row.expires_at, ends_at) }
}

/// As [`renewal_due`]. That the hub closes it a moment too early, as clocks differ, is no reason for a new code.
fn renewal_time(created_at: Timestamp, expires_at: Timestamp, ends_at: Timestamp) -> Option<Timestamp> {
    if ends_at.duration_since(expires_at) < RENEW_AHEAD {
        return None;
    }
    let life = expires_at.duration_since(created_at);
    let late = expires_at - RENEW_AHEAD.min(life / 10 * (10 - RENEW_AFTER_TENTHS));
    Some(late.max(created_at + RENEW_AT_MOST_EVERY))
}

/// The hours that a hub must be asked for so that its share does not end before ours, capped at the most that it takes.
fn whole_hours(ends_at: Timestamp, now: Timestamp, longest: SignedDuration) -> u32 {
    let seconds = ends_at.duration_since(now).as_secs().max(1);
    let hours = (seconds + 3599) / 3600;
    u32::try_from(hours.min(longest.as_hours()).max(1)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_share_never_ends_before_ours_unless_the_hub_forbids_it() {
        let now = Timestamp::from_second(1_800_000_000).expect("a date");
        let week = SignedDuration::from_hours(168);
        let after = |seconds: i64| whole_hours(now + SignedDuration::from_secs(seconds), now, week);
        assert_eq!(after(1), 1);
        assert_eq!(after(3600), 1);
        assert_eq!(after(3601), 2);
        assert_eq!(after(14 * 24 * 3600), 168);
        assert_eq!(after(-5), 1);
        assert_eq!(whole_hours(now + week, now, SignedDuration::from_hours(24)), 24);
    }

    #[test]
    fn a_share_is_renewed_shortly_before_the_hub_closes_it_and_never_all_the_time() {
        let second = |second| Timestamp::from_second(1_800_000_000 + second).expect("a date");
        let due = |life: i64, end: i64| renewal_time(second(0), second(life), second(end));
        let week = 7 * 24 * 3600;
        assert_eq!(due(week, 2 * week), Some(second(week - 60)));
        assert_eq!(due(100, week), Some(second(90)));
        assert_eq!(due(0, week), Some(second(10)), "a hub that closes at once");
        assert_eq!(due(week, week), None);
        assert_eq!(due(week - 5, week), None, "clocks that differ");
        assert_eq!(due(week, 3600), None);
    }
}
