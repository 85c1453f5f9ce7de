//! `begin`: what `make demo` runs first. It says what the first run takes, builds and installs what is missing, cargo and go beside
//! each other with a clock, and hands over to `lab`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use anyhow::{Context as _, Result, anyhow};
use connect_tools::{Clock, Kubernetes, Need, has_services, on_path, postgresql, quietly, redis_server, say};

/// Our own programs, and the one that shows them.
const PROGRAMS: [&str; 4] = ["lab", "connect-operator", "connect-hubd", "kubectl-connect"];

/// Tells `lab` where our programs are, just built.
const PRODUCT: &str = "CONNECT_PRODUCT";

/// What the steps take on 2 cores and a usual line, empty caches against full ones.
const CARGO: &str = "2-5 min the first time";
const GO: &str = "3-7 min the first time";
const APT: &str = "1 min";

fn main() -> ExitCode {
    match run(env::args().skip(1).collect()) {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("Error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<ExitCode> {
    let folder = env::current_exe().context("we do not know our own program")?;
    let folder = folder.parent().context("a file is in a folder")?.to_owned();
    let elsewhere = arguments.iter().any(|it| it == "--context");
    // Who keeps it running will delete namespaces, which needs controllers.
    let need = if arguments.iter().any(|it| it == "--keep" || it == "up") {
        Need::Everything
    } else {
        Need::ApiServer
    };
    prepare(&folder, (!elsewhere).then_some(need))?;
    let mut lab = Command::new(folder.join("lab"));
    let status = lab.args(arguments).env(PRODUCT, &folder).status().context("cannot start lab")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Builds and installs what is missing; with no need of a control plane, kubectl and psql are all that is.
fn prepare(folder: &Path, need: Option<Need>) -> Result<()> {
    let built = need.map_or(Ok(true), |need| Ok::<_, anyhow::Error>(Kubernetes::found(need)?.is_some()))?;
    let first = PROGRAMS.iter().any(|program| !folder.join(program).is_file());
    if !built && on_path("go").is_none() {
        // Said before minutes of compiling, not after.
        return Err(anyhow!(
            "Go is needed to build a control plane: install Go 1.26 (https://go.dev/dl/), set KUBEBUILDER_ASSETS to a folder \
             with etcd, kube-apiserver and kubectl, or use a cluster of yours (CONTEXT=name)"
        ));
    }
    let has_services = has_services();
    let clock = Clock::new(1 + usize::from(!built) + usize::from(!has_services));
    thread::scope(|scope| {
        let control_plane = need.filter(|_| !built).map(|need| {
            let clock = &clock;
            scope.spawn(move || {
                clock.step("kube-apiserver and etcd, from Go modules", GO, || Kubernetes::get(need).map(drop))
            })
        });
        let services = (!has_services).then(|| {
            let install = || postgresql().and_then(|_| redis_server()).map(drop);
            let clock = &clock;
            scope.spawn(move || clock.step("PostgreSQL and Redis, by apt-get", APT, install))
        });
        let usually = if first { CARGO } else { "seconds, or minutes after a change" };
        let cargo = clock.step("operator, hub and plugin, by cargo", usually, || cargo(folder));
        // All are waited for, and the first that failed is told.
        let others = [control_plane, services].into_iter().flatten();
        let others: Vec<Result<()>> = others
            .map(|it| it.join().map_err(|_| anyhow!("a step panicked")).and_then(|done| done))
            .collect();
        cargo.and(others.into_iter().collect())
    })
}

/// One build of all, so that nothing is built twice with other features.
fn cargo(folder: &Path) -> Result<()> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let workspace: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    cargo.current_dir(workspace).args(["build", "--workspace"]);
    cargo.args(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    // What cargo tells the program that it runs about its package. Build scripts ask for the same names and would run again.
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    quietly("cargo build", &mut cargo)
}
