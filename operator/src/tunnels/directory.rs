//! What a hub said it has: our services and shares, as of the last list and of what we have done since.
//!
//! A share carries its object's [`Mark`] in its name. Before a share is created, the list is searched for the mark.

use std::collections::HashMap;

use connect_crds::Mark;
use connect_hub::client::ShareRow;
use secrecy::ExposeSecret;
use uuid::Uuid;

/// Longest name of a share that hubs take, in characters.
const MAX_SHARE_NAME: usize = 100;

/// The name of an object's share at the hub: what people call it, cut to fit, and the mark.
pub fn hub_share_name(display_name: &str, mark: &Mark) -> String {
    let suffix = format!(" #{mark}");
    let room = MAX_SHARE_NAME - suffix.len();
    let mut name: String = display_name.chars().take(room).collect();
    name.push_str(&suffix);
    name
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
    Shares(Vec<Mark>),
    /// In services, which may be anybody's.
    Services,
}

/// Services and shares of our agent at one hub.
#[derive(Debug, Default)]
pub struct Directory {
    is_listed: bool,
    services: HashMap<String, KnownService>,
    shares: HashMap<Mark, Vec<ShareRow>>,
}

impl Directory {
    /// What two lists say.
    pub fn new(services: impl IntoIterator<Item = (String, KnownService)>, shares: Vec<ShareRow>) -> Self {
        let services = services.into_iter().collect();
        let mut directory = Self { is_listed: true, services, shares: HashMap::new() };
        for row in shares {
            directory.remember(row);
        }
        directory
    }

    /// Whether the hub has said what it has; before that, nothing here means nothing.
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// How this differs from what was known before.
    pub fn difference(&self, known: &Self) -> Difference {
        if self.services != known.services {
            return Difference::Services;
        }
        let differs = |mark: &&Mark| {
            let (now, before) = (self.shares(mark), known.shares(mark));
            now.len() != before.len()
                || now.iter().zip(before).any(|(now, before)| !says_the_same(now, before))
        };
        let gone = known.shares.keys().filter(|mark| !self.shares.contains_key(mark));
        let marks: Vec<Mark> = self.shares.keys().chain(gone).filter(differs).cloned().collect();
        if marks.is_empty() { Difference::None } else { Difference::Shares(marks) }
    }

    /// The service with this name.
    pub fn service(&self, name: &str) -> Option<KnownService> {
        self.services.get(name).copied()
    }

    /// The services whose name begins so.
    pub fn services_below(&self, prefix: &str) -> Vec<(String, KnownService)> {
        self.services
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, known)| (name.clone(), *known))
            .collect()
    }

    /// Notes a service that was registered.
    pub fn remember_service(&mut self, name: &str, known: KnownService) {
        self.services.insert(name.to_owned(), known);
    }

    /// Notes that a service was deleted.
    pub fn forget_service(&mut self, name: &str) {
        self.services.remove(name);
    }

    /// The shares with this mark, oldest first. More than one means that an answer was lost.
    pub fn shares(&self, mark: &Mark) -> &[ShareRow] {
        self.shares.get(mark).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every mark and its shares.
    pub fn all_shares(&self) -> impl Iterator<Item = (&Mark, &[ShareRow])> {
        self.shares.iter().map(|(mark, rows)| (mark, rows.as_slice()))
    }

    /// Notes a share that is at the hub.
    pub fn remember(&mut self, row: ShareRow) {
        if let Some(mark) = row.name.as_deref().and_then(Mark::in_name) {
            let rows = self.shares.entry(mark).or_default();
            rows.push(row);
            rows.sort_by_key(|row| row.created_at);
        }
    }

    /// Notes that the shares with this mark are closed.
    pub fn forget(&mut self, mark: &Mark) {
        self.shares.remove(mark);
    }

    /// Applies what a hub pushed: a share was joined. Says whose share it was.
    pub fn joined(&mut self, id: Uuid, count: u64, join: connect_hub::client::Join) -> Option<Mark> {
        let (mark, row) = self.shares.iter_mut().find_map(|(mark, rows)| {
            let row = rows.iter_mut().find(|row| row.id == Some(id))?;
            Some((mark.clone(), row))
        })?;
        row.join_count = row.join_count.max(count);
        if !row.joins.contains(&join) {
            row.joins.insert(0, join);
        }
        Some(mark)
    }
}

/// Whether two rows would make us do and say the same. When a row was created is the hub's word against ours.
fn says_the_same(one: &ShareRow, other: &ShareRow) -> bool {
    one.code.expose_secret() == other.code.expose_secret()
        && one.expires_at == other.expires_at
        && one.join_count == other.join_count
        && one.joins == other.joins
}

#[cfg(test)]
mod tests {
    use connect_hub::client::Join;
    use jiff::Timestamp;
    use secrecy::SecretString;

    use super::*;

    fn row(mark: &Mark, code: &str) -> ShareRow {
        ShareRow {
            code: SecretString::from(code),
            id: None,
            name: Some(hub_share_name("demo", mark)),
            expires_at: Timestamp::UNIX_EPOCH,
            route_count: 1,
            join_count: 0,
            created_at: Timestamp::UNIX_EPOCH,
            joins: Vec::new(),
        }
    }

    #[test]
    fn a_list_that_says_nothing_new_concerns_nobody_and_one_that_does_only_its_shares() {
        let (one, other) = (Mark::of("one"), Mark::of("other"));
        let list = |rows: Vec<ShareRow>| Directory::new([], rows);
        let known = list(vec![row(&one, "a"), row(&other, "b")]);
        let again = list(vec![row(&other, "b"), row(&one, "a")]);
        assert_eq!(again.difference(&known), Difference::None);

        let join = Join { agent_label: "alice".to_owned(), joined_at: Timestamp::UNIX_EPOCH };
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
    fn a_mark_is_found_again_in_the_name_it_was_put_into() {
        let mark = Mark::of("3f0c2b1e-0000-4000-8000-000000000001");
        for display in ["", "PR-1234", "#deadbeef", &"x".repeat(200), &"ü".repeat(99)] {
            let name = hub_share_name(display, &mark);
            assert!(name.chars().count() <= MAX_SHARE_NAME);
            assert_eq!(Mark::in_name(&name), Some(mark.clone()), "{display}");
        }
    }

    #[test]
    fn names_of_others_have_no_mark() {
        for name in ["", "staging", "issue #12", "x #DEADBEEF", "x #deadbee", "x #deadbeef0"] {
            assert_eq!(Mark::in_name(name), None, "{name}");
        }
    }
}
