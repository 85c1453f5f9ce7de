//! One fault at one injection point.

use std::fmt;
use std::time::Duration;

/// How long something that is delayed is held up: longer than anything waits for on purpose, shorter than any deadline.
pub const DELAY: Duration = Duration::from_secs(2);

/// What goes wrong on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request never arrives.
    Drop,
    /// It is acted upon, and the answer is lost.
    Lose,
    /// It is acted upon twice.
    Duplicate,
    /// It is held up.
    Delay,
    /// It is acted upon, and half of what is said arrives.
    Garble,
    /// It is refused with this status.
    Refuse(u16),
    /// Whoever asks is killed before it arrives.
    KillBefore,
    /// Whoever asks is killed after it was acted upon.
    KillAfter,
    /// A watch event is not passed on; the watch ends, and the next one is told to list anew.
    Hide,
}

/// What goes wrong with what is said on a hub's socket: the connection breaks before or after it, or it is not what it was.
pub const SOCKET_FAULTS: [Fault; 4] = [Fault::Drop, Fault::Lose, Fault::Duplicate, Fault::Garble];

/// The n-th time (from one) that something passes an injection point.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which injection point.
    pub injection_point: String,
    /// Which time.
    pub nth: usize,
}

/// What is done wrong in one run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Plan {
    /// Nothing.
    Nothing,
    /// Something between the operator and the API server.
    Api(Place, Fault),
    /// Something between the operator and its hub.
    Hub(Place, Fault),
    /// The operator ends by itself at one of its fail points: before it, or after.
    Point(Place, When),
}

/// On which side of a fail point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Before the write or call.
    Before,
    /// After it.
    After,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.injection_point, self.nth)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Api(place, fault) => write!(f, "{fault:?} at the API server: {place}"),
            Self::Hub(place, fault) => write!(f, "{fault:?} at the hub: {place}"),
            Self::Point(place, when) => write!(f, "ends {when:?} {place}"),
        }
    }
}
