//! The real binary, where neither cluster nor hub is needed: help, version, and every way to mistype.

use std::net::TcpListener;
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
        (&["expose", "--help"], file!["help/expose.txt"]),
        (&["unexpose", "--help"], file!["help/unexpose.txt"]),
        (&["join", "--help"], file!["help/join.txt"]),
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
fn the_version_is_one_line() {
    let line = format!("kubectl-connect {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["version"]), (line.clone(), String::new(), Some(0)));
    assert_eq!(run(&["--version"]), (line, String::new(), Some(0)));
}

#[test]
fn every_mistake_is_one_sentence_on_stderr_and_exit_1() {
    for (line, sentence) in [
        ("frobnicate", "Unknown command frobnicate"),
        ("shar", "Unknown command shar; did you mean share?"),
        ("--frob share", "Unknown flag --frob"),
        ("share --expire 1h", "Unknown flag --expire; did you mean --expires?"),
        ("share extra", "Unexpected argument extra"),
        ("share --name", "--name <NAME> needs a value"),
        ("share --expires 2weeks", "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."),
        ("share --expires 0h", "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."),
        ("share --expires=-1h", "Invalid expires format. Use: 1h, 4h, 24h, 7d, etc."),
        ("share --list --revoke abc123", "Cannot use --list and --revoke together"),
        ("share -A", "--all-namespaces goes with --list: a share belongs to one namespace"),
        ("share --timeout soon", "soon is no value for --timeout: use a duration such as 30s, 2m or 1m30s"),
        ("share --hub ftp://x", "--hub cannot be used: hub URL has the scheme ftp: use https://"),
        ("share --config /nowhere", "Cannot use the config file /nowhere: entity not found"),
        (
            "share -n Not_Valid",
            "Not_Valid is no namespace: names are lower-case letters, digits and hyphens, at most 63",
        ),
        (
            "share --request-timeout x",
            "x is no value for --request-timeout: use a duration such as 30s, 2m or 1m30s",
        ),
        ("share --as-group dev", "--as-group needs --as: name the user to impersonate"),
        ("share --kubeconfig /nowhere", "Cannot read the kubeconfig /nowhere: entity not found"),
        ("expose", "<SERVICE[:PORT]> is missing"),
        ("expose Postgres", "Postgres is no Service: use NAME or NAME:PORT, for example postgres:5432"),
        (
            "expose deployment/api",
            "deployment/api is no Service: use NAME or NAME:PORT, for example postgres:5432",
        ),
        (
            "expose postgres:99999",
            "99999 is no port: use a number from 1 to 65535 or the name of one of the Service's ports",
        ),
        (
            "expose a --protocol udp",
            "udp is no value for --protocol <PROTOCOL>: use auto, tcp, http or https",
        ),
        ("expose a --local-port 0", "0 is no value for --local-port <PORT>: 0 is not in 1..=65535"),
        ("unexpose", "<ROUTE> is missing"),
        ("unexpose a/b", "a/b is no name of a route"),
        ("join", "<CODE> is missing"),
        (
            "join c --hub hub.example.com",
            "--hub cannot be used: hub URL is not a URL: use the form https://hub.example.com",
        ),
        (
            "join c --port postgres",
            "postgres is no value for --port: use ROUTE=PORT, for example postgres=15432",
        ),
        (
            "join c --address example.com",
            "example.com is no value for --address: use localhost or an IP address of this machine",
        ),
        ("join c --api-key-file /nowhere", "Cannot use the API key file /nowhere: entity not found"),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let (stdout, stderr, code) = run(&arguments);
        assert_eq!((stdout.as_str(), code), ("", Some(1)), "{line}");
        assert_eq!(stderr.lines().next(), Some(format!("[x] {sentence}").as_str()), "{line}");
        assert!(!stderr.contains("panicked") && stderr.lines().count() <= 2, "{line}: {stderr}");
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
    assert_eq!(stdout, "🔗 Joining environment share: abc123\n\n");
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
