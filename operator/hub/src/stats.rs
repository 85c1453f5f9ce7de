//! Counters of one tunnel. Plain atomics: they are read for metrics and written on every chunk.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a dial was not answered with a connection; bounded, so it can be a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedDial {
    /// No route with this service id.
    UnknownService,
    /// The share is over (or has no end set).
    ShareEnded,
    /// The route has no address at the moment.
    NoTarget,
    /// A terminal was asked for.
    Terminal,
    /// Too many connections, or a connection id that is in use.
    Limit,
    /// No target accepted the connection.
    ConnectFailed,
    /// No target answered in time.
    ConnectTimedOut,
    /// The joiner shows no secret, and the share wants one.
    Unverified,
    /// The joiner does not know the secret of any code that leads there, or the hub replaced its key.
    SecretMismatch,
}

/// Counters of one tunnel.
#[derive(Debug, Default)]
pub struct Stats {
    pub(crate) open: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) encrypted: AtomicU64,
    pub(crate) unopened: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) foreign: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) stalled: AtomicU64,
    refused: [AtomicU64; RefusedDial::ALL.len()],
}

// === impl RefusedDial ===

impl RefusedDial {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 9] = [
        Self::UnknownService,
        Self::ShareEnded,
        Self::NoTarget,
        Self::Terminal,
        Self::Limit,
        Self::ConnectFailed,
        Self::ConnectTimedOut,
        Self::Unverified,
        Self::SecretMismatch,
    ];

    /// What the hub, and through it the teammate, is told. Nothing about the cluster.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::UnknownService => "unknown service",
            Self::ShareEnded => "the share has ended",
            Self::NoTarget => "the service has no address",
            Self::Terminal => "terminals are not offered",
            Self::Limit => "too many connections",
            Self::ConnectFailed => "the service refused the connection",
            Self::ConnectTimedOut => "the service did not answer in time",
            Self::Unverified => "this share takes the full code only, with the part behind the +",
            Self::SecretMismatch => {
                "the other end does not know this code's secret: wrong code, or the hub replaced the keys"
            }
        }
    }

    /// A bounded PascalCase name.
    pub fn reason(self) -> &'static str {
        match self {
            Self::UnknownService => "UnknownService",
            Self::ShareEnded => "ShareEnded",
            Self::NoTarget => "NoTarget",
            Self::Terminal => "Terminal",
            Self::Limit => "Limit",
            Self::ConnectFailed => "ConnectFailed",
            Self::ConnectTimedOut => "ConnectTimedOut",
            Self::Unverified => "Unverified",
            Self::SecretMismatch => "SecretMismatch",
        }
    }
}

// === impl Stats ===

impl Stats {
    /// Connections to Services that are open now.
    pub fn open_connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections to Services opened so far.
    pub fn total_connections(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections encrypted from end to end so far.
    pub fn encrypted_connections(&self) -> u64 {
        self.encrypted.load(Ordering::Relaxed)
    }

    /// Packets that did not open so far: changed, repeated, left out, or made with another key.
    pub fn unopened_packets(&self) -> u64 {
        self.unopened.load(Ordering::Relaxed)
    }

    /// Bytes written to Services so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes read from Services so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// Sessions after the first.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Events for a connection that is not ours.
    pub fn foreign_events(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    /// Frames or events that could not be read.
    pub fn malformed_frames(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    /// Connections reset because their Service stopped reading.
    pub fn stalled_connections(&self) -> u64 {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Dials refused for this reason so far.
    pub fn refused_dials(&self, why: RefusedDial) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count_refused(&self, why: RefusedDial) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
