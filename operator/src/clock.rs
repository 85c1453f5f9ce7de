//! The wall clock of this process: by it shares end. Tests step it.

use connect_hub::clock::Clock;
use jiff::Timestamp;

use crate::faults;

/// The present instant.
pub fn now() -> Timestamp {
    Timestamp::now() + faults::clock_offset()
}

/// The same clock for the data plane.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall;

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::now() + faults::data_clock_offset()
    }
}
