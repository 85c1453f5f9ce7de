//! What the verbs that change one share work with: `extend`, `rotate`, `revoke`, `delete`.

use connect_crds::Expiry;
use secrecy::{ExposeSecret, SecretString};

use super::format::{self, Format};
use super::status::target;
use super::{DEFAULT_WAIT, Wait};
use crate::cli::{DeleteArgs, ExtendArgs, RevokeArgs, RotateArgs};
use crate::failure::{Failure, Outcome};

/// A share that shall end later.
#[derive(Debug)]
pub struct ExtendSettings {
    /// The share, as typed.
    pub share: SecretString,
    /// How much later.
    pub by: Expiry,
    /// Whether to change what a GitOps tool manages.
    pub force: bool,
    /// Whether and how long to wait for the operator.
    pub wait: Wait,
}

/// A share that shall have a new code.
#[derive(Debug)]
pub struct RotateSettings {
    /// The share, as typed.
    pub share: SecretString,
    /// Whether to change what a GitOps tool manages.
    pub force: bool,
    /// How it is printed.
    pub format: Format,
    /// Whether and how long to wait for the operator.
    pub wait: Wait,
}

/// A share that shall end.
#[derive(Debug)]
pub struct RevokeSettings {
    /// The share, as typed.
    pub share: SecretString,
    /// Whether and how long to wait for the operator.
    pub wait: Wait,
}

/// A share that shall end, and its object go.
#[derive(Debug)]
pub struct DeleteSettings {
    /// The share, as typed.
    pub share: SecretString,
    /// Whether to delete what a GitOps tool manages.
    pub force: bool,
    /// Whether and how long to wait for the operator.
    pub wait: Wait,
}

/// Checks the flags of `extend`.
///
/// # Errors
/// A value that cannot be used.
pub fn extend(args: ExtendArgs) -> Outcome<ExtendSettings> {
    let ExtendArgs { share, by, force, wait } = args;
    if by.parse::<Expiry>().is_err() && share.expose_secret().parse::<Expiry>().is_ok() && is_plain(&by) {
        let length = share.expose_secret();
        return Err(Failure::new(format!("The share comes first: kubectl connect extend {by} {length}")));
    }
    let by = super::expiry(&by)?;
    Ok(ExtendSettings { share: target(&share)?, by, force, wait: super::wait(&wait, DEFAULT_WAIT)? })
}

/// Whether a word can stand in a command line as it is.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Checks the flags of `rotate`.
///
/// # Errors
/// A value that cannot be used.
pub fn rotate(args: RotateArgs) -> Outcome<RotateSettings> {
    let RotateArgs { share, force, output, wait } = args;
    let format = format::format(&output)?;
    Ok(RotateSettings { share: target(&share)?, force, format, wait: super::wait(&wait, DEFAULT_WAIT)? })
}

/// Checks the flags of `delete`.
///
/// # Errors
/// A value that cannot be used.
pub fn delete(args: DeleteArgs) -> Outcome<DeleteSettings> {
    let DeleteArgs { share, force, wait } = args;
    Ok(DeleteSettings { share: target(&share)?, force, wait: super::wait(&wait, DEFAULT_WAIT)? })
}

/// Checks the flags of `revoke`.
///
/// # Errors
/// A value that cannot be used.
pub fn revoke(args: RevokeArgs) -> Outcome<RevokeSettings> {
    let RevokeArgs { share, wait } = args;
    Ok(RevokeSettings { share: target(&share)?, wait: super::wait(&wait, DEFAULT_WAIT)? })
}
