//! What a teammate is sent: a code, or a code with its hub in one word, `https://hub.example.com/#CODE`.
//!
//! A full code is `<handle>+<secret>`: the handle is the hub's code, of letters and digits; what stands behind the first plus is
//! for the other end alone and never told to a hub. Dashes do not separate the two: people put them into codes, and they are
//! passed over, in both parts. A plus is what earlier versions refuse before they say anything to a hub.
//!
//! What follows `#` is never sent to a server, so a browser that opens the link tells the code to nobody. What comes back
//! went through chats, mails and terminals: it is read with whatever they put around or into it.

mod line;
mod visible;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use url::Url;

use self::line::Line;
use crate::code_key::{CodeKey, is_secret};
use crate::url::{HubUrl, InsecureHttp, InvalidHubUrl};

/// The longest text that is looked at, in bytes: a command line with a long URL has a few hundred.
pub const MAX_BYTES: usize = 4096;

/// The longest code, in characters. Hubs make codes of 6 to 10.
const MAX_CODE: usize = 64;

/// Last steps of the path of a hub's pages that lead to a join.
const PAGES: [&str; 2] = ["open", "join"];

/// Between the address of a hub and a code that is a link.
const MARK: char = '#';

/// Between handle and secret of a full code.
const PLUS: char = '+';

/// Letters of a secret that are printed together.
const GROUP: usize = 4;

/// A code, and what the text around it says about the way to its hub.
#[derive(Clone, Debug)]
pub struct JoinToken {
    /// The code, as hubs write it: the handle of a full code.
    pub code: SecretString,
    /// The part that no hub is told.
    pub secret: Option<SecretString>,
    /// The hub, when the text names one. Whether plain http is acceptable is for the user to say.
    pub hub: Option<HubUrl>,
    /// Whether it is a command line that allows plain http.
    pub allows_insecure: bool,
    /// Whether it is a command line that goes through the cluster's API server.
    pub through_cluster: bool,
}

/// Why a text is no token. Never repeats the text, which may be a secret of another kind.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidToken {
    /// Nothing is left without blanks and quotes.
    #[error("the share code is empty")]
    Empty,
    /// More than a token can have.
    #[error("the share code is too long: more than {MAX_BYTES} bytes")]
    TooLong,
    /// The part behind the plus is not one.
    #[error("the share code is not whole: 16 letters and digits belong behind the +")]
    Secret,
    /// Only the part behind the plus.
    #[error("this is only the second part of a share code: paste what stands before the + as well")]
    NoHandle,
    /// Other characters than a code has.
    #[error("this is not a share code: a code consists of letters and digits")]
    NotACode,
    /// An address without a code.
    #[error("the URL has no share code in it: use the form https://hub.example.com/#CODE")]
    NoCode,
    /// The address cannot be one of a hub.
    #[error("the address before the share code cannot be used: {0}")]
    Hub(#[from] InvalidHubUrl),
    /// A command line with two addresses.
    #[error("the command line names two different hubs")]
    TwoHubs,
}

// === impl JoinToken ===

impl JoinToken {
    /// Reads what a teammate was sent: a code, a link, or a whole command line.
    ///
    /// # Errors
    /// There is no code in it.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        if text.len() > MAX_BYTES {
            return Err(InvalidToken::TooLong);
        }
        let text = visible::plain(text);
        match Line::find(&text) {
            Some(line) => Self::of_line(&line),
            None => Self::of_words(&text),
        }
    }

    /// The word that carries a code and its hub; the code alone for the hub that is meant when none is named.
    pub fn print(code: &str, hub: &HubUrl) -> String {
        if hub.is_default() { code.to_owned() } else { format!("{hub}/{MARK}{code}") }
    }

    fn of_line(line: &Line<'_>) -> Result<Self, InvalidToken> {
        let mut text = String::new();
        let mut found = Err(InvalidToken::Empty);
        // A terminal breaks long words.
        for word in &line.words {
            text.push_str(word);
            found = Self::of_words(&text);
            let is_broken =
                matches!(found, Err(InvalidToken::NoCode | InvalidToken::Hub(_) | InvalidToken::Empty));
            if !is_broken && !matches!(found, Err(InvalidToken::Secret)) {
                break;
            }
        }
        let token = found?;
        let named =
            line.hub.map(|hub| HubUrl::parse(visible::bare(hub), InsecureHttp::Allowed)).transpose()?;
        if named.is_some() && token.hub.is_some() && named != token.hub {
            return Err(InvalidToken::TwoHubs);
        }
        let Line { allows_insecure, through_cluster, .. } = *line;
        Ok(Self { hub: token.hub.or(named), allows_insecure, through_cluster, ..token })
    }

    fn of_words(text: &str) -> Result<Self, InvalidToken> {
        if !visible::is_link(text) {
            return Self::bare(visible::without_label(text));
        }
        // One word of a sentence, else a word that was broken.
        let whole =
            text.split(' ').filter(|word| word.contains("://")).find_map(|word| Self::of_link(word).ok());
        match whole {
            Some(token) => Ok(token),
            None => Self::of_link(&text.replace(' ', "")),
        }
    }

    fn of_link(text: &str) -> Result<Self, InvalidToken> {
        let text = visible::with_scheme(text);
        if let Some(inside) = visible::wrapped(&text) {
            // Not to be offered to whoever wrapped it.
            return Self::of_link(&inside);
        }
        let (address, rest) = match text.split_once(MARK).or_else(|| text.split_once("%23")) {
            Some((address, fragment)) => {
                let fragment = visible::until_closed(fragment).split(['?', '&']).next().unwrap_or_default();
                (page_of(address), fragment.rsplit(['/', '=']).next().unwrap_or(fragment).to_owned())
            }
            None => of_path(&text)?,
        };
        let hub = HubUrl::parse(address.split('?').next().unwrap_or_default(), InsecureHttp::Allowed)?;
        let token = Self::bare(&rest).map_err(|error| match error {
            InvalidToken::Empty => InvalidToken::NoCode,
            error => error,
        })?;
        Ok(Self { hub: Some(hub), ..token })
    }

    /// A text without an address.
    fn bare(text: &str) -> Result<Self, InvalidToken> {
        let text = text.replace("%2B", "+").replace("%2b", "+");
        let (handle, secret) = match text.split_once(PLUS) {
            Some((handle, secret)) => (handle, Some(secret)),
            None => (text.as_str(), None),
        };
        let code = code(handle)?;
        let secret = secret.map(secret_of).transpose()?;
        // A hub must not be told: its codes are shorter.
        if secret.is_none() && is_secret(code.expose_secret()) {
            return Err(InvalidToken::NoHandle);
        }
        Ok(Self { code, secret, hub: None, allows_insecure: false, through_cluster: false })
    }

    /// What the secret gives, when there is one.
    pub fn code_key(&self) -> Option<CodeKey> {
        self.secret.as_ref().map(|secret| CodeKey::new(self.code.expose_secret(), secret))
    }
}

/// A code as people are given it: handle and secret, the secret in groups.
pub fn full_code(handle: &str, secret: Option<&SecretString>) -> SecretString {
    let Some(secret) = secret else { return SecretString::from(handle) };
    let secret = secret.expose_secret();
    let groups: Vec<&str> = (0..secret.len())
        .step_by(GROUP)
        .filter_map(|at| secret.get(at..secret.len().min(at + GROUP)))
        .collect();
    SecretString::from(format!("{handle}{PLUS}{}", groups.join("-")))
}

/// The command that a teammate types to join: it works as it is printed, wherever its hub is.
///
/// The link is quoted: shells give `#` and what a path may hold meanings of their own.
pub fn join_command(code: &str, hub: &HubUrl) -> String {
    let token = JoinToken::print(code, hub);
    let is_word = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-'));
    let word = if is_word { token } else { format!("'{}'", token.replace('\'', "%27")) };
    let flag = match hub {
        hub if !hub.is_insecure() => "",
        hub if hub.is_inside_cluster() => " --through-cluster",
        _ => " --allow-insecure-hub",
    };
    format!("kubectl connect join {word}{flag}")
}

/// Whether a text, however it was pasted, is this code, given by its handle; what stands behind the plus says nothing of that.
pub fn is_code(text: &str, code: &str) -> bool {
    JoinToken::parse(text).is_ok_and(|token| token.code.expose_secret().eq_ignore_ascii_case(code))
}

/// The secret in what stands behind the plus.
fn secret_of(text: &str) -> Result<SecretString, InvalidToken> {
    let text: String = text.chars().filter(|&letter| !visible::is_noise(letter)).collect();
    let text = text.to_ascii_lowercase();
    is_secret(&text).then(|| SecretString::from(text)).ok_or(InvalidToken::Secret)
}

/// The code in a text without an address.
fn code(text: &str) -> Result<SecretString, InvalidToken> {
    let code: String = text.chars().filter(|&letter| !visible::is_noise(letter)).collect();
    match code.as_str() {
        "" => Err(InvalidToken::Empty),
        code if code.len() > MAX_CODE || !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Err(InvalidToken::NotACode)
        }
        code => Ok(code.to_ascii_lowercase().into()),
    }
}

/// The hub of a page that was opened with a code behind `#`.
fn page_of(address: &str) -> &str {
    match address.rsplit_once('/') {
        Some((hub, page)) if is_page(page) => hub,
        _ => address,
    }
}

/// Hub and code of a link without `#`: `/join/CODE`, or `?code=CODE`.
fn of_path(text: &str) -> Result<(&str, String), InvalidToken> {
    let url = Url::parse(text).map_err(|_| InvalidHubUrl::NotAUrl)?;
    if let Some((_, code)) = url.query_pairs().find(|(name, _)| name == "code") {
        let address = text.split('?').next().unwrap_or_default();
        // A form writes a blank as a plus.
        return Ok((page_of(address), visible::until_closed(&code).trim().replace(' ', "+")));
    }
    let path = text.split('?').next().unwrap_or_default().trim_end_matches('/');
    let (page, code) = path.rsplit_once('/').ok_or(InvalidToken::NoCode)?;
    match page.rsplit_once('/') {
        Some((hub, last)) if is_page(last) => Ok((hub, visible::until_closed(code).to_owned())),
        _ => Err(InvalidToken::NoCode),
    }
}

fn is_page(step: &str) -> bool {
    PAGES.iter().any(|page| step.eq_ignore_ascii_case(page))
}

#[cfg(test)]
mod tests;
