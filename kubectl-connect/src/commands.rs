//! One file per verb, each in the same steps: gather what is so, make a view of it, render the view.

pub mod completion;
pub mod expose;
pub mod join;
pub mod login;
pub mod man;
pub mod share;
pub mod unexpose;
pub mod version;
