//! Kubeconfig files, and who they are for.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::scratch::private_file;

/// Bytes of randomness in a token: as many as no one guesses.
const TOKEN_BYTES: usize = 16;

/// Somebody the API server knows.
pub enum Identity {
    /// Known by a bearer token from the API server's token file.
    Token {
        /// The user.
        name: String,
        /// The token.
        token: String,
    },
    /// Known by a certificate of the control plane's authority.
    Certificate {
        /// The user.
        name: String,
        /// The certificate, PEM.
        certificate: String,
        /// Its private key, PEM.
        key: String,
    },
}

impl Identity {
    /// A user with a new token.
    pub(super) fn token(name: &str) -> Result<Self> {
        Ok(Self::Token { name: name.to_owned(), token: random_hex::<TOKEN_BYTES>()? })
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Token { name, .. } | Self::Certificate { name, .. } => name,
        }
    }

    /// The bearer token, for users who have one.
    pub fn bearer(&self) -> Option<&str> {
        match self {
            Self::Token { token, .. } => Some(token),
            Self::Certificate { .. } => None,
        }
    }

    fn credentials(&self) -> serde_json::Value {
        match self {
            Self::Token { token, .. } => json!({ "token": token }),
            Self::Certificate { certificate, key, .. } => json!({
                "client-certificate-data": base64(certificate),
                "client-key-data": base64(key),
            }),
        }
    }
}

/// Writes a kubeconfig whose only context is `lab`.
pub(super) fn write(path: &Path, server: &str, ca_pem: &str, identity: &Identity) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "lab", "cluster": { "server": server, "certificate-authority-data": base64(ca_pem) } }],
        "users": [{ "name": identity.name(), "user": identity.credentials() }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": identity.name() } }],
        "current-context": "lab",
    });
    let text = serde_json::to_vec_pretty(&config).context("a kubeconfig is JSON")?;
    private_file(path, text)
}

/// So many random bytes as hexadecimal digits.
pub fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}
