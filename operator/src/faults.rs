//! Ways to go wrong on purpose, for tests: fail points around every write and every call to a hub, a clock that can be
//! stepped, and bugs that can be switched on to see that the tests catch them.
//!
//! All of it needs the feature `faults`, which nothing that is released is built with (`connect-operator-faults` is the only
//! program that has it). Without the feature what is below is empty, and the compiler leaves nothing of it.

#[cfg(feature = "faults")]
mod armed;

#[cfg(feature = "faults")]
pub use armed::{clock_offset, is_planted, point, quick};

/// Mistakes that can be switched on, one at a time, by their name in `CONNECT_PLANTED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A share is created at the hub without looking for one, and without an idempotency key.
    CreatesBlindly,
    /// What was found at the hub more than once is left there.
    KeepsDuplicates,
    /// Status says Active before the code is in its Secret.
    StatusBeforeSecret,
    /// Connections are cut only after everybody else was told of the end.
    CutsLast,
    /// The data plane is not told when a share ends; only a reconciliation ends it.
    EndsByReconciliation,
    /// A stepped clock is not noticed by the data plane.
    MissesClockSteps,
    /// A deletion waits for the hub for ever.
    WaitsForTheHub,
    /// The hub is told of a share while the object may vanish unnoticed.
    NoFinalizer,
    /// The object goes although the hub was not told.
    LetsGoTooSoon,
    /// A list of which a page failed counts as complete.
    SweepsOnPartialLists,
    /// The code is logged at debug level.
    LogsTheCode,
    /// The code is told in an Event.
    TellsTheCode,
    /// The Secret outlives the share.
    LeavesTheSecret,
    /// Status is written whether it differs or not.
    WritesStatusAlways,
    /// A start makes a new identity although one is stored.
    ForgetsItsIdentity,
    /// A leader whose Lease ran out goes on.
    IgnoresTheLease,
    /// A new end is written into the Secret and not told to the hub.
    ExtendsOnlyHere,
}

/// Runs a write or a call to a hub. With the feature the process can be made to end before or after it.
#[cfg(not(feature = "faults"))]
pub async fn point<T>(_name: &'static str, action: impl Future<Output = T>) -> T {
    action.await
}

/// Whether this mistake is to be made.
#[cfg(not(feature = "faults"))]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}

/// How far our clock is off on purpose.
#[cfg(not(feature = "faults"))]
pub const fn clock_offset() -> jiff::SignedDuration {
    jiff::SignedDuration::ZERO
}

/// A period that tests need not wait for.
#[cfg(not(feature = "faults"))]
pub const fn quick(period: std::time::Duration) -> std::time::Duration {
    period
}
