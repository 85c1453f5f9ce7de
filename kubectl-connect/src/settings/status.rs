//! What `status` works with.

use connect_hub::join_token::JoinToken;
use secrecy::{ExposeSecret, SecretString};

use super::format::{self, Format};
use super::share::HINT_LIST;
use crate::cli::StatusArgs;
use crate::failure::{Failure, Outcome};

/// What is to be shown.
#[derive(Debug)]
pub struct StatusSettings {
    /// One share, as typed; otherwise all of them.
    pub share: Option<SecretString>,
    /// Of every namespace.
    pub all_namespaces: bool,
    /// Those with these labels.
    pub selector: Option<String>,
    /// Also those that have ended.
    pub all: bool,
    /// Whether changes are shown as they come.
    pub watch: bool,
    /// How it is printed.
    pub format: Format,
}

/// Checks the flags of `status`.
///
/// # Errors
/// Flags that do not go together.
pub fn status(args: StatusArgs) -> Outcome<StatusSettings> {
    let StatusArgs { share, all_namespaces, selector, all, watch, output } = args;
    if share.is_some() && (all_namespaces || selector.is_some()) {
        let flag = if all_namespaces { "--all-namespaces" } else { "--selector" };
        return Err(Failure::new(format!("Cannot use {flag} together with the name of a share")));
    }
    let share = share.map(|share| target(&share)).transpose()?;
    let format = format::format(&output)?;
    Ok(StatusSettings { share, all_namespaces, selector: format::selector(selector)?, all, watch, format })
}

/// A code or a name, without the blanks that copying leaves around it; the code alone of a link or a line that was sent.
///
/// # Errors
/// Nothing is left.
pub fn target(typed: &SecretString) -> Outcome<SecretString> {
    let text = typed.expose_secret().trim();
    if text.is_empty() {
        return Err(Failure::new("The name or code of the share is empty").hint(HINT_LIST));
    }
    match JoinToken::parse(text) {
        Ok(token) if token.hub.is_some() || text.contains("connect join ") => Ok(token.code),
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_the_code_and_a_name_stays_a_name() {
        for (typed, meant) in [
            (" abc123\n", "abc123"),
            ("https://hub.example.com/#ABC123", "abc123"),
            ("'https://hub.example.com/open#abc123'", "abc123"),
            ("kubectl connect join abc123", "abc123"),
            ("pr-1234", "pr-1234"),
            ("Sales demo (Q4)", "Sales demo (Q4)"),
        ] {
            assert_eq!(target(&typed.into()).expect("something").expose_secret(), meant, "{typed}");
        }
        assert!(target(&" ".into()).is_err());
    }
}
