//! Which hub a command talks to, how it is trusted, and the key that is kept for it.

use std::path::Path;

use connect_hub::url::{HubUrl, InsecureHttp, InvalidHubUrl};
use secrecy::SecretString;

use super::credentials::Credentials;
use super::through;
use super::{Environment, config_file, home};
use crate::cli::HubArgs;
use crate::failure::{Failure, Outcome, words_of};

/// Values of a switch in the environment that mean yes.
const YES: [&str; 4] = ["true", "1", "yes", "on"];

/// A hub and what is known of it.
#[derive(Debug)]
pub struct HubSettings {
    /// The hub.
    pub hub: HubUrl,
    /// PEM certificates of a private CA.
    pub extra_ca: Option<Vec<u8>>,
    /// The key that is kept for this hub. Keys of other hubs are never sent to it.
    pub saved_key: Option<SecretString>,
    /// Where keys are kept.
    pub credentials: Credentials,
    /// The hub that is meant when no flag names one; nothing when that cannot be used.
    pub usual: Option<HubUrl>,
    /// Whether nobody has named a hub, so that it is the default one.
    pub is_assumed: bool,
    /// Something the user should know.
    pub warning: Option<String>,
}

/// Whether a config file that is named must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// It is read.
    MustExist,
    /// It will be written, so it may be new.
    MayBeNew,
}

/// Checks the flags that say which hub, and reads the files they name.
///
/// # Errors
/// A value or a file that cannot be used.
pub fn hub(args: HubArgs, file: ConfigFile, environment: Environment<'_>) -> Outcome<HubSettings> {
    let HubArgs { hub, config, hub_ca_file, allow_insecure_hub } = args;
    let found = match &config {
        Some(path) if file == ConfigFile::MayBeNew && !path.exists() => config_file::Found::default(),
        Some(path) => config_file::read(Some(path), None)?,
        None => config_file::read(None, home(environment))?,
    };
    let allowed =
        allow_insecure_hub || environment("CONNECT_ALLOW_INSECURE").is_some_and(|text| is_yes(&text));
    let insecure = if allowed { InsecureHttp::Allowed } else { InsecureHttp::Refused };
    let file_url = found.file.hub_url.clone();
    let variable = environment("CONNECT_HUB_URL");
    let is_assumed = [&hub, &variable, &file_url].iter().all(|named| named.is_none());
    let usual = choose(None, variable.clone(), file_url.clone(), InsecureHttp::Allowed).ok();
    let hub = choose(hub, variable, file_url.clone(), insecure)?;
    let credentials = Credentials::at(config, environment);
    let kept = credentials.key_for(&hub)?;
    let of_the_file = found.file.api_key.filter(|_| {
        let meant = file_url.as_deref().unwrap_or(HubUrl::DEFAULT);
        HubUrl::parse(meant, InsecureHttp::Allowed).is_ok_and(|meant| meant == hub)
    });
    Ok(HubSettings {
        hub,
        extra_ca: hub_ca_file.map(|path| read_ca(&path)).transpose()?,
        saved_key: kept.or(of_the_file),
        credentials,
        usual,
        is_assumed,
        warning: found.warning,
    })
}

/// The key in `CONNECT_API_KEY`, and the hub that it is meant for. A hub that somebody else has named, in a command line to be
/// pasted, never gets it.
#[derive(Clone, Debug)]
pub struct MeantKey {
    key: SecretString,
    hub: HubUrl,
}

impl MeantKey {
    /// Meant for the hub of `CONNECT_API_KEY_HUB`, else for the `usual` one of environment and config file, else for the default.
    pub fn of(environment: Environment<'_>, usual: Option<&HubUrl>) -> Option<Self> {
        let key = environment("CONNECT_API_KEY").filter(|key| !key.trim().is_empty())?;
        let hub = match environment("CONNECT_API_KEY_HUB") {
            Some(text) => HubUrl::parse(&text, InsecureHttp::Allowed).ok()?,
            None => match (usual, environment("CONNECT_HUB_URL")) {
                (Some(usual), _) => usual.clone(),
                (None, named) => {
                    let text = named.unwrap_or_else(|| HubUrl::DEFAULT.to_owned());
                    HubUrl::parse(&text, InsecureHttp::Allowed).ok()?
                }
            },
        };
        Some(Self { key: key.into(), hub })
    }

    /// The key, if it is meant for this hub.
    pub fn meant_for(self, hub: &HubUrl) -> Option<SecretString> {
        (self.hub == *hub).then_some(self.key)
    }
}

/// The flag wins over the environment, that over the config file, that over the default.
fn choose(
    flag: Option<String>,
    variable: Option<String>,
    file: Option<String>,
    insecure: InsecureHttp,
) -> Outcome<HubUrl> {
    let (source, text) =
        [("--hub", flag), ("CONNECT_HUB_URL", variable), ("hubUrl of the config file", file)]
            .into_iter()
            .find_map(|(source, text)| text.map(|text| (source, text)))
            .unwrap_or_else(|| ("the default hub", HubUrl::DEFAULT.to_owned()));
    HubUrl::parse(&text, insecure).map_err(|error| match error {
        InvalidHubUrl::Insecure(url) if through::is_inside(&text) => {
            Failure::new(format!("{url} is a name that only the cluster's own machines know"))
                .hint("To go through the cluster's API server, which is slower, add: --through-cluster")
        }
        InvalidHubUrl::Insecure(url) => {
            Failure::new(format!("Insecure connection rejected: {url} must use https, as the code would cross the network in clear text"))
                .hint("To use it nevertheless: --allow-insecure-hub, or CONNECT_ALLOW_INSECURE=true")
        }
        error => Failure::new(format!("{source} cannot be used: {error}")),
    })
}

fn read_ca(path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Failure::new(format!("Cannot use the CA file {}: {}", path.display(), words_of(error.kind())))
    })
}

fn is_yes(text: &str) -> bool {
    YES.iter().any(|yes| text.trim().eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_key_of_the_environment_goes_only_to_the_hub_that_it_is_meant_for() {
        const KEY: (&str, &str) = ("CONNECT_API_KEY", "pc_env");
        for (variables, hub, is_sent) in [
            ([KEY].as_slice(), HubUrl::DEFAULT, true),
            (&[KEY], "https://evil.example", false),
            (&[KEY], "https://hub.privateconnect.co.evil.example", false),
            (&[KEY], "https://hub.privateconnect.co:444", false),
            (&[KEY, ("CONNECT_HUB_URL", "https://own.example")], "https://own.example", true),
            (&[KEY, ("CONNECT_HUB_URL", "https://own.example/")], "https://own.example", true),
            (&[KEY, ("CONNECT_HUB_URL", "https://own.example")], HubUrl::DEFAULT, false),
            (&[KEY, ("CONNECT_HUB_URL", "https://own.example")], "https://own.example/evil", false),
            (&[KEY, ("CONNECT_API_KEY_HUB", "https://own.example")], "https://own.example", true),
            (&[KEY, ("CONNECT_API_KEY_HUB", "https://own.example")], HubUrl::DEFAULT, false),
            (
                &[
                    KEY,
                    ("CONNECT_API_KEY_HUB", "https://own.example"),
                    ("CONNECT_HUB_URL", "https://evil.example"),
                ],
                "https://evil.example",
                false,
            ),
            (&[KEY, ("CONNECT_API_KEY_HUB", "not a URL")], HubUrl::DEFAULT, false),
            (&[("CONNECT_API_KEY", " ")], HubUrl::DEFAULT, false),
            (&[], HubUrl::DEFAULT, false),
        ] {
            let environment = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            let hub = HubUrl::parse(hub, InsecureHttp::Refused).expect("a URL");
            let sent = MeantKey::of(&environment, None).and_then(|key| key.meant_for(&hub));
            assert_eq!(
                sent.is_some_and(|key| key.expose_secret() == "pc_env"),
                is_sent,
                "{variables:?} {hub}"
            );
        }
    }
}
