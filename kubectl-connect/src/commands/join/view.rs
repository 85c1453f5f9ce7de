//! What a join looks like, line by line. Scripts wait for `tunnel(s) active`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use connect_crds::ShareMarker;
use connect_hub::client::JoinedShare;
use connect_hub::join::{BoundRoute, JoinEnd, JoinEvent};
use jiff::Timestamp;

use super::family::Family;
use crate::output;
use crate::sanitize::Clean;

/// Printed when the user leaves.
pub const LEAVING: &str = "\n👋 Disconnecting tunnels...\n";

/// What the address of a MongoDB ends with: one that is a member of a replica set would send its client on to names that
/// only the cluster knows.
pub const MONGO_DIRECT: &str = "/?directConnection=true";

/// The share that was joined. A hub that `rounds` ends can say no more than when it ends at the latest.
pub fn connected(share: &JoinedShare, now: Timestamp, rounds: bool) -> String {
    let mut text = "[ok] Connected to shared environment!\n\n".to_owned();
    // What is behind it is the operator's.
    let name = share.name.as_deref().map(ShareMarker::shown);
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        text.push_str(&format!("  Name: {}\n", Clean::new(name)));
    }
    let latest = if rounds { " at the latest" } else { "" };
    text.push_str(&format!("  Expires in {}{latest}\n\n", output::rest_in_words(share.expires_at, now)));
    text.push_str("  Establishing tunnels...\n\n");
    text
}

/// A line for each route that the hub gives no way to.
pub fn unreachable_routes(share: &JoinedShare) -> String {
    let lost = share.routes.iter().filter(|route| route.service_id.is_none());
    lost.map(|route| {
        format!("    [!] {} → failed: the hub gives no way to it\n", Clean::new(&route.service_name))
    })
    .collect()
}

/// A line for each port that is open.
pub fn tunnels(routes: &[BoundRoute], host: &str) -> String {
    routes
        .iter()
        .map(|route| {
            let BoundRoute { name, wanted_port, port, .. } = route;
            let instead = if port == wanted_port || *wanted_port == 0 {
                String::new()
            } else {
                format!(" ({wanted_port} is taken)")
            };
            format!("    [ok] {} → {host}:{port}{instead}\n", Clean::new(name))
        })
        .collect()
}

/// That it works, and how to use it.
pub fn active(routes: &[BoundRoute], share: &JoinedShare, host: &str) -> String {
    let examples: String = routes
        .iter()
        .map(|route| {
            format!("    • {}: {}\n", Clean::new(&route.name), example(route, usual_port(route, share), host))
        })
        .collect();
    format!(
        "\n[ok] {} tunnel(s) active\n\n  Example connections:\n{examples}\n  Press Ctrl+C to disconnect all tunnels\n\n",
        routes.len()
    )
}

/// That it works, for a command that is about to use it.
pub fn ready_for(routes: &[BoundRoute], program: &str) -> String {
    format!("\n[ok] {} tunnel(s) active, running {}\n\n", routes.len(), Clean::new(program))
}

/// The port that the share suggests, which tells more about a route than one that was asked for on this machine.
pub fn usual_port(route: &BoundRoute, share: &JoinedShare) -> u16 {
    let shared = share.routes.iter().find(|shared| shared.service_name == route.name);
    shared.map_or(route.wanted_port, |shared| shared.local_port.unwrap_or(shared.target_port))
}

/// How the route is used, as far as one can tell.
fn example(route: &BoundRoute, usual_port: u16, host: &str) -> String {
    let port = route.port;
    match Family::of(&route.protocol, usual_port, &route.name) {
        Family::Http => format!("http://{host}:{port}"),
        Family::Https => format!("https://{host}:{port}"),
        Family::Postgres => format!("psql -h {host} -p {port}"),
        Family::Redis => format!("redis-cli -h {host} -p {port}"),
        // mysql takes `localhost` for its own socket file.
        Family::Mysql if host == "localhost" => format!("mysql -h 127.0.0.1 -P {port}"),
        Family::Mysql => format!("mysql -h {host} -P {port}"),
        // Quoted, or a shell would look for files of that name.
        Family::Mongo => format!("mongosh \"mongodb://{host}:{port}{MONGO_DIRECT}\""),
        Family::Other => format!("{host}:{port}"),
    }
}

/// What happened.
pub fn event(event: &JoinEvent, now: Timestamp) -> String {
    match event {
        JoinEvent::Reconnecting { reason } => {
            format!("[!] Connection to the hub lost, reconnecting: {}\n", Clean::new(reason))
        }
        JoinEvent::Reconnected => "[ok] Reconnected\n".to_owned(),
        JoinEvent::Moved { ends_at } => format!(
            "[ok] The share now ends in {} ({})\n",
            output::rest_in_words(*ends_at, now),
            output::date(*ends_at)
        ),
        JoinEvent::NotEncrypted { name } => {
            format!("[!] {}: not encrypted end to end, so the hub can read what passes\n", Clean::new(name))
        }
        JoinEvent::RouteFailed { name, reason } => {
            format!("[!] {}: {}\n", Clean::new(name), Clean::new(reason))
        }
        JoinEvent::Ended { .. } => String::new(),
    }
}

/// Why it is over: as agreed, or because the hub does not know us any more.
pub fn ending(reason: JoinEnd) -> Result<&'static str, &'static str> {
    match reason {
        JoinEnd::Expired => Ok("\nShare expired.\n"),
        JoinEnd::Revoked => Ok("\nShare revoked.\n"),
        JoinEnd::Over => Ok("\nShare ended: it has expired, was revoked, or has a new code.\n"),
        JoinEnd::ClosedByOwner => Ok("\nShare closed by its owner.\n"),
        JoinEnd::Rotated => Ok("\nThe share has a new code; ask for it.\n"),
        JoinEnd::LostAccess => Err("The hub no longer lets this machine in"),
    }
}

/// The name under which the ports are reached.
pub fn host(bind: &[IpAddr]) -> String {
    // 127.0.0.2 is a loopback address, too, and nobody calls it localhost.
    let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    if bind.iter().any(|address| address.is_unspecified() || local.contains(address)) {
        return "localhost".to_owned();
    }
    match bind.first() {
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        None => "localhost".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_hub::client::ShareRoute;

    fn bound(name: &str, wanted_port: u16, port: u16, protocol: &str) -> BoundRoute {
        BoundRoute { name: name.into(), wanted_port, port, protocol: protocol.into() }
    }

    fn shared(name: &str, port: u16) -> ShareRoute {
        ShareRoute {
            service_name: name.into(),
            service_id: None,
            target_port: port,
            local_port: None,
            protocol: "auto".into(),
        }
    }

    #[test]
    fn every_end_says_what_happened() {
        let table = [
            (JoinEnd::Expired, Ok("\nShare expired.\n")),
            (JoinEnd::Revoked, Ok("\nShare revoked.\n")),
            (JoinEnd::Over, Ok("\nShare ended: it has expired, was revoked, or has a new code.\n")),
            (JoinEnd::ClosedByOwner, Ok("\nShare closed by its owner.\n")),
            (JoinEnd::Rotated, Ok("\nThe share has a new code; ask for it.\n")),
            (JoinEnd::LostAccess, Err("The hub no longer lets this machine in")),
        ];
        for (end, said) in table {
            assert_eq!(ending(end), said, "{end:?}");
        }
    }

    #[test]
    fn a_join_from_the_first_line_to_the_prompt() {
        let share = JoinedShare {
            id: None,
            name: Some("staging-env #c07e1bc7".into()),
            expires_at: "2024-01-15T10:30:00Z".parse().expect("a time"),
            routes: vec![shared("mysql", 3306), shared("postgres", 5432)],
        };
        let routes = [
            bound("postgres", 5432, 15432, "auto"),
            bound("redis", 6379, 6379, "tcp"),
            bound("api", 8080, 8080, "http"),
            bound("other", 0, 40000, "auto"),
            bound("mysql", 13306, 13306, "auto"),
            bound("mongo", 27017, 27017, "auto"),
        ];
        let now = "2024-01-14T10:30:05Z".parse().expect("a time");
        let text = connected(&share, now, false)
            + &tunnels(&routes, "localhost")
            + &active(&routes, &share, "localhost");
        assert_eq!(
            text,
            "[ok] Connected to shared environment!\n\n  Name: staging-env\n  Expires in 24 hours\n\n  \
             Establishing tunnels...\n\n    \
             [ok] postgres → localhost:15432 (5432 is taken)\n    \
             [ok] redis → localhost:6379\n    \
             [ok] api → localhost:8080\n    \
             [ok] other → localhost:40000\n    \
             [ok] mysql → localhost:13306\n    \
             [ok] mongo → localhost:27017\n\n\
             [ok] 6 tunnel(s) active\n\n  Example connections:\n    \
             • postgres: psql -h localhost -p 15432\n    \
             • redis: redis-cli -h localhost -p 6379\n    \
             • api: http://localhost:8080\n    \
             • other: localhost:40000\n    \
             • mysql: mysql -h 127.0.0.1 -P 13306\n    \
             • mongo: mongosh \"mongodb://localhost:27017/?directConnection=true\"\n\n  \
             Press Ctrl+C to disconnect all tunnels\n\n"
        );
    }

    #[test]
    fn a_hub_that_rounds_is_not_believed_to_the_hour() {
        let end = "2024-01-14T11:30:00Z".parse().expect("a time");
        let share = JoinedShare { id: None, name: None, expires_at: end, routes: Vec::new() };
        let said = connected(&share, "2024-01-14T10:30:00Z".parse().expect("a time"), true);
        assert!(said.contains("  Expires in 1 hour at the latest\n"), "{said}");
    }

    #[test]
    fn events_are_one_line_each_and_cannot_forge_another() {
        let now = "2024-01-14T10:30:00Z".parse().expect("a time");
        for (happened, line) in [
            (
                JoinEvent::Reconnecting { reason: "gone\n[ok] fine".into() },
                "[!] Connection to the hub lost, reconnecting: gone\\n[ok] fine\n",
            ),
            (JoinEvent::Reconnected, "[ok] Reconnected\n"),
            (
                JoinEvent::Moved { ends_at: "2024-01-15T10:30:00Z".parse().expect("a time") },
                "[ok] The share now ends in 24 hours (Mon Jan 15 2024 10:30:00 GMT)\n",
            ),
            (
                JoinEvent::NotEncrypted { name: "api\n".into() },
                "[!] api\\n: not encrypted end to end, so the hub can read what passes\n",
            ),
            (
                JoinEvent::RouteFailed { name: "api\r".into(), reason: "refused".into() },
                "[!] api\\r: refused\n",
            ),
        ] {
            assert_eq!(event(&happened, now), line);
        }
    }

    #[test]
    fn ports_are_named_by_where_they_listen() {
        for (bind, name) in [
            ([].as_slice(), "localhost"),
            (&["127.0.0.1", "::1"], "localhost"),
            (&["0.0.0.0"], "localhost"),
            (&["10.0.0.7"], "10.0.0.7"),
            (&["127.0.0.2"], "127.0.0.2"),
            (&["::1"], "localhost"),
            (&["10.0.0.7", "127.0.0.1"], "localhost"),
            (&["fd00::7"], "[fd00::7]"),
        ] {
            let bind: Vec<IpAddr> = bind.iter().map(|text| text.parse().expect("an address")).collect();
            assert_eq!(host(&bind), name, "{bind:?}");
        }
    }
}
