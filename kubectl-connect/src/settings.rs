//! What a command works with: flags, environment and files, resolved once and checked before anything is asked of a
//! cluster or a hub. After this nobody looks at the command line again.

pub mod change;
pub mod code;
pub mod config_file;
pub mod credentials;
pub mod doctor;
pub mod duration;
pub mod expose;
pub mod format;
pub mod hub;
pub mod join;
pub mod login;
pub mod share;
pub mod status;
pub mod through;
pub mod until;

use std::path::PathBuf;
use std::time::Duration;

use connect_crds::{Expiry, InvalidExpiry};

use crate::cli::{ClusterArgs, DryRunArg, DryRunArgs, WaitArgs};
use crate::failure::{Failure, Outcome};

/// Longest a label of a name may be in Kubernetes.
const MAX_LABEL: usize = 63;

/// The same for people.
const LABEL_RULE: &str = "at most 63 lower-case letters, digits and hyphens";

/// Said of a duration beyond that.
const LONGEST: &str = "The longest are 99999h and 99999d.";

/// How long commands wait for the operator when nobody says otherwise. It talks to a hub within 10 s or reports that it
/// cannot; what is left is for the queue before it.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// Reads one environment variable; empty ones count as not set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Which cluster, as whom.
#[derive(Debug)]
pub struct ClusterSettings {
    /// File that was named; otherwise the usual ones.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    pub context: Option<String>,
    /// Cluster of the kubeconfig.
    pub cluster: Option<String>,
    /// User of the kubeconfig.
    pub user: Option<String>,
    /// Namespace; otherwise the context's.
    pub namespace: Option<String>,
    /// User to impersonate.
    pub as_user: Option<String>,
    /// Groups to impersonate.
    pub as_group: Vec<String>,
    /// Longest wait for one answer.
    pub request_timeout: Duration,
}

/// Whether and how long to wait for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// At most this long.
    Until(Duration),
    /// Not at all.
    Not,
}

/// What is asked without being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    /// The objects that would be sent.
    Client,
    /// What the cluster says to them.
    Server,
}

impl std::fmt::Display for DryRun {
    /// As kubectl says it behind what it would have done.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "dry run",
            Self::Server => "server dry run",
        })
    }
}

/// Checks kubectl's flags.
///
/// # Errors
/// A value that cannot be used.
pub fn cluster(args: ClusterArgs) -> Outcome<ClusterSettings> {
    let ClusterArgs { namespace, context, cluster, user, kubeconfig, as_user, as_group, request_timeout } =
        args;
    if let Some(namespace) = &namespace
        && !is_label(namespace)
    {
        return Err(invalid_namespace("--namespace", namespace));
    }
    if as_user.is_none() && !as_group.is_empty() {
        return Err(Failure::new("--as-group needs --as: name the user to impersonate"));
    }
    let request_timeout = wait_length("--request-timeout", &request_timeout)?;
    Ok(ClusterSettings { kubeconfig, context, cluster, user, namespace, as_user, as_group, request_timeout })
}

fn wait(args: &WaitArgs, default: Duration) -> Outcome<Wait> {
    let WaitArgs { timeout, wait, no_wait } = args;
    let length = timeout.as_deref().map(|text| wait_length("--timeout", text)).transpose()?;
    Ok(if *no_wait || !wait { Wait::Not } else { Wait::Until(length.unwrap_or(default)) })
}

fn dry_run(args: &DryRunArgs) -> Option<DryRun> {
    match args.dry_run {
        DryRunArg::None => None,
        DryRunArg::Client => Some(DryRun::Client),
        DryRunArg::Server => Some(DryRun::Server),
    }
}

fn wait_length(flag: &str, text: &str) -> Outcome<Duration> {
    duration::parse(text).ok_or_else(|| {
        Failure::new(format!("Invalid value {text} for {flag}: use a duration such as 30s, 2m or 1m30s"))
    })
}

/// Reads how long a share lives. The sentence is the page's; what is beside the mark in a form that others use is said too.
fn expiry(text: &str) -> Outcome<Expiry> {
    text.parse().map_err(|error: InvalidExpiry| {
        let failure = Failure::new(error.to_string());
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match &text[digits.len()..] {
            _ if !is_number => failure,
            "m" | "min" | "s" => {
                failure.hint("The shortest is 1h. For another end: kubectl connect share --until 18:00")
            }
            "h" | "d" if digits.bytes().any(|byte| byte != b'0') => failure.hint(LONGEST),
            _ => failure,
        }
    })
}

/// A namespace that cannot be one.
fn invalid_namespace(flag: &str, text: &str) -> Failure {
    Failure::new(format!("Invalid value {text} for {flag}: use {LABEL_RULE}"))
}

/// Whether a text is a name as Services, namespaces and routes have: lower-case letters, digits and inner hyphens.
fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= MAX_LABEL
        && text.bytes().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The home folder, for the usual config file.
fn home(environment: Environment<'_>) -> Option<PathBuf> {
    environment("HOME").or_else(|| environment("USERPROFILE")).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ClusterArgs {
        ClusterArgs { request_timeout: "10s".into(), ..ClusterArgs::default() }
    }

    #[test]
    fn labels_are_dns_labels() {
        for text in ["a", "postgres", "a-b", "0a", "a9"] {
            assert!(is_label(text), "{text}");
        }
        for text in ["", "-a", "a-", "A", "a_b", "a.b", "ä", "a b", &"x".repeat(64)] {
            assert!(!is_label(text), "{text}");
        }
    }

    #[test]
    fn unusable_cluster_flags_are_named() {
        for (args, sentence) in [
            (
                ClusterArgs { namespace: Some("Not Valid".into()), ..args() },
                "Invalid value Not Valid for --namespace: use at most 63 lower-case letters, digits and hyphens",
            ),
            (
                ClusterArgs { request_timeout: "soon".into(), ..args() },
                "Invalid value soon for --request-timeout: use a duration such as 30s, 2m or 1m30s",
            ),
            (
                ClusterArgs { as_group: vec!["dev".into()], ..args() },
                "--as-group needs --as: name the user to impersonate",
            ),
        ] {
            let failure = cluster(args).expect_err("unusable");
            assert_eq!(failure.render(), format!("[x] {sentence}\n"));
        }
    }
}
