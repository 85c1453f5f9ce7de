//! Who may be connected. Whoever has shown a key, a token or a ticket has a place for as long as there are any. Everybody
//! else shares a part of them that the hub's memory can bear, each address a part of that: who comes last is let in, and
//! the connection that has waited longest makes room, an idle one before all others. So a flood pushes out itself, and what
//! it takes never keeps out somebody at another address, nor anybody who is connected with a proof.
//!
//! Behind proxies every connection comes from them, so theirs are bounded by the whole part alone, and a request or an
//! upgrade counts for the address that the proxy named, for as long as it lasts.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::limits::{UNPROVEN_CONNECTIONS, UNPROVEN_PER_ADDRESS};

/// The connections of those who have not proven who they are.
#[derive(Debug)]
pub struct Places {
    /// Whether connections come from proxies of ours, which name their clients.
    proxied: bool,
    unproven: Mutex<Unproven>,
}

#[derive(Debug, Default)]
struct Unproven {
    seats: HashMap<u64, Entry>,
    /// The numbers of the seats of each group, which grow: the lowest has waited longest.
    groups: HashMap<Group, BTreeSet<u64>>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    group: Group,
    idle: bool,
    closed: CancellationToken,
}

/// Who shares a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Group {
    Household(IpAddr),
    /// Our own proxies, while nobody has asked for anything over the connection.
    Proxies,
}

/// What a connection that we serve holds, and gives back with itself.
#[derive(Debug)]
pub struct Place {
    pub seat: Arc<Seat>,
    /// One of all connections, proven or not.
    _permit: OwnedSemaphorePermit,
}

/// One connection's seat among the unproven, or none.
#[derive(Debug)]
pub struct Seat {
    places: Arc<Places>,
    peer: IpAddr,
    closed: CancellationToken,
    /// Its number while it is among those of the unproven.
    number: Mutex<Option<u64>>,
}

// === impl Places ===

impl Places {
    pub fn new(proxied: bool) -> Arc<Self> {
        Arc::new(Self { proxied, unproven: Mutex::default() })
    }

    /// A seat for a connection that has just come. `closed` is cancelled when it has to make room.
    pub fn seat(self: &Arc<Self>, peer: IpAddr, closed: CancellationToken) -> Seat {
        let seat = Seat { places: self.clone(), peer, closed, number: Mutex::new(None) };
        seat.sit(self.own_group(peer), false);
        seat
    }

    fn own_group(&self, peer: IpAddr) -> Group {
        if self.proxied { Group::Proxies } else { Group::Household(household(peer)) }
    }

    /// No code panics while it holds this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Unproven> {
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Unproven ===

impl Unproven {
    fn insert(&mut self, entry: Entry) -> u64 {
        let group = entry.group;
        self.last += 1;
        let number = self.last;
        self.seats.insert(number, entry);
        self.groups.entry(group).or_default().insert(number);
        if matches!(group, Group::Household(_)) && self.taken_by(group) > UNPROVEN_PER_ADDRESS {
            self.make_room(group);
        }
        if self.seats.len() > UNPROVEN_CONNECTIONS
            && let Some(heaviest) =
                self.groups.iter().max_by_key(|(_, seats)| seats.len()).map(|(group, _)| *group)
        {
            self.make_room(heaviest);
        }
        number
    }

    fn remove(&mut self, number: u64) {
        let Some(Entry { group, .. }) = self.seats.remove(&number) else { return };
        if let Some(seats) = self.groups.get_mut(&group) {
            seats.remove(&number);
            if seats.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// Closes the connection of `group` that has waited longest, one that rests if there is one.
    fn make_room(&mut self, group: Group) {
        let Some(seats) = self.groups.get(&group) else { return };
        let rests = |number: &&u64| self.seats.get(number).is_some_and(|entry| entry.idle);
        let Some(number) = seats.iter().find(rests).or(seats.first()).copied() else { return };
        if let Some(entry) = self.seats.get(&number) {
            entry.closed.cancel();
        }
        self.remove(number);
    }

    fn taken_by(&self, group: Group) -> usize {
        self.groups.get(&group).map_or(0, BTreeSet::len)
    }
}

// === impl Place ===

impl Place {
    pub fn new(seat: Seat, permit: OwnedSemaphorePermit) -> Self {
        Self { seat: Arc::new(seat), _permit: permit }
    }

    /// A place of its own for a test.
    #[cfg(test)]
    pub fn for_test() -> Self {
        let permit = Arc::new(tokio::sync::Semaphore::new(1)).try_acquire_owned().expect("is free");
        let peer = std::net::Ipv4Addr::LOCALHOST.into();
        Self::new(Places::new(false).seat(peer, CancellationToken::new()), permit)
    }

    /// Cancelled when the connection has to make room.
    pub fn closed(&self) -> CancellationToken {
        self.seat.closed.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.leave(); // others may know the seat for longer
    }
}

// === impl Seat ===

impl Seat {
    /// A request came over the connection, from `address` as far as is known; nothing is proven yet.
    pub fn ask(&self, address: IpAddr) {
        let named = !self.places.proxied || address != self.peer;
        self.sit(if named { Group::Household(household(address)) } else { Group::Proxies }, false);
    }

    /// The connection waits for its next request.
    pub fn rest(&self) {
        self.sit(self.places.own_group(self.peer), true);
    }

    /// Whoever is at the other end has proven who it is.
    pub fn prove(&self) {
        self.leave();
    }

    fn leave(&self) {
        let mut number = self.number();
        if let Some(number) = number.take() {
            self.places.lock().remove(number);
        }
    }

    fn sit(&self, group: Group, idle: bool) {
        let mut number = self.number();
        let mut unproven = self.places.lock();
        if let Some(before) = number.take() {
            unproven.remove(before);
        }
        if !self.closed.is_cancelled() {
            *number = Some(unproven.insert(Entry { group, idle, closed: self.closed.clone() }));
        }
    }

    /// As for [`Places::lock`].
    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One customer's addresses: an IPv6 customer has a whole /64, and an IPv4 one may come dressed as IPv6.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    struct Guest {
        seat: Seat,
        closed: CancellationToken,
    }

    impl Drop for Guest {
        fn drop(&mut self) {
            self.seat.leave();
        }
    }

    fn sit(places: &Arc<Places>, address: &str) -> Guest {
        let closed = CancellationToken::new();
        Guest { seat: places.seat(address.parse().expect("an address"), closed.clone()), closed }
    }

    fn closed(guests: &[Guest]) -> Vec<usize> {
        guests.iter().enumerate().filter(|(_, guest)| guest.closed.is_cancelled()).map(|(at, _)| at).collect()
    }

    #[test]
    fn a_household_pushes_out_its_own_oldest_and_nobody_else() {
        let places = Places::new(false);
        let other = sit(&places, "198.51.100.1");
        for (first, last) in [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8::1", "2001:db8::ffff:1")] {
            let guests: Vec<_> = (0..UNPROVEN_PER_ADDRESS).map(|_| sit(&places, first)).collect();
            assert_eq!(closed(&guests), [0; 0]);
            let newest = sit(&places, last);
            assert_eq!(closed(&guests), [0], "the oldest");
            guests[7].seat.rest();
            let _resting = sit(&places, last);
            assert_eq!(closed(&guests), [0, 7], "one that rests goes first");
            assert!(!newest.closed.is_cancelled());
        }
        assert!(!other.closed.is_cancelled());
    }

    #[test]
    fn who_has_proven_who_it_is_keeps_its_place() {
        let places = Places::new(false);
        let proven = sit(&places, "192.0.2.1");
        proven.seat.prove();
        let flood: Vec<_> = (0..2 * UNPROVEN_PER_ADDRESS).map(|_| sit(&places, "192.0.2.1")).collect();
        assert!(!proven.closed.is_cancelled());
        assert_eq!(closed(&flood).len(), UNPROVEN_PER_ADDRESS);
        drop(flood);
        drop(proven);
        let open = places.lock();
        assert!(open.seats.is_empty() && open.groups.is_empty(), "nothing is left behind");
    }

    #[test]
    fn many_addresses_together_are_bounded_and_the_greediest_makes_room() {
        let places = Places::new(false);
        let greedy: Vec<_> = (0..UNPROVEN_PER_ADDRESS).map(|_| sit(&places, "192.0.2.1")).collect();
        let modest: Vec<_> = (0..UNPROVEN_CONNECTIONS)
            .map(|at| sit(&places, &Ipv4Addr::from(0x0a00_0000 + at as u32).to_string()))
            .collect();
        assert_eq!(places.lock().seats.len(), UNPROVEN_CONNECTIONS);
        assert_eq!(closed(&greedy).len(), UNPROVEN_PER_ADDRESS - 1, "down to as little as the others have");
        assert_eq!(closed(&modest).len(), 1);
    }

    #[test]
    fn behind_proxies_the_address_counts_that_they_name() {
        let places = Places::new(true);
        let proxy = "10.0.0.1";
        let connections: Vec<_> = (0..2 * UNPROVEN_PER_ADDRESS).map(|_| sit(&places, proxy)).collect();
        for connection in &connections {
            connection.seat.rest();
        }
        assert_eq!(closed(&connections), [0; 0], "a proxy may have more than one address may");
        let client = "192.0.2.1".parse().expect("an address");
        for connection in &connections {
            connection.seat.ask(client);
        }
        assert_eq!(
            closed(&connections).len(),
            UNPROVEN_PER_ADDRESS,
            "and each of its clients what others may"
        );
        let unnamed = sit(&places, proxy);
        unnamed.seat.ask(proxy.parse().expect("an address"));
        assert_eq!(closed(&connections).len(), UNPROVEN_PER_ADDRESS);
    }
}
