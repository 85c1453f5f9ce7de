//! What the parts of the operator share: plain data, which knows nobody that reads or writes it.

mod connection_counts;
mod ending;
mod endpoints;
mod hub_calls;
mod reconciliations;
mod stores;

pub use connection_counts::{ConnectionCounts, Counts};
pub use ending::Ending;
pub use endpoints::Endpoints;
pub use hub_calls::HubCalls;
pub use reconciliations::Reconciliations;
pub use stores::{AllStores, Stores};
