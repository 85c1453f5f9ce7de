//! What `share` works with: one of creating, listing and revoking.

use connect_crds::{Expiry, InvalidExpiry};
use connect_hub::url::{HubUrl, InsecureHttp};
use secrecy::ExposeSecret;

use super::change::RevokeSettings;
use super::expose::ServiceTarget;
use super::format::{self, Format};
use super::{DEFAULT_WAIT, DryRun, Environment, Wait, config_file, home};
use crate::cli::ShareArgs;
use crate::failure::{Failure, Outcome};

/// Longest friendly name, as the resource allows.
const MAX_NAME: usize = 100;

/// Longest name of a Secret.
const MAX_SECRET_NAME: usize = 253;

/// What `share` shall do.
#[derive(Debug)]
pub enum ShareSettings {
    /// Create a share.
    Create(CreateSettings),
    /// List the active ones.
    List(ListSettings),
    /// End one.
    Revoke(RevokeSettings),
}

/// Which active shares are listed, and how.
#[derive(Debug)]
pub struct ListSettings {
    /// Of every namespace.
    pub all_namespaces: bool,
    /// Those with these labels.
    pub selector: Option<String>,
    /// Whether changes are shown as they come.
    pub watch: bool,
    /// How it is printed.
    pub format: Format,
}

/// Which Services are shared, beside or instead of those that are exposed.
#[derive(Debug, PartialEq)]
pub enum Selection {
    /// Everything that is exposed when the share is made.
    Exposed,
    /// These Services, exposed for this share where they are not yet.
    Services(Vec<ServiceTarget>),
    /// The Services with these labels, exposed for this share where they are not yet.
    Labelled(String),
}

/// A share that is wanted.
#[derive(Debug, PartialEq)]
pub struct CreateSettings {
    /// Friendly name.
    pub name: Option<String>,
    /// How long it lives.
    pub expires: Expiry,
    /// What is shared.
    pub selection: Selection,
    /// Which hub; otherwise the operator's.
    pub hub: Option<HubChoice>,
    /// Whether to change nothing.
    pub dry_run: Option<DryRun>,
    /// How it is printed.
    pub format: Format,
    /// Whether and how long to wait for the operator.
    pub wait: Wait,
}

/// A hub other than the operator's.
#[derive(Debug, PartialEq)]
pub enum HubChoice {
    /// The hub with this URL, for which a Secret is looked up.
    Url(HubUrl),
    /// The hub that this Secret names.
    Secret(String),
}

/// Checks the flags of `share`.
///
/// # Errors
/// A value that cannot be used, or flags that do not go together.
pub fn share(args: ShareArgs, environment: Environment<'_>) -> Outcome<ShareSettings> {
    check_verb(&args)?;
    let format = format::format(&args.output)?;
    let wait = super::wait(&args.wait, DEFAULT_WAIT)?;
    let selector = format::selector(args.selector.clone())?;
    if args.list {
        let ShareArgs { all_namespaces, watch, .. } = args;
        return Ok(ShareSettings::List(ListSettings { all_namespaces, selector, watch, format }));
    }
    if let Some(target) = args.revoke {
        return match target.expose_secret().trim() {
            "" => Err(Failure::new("--revoke needs a code or a name").hint(HINT_LIST)),
            target => Ok(ShareSettings::Revoke(RevokeSettings { share: target.into(), wait })),
        };
    }
    create(args, selector, format, wait, environment).map(ShareSettings::Create)
}

/// What is made, listed or revoked are three things; flags of one are a mistake with another.
fn check_verb(args: &ShareArgs) -> Outcome<()> {
    let ShareArgs { list, all_namespaces, watch, revoke, services, dry_run, .. } = args;
    if *list && revoke.is_some() {
        return Err(Failure::new("Cannot use --list and --revoke together"));
    }
    if *all_namespaces && !list {
        return Err(Failure::new("--all-namespaces goes with --list: a share belongs to one namespace"));
    }
    if *watch && !list {
        return Err(Failure::new(
            "--watch goes with --list; follow one share with: kubectl connect status NAME --watch",
        ));
    }
    let verb = if *list { "--list" } else { "--revoke" };
    let makes = !list && revoke.is_none();
    if !makes && !services.is_empty() {
        return Err(Failure::new(format!("Cannot use --service and {verb} together")));
    }
    if !makes && super::dry_run(dry_run).is_some() {
        return Err(Failure::new(format!("Cannot use --dry-run and {verb} together")));
    }
    if revoke.is_some() && args.selector.is_some() {
        return Err(Failure::new("Cannot use --selector and --revoke together"));
    }
    if !services.is_empty() && args.selector.is_some() {
        return Err(Failure::new(
            "Cannot use --service and --selector together: name Services, or choose them by labels",
        ));
    }
    Ok(())
}

fn create(
    args: ShareArgs,
    selector: Option<String>,
    format: Format,
    wait: Wait,
    environment: Environment<'_>,
) -> Outcome<CreateSettings> {
    let expires = args.expires.parse().map_err(|error: InvalidExpiry| Failure::new(error.to_string()))?;
    let selection = match selector {
        Some(labels) => Selection::Labelled(labels),
        None if args.services.is_empty() => Selection::Exposed,
        None => {
            let targets = args.services.iter().map(|service| ServiceTarget::parse(service));
            Selection::Services(targets.collect::<Outcome<_>>()?)
        }
    };
    let hub = match (args.hub, args.config) {
        (Some(text), _) => Some(HubChoice::parse(&text)?),
        (None, Some(path)) => {
            let found = config_file::read(Some(&path), home(environment))?;
            found.file.hub_url.map(|text| HubChoice::parse(&text)).transpose()?
        }
        (None, None) => None,
    };
    let dry_run = super::dry_run(&args.dry_run);
    Ok(CreateSettings { name: friendly_name(args.name)?, expires, selection, hub, dry_run, format, wait })
}

/// How to find out what could have been meant.
pub const HINT_LIST: &str = "See the active shares with: kubectl connect share --list";

fn friendly_name(name: Option<String>) -> Outcome<Option<String>> {
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    match &name {
        Some(name) if name.chars().count() > MAX_NAME => {
            Err(Failure::new(format!("--name is too long: use at most {MAX_NAME} characters")))
        }
        _ => Ok(name),
    }
}

// === impl HubChoice ===

impl HubChoice {
    fn parse(text: &str) -> Outcome<Self> {
        if text.contains("://") {
            // Only compared with what Secrets say; whether plain http is acceptable is the operator's to judge.
            let url = HubUrl::parse(text, InsecureHttp::Allowed)
                .map_err(|error| Failure::new(format!("--hub cannot be used: {error}")))?;
            return Ok(Self::Url(url));
        }
        let is_name = text.len() <= MAX_SECRET_NAME && text.split('.').all(super::is_label);
        if !is_name {
            return Err(Failure::new(format!(
                "{text} is no hub: use a URL such as {} or the name of a Secret",
                HubUrl::DEFAULT
            )));
        }
        Ok(Self::Secret(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use std::time::Duration;

    fn parsed(arguments: &[&str]) -> Outcome<ShareSettings> {
        let line = ["kubectl-connect", "share"].iter().chain(arguments);
        match Cli::try_parse_from(line).expect("clap takes it").command {
            Command::Share(args) => share(args, &|_| None),
            other => panic!("not share: {other:?}"),
        }
    }

    fn created(arguments: &[&str]) -> CreateSettings {
        match parsed(arguments).expect("valid") {
            ShareSettings::Create(settings) => settings,
            other => panic!("does not create: {other:?}"),
        }
    }

    #[test]
    fn the_page_s_defaults_and_examples() {
        let plain = created(&[]);
        assert_eq!(
            plain,
            CreateSettings {
                name: None,
                expires: Expiry::default(),
                selection: Selection::Exposed,
                hub: None,
                dry_run: None,
                format: Format::Human,
                wait: Wait::Until(Duration::from_secs(60))
            }
        );
        let named = created(&["--expires", "7d", "--name", "demo-environment", "--timeout", "5s"]);
        assert_eq!((named.name.as_deref(), named.expires.hours()), (Some("demo-environment"), 168));
        assert_eq!(named.wait, Wait::Until(Duration::from_secs(5)));
        assert_eq!(created(&["--expires", "14d", "--no-wait"]).wait, Wait::Not);
        assert_eq!(created(&["--wait=false", "--timeout", "5s"]).wait, Wait::Not);
        assert_eq!(created(&["--wait"]).wait, Wait::Until(Duration::from_secs(60)));
        assert_eq!(created(&["--wait=true"]), plain);
    }

    #[test]
    fn hubs_are_urls_or_secrets() {
        let url = |text| Some(HubChoice::Url(HubUrl::parse(text, InsecureHttp::Allowed).expect("valid")));
        assert_eq!(created(&["--hub", "https://hub.example.com/"]).hub, url("https://hub.example.com"));
        assert_eq!(created(&["--hub", "http://hub.staging:3001"]).hub, url("http://hub.staging:3001"));
        assert_eq!(created(&["--hub", "team-hub"]).hub, Some(HubChoice::Secret("team-hub".into())));
    }

    #[test]
    fn what_cannot_be_used_is_said_before_anything_is_asked() {
        for (arguments, text) in [
            (
                ["--expires", "2weeks"].as_slice(),
                "[x] Invalid expires format. Use: 1h, 4h, 24h, 7d, etc.\n".to_owned(),
            ),
            (&["--list", "--revoke", "abc"], "[x] Cannot use --list and --revoke together\n".to_owned()),
            (
                &["-A"],
                "[x] --all-namespaces goes with --list: a share belongs to one namespace\n".to_owned(),
            ),
            (
                &["--revoke", " "],
                "[x] --revoke needs a code or a name\n\
                 See the active shares with: kubectl connect share --list\n"
                    .to_owned(),
            ),
            (
                &["--timeout", "soon"],
                "[x] soon is no value for --timeout: use a duration such as 30s, 2m or 1m30s\n".to_owned(),
            ),
            (
                &["--hub", "ftp://x"],
                "[x] --hub cannot be used: hub URL has the scheme ftp: use https://\n".to_owned(),
            ),
            (
                &["--hub", "my hub"],
                "[x] my hub is no hub: use a URL such as https://hub.privateconnect.co or the name of a Secret\n"
                    .to_owned(),
            ),
            (
                &["--name", &"n".repeat(101)],
                "[x] --name is too long: use at most 100 characters\n".to_owned(),
            ),
        ] {
            let failure = parsed(arguments).expect_err("unusable");
            assert_eq!((failure.render(), failure.exit().code()), (text, 1), "{arguments:?}");
        }
    }
}
