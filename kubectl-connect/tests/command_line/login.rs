//! `login` and `logout` against a small hub that answers as recorded hubs do.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{connect, said};

/// A key as hubs make them.
const KEY: &str = "pc_0123456789abcdef0123456789abcdef0123456789abcdef";

/// What a hub says while the user has not confirmed.
const PENDING: &str =
    r#"{"error":"authorization_pending","error_description":"The authorization request is still pending"}"#;

/// What a hub says after that.
const EXPIRED: &str = r#"{"error":"expired_token","error_description":"The device code has expired"}"#;

/// Answers the calls of a login. Each question after the device's token takes the next answer.
struct SmallHub {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl SmallHub {
    fn start(tokens: &[(u16, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, page, mut tokens) = (Arc::clone(&asked), url.clone(), VecDeque::from(tokens.to_vec()));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &log, &page, &mut tokens);
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

fn answer(
    mut stream: TcpStream,
    log: &Mutex<Vec<String>>,
    page: &str,
    tokens: &mut VecDeque<(u16, String)>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_ascii_lowercase()),
        }
    }
    let header = |name: &str| {
        lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut Vec::new()).ok()?;
    let request = lines.first()?.rsplit_once(' ')?.0.to_owned();
    let has_key = header("x-api-key").as_deref() == Some(KEY);
    log.lock().ok()?.push(request.clone());
    let device = format!(
        r#"{{"deviceCode":"d0","userCode":"ABCD-2345","verificationUrl":"{page}/device","expiresIn":900,"interval":1}}"#
    );
    let (status, body) = match request.as_str() {
        "get /health" => (200, r#"{"status":"ok","timestamp":"2026-01-01T00:00:00.000Z"}"#.to_owned()),
        "post /v1/device/code" if !tokens.is_empty() => (201, device),
        "get /v1/device/token?device_code=d0" => tokens.pop_front()?,
        "get /v1/workspace" if has_key => {
            (200, r#"{"workspace":{"id":"w","name":"acme","plan":"PRO"}}"#.to_owned())
        }
        "get /v1/workspace" => (401, r#"{"statusCode":401,"message":"Invalid API key"}"#.to_owned()),
        "get /v1/env-shares/abc123" => (404, r#"{"statusCode":404,"message":"Share not found"}"#.to_owned()),
        other => (404, format!(r#"{{"message":"Cannot {other}","error":"Not Found","statusCode":404}}"#)),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()
}

fn granted() -> (u16, String) {
    (
        200,
        format!(
            r#"{{"api_key":"{KEY}","workspace_id":"w","workspace_name":"acme","user_email":"mia@example.com"}}"#
        ),
    )
}

/// Runs a command with this home and this in stdin.
fn at_home(home: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (String, String, Option<i32>) {
    let mut command = connect(arguments);
    command.env("HOME", home).envs(variables.iter().copied());
    said(command.output().expect("the binary starts"))
}

fn kept(home: &Path) -> Option<String> {
    std::fs::read_to_string(home.join(".config/kubectl-connect/config.json")).ok()
}

#[test]
fn a_code_that_is_confirmed_in_a_browser_gives_a_key_which_is_kept_and_never_shown() {
    let hub = SmallHub::start(&[(200, PENDING.to_owned()), granted()]);
    let home = tempfile::tempdir().expect("a folder");
    let (stdout, stderr, code) = at_home(home.path(), &["login", "--hub", &hub.url], &[]);
    assert_eq!(
        (stdout, code),
        (format!("[ok] Logged in to {} (workspace acme)\n", hub.url), Some(0)),
        "{stderr}"
    );
    let path = home.path().join(".config/kubectl-connect/config.json");
    assert_eq!(
        stderr,
        format!(
            "Open this page and confirm the code ABCD-2345:\n\n  {0}/device?code=ABCD-2345\n\n\
             Waiting for 15 minutes at most...\n  The key is saved in {1}\n  \
             Join with: kubectl connect join CODE --hub {0}\n",
            hub.url,
            path.display()
        )
    );
    assert!(kept(home.path()).expect("kept").contains(KEY));

    let (stdout, stderr, code) = at_home(home.path(), &["logout", "--hub", &hub.url], &[]);
    assert_eq!(
        (stdout.as_str(), stderr.as_str(), code),
        (format!("[ok] Logged out of {}\n", hub.url).as_str(), "", Some(0))
    );
    assert!(!kept(home.path()).expect("the file stays").contains(KEY));
}

#[test]
fn a_login_that_fails_keeps_nothing_and_says_why() {
    let no_browser = SmallHub::start(&[]);
    let too_late = SmallHub::start(&[(400, EXPIRED.to_owned())]);
    let wrong = [("CONNECT_API_KEY", "pc_wrong")];
    for (hub, variables, said) in [
        (
            &no_browser,
            [].as_slice(),
            format!(
                "[x] The hub at {0} cannot log in with a browser\n\
                 Use an API key instead: kubectl connect login --hub {0} --api-key-stdin < FILE\n",
                no_browser.url
            ),
        ),
        (
            &too_late,
            &[],
            "[x] The code was not confirmed in time\nStart again: kubectl connect login\n".to_owned(),
        ),
        (
            &no_browser,
            &wrong,
            format!(
                "[x] The hub at {} does not accept the API key\n\
                 Nothing was saved. Check the key, and that it belongs to this hub.\n",
                no_browser.url
            ),
        ),
    ] {
        let home = tempfile::tempdir().expect("a folder");
        let (stdout, stderr, code) = at_home(home.path(), &["login", "--hub", &hub.url], variables);
        assert_eq!((stdout.as_str(), code), ("", Some(1)), "{stderr}");
        assert!(stderr.ends_with(&said), "{stderr}");
        assert_eq!(kept(home.path()), None);
    }
}

#[test]
fn a_key_that_is_kept_goes_to_its_own_hub_and_to_no_other() {
    let (own, other) = (SmallHub::start(&[]), SmallHub::start(&[]));
    let home = tempfile::tempdir().expect("a folder");
    let key = [("CONNECT_API_KEY", KEY)];
    let (_, stderr, code) = at_home(home.path(), &["login", "--hub", &own.url], &key);
    assert_eq!(code, Some(0), "{stderr}");

    let (_, stderr, _) = at_home(home.path(), &["join", "abc123", "--hub", &own.url], &[]);
    assert_eq!(stderr, "[x] Share not found or expired\nCheck the code and try again.\n");
    let (_, stderr, _) = at_home(home.path(), &["join", "abc123", "--hub", &other.url], &[]);
    assert_eq!(
        stderr,
        format!(
            "[x] The hub at {0} requires an account to join\nLog in once: kubectl connect login --hub {0}; \
             or give an API key: --api-key-file FILE, or CONNECT_API_KEY\n",
            other.url
        )
    );
    assert_eq!(other.asked(), ["get /health"], "nothing else was said to it");
    let (stdout, _, _) = at_home(home.path(), &["logout", "--hub", &other.url], &[]);
    assert_eq!(stdout, format!("[ok] No key was saved for {}\n", other.url));
    assert!(kept(home.path()).expect("kept").contains(KEY));
}
