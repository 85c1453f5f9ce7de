//! What `login` and `logout` work with.

use connect_hub::url::HubUrl;
use secrecy::SecretString;

use super::credentials::Credentials;
use super::hub::{self, ConfigFile, HubSettings};
use super::join::choose_label;
use super::{Environment, config_file};
use crate::cli::{LoginArgs, LogoutArgs};
use crate::failure::Outcome;

/// Where to log in and with what.
#[derive(Debug)]
pub struct LoginSettings {
    /// The hub.
    pub hub: HubUrl,
    /// PEM certificates of a private CA.
    pub extra_ca: Option<Vec<u8>>,
    /// The key that was given; without one the hub is asked to let a browser confirm.
    pub api_key: Option<SecretString>,
    /// What this machine is called.
    pub label: String,
    /// Where the key is kept.
    pub credentials: Credentials,
}

/// What to forget.
#[derive(Debug)]
pub struct LogoutSettings {
    /// The hub.
    pub hub: HubUrl,
    /// Where its key is kept.
    pub credentials: Credentials,
}

/// Checks the flags of `login`, and reads the key from where it was said to be.
///
/// # Errors
/// A value or a file that cannot be used.
pub fn login(args: LoginArgs, environment: Environment<'_>) -> Outcome<LoginSettings> {
    let LoginArgs { hub, api_key_stdin, api_key_file } = args;
    let HubSettings { hub, extra_ca, credentials, .. } = hub::hub(hub, ConfigFile::MayBeNew, environment)?;
    let api_key = match api_key_file {
        Some(path) => Some(config_file::read_secret(&path)?),
        None if api_key_stdin => Some(config_file::read_secret_from_stdin()?),
        None => environment("CONNECT_API_KEY").map(SecretString::from),
    };
    Ok(LoginSettings { hub, extra_ca, api_key, label: choose_label(None, environment), credentials })
}

/// Checks the flags of `logout`.
///
/// # Errors
/// A value or a file that cannot be used.
pub fn logout(args: LogoutArgs, environment: Environment<'_>) -> Outcome<LogoutSettings> {
    let LogoutArgs { hub } = args;
    let HubSettings { hub, credentials, .. } = hub::hub(hub, ConfigFile::MayBeNew, environment)?;
    Ok(LogoutSettings { hub, credentials })
}
