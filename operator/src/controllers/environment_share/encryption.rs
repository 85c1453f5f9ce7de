//! Whether the code has a part that no hub is told, and what is asked of whoever connects with it.

use connect_crds::{Encryption, EnvironmentShare, HeldEncryption};
use connect_hub::code_key::{CodeKey, Verification};
use secrecy::{ExposeSecret, SecretString};

use super::dereference::Found;
use crate::names::share_key;
use crate::tunnels::HubConnection;

/// What a hub says that passes on what two ends say about encryption. Both ends can be ours there, and know what a secret is.
const RELAY: &str = "e2e-handshake-relay";

/// The secret of the share's code with this handle, if it has one: the one that people were given, else a new one. A code that
/// was given without one keeps none until it rotates, unless the spec demands one.
pub fn secret_for(
    share: &EnvironmentShare,
    found: &Found,
    hub: &HubConnection,
    handle: &SecretString,
    rotates: bool,
) -> Option<SecretString> {
    // Also with another handle: the hub's share is another one, or somebody wrote into the Secret.
    let given = found.code.as_ref().filter(|_| !rotates);
    if let Some(secret) = given.and_then(|code| code.secret.clone()) {
        return Some(secret);
    }
    let key = share_key(share);
    // The cache may not have what was written a moment ago.
    if let Some((_, secret)) = hub.drawn(&key).filter(|(drawn_for, _)| drawn_for == handle.expose_secret()) {
        return Some(secret);
    }
    let never_had_one = given.is_some_and(|code| !code.is_spoilt);
    let is_wanted = match share.spec.encryption {
        Some(Encryption::Verified) => true,
        Some(Encryption::Preferred) => !never_had_one,
        None => !never_had_one && hub.has(RELAY),
    };
    is_wanted.then(|| hub.draw(&key, handle))
}

/// What holds for a share whose code has a secret, or none.
pub fn held(share: &EnvironmentShare, hub: &HubConnection, has_secret: bool) -> HeldEncryption {
    // A hub that was not entered yet carries nothing; until it says more, the stricter holds.
    let both_can = || hub.has(RELAY) || hub.entered().is_none();
    match share.spec.encryption {
        Some(Encryption::Verified) => HeldEncryption::Verified,
        None if has_secret && both_can() => HeldEncryption::Verified,
        _ if has_secret => HeldEncryption::Preferred,
        _ => HeldEncryption::Unverified,
    }
}

/// What is asked of whoever connects to the share with the code that is known now.
pub fn verification(share: &EnvironmentShare, found: &Found, hub: &HubConnection) -> Verification {
    let given = found
        .code
        .as_ref()
        .and_then(|code| Some((code.code.expose_secret().to_owned(), code.secret.clone()?)));
    // Of two, the cache does not have the newer one yet; the hub refuses the older.
    let drawn = hub.drawn(&share_key(share)).filter(|(handle, _)| {
        found.code.as_ref().is_none_or(|code| code.secret.is_none() || code.code.expose_secret() != handle)
    });
    asked(share, hub, given.iter().chain(&drawn).map(|(handle, secret)| (handle.as_str(), secret)))
}

/// The same for codes of which handle and secret are known.
pub fn asked<'a>(
    share: &EnvironmentShare,
    hub: &HubConnection,
    codes: impl IntoIterator<Item = (&'a str, &'a SecretString)>,
) -> Verification {
    let keys: Vec<CodeKey> = codes.into_iter().map(|(handle, secret)| CodeKey::new(handle, secret)).collect();
    let required = held(share, hub, !keys.is_empty()) == HeldEncryption::Verified;
    Verification { keys, required }
}
