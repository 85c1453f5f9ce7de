//! Secrets of share codes as they were drawn, until the cache has the Secret that they were written to. Also what an end of one
//! process forgets: the Secret in the cluster is the memory.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use connect_hub::code_key::draw_secret;
use connect_hub::tunnel::routes::ShareKey;
use secrecy::{ExposeSecret, SecretString};

use super::HubConnection;

/// A handle and its secret, by share.
pub(super) type Drawn = HashMap<ShareKey, (String, SecretString)>;

impl HubConnection {
    /// Draws the secret of a share's code with this handle.
    pub fn draw(&self, share: &ShareKey, handle: &SecretString) -> SecretString {
        let secret = draw_secret();
        self.secrets().insert(share.clone(), (handle.expose_secret().to_owned(), secret.clone()));
        secret
    }

    /// The secret that was drawn last for a share, and for which handle.
    pub fn drawn(&self, share: &ShareKey) -> Option<(String, SecretString)> {
        self.secrets().get(share).cloned()
    }

    /// Whether somebody connected without knowing the secret, and this was not asked before of the same secret.
    pub fn tells_of_mismatch(&self, share: &ShareKey, count: u64) -> bool {
        let mut told = self.told_mismatches.lock().unwrap_or_else(PoisonError::into_inner);
        match count {
            0 => {
                told.remove(share);
                false
            }
            _ => told.insert(share.clone()),
        }
    }

    /// Forgets what was drawn for a share and told of it.
    pub(super) fn forget_secrets(&self, share: &ShareKey) {
        self.secrets().remove(share);
        self.tells_of_mismatch(share, 0);
    }

    fn secrets(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
