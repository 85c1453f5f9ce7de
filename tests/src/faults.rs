//! The life of shares under faults: every plan breaks one thing once, and in the end everything is as if nothing had happened.
//!
//! ```text
//! operator --relay--> API server        each request has an injection point: verb, object, and which time it is
//!          --relay--> hub               a fault strikes at one injection point: lost, refused, killed before, killed after, hidden
//! ```
//!
//! [`scenario`] is what happens to a few shares; [`relay`] sees and breaks it; [`supervisor`] starts the operator again when it ends;
//! [`outcome`] says what must be true afterwards; [`report`] derives the plans from a run without faults, and [`matrix`] runs them side by
//! side; [`trials`] are what no single fault shows, and [`soak`] is everything at random. [`baseline`] is the operator of 300 lines that the same plans must catch.

pub mod baseline;
mod injection_point;
pub mod matrix;
pub mod outcome;
pub mod plan;
pub mod relay;
pub mod report;
pub mod scenario;
pub mod soak;
pub mod supervisor;
mod test_clients;
pub mod test_user;
pub mod trials;
