//! The product on real parts, one module per subject. All of them share one control plane.

#![allow(
    clippy::too_many_lines,
    reason = "a test is a table of cases, or a story from its beginning to its end"
)]

mod bad_input;
mod capped;
mod chart;
mod clock;
mod codes;
mod command_line;
mod completing;
mod counts;
mod definitions;
mod demo;
mod dist;
mod ending_namespace;
mod faults;
mod few_services;
mod gitops;
mod guides;
mod identity;
mod image;
mod in_between;
mod isolation;
mod joining;
mod labelled;
mod outdated;
mod preview;
mod replicas;
mod restart;
mod support;
mod through_cluster;
mod two_clusters;
mod unwritable;
mod whole_path;
mod world;
