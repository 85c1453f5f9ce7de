//! One file per verb, each in the same steps: gather what is so, make a view of it, render the view.

pub mod completion;
pub mod delete;
pub mod doctor;
pub mod expose;
pub mod extend;
mod gitops;
pub mod join;
pub mod login;
pub mod man;
pub mod rotate;
pub mod share;
pub mod status;
pub mod unexpose;
pub mod version;
