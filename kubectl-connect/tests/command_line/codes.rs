//! Where `join` takes a code from, and who gets to see it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use rustix::pty;

use super::{connect, run, said};

const CODE: &str = "k7mwx2pq9d";

/// A hub that repeats the code in its refusal.
fn talkative_hub() -> String {
    fn answer(mut stream: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
        let request = lines.next()?.ok()?;
        lines.map_while(Result::ok).find(String::is_empty)?;
        let (status, body) = if request.contains(" /health ") {
            (200, r#"{"status":"ok","features":["anonymous-join"]}"#.to_owned())
        } else {
            (400, format!(r#"{{"message":"Invalid request: code {CODE} ({})"}}"#, CODE.to_uppercase()))
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).ok()
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| {
            answer(stream);
        });
    });
    url
}

/// A terminal: the end for a process, and what will have been shown on it.
fn terminal() -> (Stdio, std::thread::JoinHandle<String>) {
    let master = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).expect("a terminal");
    pty::grantpt(&master).and_then(|()| pty::unlockpt(&master)).expect("a terminal");
    let name = pty::ptsname(&master, Vec::new()).expect("a name");
    let slave =
        std::fs::File::options().read(true).write(true).open(name.to_str().expect("text")).expect("opened");
    let reading = std::thread::spawn(move || {
        let (mut screen, mut shown, mut bytes) = (std::fs::File::from(master), Vec::new(), [0; 4096]);
        // Fails when the last process has closed it.
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            shown.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8_lossy(&shown).into_owned()
    });
    (slave.into(), reading)
}

/// Joins with the code from a place, and gives what was written to stdout and stderr, each perhaps a terminal.
fn joined(source: &str, token: &str, on_terminal: (bool, bool)) -> (String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("code");
    std::fs::write(&file, format!("{token}\n")).expect("a file");
    let path = file.to_str().expect("plain path");
    let mut command = match source {
        "argument" => connect(&["join", token]),
        "stdin" => connect(&["join", "-"]),
        "file" => connect(&["join", "--code-file", path]),
        _ => connect(&["join"]),
    };
    if source == "environment" {
        command.env("CONNECT_CODE", token);
    }
    command.stdin(if source == "stdin" { Stdio::piped() } else { Stdio::null() });
    let screen = |is_terminal: bool| match is_terminal {
        true => terminal(),
        false => (Stdio::piped(), std::thread::spawn(String::new)),
    };
    let ((stdout, out), (stderr, err)) = (screen(on_terminal.0), screen(on_terminal.1));
    let mut child = command.stdout(stdout).stderr(stderr).spawn().expect("the binary starts");
    drop(command); // it holds our ends of the terminals
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(token.as_bytes()).expect("written");
    }
    let (piped_out, piped_err, code) = said(child.wait_with_output().expect("it ends"));
    assert_eq!(code, Some(1), "{piped_err}");
    (piped_out + &out.join().expect("read"), piped_err + &err.join().expect("read"))
}

#[test]
fn a_code_comes_from_everywhere_and_is_shown_to_terminals_alone() {
    let token = format!("{}/#{CODE}", talkative_hub());
    for source in ["argument", "stdin", "file", "environment"] {
        for on_terminal in [(false, false), (true, false), (false, true), (true, true)] {
            let (stdout, stderr) = joined(source, &token, on_terminal);
            let case = format!("{source} {on_terminal:?}: {stdout}{stderr}");
            let shown = |is_terminal| if is_terminal { CODE } else { "***" };
            let capitals = if on_terminal.1 { CODE.to_uppercase() } else { "***".into() };
            assert!(
                stdout.contains(&format!("Joining environment share: {}", shown(on_terminal.0))),
                "{case}"
            );
            let refusal = format!(
                "refuses with status 400: Invalid request: code {} ({capitals})",
                shown(on_terminal.1)
            );
            assert!(stderr.contains(&refusal), "{case}");
            assert_eq!(stdout.contains(CODE), on_terminal.0, "{case}");
            assert_eq!(stderr.contains(CODE), on_terminal.1, "{case}");
        }
    }
}

#[test]
fn what_was_pasted_behind_join_is_read_and_a_slip_gets_the_right_line() {
    let hub = talkative_hub();
    let line = ["join", "kubectl", "connect", "join", CODE, "--hub", &hub];
    assert!(run(&line).1.contains("refuses with status 400: Invalid request: code ***"), "{:?}", run(&line));
    let (_, stderr, code) = run(&["join", CODE, "make", "test"]);
    assert_eq!(
        (stderr.as_str(), code),
        (
            "[x] A command to run while joined must follow --\nUse: kubectl connect join CODE -- COMMAND\n",
            Some(1)
        )
    );
}
