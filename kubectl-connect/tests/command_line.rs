//! The real binary, where neither cluster nor hub is needed: help, version, and every way to mistype.

#![allow(
    clippy::too_many_lines,
    reason = "a test is a table of cases, or a story from its beginning to its end"
)]

#[cfg(unix)]
#[path = "command_line/codes.rs"]
mod codes;
#[path = "command_line/login.rs"]
mod login;
#[path = "command_line/quiet.rs"]
mod quiet;
#[path = "command_line/reference.rs"]
mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use snapbox::{assert_data_eq, file};

/// The binary, in an environment that holds nothing.
fn connect(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-connect"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (String, String, Option<i32>) {
    said(connect(arguments).output().expect("the binary starts"))
}

fn said(output: Output) -> (String, String, Option<i32>) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn help_is_as_committed() {
    for (arguments, committed) in [
        (["--help"].as_slice(), file!["help/connect.txt"]),
        (&["share", "--help"], file!["help/share.txt"]),
        (&["status", "--help"], file!["help/status.txt"]),
        (&["extend", "--help"], file!["help/extend.txt"]),
        (&["rotate", "--help"], file!["help/rotate.txt"]),
        (&["revoke", "--help"], file!["help/revoke.txt"]),
        (&["delete", "--help"], file!["help/delete.txt"]),
        (&["doctor", "--help"], file!["help/doctor.txt"]),
        (&["expose", "--help"], file!["help/expose.txt"]),
        (&["unexpose", "--help"], file!["help/unexpose.txt"]),
        (&["join", "--help"], file!["help/join.txt"]),
        (&["login", "--help"], file!["help/login.txt"]),
        (&["logout", "--help"], file!["help/logout.txt"]),
        (&["completion", "--help"], file!["help/completion.txt"]),
    ] {
        let (stdout, stderr, code) = run(arguments);
        assert_eq!((stderr.as_str(), code), ("", Some(0)), "{arguments:?}");
        assert_data_eq!(stdout, committed);
    }
}

#[test]
fn no_verb_is_answered_with_help() {
    assert_eq!(run(&[]), run(&["--help"]));
}

#[test]
fn help_can_be_asked_for_as_a_verb() {
    assert_eq!(run(&["help"]), run(&["--help"]));
    assert_eq!(run(&["help", "share"]), run(&["share", "--help"]));
}

#[cfg(unix)]
#[test]
fn words_that_are_no_text_are_no_panic() {
    use std::os::unix::ffi::OsStrExt as _;

    for verb in ["share", "status", "expose", ""] {
        let mut command = connect(if verb.is_empty() { &[] } else { std::slice::from_ref(&verb) });
        let output =
            command.arg(std::ffi::OsStr::from_bytes(b"\xff\xfe")).output().expect("the binary starts");
        let (stdout, stderr, code) = said(output);
        assert_eq!((stdout.as_str(), code), ("", Some(1)), "{verb}");
        assert!(stderr.starts_with("[x] ") && !stderr.contains("panicked"), "{verb}: {stderr}");
    }
}

#[test]
fn hints_name_the_help_of_the_verb() {
    for (line, help) in [
        ("share --name", "share --help"),
        ("-n dev expose a --local-port 0", "expose --help"),
        ("extend", "extend --help"),
        ("xyzzy", "--help"),
    ] {
        let (_, stderr, _) = run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(stderr.lines().nth(1), Some(format!("See kubectl connect {help}.").as_str()), "{line}");
    }
}

#[test]
fn the_version_is_one_line() {
    let line = format!("kubectl-connect {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["version"]), (line.clone(), String::new(), Some(0)));
    assert_eq!(run(&["--version"]), (line, String::new(), Some(0)));
}

#[test]
fn every_mistake_is_one_sentence_on_stderr_and_exit_1() {
    for (line, sentence) in [
        ("xyzzy", "Unknown command xyzzy"),
        ("shar", "Unknown command shar; did you mean share?"),
        ("--frob share", "Unknown flag --frob"),
        ("share --expire 1h", "Unknown flag --expire; did you mean --expires?"),
        (
            "share extra",
            "Unexpected argument extra: to share one Service, use kubectl connect share --service extra",
        ),
        ("share --name", "--name <NAME> needs a value"),
        ("share --expires 2weeks", "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."),
        ("share --expires 0h", "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."),
        ("share --expires=-1h", "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."),
        ("share --expires 30m", "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."),
        ("share --expires 9999999h", "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."),
        (
            "share --until soon",
            "Invalid value soon for --until: use for example 18:00, tomorrow 18:00, 2026-12-01 18:00 or 2026-12-01T18:00:00Z",
        ),
        ("share --until 18:00 --expires 4h", "Cannot use --expires and --until together"),
        ("share --max-joins 0", "Invalid value 0 for --max-joins: use a number from 1 to 1000000"),
        ("share --max-joins many", "Invalid value many for --max-joins: use a number"),
        ("share --ttl 2weeks", "Invalid value 2weeks for --ttl: use 0s, 30m, 12h or 7d, at most 365d"),
        ("share --list --name a", "Cannot use --name and --list together"),
        ("list", "Unknown command list: use kubectl connect share --list"),
        ("ls", "Unknown command ls: use kubectl connect share --list"),
        ("stop abc123", "Unknown command stop: use kubectl connect revoke abc123"),
        ("unshare", "Unknown command unshare: use kubectl connect revoke CODE"),
        ("leave", "Unknown command leave: to leave a share, press Ctrl-C where kubectl connect join runs"),
        ("share list", "Unexpected argument list: use kubectl connect share --list"),
        ("expose api 8080", "Unexpected argument 8080: use kubectl connect expose api:8080"),
        ("expose api --port 8080", "Unknown flag --port: use kubectl connect expose api:8080"),
        ("extend 4h demo", "The share comes first: kubectl connect extend demo 4h"),
        ("revoke a b", "Unexpected argument b: name one at a time"),
        ("delete", "<NAME|CODE> is missing"),
        ("share --list --revoke abc123", "Cannot use --list and --revoke together"),
        ("share -A", "--all-namespaces goes with --list: a share belongs to one namespace"),
        ("share --timeout soon", "Invalid value soon for --timeout: use a duration such as 30s, 2m or 1m30s"),
        ("share --hub ftp://x", "--hub cannot be used: hub URL has the scheme ftp: use https://"),
        ("share --config /nowhere", "Cannot use the config file /nowhere: not found"),
        (
            "share -n Not_Valid",
            "Invalid value Not_Valid for --namespace: use at most 63 lower-case letters, digits and hyphens",
        ),
        (
            "share --request-timeout x",
            "Invalid value x for --request-timeout: use a duration such as 30s, 2m or 1m30s",
        ),
        ("share --as-group dev", "--as-group needs --as: name the user to impersonate"),
        ("share --kubeconfig /nowhere", "Cannot read the kubeconfig /nowhere: not found"),
        ("share --wait=maybe", "Invalid value maybe for --wait: use true or false"),
        ("share --list --service api", "Cannot use --service and --list together"),
        ("share --revoke abc123 --service api", "Cannot use --service and --revoke together"),
        ("share --revoke abc123 -l a=b", "Cannot use --selector and --revoke together"),
        ("share --revoke abc123 --dry-run", "Cannot use --dry-run and --revoke together"),
        ("share --list --dry-run=server", "Cannot use --dry-run and --list together"),
        (
            "share --service api -l a=b",
            "Cannot use --service and --selector together: name Services, or choose them by labels",
        ),
        (
            "share --service deployment/api",
            "Invalid Service deployment/api: use NAME or NAME:PORT, for example postgres:5432",
        ),
        (
            "share --service api:0",
            "Invalid port 0: use a number from 1 to 65535 or the name of one of the Service's ports",
        ),
        ("share -l=", "--selector needs labels, for example -l preview=pr-1234"),
        (
            "share --watch",
            "--watch goes with --list; follow one share with: kubectl connect status NAME --watch",
        ),
        ("share --dry-run=maybe", "Invalid value maybe for --dry-run: use none, client or server"),
        ("share -o table", "Invalid value table for --output: use json, yaml, name, wide or md"),
        (
            "share -o json --show-code",
            "--show-code needs -o md: every other form shows the code to users who can read its Secret",
        ),
        ("status a b", "Unexpected argument b: name one share, or none to see them all"),
        ("status demo -A", "Cannot use --all-namespaces together with the name of a share"),
        ("status demo -l a=b", "Cannot use --selector together with the name of a share"),
        ("status -o csv", "Invalid value csv for --output: use json, yaml, name, wide or md"),
        ("extend", "<NAME|CODE> and <DURATION> are missing"),
        ("extend demo", "<DURATION> is missing"),
        ("extend demo 2weeks", "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."),
        (
            "extend demo 4h --timeout never",
            "Invalid value never for --timeout: use a duration such as 30s, 2m or 1m30s",
        ),
        ("rotate", "<NAME|CODE> is missing"),
        ("rotate demo -o xml", "Invalid value xml for --output: use json, yaml, name, wide or md"),
        ("revoke", "<NAME|CODE> is missing"),
        ("revoke demo --forec", "Unknown flag --forec"),
        ("doctor -o wide", "Invalid value wide for --output: use json or yaml"),
        (
            "doctor --hub hub.example.com",
            "--hub cannot be used: hub URL is not a URL: use the form https://hub.example.com",
        ),
        (
            "doctor --operator-namespace Not_Valid",
            "Invalid value Not_Valid for --operator-namespace: use at most 63 lower-case letters, digits and hyphens",
        ),
        ("expose", "<SERVICE[:PORT]> is missing"),
        ("expose Postgres", "Invalid Service Postgres: use NAME or NAME:PORT, for example postgres:5432"),
        (
            "expose deployment/api",
            "Invalid Service deployment/api: use NAME or NAME:PORT, for example postgres:5432",
        ),
        (
            "expose postgres:99999",
            "Invalid port 99999: use a number from 1 to 65535 or the name of one of the Service's ports",
        ),
        ("expose a --protocol udp", "Invalid value udp for --protocol: use auto, tcp, http or https"),
        ("expose a --local-port 0", "Invalid value 0 for --local-port: use a number from 1 to 65535"),
        ("expose a -o wide", "Invalid value wide for --output: use json, yaml or name"),
        ("expose a --dry-run=maybe", "Invalid value maybe for --dry-run: use none, client or server"),
        (
            "expose a --name Not_Valid",
            "Invalid route name Not_Valid: use at most 63 lower-case letters, digits and hyphens",
        ),
        ("unexpose", "<ROUTE> is missing"),
        ("unexpose a -o md", "Invalid value md for --output: use json, yaml or name"),
        ("unexpose a/b", "Invalid route name a/b: use at most 63 lower-case letters, digits and hyphens"),
        ("join", "The share code is missing"),
        (
            "join c --hub hub.example.com",
            "--hub cannot be used: hub URL is not a URL: use the form https://hub.example.com",
        ),
        (
            "join c --port postgres",
            "Invalid value postgres for --port: use ROUTE=PORT, for example postgres=15432",
        ),
        (
            "join c --address example.com",
            "Invalid value example.com for --address: use localhost or an IP address of this machine",
        ),
        ("join c --port a=1 --only b", "--port names the route a, which --only leaves out"),
        ("join c --exec", "--exec needs a command"),
        (
            "join c --print-env -- make",
            "Cannot use --print-env with a command: the command has the environment",
        ),
        ("join c make", "A command to run while joined must follow --"),
        ("join c --only a,b", "--only takes one route, and can be repeated"),
        ("join c@d", "This is not a share code: a code consists of letters and digits"),
        ("join --code-file /nowhere", "Cannot use the share code in the file /nowhere: not found"),
        (
            "join c --code-file /nowhere",
            "The share code is given twice: as an argument and in the file /nowhere",
        ),
        (
            "join https://hub.example.com",
            "The URL has no share code in it: use the form https://hub.example.com/#CODE",
        ),
        (
            "join https://a.example.com/#c --hub https://b.example.com",
            "The code is for the hub https://a.example.com, but --hub names https://b.example.com",
        ),
        (
            "join c --hub http://hub.team.svc:3001",
            "http://hub.team.svc:3001 is a name that only the cluster's own machines know",
        ),
        ("join c --service hub", "--through-cluster is missing"),
        (
            "join c --through-cluster --hub https://hub.team.svc",
            "Cannot go to https://hub.team.svc through the cluster: only to a hub that speaks http there",
        ),
        ("join c --through-cluster --kubeconfig /nowhere", "Cannot read the kubeconfig /nowhere: not found"),
        ("join c --config /nowhere", "Cannot use the config file /nowhere: not found"),
        ("login --api-key pc_secret", "Unknown flag --api-key; did you mean --api-key-file?"),
        ("login pc_secret", "Unexpected argument pc_secret"),
        (
            "login --api-key-stdin --api-key-file /nowhere",
            "Cannot use --api-key-stdin and --api-key-file together",
        ),
        ("login --api-key-stdin", "Cannot use the API key on stdin: it is empty"),
        ("login --api-key-file /nowhere", "Cannot use the API key file /nowhere: not found"),
        (
            "login --hub hub.example.com",
            "--hub cannot be used: hub URL is not a URL: use the form https://hub.example.com",
        ),
        ("logout --hub ftp://x", "--hub cannot be used: hub URL has the scheme ftp: use https://"),
        ("completion", "<SHELL> is missing"),
        ("completion tcsh", "Invalid value tcsh for <SHELL>: use kubectl, bash, zsh, fish or powershell"),
        ("man /nowhere", "Cannot write man pages to /nowhere: not found"),
        ("join c --api-key-file /nowhere", "Cannot use the API key file /nowhere: not found"),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let (stdout, stderr, code) = run(&arguments);
        assert_eq!((stdout.as_str(), code), ("", Some(1)), "{line}");
        assert_eq!(stderr.lines().next(), Some(format!("[x] {sentence}").as_str()), "{line}");
        assert!(!stderr.contains("panicked") && stderr.lines().count() <= 2, "{line}: {stderr}");
    }
}

#[test]
fn man_pages_are_as_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("plain path");
    assert_eq!(run(&["man", path]), (String::new(), String::new(), Some(0)));
    let written =
        std::fs::read_dir(folder.path()).expect("readable").map(|entry| entry.expect("readable").path());
    let page = |path: &Path| std::fs::read_to_string(path).expect("text");
    let name = |path: &Path| path.file_name().expect("a file").to_string_lossy().into_owned();
    must_be_committed("man", &written.map(|path| (name(&path), page(&path))).collect());
}

#[test]
fn completion_scripts_are_as_committed() {
    let script = |(shell, name): (&str, &str)| {
        let (stdout, stderr, code) = run(&["completion", shell]);
        assert_eq!((stderr.as_str(), code), ("", Some(0)), "{shell}");
        (name.to_owned(), stdout)
    };
    let shells = [
        ("kubectl", "kubectl_complete-connect"),
        ("bash", "kubectl-connect.bash"),
        ("zsh", "_kubectl-connect"),
        ("fish", "kubectl-connect.fish"),
        ("powershell", "kubectl-connect.ps1"),
    ];
    must_be_committed("completions", &shells.into_iter().map(script).collect());
}

/// Compares files with those of a folder of the sources, or writes them there when that is asked for.
fn must_be_committed(folder: &str, expected: &BTreeMap<String, String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    if std::env::var_os("CONNECT_GENERATE").is_some() {
        let _ = std::fs::remove_dir_all(&folder); // it may be new
        std::fs::create_dir(&folder).expect("writable");
        for (name, text) in expected {
            std::fs::write(folder.join(name), text).expect("writable");
        }
    }
    let names =
        std::fs::read_dir(&folder).expect("readable").map(|entry| entry.expect("readable").file_name());
    let names: BTreeSet<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(names.iter().eq(expected.keys()), "`make generate` writes them: {names:?}");
    for (name, text) in expected {
        let committed = std::fs::read_to_string(folder.join(name)).expect("text");
        assert!(&committed == text, "{name} is not as committed: `make generate` writes it");
    }
}

#[test]
fn completion_without_a_cluster_is_silent() {
    for (line, words) in [
        (["__complete"].as_slice(), ":4\n"),
        (&["__complete", "unexp"], "unexpose\tRemove a route from every share and cut its connections\n:4\n"),
        (&["__complete", "share", "--revoke", ""], ":4\n"),
        (&["__complete", "share", "--kubeconfig", ""], ":0\n"),
        (&["__complete", "join", "c", "--", "ma"], ":0\n"),
        (&["__complete", "completion", "f"], "fish\n:4\n"),
        (&["__complete", "-n", ""], ":4\n"),
        (&["__complete", "\u{1b}[2J", "--", "="], ":0\n"),
    ] {
        assert_eq!(run(line), (words.to_owned(), String::new(), Some(0)), "{line:?}");
    }
}

#[test]
fn without_a_kubeconfig_there_is_no_cluster() {
    let home = tempfile::tempdir().expect("a folder");
    let output = connect(&["share", "--list"]).env("HOME", home.path()).output().expect("the binary starts");
    let (stdout, stderr, code) = said(output);
    assert_eq!((stdout.as_str(), code), ("", Some(1)));
    assert_eq!(
        stderr,
        "[x] No cluster: there is no kubeconfig\n\
         Name one with --kubeconfig or KUBECONFIG, or log in with the tool of your cluster.\n"
    );
}

#[test]
fn a_hub_that_is_down_is_the_page_s_two_lines() {
    // Bound and dropped: nobody listens there now.
    let address =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let (stdout, stderr, code) = run(&["join", "abc123", "--hub", &format!("http://{address}")]);
    assert_eq!(stdout, "🔗 Joining environment share: ***\n\n");
    assert_eq!(
        stderr,
        format!(
            "[x] Cannot connect to hub at http://{address}\nMake sure the hub is running and accessible.\n"
        )
    );
    assert_eq!(code, Some(1));
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = connect(&["--help"]).stdout(writer).stderr(Stdio::piped()).spawn();
    let (_, stderr, code) = said(output.and_then(std::process::Child::wait_with_output).expect("it ends"));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
}

#[test]
fn the_environment_says_which_hub_and_the_flag_wins() {
    let hub = |flag: &[&str]| {
        let output = connect(&[&["join", "c"], flag].concat())
            .env("CONNECT_HUB_URL", "http://variable.example.com")
            .output()
            .expect("the binary starts");
        said(output).1
    };
    assert!(hub(&[]).contains("http://variable.example.com must use https"));
    assert!(hub(&["--hub", "http://flag.example.com"]).contains("http://flag.example.com must use https"));
}
