//! Ways to go wrong on purpose, for tests: fail points around every write and every call to a hub, clocks that can be stepped,
//! and a client that logs what it writes. Whatever else could go wrong is done to the operator from outside.
//!
//! All of it needs the feature `faults`, which nothing that is released is built with (`connect-operator-faults` is the only
//! program that has it). Without the feature what is below is empty, and the compiler leaves nothing of it.

#[cfg(feature = "faults")]
mod armed;

#[cfg(feature = "faults")]
pub use armed::{clock_offset, data_clock_offset, logged, point, quick};

/// Runs a write or a call to a hub. With the feature the process can be made to end before or after it.
#[cfg(not(feature = "faults"))]
pub async fn point<T>(_name: &'static str, action: impl Future<Output = T>) -> T {
    action.await
}

/// How far our clock is off on purpose.
#[cfg(not(feature = "faults"))]
pub const fn clock_offset() -> jiff::SignedDuration {
    jiff::SignedDuration::ZERO
}

/// The same for the data plane, which can be told another offset.
#[cfg(not(feature = "faults"))]
pub const fn data_clock_offset() -> jiff::SignedDuration {
    jiff::SignedDuration::ZERO
}

/// The same client, which can be made to log what it writes.
#[cfg(not(feature = "faults"))]
pub fn logged(client: kube::Client) -> kube::Client {
    client
}

/// A period that tests need not wait for.
#[cfg(not(feature = "faults"))]
pub const fn quick(period: std::time::Duration) -> std::time::Duration {
    period
}
