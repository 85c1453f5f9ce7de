//! What a hub said it has: our services and shares, as of the last list and of what we have done since.
//!
//! A share carries its [`Signature`]: in the key that it was made with, where the hub tells it, else at the end of its name. Before
//! a share is created, the list is searched for it.

use std::collections::{HashMap, HashSet};

use connect_crds::{Maker, ShareMarker, Signature};
use connect_hub::client::{Join, People, ShareRow};
use uuid::Uuid;

/// Longest name of a share that hubs take. Ours counts characters, as the custom resource does; those of the vendor count
/// UTF-16 units, of which an emoji has two.
const MAX_SHARE_NAME: usize = 100;

/// The name of an object's share at the hub: what people call it, cut to fit, and behind it the signature at hubs that have no
/// better place for it.
pub fn hub_share_name(display_name: &str, signature: Option<&Signature>) -> String {
    let suffix = signature.map(|signature| format!(" {signature}")).unwrap_or_default();
    let mut room = MAX_SHARE_NAME - suffix.len();
    let fits = |letter: &char| {
        let left = room.checked_sub(if signature.is_some() { letter.len_utf16() } else { 1 });
        room = left.unwrap_or(0);
        left.is_some()
    };
    let mut name: String = display_name.chars().take_while(fits).collect();
    name.push_str(&suffix);
    name
}

/// What a hub's row says of its origin.
pub fn signature_of(row: &ShareRow) -> Option<Signature> {
    Signature::of_row(row.idempotency_key.as_deref(), row.name.as_deref())
}

/// A service of ours at the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownService {
    /// The hub's id: what a dial carries.
    pub id: Uuid,
    /// The port that the hub set aside for it; some hubs want it back when the service is exposed.
    pub tunnel_port: Option<u16>,
}

/// How a fresh list differs from what was known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Not at all.
    None,
    /// In these objects' shares only.
    Shares(Vec<ShareMarker>),
    /// In services, which may be anybody's.
    Services,
}

/// Services and shares of our agent at one hub.
#[derive(Debug, Default)]
pub struct Directory {
    is_listed: bool,
    services: HashMap<String, KnownService>,
    /// Names of services of other agents of the workspace.
    foreign: HashSet<String>,
    shares: HashMap<Signature, Vec<ShareRow>>,
}

impl Directory {
    /// What two lists say.
    pub fn new(services: impl IntoIterator<Item = (String, KnownService)>, shares: Vec<ShareRow>) -> Self {
        let services = services.into_iter().collect();
        let mut directory = Self { is_listed: true, services, ..Self::default() };
        for row in shares {
            directory.remember(row);
        }
        directory
    }

    /// Whether the hub has said what it has; before that, nothing here means nothing.
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// As it is, with the names of services that are other agents'.
    #[must_use]
    pub fn beside(self, foreign: HashSet<String>) -> Self {
        Self { foreign, ..self }
    }

    /// Whether the name is another agent's.
    pub fn is_foreign(&self, name: &str) -> bool {
        self.foreign.contains(name)
    }

    /// How this differs from what was known before.
    pub fn difference(&self, known: &Self) -> Difference {
        if self.services != known.services {
            return Difference::Services;
        }
        let rows = |directory: &Self, signature: &Signature| {
            directory.shares.get(signature).cloned().unwrap_or_default()
        };
        let differs = |signature: &&Signature| {
            let (now, before) = (rows(self, signature), rows(known, signature));
            now.len() != before.len()
                || now.iter().zip(&before).any(|(now, before)| !says_the_same(now, before))
        };
        let gone = known.shares.keys().filter(|signature| !self.shares.contains_key(signature));
        let signatures = self.shares.keys().chain(gone).filter(differs);
        let markers: Vec<ShareMarker> = signatures.map(|signature| signature.marker.clone()).collect();
        if markers.is_empty() { Difference::None } else { Difference::Shares(markers) }
    }

    /// The service with this name.
    pub fn service(&self, name: &str) -> Option<KnownService> {
        self.services.get(name).copied()
    }

    /// The services with names of which `is_wanted` says so.
    pub fn services_that(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(String, KnownService)> {
        let wanted = self.services.iter().filter(|(name, _)| is_wanted(name));
        wanted.map(|(name, known)| (name.clone(), *known)).collect()
    }

    /// Notes a service that was registered.
    pub fn remember_service(&mut self, name: &str, known: KnownService) {
        self.services.insert(name.to_owned(), known);
    }

    /// Notes that a service was deleted.
    pub fn forget_service(&mut self, name: &str) {
        self.services.remove(name);
    }

    /// The shares that `maker` or an earlier version of it has made for the object with this marker, oldest first. More than one
    /// means that an answer was lost; one with a marker in the old form may be another object's.
    pub fn shares(&self, marker: &ShareMarker, maker: &Maker) -> Vec<ShareRow> {
        let found = signatures(marker, maker).into_iter().filter_map(|signature| self.shares.get(&signature));
        let mut rows: Vec<ShareRow> = found.flatten().cloned().collect();
        rows.sort_by_key(|row| row.created_at);
        rows
    }

    /// Every signature and its shares.
    pub fn all_shares(&self) -> impl Iterator<Item = (&Signature, &[ShareRow])> {
        self.shares.iter().map(|(signature, rows)| (signature, rows.as_slice()))
    }

    /// Notes a share that is at the hub.
    pub fn remember(&mut self, row: ShareRow) {
        if let Some(signature) = signature_of(&row) {
            let rows = self.shares.entry(signature).or_default();
            rows.push(row);
            rows.sort_by_key(|row| row.created_at);
        }
    }

    /// Notes that the share of this row is closed.
    pub fn forget(&mut self, closed: &ShareRow) {
        let Some(signature) = signature_of(closed) else { return };
        if let Some(rows) = self.shares.get_mut(&signature) {
            rows.retain(|row| !row.has_code(&closed.code));
            if rows.is_empty() {
                self.shares.remove(&signature);
            }
        }
    }

    /// Applies what a hub pushed: a share was joined. Says whose share it was.
    pub fn joined(&mut self, id: Uuid, count: u64, join: Join) -> Option<ShareMarker> {
        let (marker, row) = self.shares.iter_mut().find_map(|(signature, rows)| {
            let row = rows.iter_mut().find(|row| row.id == Some(id))?;
            Some((signature.marker.clone(), row))
        })?;
        row.join_count = row.join_count.max(count);
        let same =
            |known: &Join| (&known.agent_label, known.joined_at) == (&join.agent_label, join.joined_at);
        if !row.joins.iter().any(same) {
            row.joins.insert(0, join);
        }
        Some(marker)
    }

    /// Applies what a hub pushed: who is connected. Says whose share it was, if that is news.
    pub fn present(
        &mut self,
        id: Uuid,
        count: u64,
        connected: People,
        joins: Vec<Join>,
    ) -> Option<ShareMarker> {
        let (marker, row) = self.shares.iter_mut().find_map(|(signature, rows)| {
            let row = rows.iter_mut().find(|row| row.id == Some(id))?;
            Some((signature.marker.clone(), row))
        })?;
        let before = row.clone();
        row.join_count = row.join_count.max(count);
        row.connected = Some(connected);
        row.joins = joins;
        (!says_the_same(&before, row)).then_some(marker)
    }
}

/// How `maker` and its earlier versions sign what they make for one object.
fn signatures(marker: &ShareMarker, maker: &Maker) -> [Signature; 3] {
    [
        Signature { maker: Some(maker.clone()), marker: marker.clone() },
        Signature { maker: None, marker: marker.clone() },
        Signature { maker: None, marker: marker.in_old_form() },
    ]
}

/// Whether two rows would make us do and say the same. When a row was created is the hub's word against ours.
fn says_the_same(one: &ShareRow, other: &ShareRow) -> bool {
    one.has_code(&other.code)
        && one.expires_at == other.expires_at
        && one.join_count == other.join_count
        && one.joins == other.joins
        // How many connections they have open is nobody's news.
        && one.connected.map(|people| people.joiners) == other.connected.map(|people| people.joiners)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use secrecy::{ExposeSecret, SecretString};

    use super::*;

    fn maker() -> Maker {
        Maker::of("cluster", "agent")
    }

    fn signed(marker: &ShareMarker) -> Signature {
        Signature { maker: Some(maker()), marker: marker.clone() }
    }

    fn row(signature: &Signature, code: &str) -> ShareRow {
        ShareRow {
            code: SecretString::from(code),
            id: None,
            name: Some(hub_share_name("demo", Some(signature))),
            idempotency_key: None,
            expires_at: Timestamp::UNIX_EPOCH,
            route_count: 1,
            join_count: 0,
            created_at: Timestamp::UNIX_EPOCH,
            joins: Vec::new(),
            connected: None,
        }
    }

    #[test]
    fn a_list_that_says_nothing_new_concerns_nobody_and_one_that_does_only_its_shares() {
        let (one, other) = (ShareMarker::of("one"), ShareMarker::of("other"));
        let list = |rows: Vec<ShareRow>| Directory::new([], rows);
        let row = |marker: &ShareMarker, code: &str| row(&signed(marker), code);
        let known = list(vec![row(&one, "a"), row(&other, "b")]);
        let again = list(vec![row(&other, "b"), row(&one, "a")]);
        assert_eq!(again.difference(&known), Difference::None);

        let join =
            Join { agent_label: "alice".to_owned(), joined_at: Timestamp::UNIX_EPOCH, connected: false };
        let joined = ShareRow { join_count: 1, joins: vec![join], ..row(&one, "a") };
        let news = list(vec![joined, row(&other, "b")]);
        assert_eq!(news.difference(&known), Difference::Shares(vec![one.clone()]));
        assert_eq!(list(vec![row(&other, "b")]).difference(&known), Difference::Shares(vec![one.clone()]));
        assert_eq!(known.difference(&list(vec![row(&one, "a")])), Difference::Shares(vec![other]));

        let service = KnownService { id: Uuid::nil(), tunnel_port: None };
        let more = Directory::new([("shop/demo/api".to_owned(), service)], vec![row(&one, "a")]);
        assert_eq!(more.difference(&known), Difference::Services);
    }

    #[test]
    fn a_push_is_news_when_somebody_came_or_went_and_not_when_a_connection_did() {
        let (marker, id) = (ShareMarker::of("one"), Uuid::new_v4());
        let mut directory = Directory::new([], vec![ShareRow { id: Some(id), ..row(&signed(&marker), "a") }]);
        let people = |joiners, connections| People { joiners, connections };
        let joins = |connected| {
            vec![Join { agent_label: "alice".to_owned(), joined_at: Timestamp::UNIX_EPOCH, connected }]
        };
        assert_eq!(directory.present(id, 1, people(1, 0), joins(true)), Some(marker.clone()));
        assert_eq!(directory.present(id, 1, people(1, 9), joins(true)), None);
        assert_eq!(directory.present(id, 1, people(0, 0), joins(false)), Some(marker.clone()));
        assert_eq!(directory.present(Uuid::new_v4(), 1, people(5, 5), joins(true)), None, "somebody else's");
        assert_eq!(directory.shares(&marker, &maker())[0].connected, Some(people(0, 0)));
        // Telling of a join again does not add it twice.
        let again = Join { connected: true, ..joins(false).remove(0) };
        assert_eq!(directory.joined(id, 1, again), Some(marker.clone()));
        assert_eq!(directory.shares(&marker, &maker())[0].joins.len(), 1);
    }

    #[test]
    fn a_signature_is_found_again_in_the_name_it_was_put_into() {
        let signature = signed(&ShareMarker::of("3f0c2b1e-0000-4000-8000-000000000001"));
        for display in ["", "PR-1234", "#deadbeef", &"x".repeat(200), &"ü".repeat(99), &"😀".repeat(100)] {
            let name = hub_share_name(display, Some(&signature));
            assert!(name.encode_utf16().count() <= MAX_SHARE_NAME);
            assert_eq!(Signature::in_name(&name), Some(signature.clone()), "{display}");
        }
        assert_eq!(hub_share_name("demo", None), "demo");
        assert_eq!(hub_share_name(&"😀".repeat(101), None), "😀".repeat(MAX_SHARE_NAME));
    }

    #[test]
    fn names_of_others_have_no_signature() {
        for name in ["", "staging", "issue #12", "x #DEADBEEF", "x #deadbee", "x #deadbeef0"] {
            assert_eq!(Signature::in_name(name), None, "{name}");
        }
    }

    #[test]
    fn shares_of_earlier_versions_are_found_and_those_of_other_operators_are_not() {
        let marker = ShareMarker::of("uid");
        let old = Signature { maker: None, marker: marker.in_old_form() };
        let copy = Signature { maker: Some(Maker::of("copy", "agent")), marker: marker.clone() };
        let keyed = ShareRow {
            name: Some("demo".to_owned()),
            idempotency_key: Some("uid".to_owned()),
            ..row(&copy, "d")
        };
        let rows = vec![row(&signed(&marker), "a"), row(&old, "b"), row(&copy, "c"), keyed];
        let mut directory = Directory::new([], rows);
        let codes = |directory: &Directory| {
            let rows = directory.shares(&marker, &maker());
            rows.iter().map(|row| row.code.expose_secret().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(codes(&directory), ["a", "d", "b"]);
        directory.forget(&row(&old, "b"));
        assert_eq!(codes(&directory), ["a", "d"]);
    }
}
