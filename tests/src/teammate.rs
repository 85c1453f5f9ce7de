//! A teammate on a machine of their own: an empty home, no kubeconfig, nothing of our environment, only the code.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::control_plane::{Kubectl, shown};
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::PATIENTLY;

/// Between a route's name and its port in what the plugin prints.
const ARROW: &str = " → localhost:";

/// Somebody who has joined a share and stays until it ends.
pub struct Teammate {
    process: Process,
    routes: BTreeMap<String, u16>,
    command: String,
    _home: Scratch,
}

impl Teammate {
    /// Types the command that the share told to type, and waits until all of these routes are ports of this machine.
    ///
    /// # Errors
    /// The command ends or does not say so in time; the message holds what it printed.
    pub async fn join(kubectl: &Kubectl, name: &str, words: &[String], routes: &[&str]) -> Result<Self> {
        let home = Scratch::new("teammate")?;
        let elsewhere = kubectl.clone().on_a_bare_machine(home.path());
        let command = elsewhere.command(words.iter().map(String::as_str).chain(["--label", name]));
        let typed = shown(&command);
        let mut process = Process::start(name, command, home.path())?;
        let routes = process
            .printed("every route is a port of this machine", PATIENTLY, |said| {
                let found = routes_in(said);
                routes.iter().all(|route| found.contains_key(*route)).then_some(found)
            })
            .await?;
        Ok(Self { process, routes, command: typed, _home: home })
    }

    /// The command as it was typed.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The routes and their local ports.
    pub fn routes(&self) -> &BTreeMap<String, u16> {
        &self.routes
    }

    /// Where a route is reached.
    ///
    /// # Errors
    /// There is no such route.
    pub fn address(&self, route: &str) -> Result<SocketAddr> {
        let port = self.routes.get(route).with_context(|| format!("there is no route {route}"))?;
        Ok(SocketAddr::from(([127, 0, 0, 1], *port)))
    }

    /// Everything it printed so far.
    pub fn said(&self) -> String {
        self.process.stdout() + &self.process.stderr()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It still runs at the deadline.
    pub async fn end(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.process.end(deadline).await
    }

    /// Presses Ctrl+C, in effect.
    ///
    /// # Errors
    /// The system cannot tell how it ended.
    pub fn leave(mut self) -> Result<ExitStatus> {
        self.process.terminate()
    }
}

/// The routes and their ports, as far as they were printed.
pub fn routes_in(said: &str) -> BTreeMap<String, u16> {
    let route = |line: &str| {
        let (name, port) = line.split_once(ARROW)?;
        let digits = port.split(|letter: char| !letter.is_ascii_digit()).next()?;
        Some((name.split_whitespace().last()?.to_owned(), digits.parse().ok()?))
    };
    said.lines().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_from_the_plugins_lines() {
        let said = "  Establishing tunnels...\n    [ok] postgres → localhost:5432\n    • api → localhost:49152 (8080 is taken)\n";
        let routes = routes_in(said);
        assert_eq!(routes.get("postgres"), Some(&5432));
        assert_eq!(routes.get("api"), Some(&49152));
        assert_eq!(routes.len(), 2);
    }
}
