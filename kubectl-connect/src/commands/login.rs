//! `login` and `logout`: the API key of a hub that wants an account, checked and kept, or forgotten.
//!
//! A key is taken from a file, the environment or stdin; without one, the hub shows a code that the user confirms in a
//! browser. Never from an argument: those can be read by everybody on the machine.

use std::time::{Duration, Instant};

use connect_hub::Error;
use connect_hub::client::{Client, ClientOptions, DeviceAnswer, DeviceCode};
use connect_hub::tls;
use secrecy::SecretString;

use crate::commands::join::refusal;
use crate::failure::{Failure, Outcome, chain};
use crate::interrupt;
use crate::output;
use crate::printer::Printer;
use crate::sanitize::Clean;
use crate::settings::login::{LoginSettings, LogoutSettings};

/// Bounds of the pause between two questions, whatever the hub asks for: no hub is flooded, and nobody waits for minutes
/// after having confirmed.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Questions in a row that may stay without answer, as the `connect` tool has it.
const MAX_FAILURES: u32 = 10;

/// Logs in, and keeps the key.
pub async fn run(settings: LoginSettings, printer: Printer) -> Outcome<()> {
    let LoginSettings { hub, extra_ca, api_key, label, credentials } = settings;
    let tls = tls::client_config(extra_ca.as_deref())
        .map_err(|error| Failure::new(format!("Cannot use the CA file: {}", chain(&error))))?;
    let client = |api_key| {
        Client::new(hub.clone(), ClientOptions { api_key, tls: tls.clone() })
            .map_err(|error| refusal::of_hub(&error, &hub))
    };
    let key = match api_key {
        Some(key) => key,
        None => {
            let client = client(None)?;
            tokio::select! {
                key = confirm_in_browser(&client, &label, printer) => key?,
                () = interrupt::requested() => return Err(Failure::new("Nothing was changed")),
            }
        }
    };
    let workspace = check(&client(Some(key.clone()))?).await?;
    let path = credentials.keep(&hub, &key)?;
    let workspace = workspace.map(|name| format!(" (workspace {})", Clean::new(&name))).unwrap_or_default();
    printer.data(&format!("[ok] Logged in to {hub}{workspace}\n"))?;
    printer.talk(&format!("  The key is saved in {}\n", Clean::new(&path.to_string_lossy())));
    printer.talk(&format!("  Join with: kubectl connect join CODE --hub {}\n", hub.in_shell()));
    Ok(())
}

/// Forgets the key.
pub fn forget(settings: LogoutSettings, printer: Printer) -> Outcome<()> {
    let LogoutSettings { hub, credentials } = settings;
    let line = if credentials.forget(&hub)? {
        format!("[ok] Logged out of {hub}\n")
    } else {
        format!("[ok] No key was saved for {hub}\n")
    };
    Ok(printer.data(&line)?)
}

/// The name of the workspace that the key opens, where the hub tells.
async fn check(client: &Client) -> Outcome<Option<String>> {
    client.workspace().await.map_err(|error| match error {
        Error::Rejected(rejection) if matches!(rejection.status, 401 | 403) => {
            Failure::new(format!("The hub at {} does not accept the API key", client.url()))
                .hint("Nothing was saved. Check the key, and that it belongs to this hub.")
        }
        error => refused(&error, client),
    })
}

fn refused(error: &Error, client: &Client) -> Failure {
    match error.status() {
        Some(404) => Failure::new(format!("What answers at {} is not a hub", client.url()))
            .hint("Check the URL given by --hub."),
        _ => refusal::of_hub(error, client.url()),
    }
}

async fn confirm_in_browser(client: &Client, label: &str, printer: Printer) -> Outcome<SecretString> {
    let asked = client.device_code(label).await.map_err(|error| refused(&error, client))?;
    let Some(code) = asked else {
        return Err(Failure::new(format!("The hub at {} cannot log in with a browser", client.url())).hint(
            format!(
                "Use an API key instead: kubectl connect login --hub {} --api-key-stdin < FILE",
                client.url().in_shell()
            ),
        ));
    };
    printer.talk(&format!(
        "Open this page and confirm the code {}:\n\n  {}?code={}\n\nWaiting for {} at most...\n",
        Clean::new(&code.user_code),
        Clean::new(&code.verification_url),
        Clean::new(&code.user_code),
        output::counted(i64::try_from(code.expires_in.as_secs() / 60).unwrap_or(i64::MAX), "minute"),
    ));
    wait_for(client, &code).await
}

/// Asks until the user has confirmed.
async fn wait_for(client: &Client, code: &DeviceCode) -> Outcome<SecretString> {
    let end = Instant::now() + code.expires_in;
    let mut failures = 0;
    let mut pause = code.interval.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    while Instant::now() < end {
        tokio::time::sleep(pause).await;
        match client.device_token(code).await {
            Ok(DeviceAnswer::Granted(key)) => return Ok(key),
            Ok(DeviceAnswer::Expired) => break,
            Ok(DeviceAnswer::Pending) => failures = 0,
            Err(error) if error.is_retryable() && failures + 1 < MAX_FAILURES => {
                failures += 1;
                pause = (pause * 2).max(error.retry_after().unwrap_or_default()).min(LONGEST_PAUSE);
            }
            Err(error) => return Err(refused(&error, client)),
        }
    }
    Err(Failure::new("The code was not confirmed in time").hint("Start again: kubectl connect login"))
}
