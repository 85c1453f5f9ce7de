//! What needs neither cluster nor hub nor file touches none of them.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{connect, said};

/// Longest wait for a command that asks nobody. One that opened a file here would wait for ever.
const AT_ONCE: Duration = Duration::from_secs(30);

/// A named pipe without a writer: whoever opens it to read waits.
fn trap(path: &Path) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo of coreutils");
    assert!(made.success(), "cannot make {}", path.display());
}

#[test]
fn help_version_and_scripts_open_no_file_of_the_user() {
    let home = tempfile::tempdir().expect("a folder");
    let files = [".kube/config", ".private-connect/config.json", ".config/kubectl-connect/config.json"];
    files.iter().for_each(|file| trap(&home.path().join(file)));
    for words in [
        ["--help"].as_slice(),
        &["share", "--help"],
        &["version"],
        &["--version"],
        &["completion", "bash"],
        &["__complete", "unexp"],
    ] {
        let mut child = connect(words)
            .env("HOME", home.path())
            .env("KUBECONFIG", home.path().join(".kube/config"))
            .env("XDG_CONFIG_HOME", home.path().join(".config"))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let begun = Instant::now();
        while child.try_wait().expect("it can be asked").is_none() && begun.elapsed() < AT_ONCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill(); // it has ended, unless it waits at a trap
        let (stdout, _, code) = said(child.wait_with_output().expect("it ends"));
        assert!(code == Some(0) && !stdout.is_empty(), "{words:?} opened a file: {code:?}");
    }
    // The traps work: a command that needs the kubeconfig does not come back.
    let mut child =
        connect(&["status"]).env("KUBECONFIG", home.path().join(".kube/config")).spawn().expect("starts");
    std::fs::write(home.path().join(".kube/config"), "no: kubeconfig").expect("somebody reads it");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn a_home_that_is_not_there_is_no_reason_to_fail() {
    for words in [["--help"].as_slice(), &["version"], &["completion", "zsh"]] {
        // `connect` leaves the environment empty, so that there is not even a HOME.
        let (_, stderr, code) = said(connect(words).output().expect("the binary starts"));
        assert_eq!((stderr.as_str(), code), ("", Some(0)), "{words:?}");
    }
}
