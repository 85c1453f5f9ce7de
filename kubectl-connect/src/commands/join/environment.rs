//! The routes of a join as environment variables, for commands and scripts. The rule is in the help of `join`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use connect_hub::client::JoinedShare;
use connect_hub::join::BoundRoute;

use super::family::Family;
use super::view;

/// Variables that steer other programs: no route may be called so that it redirects them.
const KEPT: [&str; 3] = ["DOCKER_HOST", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"];

/// Names and values. The first route that claims a name has it.
pub type Variables = BTreeMap<String, String>;

/// The variables of all routes. Values are addresses, ports and URLs made of them, so none needs quoting.
pub fn variables(routes: &[BoundRoute], share: &JoinedShare, bind: &[IpAddr]) -> Variables {
    let address = reached_at(bind);
    let in_url = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let mut all = Variables::new();
    for route in routes {
        let family = Family::of(&route.protocol, view::usual_port(route, share), &route.name);
        let own = own_name(&route.name);
        let (host, port) = (address.to_string(), route.port.to_string());
        let url = |scheme: &str| format!("{scheme}://{in_url}:{port}");
        let mut claims = vec![(format!("{own}_HOST"), host.clone()), (format!("{own}_PORT"), port.clone())];
        match family {
            Family::Http => claims.push((format!("{own}_URL"), url("http"))),
            Family::Https => claims.push((format!("{own}_URL"), url("https"))),
            Family::Redis => claims.push(("REDIS_URL".into(), url("redis"))),
            Family::Mongo => claims.push(("MONGODB_URL".into(), url("mongodb"))),
            Family::Postgres if !all.contains_key("PGHOST") => {
                claims.extend([("PGHOST".into(), host), ("PGPORT".into(), port)]);
            }
            Family::Mysql if !all.contains_key("MYSQL_TCP_PORT") => {
                claims.extend([("MYSQL_HOST".into(), host), ("MYSQL_TCP_PORT".into(), port)]);
            }
            Family::Postgres | Family::Mysql | Family::Other => {}
        }
        for (name, value) in claims.into_iter().filter(|(name, _)| !KEPT.contains(&name.as_str())) {
            all.entry(name).or_insert(value);
        }
    }
    all
}

/// One `NAME=value` per line, as shells, `docker --env-file` and CI systems read them.
pub fn lines(variables: &Variables) -> String {
    variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// An address at which the ports are reached. Not the name `localhost`: some clients take that for a socket file.
fn reached_at(bind: &[IpAddr]) -> IpAddr {
    let here = bind.iter().find(|address| address.is_loopback() || address.is_unspecified()).or(bind.first());
    match here {
        Some(IpAddr::V6(address)) if address.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        Some(address) if !address.is_unspecified() => *address,
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// The name in capitals, with `_` for whatever a variable cannot have.
fn own_name(route: &str) -> String {
    let name: String = route
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' })
        .collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    fn bound(name: &str, wanted_port: u16, port: u16, protocol: &str) -> BoundRoute {
        BoundRoute { name: name.into(), wanted_port, port, protocol: protocol.into() }
    }

    fn share() -> JoinedShare {
        JoinedShare { id: None, name: None, expires_at: Timestamp::UNIX_EPOCH, routes: Vec::new() }
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
        ];
        assert_eq!(
            lines(&variables(&routes, &share(), &[])),
            "API_HOST=127.0.0.1\nAPI_PORT=8080\nAPI_URL=http://127.0.0.1:8080\n\
             BILLING_DB_HOST=127.0.0.1\nBILLING_DB_PORT=5432\n\
             CACHE_HOST=127.0.0.1\nCACHE_PORT=6379\n\
             MONGODB_URL=mongodb://127.0.0.1:27017\n\
             MYSQL_HOST=127.0.0.1\nMYSQL_TCP_PORT=40001\n\
             ORDERS_DB_HOST=127.0.0.1\nORDERS_DB_PORT=15432\n\
             PGHOST=127.0.0.1\nPGPORT=15432\n\
             REDIS_URL=redis://127.0.0.1:6379\n\
             SHOP_MYSQL_HOST=127.0.0.1\nSHOP_MYSQL_PORT=40001\n\
             _9MONGO_HOST=127.0.0.1\n_9MONGO_PORT=27017\n"
        );
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
            let all = variables(&[bound("redis", 6379, 6379, "auto")], &share(), &bind);
            assert_eq!(all["REDIS_HOST"], host);
            let in_url = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            assert_eq!(all["REDIS_URL"], format!("redis://{in_url}:6379"));
        }
    }

    #[test]
    fn a_route_cannot_redirect_other_programs() {
        let routes = [bound("docker", 1, 1, "tcp"), bound("kubernetes-service", 2, 2, "tcp")];
        assert_eq!(lines(&variables(&routes, &share(), &[])), "DOCKER_PORT=1\n");
    }

    proptest! {
        #[test]
        fn whatever_a_route_is_called_lines_are_plain(name in ".{0,30}", protocol in "auto|tcp|http|https") {
            for line in lines(&variables(&[bound(&name, 80, 80, &protocol)], &share(), &[])).lines() {
                let (name, value) = line.split_once('=').expect("a name and a value");
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/.[]".contains(&byte)));
            }
        }
    }
}
