//! The `connect-hubd` binary.

fn main() {}
