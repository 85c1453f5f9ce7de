//! The product on real parts, one module per subject. All of them share one control plane.

mod bad_input;
mod chart;
mod definitions;
mod gitops;
mod restart;
mod support;
mod whole_path;
mod world;
