//! What is probably behind a route, as far as its protocol, its port and its name tell.

/// Something whose clients have customs of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Http,
    Https,
    Postgres,
    Redis,
    Mysql,
    Mongo,
    /// Nothing that we know.
    Other,
}

// === impl Family ===

impl Family {
    /// The protocol decides when it says http or https; else the port that the share suggests; else the last word of the
    /// name, so that `orders-postgres` is one and `postgres-exporter` is none.
    pub fn of(protocol: &str, usual_port: u16, name: &str) -> Self {
        match protocol {
            "http" => return Family::Http,
            "https" => return Family::Https,
            _ => {}
        }
        match usual_port {
            5432 => return Family::Postgres,
            6379 => return Family::Redis,
            3306 => return Family::Mysql,
            27017 => return Family::Mongo,
            _ => {}
        }
        let last_word = name.rsplit(['-', '_', '.']).next().unwrap_or(name);
        match last_word.to_ascii_lowercase().as_str() {
            "postgres" | "postgresql" | "pg" => Family::Postgres,
            "redis" | "valkey" => Family::Redis,
            "mysql" | "mariadb" => Family::Mysql,
            "mongo" | "mongodb" => Family::Mongo,
            _ => Family::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_wins_over_port_and_port_over_name() {
        for (protocol, port, name, family) in [
            ("http", 5432, "postgres", Family::Http),
            ("https", 443, "api", Family::Https),
            ("auto", 5432, "redis", Family::Postgres),
            ("tcp", 6379, "cache", Family::Redis),
            ("tcp", 3306, "db", Family::Mysql),
            ("auto", 27017, "db", Family::Mongo),
            ("auto", 15432, "orders-postgres", Family::Postgres),
            ("auto", 9187, "postgres-exporter", Family::Other),
            ("auto", 16379, "Valkey", Family::Redis),
            ("auto", 80, "api", Family::Other),
        ] {
            assert_eq!(Family::of(protocol, port, name), family, "{protocol} {port} {name}");
        }
    }
}
