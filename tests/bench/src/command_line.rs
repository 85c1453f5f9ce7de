//! C11: how soon the plugin answers and what it holds, beside kubectl itself, each as a process of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::figure::{Goal, Measure, Row, Unit};
use super::machine::resident_kib;
use super::statistics::Rounds;
use super::{Bench, Group};
use connect_tests::control_plane::{ControlPlane, Kubectl, Options, shown};
use connect_tests::toolchain::product;
use connect_tests::wait::{PATIENTLY, eventually};

/// What is measured together.
pub(super) const GROUPS: &[Group] = &[Group { rows: &["C11"], what: "start-up of the plugin" }];

/// Who is measured.
const PLUGIN: &str = "kubectl-connect";
const KUBECTL: &str = "kubectl";

/// What is measured of each.
const HELP: &str = "from start to the end of help";
const REQUEST: &str = "from start to the answer to a first request";
const MEMORY: &str = "memory of one that watches";

/// A quantity: its name, unit and goal.
const FIGURES: [(&str, Unit, Goal); 3] = [
    (HELP, Unit::Milliseconds, Goal::AtMost(20.0)),
    (REQUEST, Unit::Milliseconds, Goal::AtMost(60.0)),
    (MEMORY, Unit::Mebibytes, Goal::AtMost(12.0)),
];

/// One of both, and how it does the same three things.
struct Contender {
    name: &'static str,
    /// Another program than kubectl.
    program: Option<PathBuf>,
    help: &'static [&'static str],
    request: &'static [&'static str],
    watch: &'static [&'static str],
}

pub(super) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let kubectl = cluster.kubectl();
    let plugin = Contender {
        name: PLUGIN,
        program: Some(product().await?.folder().join(PLUGIN)),
        help: &["--help"],
        request: &["status"],
        watch: &["status", "--watch"],
    };
    let peer = Contender {
        name: KUBECTL,
        program: None,
        help: &["version", "--client"],
        request: &["get", "environmentshares"],
        // Without a share kubectl prints nothing; a namespace is always there.
        watch: &["get", "namespaces", "--watch"],
    };
    eventually("the kinds are served", PATIENTLY, || async {
        kubectl.run(peer.request).await?.success().map(drop)
    })
    .await?;
    let mut rounds = Rounds::default();
    for _ in 0..bench.plan.pairs {
        for contender in [&plugin, &peer] {
            let Contender { name, help, request, watch, .. } = contender;
            rounds.took(name, HELP, run(contender.command(&kubectl, help))?);
            rounds.took(name, REQUEST, run(contender.command(&kubectl, request))?);
            rounds.took(name, MEMORY, held(contender.command(&kubectl, watch)).await?);
        }
    }
    let of = |name, what, unit| {
        rounds.spread(name, what).map(|spread| Measure::new(unit, spread, bench.plan.pairs))
    };
    let row = |(what, unit, goal)| {
        Some(Row::new("C11", what, of(PLUGIN, what, unit)?, goal).beside(KUBECTL, of(KUBECTL, what, unit)))
    };
    Ok(FIGURES.into_iter().filter_map(row).collect())
}

// === impl Contender ===

impl Contender {
    /// Runs by itself, with what kubectl would find in its environment.
    fn command(&self, kubectl: &Kubectl, words: &[&str]) -> Command {
        let typed = kubectl.command(words);
        let Some(program) = &self.program else { return typed };
        let mut command = Command::new(program);
        command.args(typed.get_args());
        command.envs(typed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }
}

/// Milliseconds that it took.
fn run(mut command: Command) -> Result<f64> {
    command.stdin(Stdio::null());
    let begun = Instant::now();
    let output = command.output().context("cannot start it")?;
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed: {}", shown(&command), said.trim());
    Ok(took.as_secs_f64() * 1e3)
}

/// MiB that it holds once it has printed something.
async fn held(mut command: Command) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child =
        tokio::process::Command::from(command).kill_on_drop(true).spawn().context("cannot start it")?;
    let mut stdout = child.stdout.take().context("it is a pipe")?;
    timeout(PATIENTLY, stdout.read_exact(&mut [0])).await.context("it prints nothing")??;
    let kib = child.id().and_then(resident_kib).context("the system does not tell")?;
    child.kill().await?;
    Ok(kib / 1024.0)
}
