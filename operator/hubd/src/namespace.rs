//! The namespace of agents: a socket proves who it is, and what it says after that is taken event by event.

mod events;
mod handshake;
mod incoming;

pub use handshake::AgentNamespace;
