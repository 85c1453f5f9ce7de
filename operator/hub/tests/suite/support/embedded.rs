//! Our own hub, in this process.

use connect_hubd::{Hub, HubConfig, Limits};
use tempfile::TempDir;

use super::lab::API_KEY;

/// A running hub; its data go with it.
pub struct EmbeddedHub {
    pub url: String,
    pub hub: Hub,
    _data: TempDir,
}

impl EmbeddedHub {
    pub async fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let listen = "127.0.0.1:0".parse().expect("an address");
        let limits = Limits::default();
        let config = HubConfig { listen, public_url: None, data: data.path().to_owned(), limits };
        let hub = Hub::start(config).await.expect("a hub");
        hub.ensure_api_key("lab", "lab", API_KEY).await.expect("a key");
        let url = format!("http://{}", hub.address());
        Self { url, hub, _data: data }
    }
}
