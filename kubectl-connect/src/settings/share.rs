//! What `share` works with: one of creating, listing and revoking.

use connect_crds::{Encryption, Expiry};
use connect_hub::url::{HubUrl, InsecureHttp};
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::change::RevokeSettings;
use super::expose::ServiceTarget;
use super::format::{self, Format};
use super::{DEFAULT_WAIT, DryRun, Environment, Wait, config_file, home, until};
use crate::cli::{EncryptionArg, ShareArgs};
use crate::failure::{Failure, Outcome};
use crate::output;

/// Longest friendly name, as the resource allows.
const MAX_NAME: usize = 100;

/// Longest that an ended share may stay, in seconds, as the resource allows: a year.
const MAX_TTL: i32 = 31_536_000;

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

/// When a share ends.
#[derive(Debug, PartialEq)]
pub enum End {
    /// So long after it was made.
    After(Expiry),
    /// At this time.
    At(Timestamp),
}

/// A share that is wanted.
#[derive(Debug, PartialEq)]
pub struct CreateSettings {
    /// Friendly name.
    pub name: Option<String>,
    /// When it ends.
    pub end: End,
    /// How often the code may be used.
    pub max_joins: Option<i32>,
    /// What is asked of whoever joins.
    pub encryption: Option<Encryption>,
    /// How many seconds after its end it is deleted.
    pub ttl_seconds: Option<i32>,
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
    let of_making = [
        ("--service", !services.is_empty()),
        ("--name", args.name.is_some()),
        ("--expires", args.expires.is_some()),
        ("--until", args.until.is_some()),
        ("--max-joins", args.max_joins.is_some()),
        ("--encryption", args.encryption.is_some()),
        ("--ttl", args.ttl.is_some()),
        ("--dry-run", super::dry_run(dry_run).is_some()),
        ("--selector", revoke.is_some() && args.selector.is_some()),
    ];
    if let Some((flag, _)) = of_making.into_iter().find(|(_, is_given)| *is_given && !makes) {
        return Err(Failure::new(format!("Cannot use {flag} and {verb} together")));
    }
    if args.expires.is_some() && args.until.is_some() {
        return Err(Failure::new("Cannot use --expires and --until together"));
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
    let end = match (&args.expires, &args.until) {
        (_, Some(text)) => End::At(until::parse(text, &Timestamp::now().to_zoned(output::zone()))?),
        (Some(text), None) => End::After(super::expiry(text)?),
        (None, None) => End::After(Expiry::default()),
    };
    let ttl_seconds = args.ttl.as_deref().map(ttl).transpose()?;
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
    let (name, max_joins) = (friendly_name(args.name)?, args.max_joins);
    let encryption = args.encryption.map(|level| match level {
        EncryptionArg::Verified => Encryption::Verified,
        EncryptionArg::Preferred => Encryption::Preferred,
    });
    Ok(CreateSettings {
        name,
        end,
        max_joins,
        encryption,
        ttl_seconds,
        selection,
        hub,
        dry_run,
        format,
        wait,
    })
}

/// How long an ended share stays, in seconds.
fn ttl(text: &str) -> Outcome<i32> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" | "" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        _ => None,
    };
    let count = digits.parse::<u32>().ok().filter(|_| !digits.starts_with('+'));
    let seconds = count.zip(unit).and_then(|(count, unit)| count.checked_mul(unit));
    seconds.and_then(|seconds| i32::try_from(seconds).ok()).filter(|seconds| *seconds <= MAX_TTL).ok_or_else(
        || Failure::new(format!("Invalid value {text} for --ttl: use 0s, 30m, 12h or 7d, at most 365d")),
    )
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
                "Invalid value {text} for --hub: use a URL such as {} or the name of a Secret",
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
                end: End::After(Expiry::default()),
                max_joins: None,
                encryption: None,
                ttl_seconds: None,
                selection: Selection::Exposed,
                hub: None,
                dry_run: None,
                format: Format::Human,
                wait: Wait::Until(Duration::from_secs(60))
            }
        );
        let named = created(&["--expires", "7d", "--name", "demo-environment", "--timeout", "5s"]);
        assert_eq!(named.name.as_deref(), Some("demo-environment"));
        assert_eq!(named.end, End::After("7d".parse().expect("valid")));
        assert_eq!(named.wait, Wait::Until(Duration::from_secs(5)));
        assert_eq!(created(&["--expires", "14d", "--no-wait"]).wait, Wait::Not);
        assert_eq!(created(&["--wait=false", "--timeout", "5s"]).wait, Wait::Not);
        assert_eq!(created(&["--wait"]).wait, Wait::Until(Duration::from_secs(60)));
        assert_eq!(created(&["--wait=true"]), plain);
    }

    #[test]
    fn ends_limits_and_what_comes_after() {
        let until = created(&["--until", "2099-12-01T18:00:00Z", "--max-joins", "3", "--ttl", "7d"]);
        assert_eq!(until.end, End::At("2099-12-01T18:00:00Z".parse().expect("a time")));
        assert_eq!((until.max_joins, until.ttl_seconds), (Some(3), Some(604_800)));
        assert_eq!(created(&["--encryption", "Preferred"]).encryption, Some(Encryption::Preferred));
        for (text, seconds) in [("0s", 0), ("0", 0), ("30m", 1_800), ("12h", 43_200), ("365d", MAX_TTL)] {
            assert_eq!(created(&["--ttl", text]).ttl_seconds, Some(seconds), "{text}");
        }
        let longest = "n".repeat(MAX_NAME);
        assert_eq!(created(&["--name", &longest]).name, Some(longest));
        // Characters count, as in the resource's schema, however many bytes or UTF-16 units they take.
        let faces = "🦀".repeat(MAX_NAME);
        assert_eq!(created(&["--name", &faces]).name, Some(faces));
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
            (
                &["--expires", "30m"],
                "[x] Invalid expires format. Use: 1h, 4h, 24h, 7d, etc.\n\
                 The shortest is 1h. For another end: kubectl connect share --until 18:00\n"
                    .to_owned(),
            ),
            (
                &["--expires", "9999999h"],
                "[x] Invalid expires format. Use: 1h, 4h, 24h, 7d, etc.\nThe longest are 99999h and 99999d.\n"
                    .to_owned(),
            ),
            (
                &["--expires", "100001h"],
                "[x] Invalid expires format. Use: 1h, 4h, 24h, 7d, etc.\nThe longest are 99999h and 99999d.\n"
                    .to_owned(),
            ),
            (
                &["--expires", "4h", "--until", "18:00"],
                "[x] Cannot use --expires and --until together\n".to_owned(),
            ),
            (&["--list", "--expires", "4h"], "[x] Cannot use --expires and --list together\n".to_owned()),
            (
                &["--ttl", "366d"],
                "[x] Invalid value 366d for --ttl: use 0s, 30m, 12h or 7d, at most 365d\n".to_owned(),
            ),
            (&["--ttl", "1w"], "[x] Invalid value 1w for --ttl: use 0s, 30m, 12h or 7d, at most 365d\n".to_owned()),
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
                "[x] Invalid value soon for --timeout: use a duration such as 30s, 2m or 1m30s\n".to_owned(),
            ),
            (
                &["--hub", "ftp://x"],
                "[x] --hub cannot be used: hub URL has the scheme ftp: use https://\n".to_owned(),
            ),
            (
                &["--hub", "my hub"],
                "[x] Invalid value my hub for --hub: use a URL such as https://hub.privateconnect.co or the name of a Secret\n"
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
