//! Which proxy a connection goes through, as the environment says: read as Go's tools and curl read it.

use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use thiserror::Error;
use url::{Host, Url};

use super::exempt::Exempt;

/// For hubs and API servers with TLS, the first that is set.
const FOR_HTTPS: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// For those without.
const FOR_HTTP: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// What is dialled straight in spite of a proxy.
const EXEMPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The API server's address in a Pod: it is never behind a proxy.
const API_SERVER: &str = "KUBERNETES_SERVICE_HOST";

/// Set where a web server calls programs: there a request's header `Proxy` would arrive as `HTTP_PROXY`.
const CGI: &str = "REQUEST_METHOD";

/// The proxies of an environment. Nothing is wrong with an unusable one before it is to be used.
#[derive(Clone, Debug)]
pub struct Proxies {
    https: Option<Setting>,
    http: Option<Setting>,
    /// What goes straight; `None` for nothing at all.
    exempt: Option<Exempt>,
}

type Setting = Result<Arc<Proxy>, InvalidProxy>;

/// A proxy. Shown without its user and password.
#[derive(Clone)]
pub struct Proxy {
    pub(super) kind: Kind,
    /// A name or an address, the latter without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
    /// Who named it: a variable, or the kubeconfig.
    pub(super) origin: &'static str,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// CONNECT, over plain TCP.
    Http,
    /// CONNECT, over TLS.
    Https,
    /// SOCKS 5; the proxy finds the names' addresses.
    Socks5,
}

#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: SecretString,
}

/// A setting that names no proxy. Never repeats it: it may hold a password.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{origin} is not the URL of a proxy")]
pub struct InvalidProxy {
    /// Who named it.
    pub(super) origin: &'static str,
}

// === impl Proxies ===

impl Proxies {
    /// As this process's environment says.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// As these variables say.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is_cgi = set(CGI).is_some();
        let first = |names: [&'static str; 4]| {
            let mut names = names.into_iter().filter(|name| !(is_cgi && *name == "HTTP_PROXY"));
            names.find_map(|name| set(name).map(|value| Proxy::parse(&value, name).map(Arc::new)))
        };
        let exempt = Exempt::parse(&EXEMPT.into_iter().find_map(set).unwrap_or_default());
        let api_server = Exempt::parse(&set(API_SERVER).unwrap_or_default());
        Self { https: first(FOR_HTTPS), http: first(FOR_HTTP), exempt: Some(exempt.and(api_server)) }
    }

    /// This one for everything, as a kubeconfig's `proxy-url` wants it: without exceptions, as kubectl does, for the other
    /// side of a proxy may have a loopback of its own.
    ///
    /// # Errors
    /// It is not the URL of a proxy.
    pub fn only(url: &str, origin: &'static str) -> Result<Self, InvalidProxy> {
        let proxy = Arc::new(Proxy::parse(url, origin)?);
        Ok(Self { https: Some(Ok(Arc::clone(&proxy))), http: Some(Ok(proxy)), exempt: None })
    }

    /// Whether `host`, a name or an address without brackets, is reached through a proxy.
    pub fn apply_to(&self, tls: bool, host: &str, port: u16) -> bool {
        !matches!(self.proxy(tls, host, port), Ok(None))
    }

    /// The proxy to go through to `host`, a name or an address without brackets; `None` means straight.
    pub(super) fn proxy(&self, tls: bool, host: &str, port: u16) -> Result<Option<Arc<Proxy>>, InvalidProxy> {
        let setting = if tls { &self.https } else { &self.http };
        match setting {
            Some(proxy) if !self.exempt.as_ref().is_some_and(|exempt| exempt.covers(host, port)) => {
                proxy.clone().map(Some)
            }
            _ => Ok(None),
        }
    }
}

// === impl Proxy ===

impl Proxy {
    /// Reads a URL; one without a scheme is one of http.
    fn parse(text: &str, origin: &'static str) -> Result<Self, InvalidProxy> {
        let text = text.trim();
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        Self::from_url(&with_scheme, origin).ok_or(InvalidProxy { origin })
    }

    fn from_url(text: &str, origin: &'static str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let (kind, usual_port) = match url.scheme() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" | "socks5h" => (Kind::Socks5, 1080),
            _ => return None,
        };
        let host = match url.host()? {
            // Of a scheme that the library does not know, an address is a name.
            Host::Domain(name) => name.trim_matches(['[', ']']).to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        if host.is_empty() {
            return None;
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
        let credentials = if url.username().is_empty() && url.password().is_none() {
            None
        } else {
            let password = decoded(url.password().unwrap_or_default())?.into();
            Some(Credentials { user: decoded(url.username())?, password })
        };
        Some(Self { kind, host, port: url.port().unwrap_or(usual_port), credentials, origin })
    }

    /// The scheme that its URL has.
    pub(super) fn scheme(&self) -> &'static str {
        match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks5 => "socks5",
        }
    }

    /// Where it is, as URLs have it.
    pub(super) fn authority(&self) -> String {
        authority(&self.host, self.port)
    }
}

/// `host:port`, an address of IPv6 in brackets.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Proxies::from_variables(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    /// The proxy for `url`, as text: `-` for none, the message for one that cannot be used.
    fn chosen(variables: &[(&str, &str)], url: &str) -> String {
        let url = Url::parse(url).expect("a URL");
        let host = url.host_str().expect("a host").trim_matches(['[', ']']);
        let port = url.port_or_known_default().expect("a port");
        match proxies(variables).proxy(url.scheme() == "https", host, port) {
            Ok(proxy) => proxy.map_or("-".to_owned(), |proxy| proxy.to_string()),
            Err(invalid) => invalid.to_string(),
        }
    }

    #[test]
    fn the_variables_are_read_as_curl_and_go_read_them() {
        let (tls, plain) = ("https://hub.example.com", "http://hub.example.com:3001");
        for (variables, for_tls, for_plain) in [
            (&[][..], "-", "-"),
            (&[("HTTPS_PROXY", "http://a:1")], "http://a:1", "-"),
            (&[("https_proxy", "http://a:1")], "http://a:1", "-"),
            (&[("HTTP_PROXY", "http://a:1")], "-", "http://a:1"),
            (&[("http_proxy", "http://a:1")], "-", "http://a:1"),
            (&[("ALL_PROXY", "http://a:1")], "http://a:1", "http://a:1"),
            (&[("all_proxy", "socks5://a")], "socks5://a:1080", "socks5://a:1080"),
            (&[("ALL_PROXY", "http://a:1"), ("HTTPS_PROXY", "http://b:2")], "http://b:2", "http://a:1"),
            (&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")], "http://a:1", "-"),
            (&[("HTTPS_PROXY", " "), ("https_proxy", "http://b:2")], "http://b:2", "-"),
            (&[("HTTP_PROXY", "http://a:1"), ("REQUEST_METHOD", "GET")], "-", "-"),
            (
                &[("HTTP_PROXY", "x"), ("http_proxy", "http://b:2"), ("REQUEST_METHOD", "GET")],
                "-",
                "http://b:2",
            ),
            (&[("ALL_PROXY", "http://a:1"), ("NO_PROXY", "example.com")], "-", "-"),
            (&[("ALL_PROXY", "http://a:1"), ("no_proxy", ".example.com:443")], "-", "http://a:1"),
            (
                &[("ALL_PROXY", "http://a:1"), ("NO_PROXY", "other"), ("no_proxy", "*")],
                "http://a:1",
                "http://a:1",
            ),
            (&[("HTTPS_PROXY", "ftp://a:1")], "HTTPS_PROXY is not the URL of a proxy", "-"),
        ] {
            assert_eq!(chosen(variables, tls), for_tls, "{variables:?}");
            assert_eq!(chosen(variables, plain), for_plain, "{variables:?}");
        }
        let everything = [("ALL_PROXY", "http://a:1"), ("KUBERNETES_SERVICE_HOST", "10.96.0.1")];
        assert_eq!(chosen(&everything, "https://10.96.0.1"), "-");
        let everything = [("ALL_PROXY", "http://a:1"), ("KUBERNETES_SERVICE_HOST", "fd00::1")];
        assert_eq!(chosen(&everything, "https://[fd00::1]"), "-");
        assert_eq!(chosen(&everything, "https://[fd00::2]"), "http://a:1");
        assert_eq!(chosen(&everything, "http://localhost:3001"), "-");
    }

    #[test]
    fn a_proxy_is_a_url_or_a_host_and_is_shown_without_its_password() {
        for (text, shown, credentials) in [
            ("http://proxy:3128", "http://proxy:3128", None),
            (" http://proxy:3128/ ", "http://proxy:3128", None),
            ("proxy:3128", "http://proxy:3128", None),
            ("proxy", "http://proxy:80", None),
            ("PROXY.corp", "http://proxy.corp:80", None),
            ("10.0.0.1:3128", "http://10.0.0.1:3128", None),
            ("[fd00::1]:3128", "http://[fd00::1]:3128", None),
            ("https://proxy", "https://proxy:443", None),
            ("socks5h://[::1]:9", "socks5://[::1]:9", None),
            ("http://mia:secret@proxy:1", "http://proxy:1", Some(("mia", "secret"))),
            ("mia:secret@proxy:1", "http://proxy:1", Some(("mia", "secret"))),
            (
                "http://CORP%5Cmia:p%40ss%3Aword%25@proxy:1",
                "http://proxy:1",
                Some(("CORP\\mia", "p@ss:word%")),
            ),
            ("socks5://mia@proxy", "socks5://proxy:1080", Some(("mia", ""))),
        ] {
            let proxy = Proxy::parse(text, "HTTPS_PROXY").expect(text);
            assert_eq!(proxy.to_string(), shown, "{text}");
            let found = proxy.credentials.as_ref();
            let found = found.map(|found| (found.user.as_str(), found.password.expose_secret()));
            assert_eq!(found, credentials, "{text}");
            assert!(!format!("{proxy:?}").contains("secret"));
        }
        for text in
            ["", "http://", "ftp://proxy", "socks4://proxy", "http://proxy:99999", "http://%zz@", "://"]
        {
            let refused = Proxy::parse(text, "HTTPS_PROXY").map(|proxy| proxy.to_string());
            assert_eq!(refused, Err(InvalidProxy { origin: "HTTPS_PROXY" }), "{text}");
        }
    }

    #[test]
    fn the_proxy_of_a_kubeconfig_has_no_exceptions() {
        let only = Proxies::only("https://proxy", "proxy-url").expect("a proxy");
        assert!(only.proxy(true, "10.0.0.1", 6443).expect("usable").is_some());
        assert!(only.proxy(false, "127.0.0.1", 80).expect("usable").is_some());
        assert!(Proxies::only("proxy-url://x", "proxy-url").is_err());
    }

    proptest! {
        #[test]
        fn no_environment_makes_it_panic_or_tells_a_password(
            proxy in "(|http://|https://|socks5://|[a-z]{1,6}://)?([a-z%]{0,5}(:hunter2)?@)?[a-z0-9.\\[\\]:]{0,20}(:[0-9]{0,6})?",
            exempt in "\\PC{0,40}",
            host in "[a-z0-9.]{1,20}",
        ) {
            let said = proxies(&[("HTTPS_PROXY", &proxy), ("NO_PROXY", &exempt)]);
            let text = match said.proxy(true, &host, 443) {
                Ok(chosen) => format!("{chosen:?} {said:?}"),
                Err(invalid) => format!("{invalid} {invalid:?} {said:?}"),
            };
            prop_assert!(!text.contains("hunter2") || exempt.contains("hunter2"), "{text}");
        }
    }
}
