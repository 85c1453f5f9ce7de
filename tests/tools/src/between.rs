//! What can stand between two ends, as command lines: proxies and gateways of the system's packages, which
//! [`in_between`](crate::in_between) installs.

use std::env;
use std::fs;
use std::io::Result;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A proxy of HTTP that listens at `address` and logs to `folder/log`, with these further lines of configuration.
///
/// # Errors
/// `folder` is not writable.
pub fn tinyproxy(folder: &Path, address: SocketAddr, lines: &str) -> Result<Command> {
    let text = format!(
        "Listen {}\nPort {}\nTimeout 60\nLogLevel Info\nLogFile \"{}/log\"\n{lines}\n",
        address.ip(),
        address.port(),
        folder.display()
    );
    configured("tinyproxy", &["-d", "-c"], folder, &text)
}

/// A proxy of SOCKS 5 that listens at `address`, with these further arguments.
pub fn microsocks(address: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new("microsocks");
    command.args(["-i", &address.ip().to_string(), "-p", &address.port().to_string()]).args(arguments);
    command
}

/// A gateway that listens at `address`, with these locations. In them `$wish` is what the header `Connection` has to be for the
/// request's own wish to upgrade.
///
/// # Errors
/// `folder` is not writable.
pub fn nginx(folder: &Path, address: SocketAddr, locations: &str) -> Result<Command> {
    let at = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .concat();
    let text = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error;\n\
         events {{ worker_connections 512; }}\n\
         http {{\naccess_log off;\n{temporary}\
         map $http_upgrade $wish {{ default upgrade; '' ''; }}\n\
         server {{ listen {address};\n{locations}\n}}\n}}\n"
    );
    configured("nginx", &["-c"], folder, &text)
}

/// A gateway that listens at `address` and waits no longer than `patience`, with these rules and backends; `hub` is the usual
/// backend.
///
/// # Errors
/// `folder` is not writable.
pub fn haproxy(
    folder: &Path,
    address: SocketAddr,
    patience: Duration,
    rules: &str,
    backends: &str,
) -> Result<Command> {
    let seconds = patience.as_secs();
    let text = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client {seconds}s\n timeout server {seconds}s\n \
         timeout tunnel {seconds}s\nfrontend front\n bind {address}\n{rules}\n default_backend hub\n{backends}\n"
    );
    configured("haproxy", &["-db", "-f"], folder, &text)
}

/// `program` with these arguments and a file of this text.
fn configured(program: &str, arguments: &[&str], folder: &Path, text: &str) -> Result<Command> {
    let config = folder.join("config");
    fs::write(&config, text)?;
    let path = env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    // Debian keeps servers where only root's PATH looks.
    command.args(arguments).arg(config).env("PATH", format!("{path}:/usr/sbin"));
    Ok(command)
}
