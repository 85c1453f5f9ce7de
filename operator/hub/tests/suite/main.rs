//! The hub client against hubs: one in this process, one on Node with the vendor's server library, one that says
//! whatever a test wants, and the recordings of the vendor's hub.

mod calls;
mod data;
mod elsewhere;
mod encryption;
mod ends;
mod gateways;
mod hostile;
mod outages;
mod recordings;
mod resume;
mod robust;
mod support;
mod verified;
