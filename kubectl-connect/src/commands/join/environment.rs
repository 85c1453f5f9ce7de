//! The routes of a join as environment variables, for commands and scripts. The rule is in the help of `join`.
//!
//! Who makes a share chooses the names of its routes. So a route's own variables begin with `CONNECT_`, which no other
//! program reads; a few databases also have the usual names, of this list and no other. What is set already stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use connect_hub::client::JoinedShare;
use connect_hub::join::BoundRoute;

use super::family::Family;
use super::view;
use crate::sanitize::Clean;

/// What the variables of every route begin with.
const PREFIX: &str = "CONNECT_";

/// Variables with that prefix that this plugin itself reads: a route called `hub` must not send a join to another hub.
const OURS: [&str; 1] = ["CONNECT_HUB_URL"];

/// What a value may consist of without quotes, beside letters and digits, in a shell and in a dotenv file.
const PLAIN: &[u8] = b":/.[]?=_-";

/// Names and values.
pub type Variables = BTreeMap<String, String>;

/// What a command finds in its environment.
#[derive(Debug, Default)]
pub struct Environment {
    /// The variables to be set.
    pub variables: Variables,
    /// What is not as one might expect, a line each.
    pub notes: Vec<String>,
}

/// The usual variables of a database's clients.
struct Usual {
    family: Family,
    label: &'static str,
    /// What is set: all of it, or nothing.
    names: &'static [&'static str],
    /// What else says where the client connects: with one of these set, ours would only be mixed with the user's own.
    also: &'static [&'static str],
}

const USUAL: [Usual; 4] = [
    Usual {
        family: Family::Postgres,
        label: "PostgreSQL",
        names: &["PGHOST", "PGPORT"],
        also: &["PGHOSTADDR", "PGSERVICE"],
    },
    Usual { family: Family::Redis, label: "Redis", names: &["REDIS_URL"], also: &[] },
    Usual { family: Family::Mysql, label: "MySQL", names: &["MYSQL_HOST", "MYSQL_TCP_PORT"], also: &[] },
    Usual { family: Family::Mongo, label: "MongoDB", names: &["MONGODB_URL"], also: &[] },
];

/// A route and where it is reached.
struct Place<'a> {
    route: &'a BoundRoute,
    family: Family,
    address: IpAddr,
}

/// The environment for these routes, where `is_set` tells what the user has set.
pub fn environment(
    routes: &[BoundRoute],
    share: &JoinedShare,
    bind: &[IpAddr],
    is_set: &dyn Fn(&str) -> bool,
) -> Environment {
    let address = reached_at(bind);
    let mut places: Vec<Place<'_>> = routes
        .iter()
        .map(|route| {
            let family = Family::of(&route.protocol, view::usual_port(route, share), &route.name);
            Place { route, family, address }
        })
        .collect();
    // By name, so that it does not depend on the hub who comes first.
    places.sort_by_cached_key(|place| (own_name(place), place.route.name.clone()));
    let mut environment = Environment::default();
    for same in places.chunk_by(|one, other| own_name(one) == own_name(other)) {
        environment.add_own(same, is_set);
    }
    for usual in &USUAL {
        let found: Vec<_> = places.iter().filter(|place| place.family == usual.family).collect();
        environment.add_usual(usual, &found, is_set);
    }
    environment
}

/// One `NAME=value` per line, as shells, `docker --env-file` and CI systems read them.
pub fn lines(variables: &Variables) -> String {
    variables.iter().map(|(name, value)| format!("{name}={}\n", quoted(value))).collect()
}

// === impl Environment ===

impl Environment {
    /// The variables of routes whose names make the same variables: the first one has them.
    fn add_own(&mut self, same: &[Place<'_>], is_set: &dyn Fn(&str) -> bool) {
        let [first, others @ ..] = same else { return };
        let own = own_name(first);
        if !others.is_empty() {
            self.note(format!(
                "{own}_* stands for route {} alone; the same name would be made of {}",
                first.route.name,
                names(others.iter().map(|place| place.route.name.as_str()))
            ));
        }
        let claims = [("HOST", Some(first.host())), ("PORT", Some(first.port())), ("URL", first.url())];
        let mut kept = Vec::new();
        for (suffix, value) in claims {
            let (name, Some(value)) = (format!("{own}_{suffix}"), value) else { continue };
            if OURS.contains(&name.as_str()) {
                self.note(format!(
                    "{name} is not set for route {}: it is kubectl connect's own",
                    first.route.name
                ));
            } else if is_set(&name) {
                kept.push(name);
            } else {
                self.variables.insert(name, value);
            }
        }
        self.note_kept(
            &kept,
            &format!("route {} is at {}:{}", first.route.name, first.in_url(), first.port()),
        );
    }

    /// The usual variables of a kind of database, for the first route of that kind.
    fn add_usual(&mut self, usual: &Usual, found: &[&Place<'_>], is_set: &dyn Fn(&str) -> bool) {
        let Usual { label, names: own, also, .. } = usual;
        let [first, others @ ..] = found else { return };
        let kept: Vec<_> = own.iter().chain(*also).copied().filter(|name| is_set(name)).collect();
        if !kept.is_empty() {
            let instead = format!("route {} is in {}_*", first.route.name, own_name(first));
            return self.note_kept(&kept, &instead);
        }
        let values: &[String] = match own {
            [_, _] => &[first.host(), first.port()],
            _ => &[first.url().unwrap_or_default()],
        };
        self.variables.extend(own.iter().map(|&name| name.to_owned()).zip(values.iter().cloned()));
        if !others.is_empty() {
            self.note(format!(
                "{} {} for {}, the first {label} route by name; for {} use {}",
                names(own.iter().copied()),
                if own.len() == 1 { "stands" } else { "stand" },
                first.route.name,
                names(others.iter().map(|place| place.route.name.as_str())),
                names(others.iter().map(|place| format!("{}_*", own_name(place))).collect::<BTreeSet<_>>()),
            ));
        }
    }

    fn note_kept(&mut self, kept: &[impl AsRef<str>], instead: &str) {
        if !kept.is_empty() {
            let verb = if kept.len() == 1 { "is set already and was" } else { "are set already and were" };
            self.note(format!("{} {verb} kept; {instead}", names(kept)));
        }
    }

    fn note(&mut self, line: impl AsRef<str>) {
        self.notes.push(format!("[!] {}\n", Clean::new(line.as_ref())));
    }
}

// === impl Place ===

impl Place<'_> {
    fn host(&self) -> String {
        self.address.to_string()
    }

    fn port(&self) -> String {
        self.route.port.to_string()
    }

    fn in_url(&self) -> String {
        match self.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }

    /// The route's URL, where one is customary.
    fn url(&self) -> Option<String> {
        let (scheme, rest) = match self.family {
            Family::Http => ("http", ""),
            Family::Https => ("https", ""),
            Family::Postgres => ("postgresql", ""),
            Family::Redis => ("redis", ""),
            Family::Mysql => ("mysql", ""),
            Family::Mongo => ("mongodb", view::MONGO_DIRECT),
            Family::Other => return None,
        };
        Some(format!("{scheme}://{}:{}{rest}", self.in_url(), self.route.port))
    }
}

/// An address at which the ports are reached. Not the name `localhost`: some clients take that for a socket file.
fn reached_at(bind: &[IpAddr]) -> IpAddr {
    let here = bind.iter().find(|address| address.is_loopback() || address.is_unspecified()).or(bind.first());
    match here {
        Some(IpAddr::V6(address)) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        Some(address) if !address.is_unspecified() => *address,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// The prefix and the route's name in capitals, with `_` for whatever a variable cannot have.
fn own_name(place: &Place<'_>) -> String {
    let name = place.route.name.chars().map(|character| match character {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_uppercase(),
        _ => '_',
    });
    PREFIX.chars().chain(name).collect()
}

/// A value as one word of a shell and of a dotenv file.
fn quoted(value: &str) -> String {
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || PLAIN.contains(&byte)) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''").replace(['\n', '\r'], " "))
}

/// `a`, `a and b`, `a, b and c`.
fn names(all: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let all: Vec<String> = all.into_iter().map(|name| name.as_ref().to_owned()).collect();
    match all.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn bound(name: &str, wanted_port: u16, port: u16, protocol: &str) -> BoundRoute {
        BoundRoute { name: name.into(), wanted_port, port, protocol: protocol.into() }
    }

    fn made(routes: &[BoundRoute], bind: &[IpAddr], set: &[&str]) -> Environment {
        let share =
            JoinedShare { id: None, name: None, expires_at: Timestamp::UNIX_EPOCH, routes: Vec::new() };
        environment(routes, &share, bind, &|name| set.contains(&name))
    }

    /// Whether no program but one that was made for us, or a client of a database of the list, reads this variable.
    fn is_harmless(name: &str) -> bool {
        name.starts_with(PREFIX) && !OURS.contains(&name)
            || USUAL.iter().any(|usual| usual.names.contains(&name))
    }

    #[test]
    fn each_route_has_its_own_names_and_the_first_of_a_kind_the_usual_ones() {
        let routes = [
            bound("orders-db", 5432, 15432, "auto"),
            bound("billing-db", 5432, 5432, "tcp"),
            bound("cache", 6379, 6379, "tcp"),
            bound("api", 8080, 8080, "http"),
            bound("shop.mysql", 0, 40001, "auto"),
            bound("9mongo", 27017, 27017, "auto"),
            bound("other", 7000, 7000, "auto"),
        ];
        let Environment { variables, notes } = made(&routes, &[], &[]);
        assert_eq!(
            lines(&variables),
            "CONNECT_9MONGO_HOST=127.0.0.1\nCONNECT_9MONGO_PORT=27017\n\
             CONNECT_9MONGO_URL=mongodb://127.0.0.1:27017/?directConnection=true\n\
             CONNECT_API_HOST=127.0.0.1\nCONNECT_API_PORT=8080\nCONNECT_API_URL=http://127.0.0.1:8080\n\
             CONNECT_BILLING_DB_HOST=127.0.0.1\nCONNECT_BILLING_DB_PORT=5432\n\
             CONNECT_BILLING_DB_URL=postgresql://127.0.0.1:5432\n\
             CONNECT_CACHE_HOST=127.0.0.1\nCONNECT_CACHE_PORT=6379\nCONNECT_CACHE_URL=redis://127.0.0.1:6379\n\
             CONNECT_ORDERS_DB_HOST=127.0.0.1\nCONNECT_ORDERS_DB_PORT=15432\n\
             CONNECT_ORDERS_DB_URL=postgresql://127.0.0.1:15432\n\
             CONNECT_OTHER_HOST=127.0.0.1\nCONNECT_OTHER_PORT=7000\n\
             CONNECT_SHOP_MYSQL_HOST=127.0.0.1\nCONNECT_SHOP_MYSQL_PORT=40001\n\
             CONNECT_SHOP_MYSQL_URL=mysql://127.0.0.1:40001\n\
             MONGODB_URL=mongodb://127.0.0.1:27017/?directConnection=true\n\
             MYSQL_HOST=127.0.0.1\nMYSQL_TCP_PORT=40001\n\
             PGHOST=127.0.0.1\nPGPORT=5432\n\
             REDIS_URL=redis://127.0.0.1:6379\n"
        );
        assert_eq!(
            notes,
            [
                "[!] PGHOST and PGPORT stand for billing-db, the first PostgreSQL route by name; for orders-db use CONNECT_ORDERS_DB_*\n"
            ]
        );
    }

    #[test]
    fn what_the_user_has_set_is_kept_whole_and_said() {
        for (route, set, left, note) in [
            (
                bound("pg", 5432, 15432, "auto"),
                ["PGHOST"].as_slice(),
                ["CONNECT_PG_HOST", "CONNECT_PG_PORT", "CONNECT_PG_URL"].as_slice(),
                "[!] PGHOST is set already and was kept; route pg is in CONNECT_PG_*\n",
            ),
            (
                bound("pg", 5432, 15432, "auto"),
                &["PGPORT", "PGSERVICE"],
                &["CONNECT_PG_HOST", "CONNECT_PG_PORT", "CONNECT_PG_URL"],
                "[!] PGPORT and PGSERVICE are set already and were kept; route pg is in CONNECT_PG_*\n",
            ),
            (
                bound("cache", 6379, 6379, "auto"),
                &["REDIS_URL"],
                &["CONNECT_CACHE_HOST", "CONNECT_CACHE_PORT", "CONNECT_CACHE_URL"],
                "[!] REDIS_URL is set already and was kept; route cache is in CONNECT_CACHE_*\n",
            ),
            (
                bound("db", 3306, 3306, "auto"),
                &["MYSQL_TCP_PORT"],
                &["CONNECT_DB_HOST", "CONNECT_DB_PORT", "CONNECT_DB_URL"],
                "[!] MYSQL_TCP_PORT is set already and was kept; route db is in CONNECT_DB_*\n",
            ),
            (
                bound("mongo", 27017, 27017, "auto"),
                &["MONGODB_URL"],
                &["CONNECT_MONGO_HOST", "CONNECT_MONGO_PORT", "CONNECT_MONGO_URL"],
                "[!] MONGODB_URL is set already and was kept; route mongo is in CONNECT_MONGO_*\n",
            ),
            (
                bound("api", 80, 8080, "http"),
                &["CONNECT_API_URL", "CONNECT_API_HOST"],
                &["CONNECT_API_PORT"],
                "[!] CONNECT_API_HOST and CONNECT_API_URL are set already and were kept; route api is at 127.0.0.1:8080\n",
            ),
        ] {
            let Environment { variables, notes } = made(&[route], &[], set);
            assert_eq!(variables.keys().collect::<Vec<_>>(), left, "{set:?}");
            assert_eq!(notes, [note], "{set:?}");
        }
    }

    #[test]
    fn addresses_are_those_that_are_listened_on() {
        for (bind, host) in [
            (["10.0.0.7"].as_slice(), "10.0.0.7"),
            (&["0.0.0.0"], "127.0.0.1"),
            (&["::"], "::1"),
            (&["::1"], "::1"),
            (&["10.0.0.7", "127.0.0.1"], "127.0.0.1"),
        ] {
            let bind: Vec<IpAddr> = bind.iter().map(|text| text.parse().expect("an address")).collect();
            let all = made(&[bound("redis", 6379, 6379, "auto")], &bind, &[]).variables;
            assert_eq!(all["CONNECT_REDIS_HOST"], host);
            let in_url = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            assert_eq!(all["REDIS_URL"], format!("redis://{in_url}:6379"));
        }
    }

    #[test]
    fn a_route_cannot_steer_other_programs_whatever_it_is_called() {
        for name in [
            "pip-index",
            "aws-endpoint",
            "openai-base",
            "anthropic-base",
            "ld-preload",
            "ld-library-path",
            "path",
            "http-proxy",
            "https-proxy",
            "all-proxy",
            "no-proxy",
            "http",
            "https",
            "all",
            "git-proxy",
            "git-ssh-command",
            "node-options",
            "docker",
            "kubernetes-service",
            "npm-config-registry",
            "cargo-registry",
            "goproxy",
            "database",
            "pg",
            "mysql",
            "redis",
            "mongodb",
            "hub",
            "HUB",
            "api-key",
            "bash-env",
            "ifs",
            "",
            "x=y\nPATH",
            "$(touch x)",
            "a;b",
            "PATH=/tmp:",
            "é",
        ] {
            for protocol in ["auto", "tcp", "http", "https"] {
                let all = made(&[bound(name, 1, 1, protocol)], &[], &[]).variables;
                let strange: Vec<_> = all.keys().filter(|name| !is_harmless(name)).collect();
                assert!(strange.is_empty(), "{name} {protocol}: {strange:?}");
            }
        }
        let hub = made(&[bound("hub", 80, 8080, "http")], &[], &[]);
        assert_eq!(
            hub.notes,
            ["[!] CONNECT_HUB_URL is not set for route hub: it is kubectl connect's own\n"]
        );
    }

    #[test]
    fn two_routes_of_one_variable_are_told_and_do_not_depend_on_their_order() {
        let routes = ["a.b", "a-b", "A_b"].map(|name| bound(name, 80, name.len() as u16, "http"));
        let [one, two, three] = routes.clone();
        for routes in [[one.clone(), two.clone(), three.clone()], [three, two, one]] {
            let Environment { variables, notes } = made(&routes, &[], &[]);
            assert_eq!(variables.len(), 3, "{variables:?}");
            assert_eq!(
                notes,
                [
                    "[!] CONNECT_A_B_* stands for route A_b alone; the same name would be made of a-b and a.b\n"
                ]
            );
        }
    }

    #[test]
    fn a_value_is_one_word_whatever_is_in_it() {
        for (value, word) in [
            ("127.0.0.1", "127.0.0.1"),
            ("mongodb://[::1]:1/?directConnection=true", "mongodb://[::1]:1/?directConnection=true"),
            ("a b", "'a b'"),
            ("$(id)", "'$(id)'"),
            ("it's", r"'it'\''s'"),
            ("a\nPATH=x", "'a PATH=x'"),
        ] {
            assert_eq!(quoted(value), word);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_route_is_called_lines_are_plain(
            names in proptest::collection::vec(".{0,30}", 1..4),
            protocol in "auto|tcp|http|https",
            port in prop::sample::select(vec![80u16, 5432, 6379, 3306, 27017]),
        ) {
            let routes: Vec<_> = names.iter().map(|name| bound(name, port, port, &protocol)).collect();
            let Environment { variables, notes } = made(&routes, &[], &[]);
            for line in lines(&variables).lines() {
                let (name, value) = line.split_once('=').expect("a name and a value");
                prop_assert!(is_harmless(name), "{name}");
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || PLAIN.contains(&byte)));
            }
            prop_assert!(notes.iter().all(|note| note.lines().count() == 1), "{notes:?}");
        }
    }
}
