//! Which hubs an object may name by its `hubRef`.
//!
//! Whoever may write a Secret in a namespace chooses its URL, and the operator, whose network is another than theirs, goes there.
//! So by default it goes to public addresses only: never to this machine, to private networks, or to where clouds keep
//! credentials. What a platform team lists is all that may be named, and may also be inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use connect_hub::url::HubUrl;
use url::{Host, Url};

/// Names that never are public: of this machine, of the cluster, of a local network, and of clouds' metadata.
const INSIDE: [&str; 7] = ["localhost", "local", "internal", "svc", "cluster.local", "home.arpa", "lan"];

/// One entry of the list: a host, `*.` and a domain, or `*`, each with or without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubPattern {
    host: String,
    port: Option<u16>,
}

/// Which hubs may be named.
#[derive(Clone, Debug, Default)]
pub struct AllowedHubs {
    /// Empty: all public ones.
    pub patterns: Vec<HubPattern>,
    /// Also those of this machine; for tests.
    pub loopback: bool,
}

// === impl HubPattern ===

impl FromStr for HubPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no host: use hub.example.com, *.example.com, an IP address, each with :PORT if only that port is meant"
            )
        };
        let text = text.trim().to_ascii_lowercase();
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address without a port ends with a bracket.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| wrong())?)),
            _ => (text.as_str(), None),
        };
        let name = host.strip_prefix("*.").unwrap_or(host);
        let is_name = host == "*" || Host::parse(name).is_ok_and(|host| host.to_string() == name);
        if name.contains('/') || (host != "*" && name.contains('*')) || !is_name {
            Err(wrong())
        } else {
            Ok(Self { host: host.to_owned(), port })
        }
    }
}

impl HubPattern {
    fn matches(&self, host: &str, port: u16) -> bool {
        let is_host = match self.host.strip_prefix("*.") {
            Some(domain) => {
                host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            None => self.host == "*" || self.host == host,
        };
        is_host && self.port.is_none_or(|wanted| wanted == port)
    }
}

// === impl AllowedHubs ===

impl AllowedHubs {
    /// Why the hub may not be named, if it may not.
    ///
    /// # Errors
    /// The sentence.
    pub fn judge(&self, hub: &HubUrl) -> Result<(), String> {
        let Some((host, port)) = host_and_port(hub) else { return Err("its URL has no host".to_owned()) };
        if self.is_listed(&host, port) || (self.loopback && is_this_machine(&host)) {
            return Ok(());
        }
        let is_open = self.patterns.is_empty()
            || self.patterns.iter().any(|pattern| pattern.host == "*" && pattern.matches(&host, port));
        if !is_open {
            return Err(format!("{host} is not among the hubs that the operator allows (--allowed-hubs)"));
        }
        if is_inside(&host) {
            return Err(inside(&host));
        }
        Ok(())
    }

    /// Why the hub may not be entered at these addresses, which its name stands for now.
    ///
    /// # Errors
    /// The sentence.
    pub fn judge_addresses(&self, hub: &HubUrl, addresses: &[IpAddr]) -> Result<(), String> {
        let Some((host, port)) = host_and_port(hub) else { return Ok(()) };
        let is_known = self.is_listed(&host, port) || (self.loopback && is_this_machine(&host));
        if is_known || addresses.iter().all(|address| is_public(*address)) {
            return Ok(());
        }
        Err(inside(&host))
    }

    /// Whether the administrator has listed it by more than `*`.
    fn is_listed(&self, host: &str, port: u16) -> bool {
        self.patterns.iter().any(|pattern| pattern.host != "*" && pattern.matches(host, port))
    }
}

fn inside(host: &str) -> String {
    format!(
        "{host} is not a public address; a hub inside a network or on this machine may only be named when the operator lists it (--allowed-hubs)"
    )
}

fn host_and_port(hub: &HubUrl) -> Option<(String, u16)> {
    let url = Url::parse(hub.as_str()).ok()?;
    let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
    Some((host, url.port_or_known_default()?))
}

fn address_of(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || address_of(host).is_some_and(|address| address.to_canonical().is_loopback())
}

fn is_inside(host: &str) -> bool {
    match address_of(host) {
        Some(address) => !is_public(address),
        None => {
            !host.contains('.')
                || INSIDE.iter().any(|name| {
                    host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                })
        }
    }
}

/// Whether anybody on the internet could mean this address. The list is that of IANA's special-purpose registries.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_unspecified()
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // carriers' own
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b)); // benchmarks
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    match address.segments() {
        // Translated: what is meant is an address of version 4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        [0x2001, 0xdb8, ..] => false,
        // Global unicast is all there is, and it begins so.
        _ => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use connect_hub::url::InsecureHttp;

    use super::*;

    fn hub(text: &str) -> HubUrl {
        HubUrl::parse(text, InsecureHttp::Allowed).expect(text)
    }

    fn allowed(patterns: &[&str]) -> AllowedHubs {
        let patterns = patterns.iter().map(|text| text.parse().expect(text)).collect();
        AllowedHubs { patterns, loopback: false }
    }

    #[test]
    fn without_a_list_every_public_hub_may_be_named_and_nothing_inside() {
        let any = allowed(&[]);
        for good in ["https://hub.example.com", "https://8.8.8.8", "https://[2606:4700::1111]:8443"] {
            assert_eq!(any.judge(&hub(good)), Ok(()), "{good}");
        }
        for bad in [
            "https://localhost",
            "https://localhost.",
            "https://x.localhost",
            "https://127.0.0.1",
            "https://127.1",
            "https://2130706433",
            "https://0x7f.1",
            "https://0.0.0.0",
            "https://10.0.0.1",
            "https://172.16.3.4",
            "https://192.168.1.1",
            "https://100.64.0.1",
            "https://169.254.169.254",
            "https://metadata.google.internal",
            "https://kubernetes.default.svc",
            "https://kubernetes.default.svc.cluster.local",
            "https://hub",
            "https://printer.local",
            "https://[::1]",
            "https://[::]",
            "https://[fd00::1]",
            "https://[fe80::1]",
            "https://[::ffff:169.254.169.254]",
            "https://[64:ff9b::a9fe:a9fe]",
            "https://[2002:a9fe:a9fe::]",
            "https://240.0.0.1",
            "https://198.18.0.1",
            "https://224.0.0.1",
        ] {
            let refused = any.judge(&hub(bad)).expect_err(bad);
            assert!(refused.contains("--allowed-hubs"), "{bad}: {refused}");
        }
    }

    #[test]
    fn a_list_is_all_that_may_be_named_and_may_be_inside() {
        let list = allowed(&["hub.example.com", "*.teams.example.com", "hub.private.svc:3001", "10.1.2.3"]);
        for (url, is_allowed) in [
            ("https://hub.example.com", true),
            ("https://HUB.example.com.:8443", true),
            ("https://a.teams.example.com", true),
            ("https://a.b.teams.example.com", true),
            ("http://hub.private.svc:3001", true),
            ("http://10.1.2.3", true),
            ("https://teams.example.com", false),
            ("https://evilteams.example.com", false),
            ("https://hub.example.com.evil.example", false),
            ("http://hub.private.svc", false),
            ("https://10.1.2.4", false),
            ("https://other.example.com", false),
        ] {
            assert_eq!(list.judge(&hub(url)).is_ok(), is_allowed, "{url}");
        }
        let open = allowed(&["*", "10.1.2.3"]);
        assert!(open.judge(&hub("https://other.example.com")).is_ok());
        assert!(open.judge(&hub("https://10.1.2.3")).is_ok());
        assert!(open.judge(&hub("https://10.1.2.4")).is_err());
    }

    #[test]
    fn a_public_name_of_a_private_address_is_refused_unless_it_is_listed() {
        let addresses = ["93.184.216.34".parse().expect("one"), "169.254.169.254".parse().expect("one")];
        let url = hub("https://rebound.example.com");
        assert!(allowed(&[]).judge_addresses(&url, &addresses).is_err());
        assert!(allowed(&["*"]).judge_addresses(&url, &addresses).is_err());
        assert!(allowed(&[]).judge_addresses(&url, &addresses[..1]).is_ok());
        assert!(allowed(&["rebound.example.com"]).judge_addresses(&url, &addresses).is_ok());
    }

    #[test]
    fn this_machine_may_be_named_where_tests_allow_it() {
        let tests = AllowedHubs { loopback: true, ..allowed(&[]) };
        assert!(tests.judge(&hub("http://127.0.0.1:3001")).is_ok());
        assert!(tests.judge(&hub("http://10.0.0.1:3001")).is_err());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in ["", "https://hub.example.com", "hub/x", "hub.example.com:x", "*.", "a.*.b", ":80"] {
            wrong.parse::<HubPattern>().expect_err(wrong);
        }
    }
}
