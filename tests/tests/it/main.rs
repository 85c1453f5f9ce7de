//! The product on real parts, one module per subject. All of them share one control plane.

mod definitions;
mod support;
