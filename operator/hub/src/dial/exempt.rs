//! What goes straight although a proxy is set: the rules of `NO_PROXY`, as Go's tools such as kubectl read them.

use std::net::IpAddr;

use ipnet::IpNet;

/// Destinations that no proxy is used for. What cannot be read as a rule exempts nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exempt {
    everything: bool,
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Net(IpNet),
    Address(IpAddr, Option<u16>),
    /// A domain without its leading dot; `itself` says whether more than its subdomains are meant.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

// === impl Exempt ===

impl Exempt {
    /// Reads a list, separated by commas or blanks.
    pub(super) fn parse(text: &str) -> Self {
        let mut exempt = Self::default();
        for entry in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                exempt.everything = true;
            } else {
                exempt.rules.extend(Rule::parse(&entry.to_ascii_lowercase()));
            }
        }
        exempt
    }

    /// Adds what another list says.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.everything |= other.everything;
        self.rules.extend(other.rules);
        self
    }

    /// Whether `host`, a name or an address without brackets, is dialled straight. This machine always is.
    pub(super) fn covers(&self, host: &str, port: u16) -> bool {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let address = address(&name);
        name == "localhost"
            || address.is_some_and(|address| address.is_loopback())
            || self.everything
            || self.rules.iter().any(|rule| rule.covers(&name, address, port))
    }
}

fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

// === impl Rule ===

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        if let Ok(net) = entry.parse() {
            return Some(Self::Net(net));
        }
        let (host, port) = match entry.rsplit_once(':') {
            // A bare address of IPv6 has colons of its own.
            Some((host, port)) if address(entry).is_none() => (host, Some(port.parse().ok()?)),
            _ => (entry, None),
        };
        if let Some(address) = address(host) {
            return Some(Self::Address(address, port));
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let name = host.trim_matches('.');
        (!name.is_empty()).then(|| Self::Domain {
            name: name.to_owned(),
            itself: !host.starts_with('.'),
            port,
        })
    }

    fn covers(&self, name: &str, address: Option<IpAddr>, port: u16) -> bool {
        let at = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Self::Net(net) => address.is_some_and(|address| net.contains(&address)),
            Self::Address(exempt, wanted) => address == Some(*exempt) && at(wanted),
            Self::Domain { name: domain, itself, port: wanted } => {
                let below = name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (below || (*itself && name == domain)) && at(wanted)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rules_are_those_of_go() {
        for (list, straight, proxied) in [
            (
                "",
                &[
                    "localhost:80",
                    "LocalHost.:80",
                    "127.0.0.1:80",
                    "127.9.9.9:1",
                    "::1:80",
                    "::ffff:127.0.0.1:80",
                ][..],
                &["hub.example.com:443", "10.0.0.1:443", "foo.localhost:80"][..],
            ),
            ("*", &["hub.example.com:443", "10.0.0.1:443"], &[]),
            ("other.com, *", &["hub.example.com:443"], &[]),
            (
                "example.com",
                &["example.com:443", "hub.example.com:443", "a.b.example.com:1", "EXAMPLE.com.:443"],
                &["notexample.com:443", "example.com.evil.org:443", "example.org:443"],
            ),
            (".example.com", &["hub.example.com:443"], &["example.com:443", "notexample.com:443"]),
            ("*.example.com", &["hub.example.com:443"], &["example.com:443", "notexample.com:443"]),
            ("Example.COM.", &["hub.example.com:443", "example.com:80"], &[]),
            ("example.com:8443", &["hub.example.com:8443", "example.com:8443"], &["hub.example.com:443"]),
            (".example.com:8443", &["hub.example.com:8443"], &["hub.example.com:443", "example.com:8443"]),
            (
                "10.1.2.3",
                &["10.1.2.3:443", "::ffff:10.1.2.3:443"],
                &["10.1.2.4:443", "10.1.2.3.example.com:443"],
            ),
            ("10.1.2.3:8443", &["10.1.2.3:8443"], &["10.1.2.3:443"]),
            ("10.0.0.0/8", &["10.255.0.1:443"], &["11.0.0.1:443", "ten.example.com:443"]),
            ("10.9.9.9/8", &["10.255.0.1:443"], &["11.0.0.1:443"]),
            ("2001:db8::1", &["2001:db8::1:443", "2001:DB8:0::1:443"], &["2001:db8::2:443"]),
            ("[2001:db8::1]", &["2001:db8::1:443"], &["2001:db8::2:443"]),
            ("[2001:db8::1]:8443", &["2001:db8::1:8443"], &["2001:db8::1:443"]),
            ("2001:db8::/32", &["2001:db8:ffff::1:443"], &["2001:db9::1:443", "10.0.0.1:443"]),
            ("a.com,b.com c.com\td.com", &["a.com:1", "b.com:1", "c.com:1", "x.d.com:1"], &["e.com:1"]),
            (
                " , ,,. ,:80,*:80,10.0.0.0/99,a.com:port",
                &[],
                &["a.com:80", "hub.example.com:80", "10.0.0.1:443"],
            ),
            ("*example.com", &[], &["hub.example.com:443"]),
        ] {
            let exempt = Exempt::parse(list);
            for (targets, expected) in [(straight, true), (proxied, false)] {
                for target in targets {
                    let (host, port) = target.rsplit_once(':').expect("host:port");
                    let port = port.parse().expect("a port");
                    assert_eq!(exempt.covers(host, port), expected, "NO_PROXY={list:?}, {target}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_list_makes_it_panic_and_more_entries_exempt_no_less(
            list in "\\PC{0,60}", more in "[a-z0-9.:/*\\[\\], ]{0,40}", host in "[a-z0-9.:]{1,20}", port: u16,
        ) {
            let before = Exempt::parse(&list).covers(&host, port);
            let after = Exempt::parse(&format!("{list},{more}")).covers(&host, port);
            prop_assert!(!before || after);
            prop_assert_eq!(after, Exempt::parse(&list).and(Exempt::parse(&more)).covers(&host, port));
        }

        #[test]
        fn every_subdomain_of_a_domain_is_exempt(domain in "[a-z]{1,8}\\.[a-z]{2,3}", label in "[a-z]{1,8}", dot in "(\\.|\\*\\.|)") {
            let exempt = Exempt::parse(&format!("{dot}{domain}"));
            let below = format!("{label}.{domain}");
            prop_assert!(exempt.covers(&below, 443));
            prop_assert_eq!(exempt.covers(&domain, 443), dot.is_empty());
            let beside = format!("{label}{domain}");
            prop_assert!(!exempt.covers(&beside, 443));
        }
    }
}
