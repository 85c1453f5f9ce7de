//! What can stand between us and a hub, each with its sentence: what it is, and what to do.

use std::fmt;

use jiff::Timestamp;
use thiserror::Error;

use super::rules::{InvalidProxy, Proxy};

/// Something that is not the hub kept us from it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}: {}", self.what(), self.remedy())]
pub enum Obstacle {
    /// A proxy is named in a way that cannot be used.
    Setting(InvalidProxy),
    /// A proxy does not let us through.
    Proxy {
        /// The proxy's address, without user and password.
        proxy: String,
        /// Who named it.
        origin: &'static str,
        /// What it did.
        trouble: Box<ProxyTrouble>,
    },
    /// A question to the hub was answered by a way to another place, as pages to log in to a network do.
    Redirect {
        /// The other place's scheme and host.
        to: String,
    },
    /// A question to the hub was answered by a page for people.
    WebPage {
        /// The HTTP status.
        status: u16,
    },
    /// The hub answers, but a websocket to it does not come about.
    NoWebSocket {
        /// The HTTP status that came instead; none when nothing came.
        status: Option<u16>,
    },
    /// The hub's certificate begins in what this machine takes for the future.
    NotYetValid {
        /// When it begins.
        from: Timestamp,
        /// What this machine's clock says.
        now: Timestamp,
    },
    /// The hub's certificate has ended.
    Expired {
        /// When it ended.
        at: Timestamp,
        /// What this machine's clock says.
        now: Timestamp,
    },
}

/// What a proxy did instead of connecting us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyTrouble {
    /// It cannot be connected to.
    Unreachable(String),
    /// It wants to know who we are.
    WantsLogin,
    /// It does not accept the user and password that its URL has.
    LoginRefused,
    /// It does not let anybody connect there.
    Forbidden {
        /// Where we wanted to go.
        target: String,
    },
    /// It could not connect there itself.
    Failed {
        /// Where we wanted to go.
        target: String,
        /// What it said: a status, or words of SOCKS.
        said: String,
    },
    /// The connection to it broke before it answered, or what answered is no proxy.
    Broke(String),
}

// === impl Obstacle ===

impl Obstacle {
    pub(super) fn proxy(proxy: &Proxy, trouble: ProxyTrouble) -> Self {
        Self::Proxy { proxy: proxy.to_string(), origin: proxy.origin, trouble: Box::new(trouble) }
    }

    /// What is in the way, as the first half of a sentence.
    pub fn what(&self) -> String {
        match self {
            Self::Setting(invalid) => invalid.to_string(),
            Self::Proxy { proxy, trouble, .. } => trouble.what(proxy),
            Self::Redirect { to } => format!("a page at {to} answered in place of the hub"),
            Self::WebPage { status } => {
                format!("a web page answered in place of the hub, with status {status}")
            }
            Self::NoWebSocket { status: Some(status) } => {
                format!("the hub answers, but the websocket to it was answered with status {status}")
            }
            Self::NoWebSocket { status: None } => {
                "the hub answers, but nothing answers a websocket to it".to_owned()
            }
            Self::NotYetValid { from, now } => {
                format!(
                    "the hub's certificate is valid from {} on, and this machine's clock says {}",
                    At(from),
                    At(now)
                )
            }
            Self::Expired { at, now } => {
                format!(
                    "the hub's certificate expired at {}, and this machine's clock says {}",
                    At(at),
                    At(now)
                )
            }
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Setting(InvalidProxy { origin }) => {
                format!("set {origin} to the form http://proxy.example.com:3128, or unset it")
            }
            Self::Proxy { proxy, origin, trouble } => trouble.remedy(proxy, origin),
            Self::Redirect { .. } => {
                "log in to this network in a browser and try again, or check the hub's URL".to_owned()
            }
            Self::WebPage { .. } => {
                "log in to this network in a browser, ask who runs it to let the hub through, or check the hub's URL".to_owned()
            }
            Self::NoWebSocket { .. } => {
                "a proxy or gateway in between must pass the header Upgrade on and must not hold answers back".to_owned()
            }
            Self::NotYetValid { .. } => "the clock is probably behind: set it and try again".to_owned(),
            Self::Expired { .. } => {
                "set the clock if it is wrong, otherwise whoever runs the hub must renew the certificate".to_owned()
            }
        }
    }
}

// === impl ProxyTrouble ===

impl ProxyTrouble {
    fn what(&self, proxy: &str) -> String {
        match self {
            Self::Unreachable(why) => format!("cannot connect to the proxy {proxy} ({why})"),
            Self::WantsLogin => format!("the proxy {proxy} requires a user and a password"),
            Self::LoginRefused => format!("the proxy {proxy} refused the user and password"),
            Self::Forbidden { target } => format!("the proxy {proxy} does not allow connections to {target}"),
            Self::Failed { target, said } => {
                format!("the proxy {proxy} could not connect to {target} ({said})")
            }
            Self::Broke(why) => format!("the proxy {proxy} did not answer as a proxy does ({why})"),
        }
    }

    fn remedy(&self, proxy: &str, origin: &str) -> String {
        let bare = proxy.split_once("://").map_or(proxy, |(_, bare)| bare);
        let scheme = proxy.split_once("://").map_or("http", |(scheme, _)| scheme);
        match self {
            Self::Unreachable(_) | Self::Broke(_) => {
                format!(
                    "check {origin}, or put the destination into NO_PROXY if it can be reached without a proxy"
                )
            }
            Self::WantsLogin => format!("set {origin} to {scheme}://USER:PASSWORD@{bare}"),
            Self::LoginRefused => {
                format!("check the user and password in {origin}, and write special characters as %40 for @")
            }
            Self::Forbidden { target } => {
                format!(
                    "ask who runs the proxy to allow CONNECT to {target}, or put the destination into NO_PROXY"
                )
            }
            Self::Failed { .. } => {
                "check that the destination is up, or put it into NO_PROXY if the proxy cannot reach it"
                    .to_owned()
            }
        }
    }
}

/// An instant to the second.
struct At<'a>(&'a Timestamp);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}", self.0)
    }
}
