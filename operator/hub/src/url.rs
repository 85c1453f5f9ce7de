//! The address of a hub, checked once: after `HubUrl::parse` nobody asks again whether it is safe to send a key there.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use thiserror::Error;
use url::{Host, Url};

/// Where a hub is. HTTPS, or plain HTTP to this machine (or by the user's explicit wish).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HubUrl {
    text: String,
}

/// The parts of an address, for whoever connects by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// A name or an address, the latter without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// What belongs into the header `Host`.
    pub(crate) authority: String,
    pub(crate) path: String,
}

/// Whether plain HTTP to another machine is acceptable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InsecureHttp {
    /// Only `https`, and `http` for loopback.
    #[default]
    Refused,
    /// The user asked for it: keys and codes may cross the network in clear.
    Allowed,
}

/// Why a text is not a hub's address. Never repeats credentials that were part of it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidHubUrl {
    /// Not a URL at all.
    #[error("hub URL is not a URL: use the form https://hub.example.com")]
    NotAUrl,
    /// Neither http nor https.
    #[error("hub URL has the scheme {0}: use https://")]
    Scheme(String),
    /// Plain http to another machine.
    #[error(
        "hub URL {0} is plain http and would show keys to the network: use https:// or allow an insecure hub"
    )]
    Insecure(String),
    /// A user name or password in the URL.
    #[error("hub URL holds a user name or password: remove it, the API key is given separately")]
    Credentials,
    /// A query or fragment.
    #[error("hub URL holds a query or fragment: remove everything from ? or # on")]
    QueryOrFragment,
}

// === impl HubUrl ===

impl HubUrl {
    /// The hub that is meant when none is named.
    pub const DEFAULT: &'static str = "https://hub.privateconnect.co";

    /// Checks and normalises `text`: no credentials, query or fragment; a trailing slash goes, a path prefix stays.
    pub fn parse(text: &str, insecure: InsecureHttp) -> Result<Self, InvalidHubUrl> {
        let url = Url::parse(text.trim()).map_err(|_| InvalidHubUrl::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidHubUrl::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidHubUrl::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidHubUrl::QueryOrFragment);
        }
        let text = url.as_str().trim_end_matches('/').to_owned();
        if url.scheme() == "http" && insecure == InsecureHttp::Refused && !is_loopback(&url) {
            return Err(InvalidHubUrl::Insecure(text));
        }
        Ok(Self { text })
    }

    /// The address without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address as one word of a command line that people paste into a shell: quoted when anything in it means something there.
    pub fn in_shell(&self) -> Cow<'_, str> {
        // A URL holds no NUL, the only thing that cannot be quoted.
        shlex::try_quote(&self.text).unwrap_or_default()
    }

    /// Its host, an address without brackets, and its port.
    #[must_use]
    pub fn host_and_port(&self) -> (String, u16) {
        let Endpoint { host, port, .. } = self.endpoint("");
        (host, port)
    }

    /// Whether this is the hub that is meant when none is named.
    pub fn is_default(&self) -> bool {
        self.text == Self::DEFAULT
    }

    /// Whether it is plain http to another machine.
    pub fn is_insecure(&self) -> bool {
        let url = self.parts();
        url.scheme() == "http" && !is_loopback(&url)
    }

    /// Whether its host is the name of a Service, `NAME.NAMESPACE.svc`, which only a cluster's own machines know.
    pub fn is_inside_cluster(&self) -> bool {
        let url = self.parts();
        let labels: Vec<&str> = url.host_str().unwrap_or_default().split('.').collect();
        matches!(labels.as_slice(), [service, namespace, "svc", ..] if !service.is_empty() && !namespace.is_empty())
    }

    fn parts(&self) -> Url {
        Url::parse(&self.text).expect("the text of a URL is one")
    }

    /// Where to connect for `path` below this address.
    pub(crate) fn endpoint(&self, path: &str) -> Endpoint {
        let url = self.parts();
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        };
        let prefix = url.path().trim_end_matches('/');
        Endpoint {
            host,
            port: url.port_or_known_default().unwrap_or_default(),
            tls: url.scheme() == "https",
            authority: url.authority().to_owned(),
            path: format!("{prefix}{path}"),
        }
    }

    /// The websocket address of the agent socket.
    pub(crate) fn socket(&self) -> String {
        let rest = self.text.strip_prefix("http").expect("parse accepts only http and https");
        format!("ws{rest}/socket.io/?EIO=4&transport=websocket")
    }
}

impl fmt::Display for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for HubUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubUrl({})", self.text)
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HubUrl, InvalidHubUrl> {
        HubUrl::parse(text, InsecureHttp::Refused)
    }

    #[test]
    fn a_shell_reads_every_address_as_one_word_and_runs_nothing() {
        let plain = "https://hub.example.com:3001/prefix";
        assert_eq!(parse(plain).expect("a URL").in_shell(), plain);
        for text in [
            "https://hub.example.com/$(touch${IFS}gone)",
            "https://hub.example.com/`id`",
            "https://hub.example.com/a;reboot",
            "https://hub.example.com/a&b|c",
            "https://hub.example.com/'$(id)'",
            "https://hub.example.com/!x*~(y)",
            "https://[::1]:3001",
        ] {
            let url = parse(text).expect("a URL");
            let script = format!("printf %s {}", url.in_shell());
            let said = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
            assert_eq!(String::from_utf8_lossy(&said.stdout), url.as_str(), "{script}");
            assert!(said.stderr.is_empty() && said.status.success(), "{script}");
        }
    }

    #[test]
    fn https_and_loopback_http_are_accepted() {
        for (text, expected) in [
            ("https://hub.privateconnect.co", "https://hub.privateconnect.co"),
            ("https://hub.privateconnect.co/", "https://hub.privateconnect.co"),
            (" https://Hub.Example.com:8443/prefix/ ", "https://hub.example.com:8443/prefix"),
            ("http://localhost:3001", "http://localhost:3001"),
            ("http://127.8.9.1:3001/", "http://127.8.9.1:3001"),
            ("http://[::1]:3001", "http://[::1]:3001"),
        ] {
            assert_eq!(parse(text).map(|url| url.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn plain_http_elsewhere_needs_an_explicit_wish() {
        for text in
            ["http://hub.example.com", "http://localhost.example.com", "http://10.0.0.1", "http://0.0.0.0:1"]
        {
            assert!(matches!(parse(text), Err(InvalidHubUrl::Insecure(_))), "{text}");
            assert!(HubUrl::parse(text, InsecureHttp::Allowed).is_ok(), "{text}");
        }
    }

    #[test]
    fn credentials_queries_and_other_schemes_are_refused_without_repeating_them() {
        assert_eq!(parse("https://user:secret@hub.example.com"), Err(InvalidHubUrl::Credentials));
        assert_eq!(parse("https://secret@hub.example.com"), Err(InvalidHubUrl::Credentials));
        assert_eq!(parse("https://hub.example.com/?key=secret"), Err(InvalidHubUrl::QueryOrFragment));
        assert_eq!(parse("https://hub.example.com/#x"), Err(InvalidHubUrl::QueryOrFragment));
        assert_eq!(parse("ftp://hub.example.com"), Err(InvalidHubUrl::Scheme("ftp".into())));
        assert_eq!(parse("hub.example.com"), Err(InvalidHubUrl::NotAUrl));
    }

    #[test]
    fn an_endpoint_has_everything_to_connect_by_hand() {
        for (text, host, port, tls, authority, path) in [
            ("https://hub.example.com/pre/", "hub.example.com", 443, true, "hub.example.com", "/pre/v1/data"),
            ("http://[::1]:3001", "::1", 3001, false, "[::1]:3001", "/v1/data"),
            ("http://127.0.0.1", "127.0.0.1", 80, false, "127.0.0.1", "/v1/data"),
        ] {
            let (host, authority, path) = (host.to_owned(), authority.to_owned(), path.to_owned());
            let expected = Endpoint { host, port, tls, authority, path };
            assert_eq!(parse(text).expect("valid").endpoint("/v1/data"), expected);
        }
    }

    #[test]
    fn plain_http_and_names_inside_a_cluster_are_told_apart() {
        for (text, is_insecure, is_inside) in [
            ("https://hub.example.com", false, false),
            ("http://hub.example.com", true, false),
            ("http://127.0.0.1:3001", false, false),
            ("http://HUB.team.svc:3001", true, true),
            ("http://hub.team.svc.cluster.local", true, true),
            ("https://hub.team.svc", false, true),
            ("http://hub.svc.example", true, false),
            ("http://svc", true, false),
        ] {
            let url = HubUrl::parse(text, InsecureHttp::Allowed).expect("valid");
            assert_eq!((url.is_insecure(), url.is_inside_cluster()), (is_insecure, is_inside), "{text}");
        }
    }

    #[test]
    fn the_socket_keeps_scheme_port_and_prefix() {
        let url = parse("https://hub.example.com:8443/prefix/").expect("valid");
        assert_eq!(url.socket(), "wss://hub.example.com:8443/prefix/socket.io/?EIO=4&transport=websocket");
        assert!(parse(HubUrl::DEFAULT).expect("valid").is_default());
        assert!(!url.is_default());
    }
}
