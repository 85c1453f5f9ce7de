//! The life of shares under faults: every plan breaks one thing once, and in the end everything is as if nothing had happened.
//!
//! ```text
//! operator --relay--> API server        what passes a relay has a site: verb, object, and which time it is
//!          --relay--> hub               a fault strikes at one site: lost, refused, killed before, killed after, hidden
//! ```
//!
//! [`life`] is what happens to a few shares; [`relay`] sees and breaks it; [`keeper`] starts the operator again when it ends;
//! [`outcome`] says what must be true afterwards; [`lived`] derives the plans from a life without faults, and [`matrix`] runs them side by
//! side; [`trials`] are what no single fault shows, and [`soak`] is everything at random. [`textbook`] is the operator of 300 lines that the same plans must catch.

pub mod guest;
pub mod keeper;
pub mod life;
pub mod lived;
pub mod matrix;
pub mod outcome;
pub mod plan;
pub mod relay;
mod site;
pub mod soak;
pub mod textbook;
pub mod trials;
mod visitors;
