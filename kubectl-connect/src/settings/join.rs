//! What `join` works with. It needs no cluster: a code, a hub, and for some hubs a key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use connect_hub::code_key::CodeKey;
use connect_hub::join_token::JoinToken;
use connect_hub::url::{HubUrl, InsecureHttp};
use secrecy::SecretString;

use super::code;
use super::hub::{self, ConfigFile, HubSettings, MeantKey};
use super::through::{self, Through};
use super::{Environment, config_file};
use crate::cli::{HubArgs, JoinArgs};
use crate::failure::{Failure, Outcome};

/// Longest label sent to a hub, in characters: it is shown in lists.
const MAX_LABEL: usize = 100;

/// What to join and how.
#[derive(Debug)]
pub struct JoinSettings {
    /// The code, as hubs write it.
    pub code: SecretString,
    /// What the part of the code gives that no hub is told.
    pub code_key: Option<CodeKey>,
    /// The hub.
    pub hub: HubUrl,
    /// Whether nobody has named that hub, so that the share may be at another one.
    pub hub_is_assumed: bool,
    /// A key for hubs that want an account.
    pub api_key: Option<SecretString>,
    /// PEM certificates of a private CA.
    pub extra_ca: Option<Vec<u8>>,
    /// What this machine is called.
    pub label: String,
    /// Where to listen; empty means loopback.
    pub bind: Vec<IpAddr>,
    /// Local ports that were asked for, by route.
    pub ports: BTreeMap<String, u16>,
    /// The routes to join; empty means all.
    pub only: Vec<String>,
    /// The way to a hub inside a cluster.
    pub through: Option<Through>,
    /// What it is joined for.
    pub purpose: Purpose,
    /// Something the user should know.
    pub warning: Option<String>,
}

/// What a share is joined for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Ports, until the user leaves.
    Stay,
    /// The same, with the routes' environment on stdout.
    PrintEnvironment,
    /// This command, which is at least a program.
    Run(Vec<OsString>),
}

/// Checks the flags of `join` and reads the files they name.
///
/// # Errors
/// A value or a file that cannot be used.
pub fn join(args: JoinArgs, environment: Environment<'_>) -> Outcome<JoinSettings> {
    join_from(args, &mut code::stdin, environment)
}

fn join_from(
    args: JoinArgs,
    stdin: &mut dyn FnMut() -> std::io::Result<Vec<u8>>,
    environment: Environment<'_>,
) -> Outcome<JoinSettings> {
    let JoinArgs {
        code,
        code_file,
        mut hub,
        api_key_file,
        label,
        address,
        ports,
        only,
        through_cluster,
        service,
        print_env,
        exec,
        command,
    } = args;
    no_lists(&only, &ports)?;
    let token = code::read(code.as_ref(), code_file.as_deref(), stdin, environment)?;
    go_where_it_says(&mut hub, &token)?;
    let mut through = None;
    if through_cluster || token.through_cluster {
        let url = hub.hub.or_else(|| environment("CONNECT_HUB_URL"));
        let way = through::through(url.as_deref(), service)?;
        // Its name inside says which key is meant; the API server's connection keeps the code from being read.
        hub.hub = Some(way.url());
        hub.allow_insecure_hub = true;
        through = Some(way);
    }
    let HubSettings { hub, extra_ca, saved_key, usual, is_assumed, warning, .. } =
        hub::hub(hub, ConfigFile::MustExist, environment)?;
    let api_key = match api_key_file {
        Some(path) => Some(config_file::read_secret(&path)?),
        // Whoever makes a link, or a command line to be pasted, chooses its hub: a key goes to the hub that it is meant for.
        None => MeantKey::of(environment, usual.as_ref()).and_then(|key| key.meant_for(&hub)).or(saved_key),
    };
    let ports = parse_ports(&ports)?;
    no_port_in_vain(&ports, &only)?;
    Ok(JoinSettings {
        code_key: token.code_key(),
        code: token.code,
        hub,
        hub_is_assumed: is_assumed,
        api_key,
        extra_ca,
        label: choose_label(label, environment),
        bind: parse_addresses(&address)?,
        ports,
        only,
        through,
        purpose: parse_purpose(print_env, exec, command)?,
        warning,
    })
}

/// A port is asked for a route that is joined.
fn no_port_in_vain(ports: &BTreeMap<String, u16>, only: &[String]) -> Outcome<()> {
    match ports.keys().find(|route| !only.is_empty() && !only.contains(route)) {
        Some(route) => Err(Failure::new(format!("--port names the route {route}, which --only leaves out"))),
        None => Ok(()),
    }
}

fn parse_purpose(print_env: bool, exec: bool, command: Vec<OsString>) -> Outcome<Purpose> {
    match (print_env, command.is_empty()) {
        (true, false) => {
            Err(Failure::new("Cannot use --print-env with a command: the command has the environment"))
        }
        (_, true) if exec => {
            Err(Failure::new("--exec needs a command")
                .hint("Use: kubectl connect join CODE --exec -- COMMAND"))
        }
        (true, true) => Ok(Purpose::PrintEnvironment),
        (false, true) => Ok(Purpose::Stay),
        (false, false) => Ok(Purpose::Run(command)),
    }
}

/// Goes to the hub that came with the code, as the line that it came in goes there.
fn go_where_it_says(hub: &mut HubArgs, token: &JoinToken) -> Outcome<()> {
    hub.allow_insecure_hub |= token.allows_insecure;
    let Some(own) = &token.hub else { return Ok(()) };
    if let Some(flag) = &hub.hub
        && HubUrl::parse(flag, InsecureHttp::Allowed).is_ok_and(|named| named != *own)
    {
        return Err(Failure::new(format!("The code is for the hub {own}, but --hub names {flag}"))
            .hint("Leave --hub out, or ask the share's owner for a code of that hub."));
    }
    hub.hub = Some(own.to_string());
    Ok(())
}

/// Routes have no comma in their names, and one flag takes one route.
fn no_lists(only: &[String], ports: &[String]) -> Outcome<()> {
    for (flag, values) in [("--only", only), ("--port", ports)] {
        if let Some(list) = values.iter().find(|value| value.contains(',')) {
            let each: Vec<String> = list
                .split(',')
                .map(str::trim)
                .filter(|one| !one.is_empty())
                .map(|one| format!("{flag} {one}"))
                .collect();
            return Err(Failure::new(format!("{flag} takes one route, and can be repeated"))
                .hint(format!("Use: {}", each.join(" "))));
        }
    }
    Ok(())
}

/// What was asked for, else user@host, else what is known of it.
pub(super) fn choose_label(asked: Option<String>, environment: Environment<'_>) -> String {
    let label =
        asked.map(|label| label.trim().to_owned()).filter(|label| !label.is_empty()).unwrap_or_else(|| {
            let user = ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(environment);
            let host =
                hostname::get().ok().and_then(|name| name.into_string().ok()).filter(|name| !name.is_empty());
            match (user, host) {
                (Some(user), Some(host)) => format!("{user}@{host}"),
                (Some(known), None) | (None, Some(known)) => known,
                (None, None) => "kubectl-connect".to_owned(),
            }
        });
    label.chars().take(MAX_LABEL).collect()
}

fn parse_addresses(texts: &[String]) -> Outcome<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for text in texts.iter().flat_map(|text| text.split(',')).map(str::trim) {
        match text.parse::<IpAddr>() {
            Ok(address) => addresses.push(address),
            Err(_) if text == "localhost" => {
                addresses.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
            }
            Err(_) => {
                return Err(Failure::new(format!(
                    "Invalid value {text} for --address: use localhost or an IP address of this machine"
                )));
            }
        }
    }
    Ok(addresses)
}

fn parse_ports(texts: &[String]) -> Outcome<BTreeMap<String, u16>> {
    let mut ports = BTreeMap::new();
    for text in texts {
        let parsed = text.split_once('=').and_then(|(route, port)| {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            (!route.is_empty()).then(|| (route.to_owned(), port))
        });
        let Some((route, port)) = parsed else {
            return Err(Failure::new(format!(
                "Invalid value {text} for --port: use ROUTE=PORT, for example postgres=15432"
            )));
        };
        if ports.insert(route.clone(), port).is_some() {
            return Err(Failure::new(format!("--port names the route {route} twice")));
        }
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    fn parsed(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome<JoinSettings> {
        let line = ["kubectl-connect", "join"].iter().chain(arguments);
        let environment = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        match Cli::try_parse_from(line).expect("clap takes it").command {
            Command::Join(args) => join_from(args, &mut || Ok(b"abc123\n".to_vec()), &environment),
            other => panic!("not join: {other:?}"),
        }
    }

    #[test]
    fn a_code_is_enough() {
        let settings = parsed(&[" abc123 "], &[("USER", "mia")]).expect("valid");
        assert_eq!(settings.code.expose_secret(), "abc123");
        assert_eq!(settings.hub.as_str(), HubUrl::DEFAULT);
        assert!(settings.api_key.is_none() && settings.bind.is_empty() && settings.ports.is_empty());
        assert!(settings.label.starts_with("mia"), "{}", settings.label);
        assert!(!format!("{settings:?}").contains("abc123"), "the code is a secret");
    }

    #[test]
    fn the_flag_wins_over_environment_file_and_default() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join(".private-connect");
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("config.json"), r#"{"hubUrl":"https://file","apiKey":"pc_file"}"#)
            .expect("a file");
        let home = home.path().to_str().expect("plain path");
        let hub_and_key = |arguments: &[&str], variables: &[(&str, &str)]| {
            let settings = parsed(arguments, variables).expect("valid");
            (
                settings.hub.to_string(),
                settings.api_key.map(|key| key.expose_secret().to_owned()).unwrap_or_default(),
            )
        };
        let both = [("HOME", home), ("CONNECT_HUB_URL", "https://env"), ("CONNECT_API_KEY", "pc_env")];
        assert_eq!(hub_and_key(&["c"], &both[..1]), ("https://file".into(), "pc_file".into()));
        assert_eq!(hub_and_key(&["c"], &both), ("https://env".into(), "pc_env".into()));
        assert_eq!(
            hub_and_key(&["c", "--hub", "https://flag"], &both),
            ("https://flag".into(), String::new())
        );
    }

    #[test]
    fn a_code_that_names_its_hub_goes_there_and_nowhere_else() {
        const LINK: &str = "https://hub.example.com/#abc123";
        let at = |arguments: &[&str], variables: &[(&str, &str)]| {
            let settings = parsed(arguments, variables).expect("valid");
            assert_eq!(settings.code.expose_secret(), "abc123");
            (settings.hub.to_string(), settings.hub_is_assumed)
        };
        let there = ("https://hub.example.com".to_owned(), false);
        let elsewhere = [("CONNECT_HUB_URL", "https://other")];
        assert_eq!(at(&[LINK], &[]), there);
        assert_eq!(at(&[LINK], &elsewhere), there);
        assert_eq!(at(&[], &[("CONNECT_CODE", LINK)]), there);
        assert_eq!(at(&[LINK, "--hub", "https://HUB.example.com/"], &elsewhere), there);
        assert_eq!(at(&["kubectl connect join abc123 --hub https://hub.example.com"], &[]), there);
        assert_eq!(at(&["-"], &[]), (HubUrl::DEFAULT.into(), true));
        assert_eq!(at(&["-"], &elsewhere), ("https://other".into(), false));
        assert_eq!(at(&["-", "--hub", HubUrl::DEFAULT], &[]), (HubUrl::DEFAULT.into(), false));
        assert_eq!(
            parsed(&[LINK, "--hub", "https://other"], &[]).expect_err("contradictory").render(),
            "[x] The code is for the hub https://hub.example.com, but --hub names https://other\n\
             Leave --hub out, or ask the share's owner for a code of that hub.\n"
        );
        let insecure = parsed(&["http://hub.example.com/#abc123"], &[]).expect_err("refused").render();
        assert!(insecure.contains("--allow-insecure-hub") && !insecure.contains("abc123"), "{insecure}");
        let line = "kubectl connect join 'http://hub.example.com/#abc123' --allow-insecure-hub";
        assert_eq!(at(&[line], &[]).0, "http://hub.example.com");
        let through = parsed(&["http://hub.team.svc:3001/#abc123", "--through-cluster"], &[]).expect("valid");
        assert_eq!(through.through.map(|through| through.namespace).as_deref(), Some("team"));
    }

    #[test]
    fn a_key_of_the_environment_is_not_sent_to_a_hub_that_only_the_code_names() {
        const LINK: &str = "https://hub.example.com/#abc123";
        for (arguments, hub, is_sent) in [
            ([LINK].as_slice(), None, false),
            (&[LINK], Some("https://other"), false),
            (&[LINK], Some("https://hub.example.com"), true),
            (&[LINK, "--hub", "https://hub.example.com"], None, false),
            (&["abc123", "--hub", "https://hub.example.com"], None, false),
            (&["abc123"], None, true),
            (&["https://hub.privateconnect.co/#abc123"], None, true),
        ] {
            let variables: Vec<_> = [("CONNECT_API_KEY", "pc_env")]
                .into_iter()
                .chain(hub.map(|hub| ("CONNECT_HUB_URL", hub)))
                .collect();
            let settings = parsed(arguments, &variables).expect("valid");
            assert_eq!(settings.api_key.is_some(), is_sent, "{arguments:?} {hub:?}");
        }
    }

    #[test]
    fn plain_http_to_another_machine_needs_an_explicit_wish() {
        let refused = parsed(&["c", "--hub", "http://hub.example.com"], &[]).expect_err("refused");
        assert_eq!(
            refused.render(),
            "[x] Insecure connection rejected: http://hub.example.com must use https, as the code would cross the \
             network in clear text\nTo use it nevertheless: --allow-insecure-hub, or CONNECT_ALLOW_INSECURE=true\n"
        );
        for value in ["true", "1", "YES", "on"] {
            let settings =
                parsed(&["c", "--hub", "http://hub.example.com"], &[("CONNECT_ALLOW_INSECURE", value)]);
            assert!(settings.is_ok(), "{value}");
        }
        assert!(
            parsed(&["c", "--hub", "http://hub.example.com"], &[("CONNECT_ALLOW_INSECURE", "no")]).is_err()
        );
        assert!(parsed(&["c", "--hub", "http://hub.example.com", "--allow-insecure-hub"], &[]).is_ok());
        assert!(parsed(&["c", "--hub", "http://127.0.0.1:3001"], &[]).is_ok());
    }

    #[test]
    fn unusable_values_are_named() {
        for (arguments, text) in [
            ([" "].as_slice(), "[x] The share code is empty\nUse: kubectl connect join CODE\n"),
            (
                &["c", "--hub", "hub.example.com"],
                "[x] --hub cannot be used: hub URL is not a URL: use the form https://hub.example.com\n",
            ),
            (
                &["c", "--port", "postgres"],
                "[x] Invalid value postgres for --port: use ROUTE=PORT, for example postgres=15432\n",
            ),
            (
                &["c", "--port", "a=0"],
                "[x] Invalid value a=0 for --port: use ROUTE=PORT, for example postgres=15432\n",
            ),
            (&["c", "--port", "a=1", "--port", "a=2"], "[x] --port names the route a twice\n"),
            (
                &["c", "--address", "example.com"],
                "[x] Invalid value example.com for --address: use localhost or an IP address of this machine\n",
            ),
            (
                &["c", "--only", "api", "--port", "redis=1"],
                "[x] --port names the route redis, which --only leaves out\n",
            ),
            (
                &["c", "--only", "a,b"],
                "[x] --only takes one route, and can be repeated\nUse: --only a --only b\n",
            ),
            (
                &["c", "--port", "a=1, b=2"],
                "[x] --port takes one route, and can be repeated\nUse: --port a=1 --port b=2\n",
            ),
            (
                &["c", "--exec"],
                "[x] --exec needs a command\nUse: kubectl connect join CODE --exec -- COMMAND\n",
            ),
            (
                &["c", "--print-env", "--", "make"],
                "[x] Cannot use --print-env with a command: the command has the environment\n",
            ),
            (
                &["c", "--api-key-file", "/nowhere/key"],
                "[x] Cannot use the API key file /nowhere/key: not found\n",
            ),
            (&["c", "--hub-ca-file", "/nowhere/ca"], "[x] Cannot use the CA file /nowhere/ca: not found\n"),
        ] {
            assert_eq!(parsed(arguments, &[]).expect_err("unusable").render(), text, "{arguments:?}");
        }
    }

    #[test]
    fn whatever_follows_the_dashes_is_the_command() {
        let purpose = |arguments: &[&str]| parsed(arguments, &[]).expect("valid").purpose;
        let command = Purpose::Run(["make", "--hub", "x"].map(OsString::from).into());
        assert_eq!(purpose(&["c", "--", "make", "--hub", "x"]), command);
        assert_eq!(purpose(&["c", "--exec", "--", "make", "--hub", "x"]), command);
        assert_eq!(purpose(&["c", "--print-env"]), Purpose::PrintEnvironment);
        assert_eq!(purpose(&["c"]), Purpose::Stay);
    }

    #[test]
    fn addresses_and_ports_can_be_repeated() {
        let settings =
            parsed(&["c", "--address", "localhost,10.0.0.7", "--port", "a=1", "--port", "b=65535"], &[])
                .expect("valid");
        assert_eq!(
            settings.bind.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["127.0.0.1", "::1", "10.0.0.7"]
        );
        assert_eq!(settings.ports, BTreeMap::from([("a".into(), 1), ("b".into(), 65535)]));
    }

    proptest! {
        #[test]
        fn ports_never_panic(text in ".{0,20}") {
            let _ = parse_ports(&[text]);
        }

        #[test]
        fn ports_read_back(route in "[a-z][a-z0-9-]{0,20}", port in 1u16..) {
            let ports = parse_ports(&[format!("{route}={port}")]).expect("valid");
            prop_assert_eq!(ports, BTreeMap::from([(route, port)]));
        }
    }
}
