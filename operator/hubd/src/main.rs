//! The `connect-hubd` binary: reads flags, runs the hub, stops it in order. Data goes to stdout, talk to stderr.

mod args;

use std::{
    io::{self, IsTerminal as _, Write as _},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use args::{Arguments, Command, Data, Key, LogFormat, Serve};
use clap::Parser as _;
use connect_hubd::{Hub, HubConfig, Keys, Limits, TlsFiles};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match Arguments::parse().command {
        Command::Init(Data { folder }) => init(&folder).await,
        Command::Serve(serve) => run(serve).await,
        Command::Key(key) => keys(key).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(serve: Serve) -> anyhow::Result<ExitCode> {
    let Serve {
        listen,
        public_url,
        data,
        metrics_listen,
        tls_cert,
        tls_key,
        trusted_proxies,
        agent_token_days,
        services_per_workspace,
        recorded_protocol_only,
        print_addresses,
        log,
        log_format,
    } = serve;
    start_logging(&log, log_format)?;
    raise_file_limit();
    // Listened to before the hub is, so that no signal finds nobody.
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;

    let token_life = Duration::from_secs(u64::from(agent_token_days) * 24 * 60 * 60);
    let limits = Limits {
        trusted_proxies,
        token_life,
        services_per_workspace,
        data_connections: !recorded_protocol_only,
        ..Limits::default()
    };
    let tls = tls_cert.zip(tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
    let scheme = if tls.is_some() { "https" } else { "http" };
    let hub = Hub::start_with_tls(HubConfig { listen, public_url, data, limits }, tls).await?;
    let metrics = match metrics_listen {
        Some(address) => Some(hub.serve_metrics(address).await?),
        None => None,
    };
    if print_addresses {
        print(&format!("{scheme}://{}", hub.address()), metrics)?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    hub.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// One line of JSON for whoever started us with port 0.
fn print(hub: &str, metrics: Option<SocketAddr>) -> io::Result<()> {
    let mut addresses = serde_json::json!({ "hub": hub });
    if let Some(metrics) = metrics {
        addresses["metrics"] = format!("http://{metrics}/metrics").into();
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{addresses}")?;
    stdout.flush()
}

/// Every connection is an open file. A process that may not have more is no worse off.
fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, ?current, "the limit of open files stays as it is");
    }
}

async fn init(folder: &Path) -> anyhow::Result<ExitCode> {
    let said = if connect_hubd::init(folder).await? { "made a new hub in" } else { "there is a hub in" };
    writeln!(io::stderr(), "{said} {}", folder.display())?;
    Ok(ExitCode::SUCCESS)
}

async fn keys(command: Key) -> anyhow::Result<ExitCode> {
    match command {
        Key::Create { data, workspace, name } => {
            let keys = Keys::open_or_begin(&data.folder).await?;
            let key = keys.create(&workspace, &name).await?;
            writeln!(io::stdout(), "{key}")?;
            keys.close().await;
        }
        Key::List { data } => {
            let keys = Keys::open(&data.folder).await?;
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{:<12} {:<8} {:<24} {:<20} LABEL", "PREFIX", "STATE", "CREATED", "WORKSPACE")?;
            for row in keys.list().await? {
                let state = if row.revoked { "revoked" } else { "active" };
                let (workspace, label) = (printable(&row.workspace), printable(&row.label));
                let (prefix, created) = (row.prefix, row.created_at.to_string());
                writeln!(stdout, "{prefix:<12} {state:<8} {created:<24} {workspace:<20} {label}")?;
            }
            keys.close().await;
        }
        Key::Revoke { data, prefix } => {
            let keys = Keys::open(&data.folder).await?;
            let revoked = keys.revoke(&prefix).await?;
            keys.close().await;
            if revoked == 0 {
                writeln!(
                    io::stderr(),
                    "error: no active key has the prefix {prefix:?}; `connect-hubd key list` lists them"
                )?;
                return Ok(ExitCode::FAILURE);
            }
            let keys = if revoked == 1 { "key" } else { "keys" };
            writeln!(io::stderr(), "revoked {revoked} {keys}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A name as a terminal may have it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn start_logging(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter =
        connect_hubd::log_filter(filter).with_context(|| format!("reading the log filter {filter:?}"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
