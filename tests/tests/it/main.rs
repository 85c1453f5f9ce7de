//! The product on real parts, one mod bad_input;
mod definitions;
mod gitops;
mod restart;
mod support;
mod whole_path;
mod world;
