//! The hub as its clients see it: real sockets, the recorded protocol spoken by hand, by our client and by the vendor's
//! library.

mod bridges;
mod client;
mod data;
mod flood;
mod flow;
mod fuzz;
mod node;
mod owner;
mod process;
mod recordings;
mod sharing;
mod sockets;
mod support;
mod vendor_cli;
