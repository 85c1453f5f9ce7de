//! A teammate whose clock is wrong: the share ends by the hub's clock, and the wrong one is named.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use connect_tests::between::Trust;
use connect_tests::plugin;
use connect_tests::process::Process;
use connect_tests::services::transfer::download;
use connect_tests::toolchain::{product, script_tool};
use connect_tests::wait::{PATIENTLY, eventually};

use crate::world::World;

/// The words of a join on a machine whose wall clock is off by this much; its other clocks are right, as they are in life.
async fn join_at(offset: &str, home: &Path, words: &[&str]) -> Result<Command> {
    let mut command = Command::new(script_tool("faketime").await?);
    command.args(["--exclude-monotonic", "-f", offset]);
    command.arg(product().await?.folder().join("kubectl-connect")).arg("join").args(words);
    command.env("HOME", home).env_remove("KUBECONFIG");
    Ok(command)
}

/// The link of the line that share printed, without its quotes.
fn link(shared: &plugin::Shared) -> Result<&str> {
    Ok(shared.join.get(2).context("a link")?.trim_matches('\''))
}

#[tokio::test]
async fn a_wrong_clock_is_named_and_the_share_ends_by_the_hub_s() -> Result<()> {
    let world = World::beside_a_hub("clock").await?;
    let _api = world.exposed_api().await?;
    let home = world.cluster.folder("clock-home")?;
    for (offset, said_of_it) in [
        ("+25h", Some("[!] This machine's clock is 25 hours ahead of the hub's.")),
        ("-25h", Some("[!] This machine's clock is 25 hours behind the hub's.")),
        ("+10s", None),
    ] {
        let shared = plugin::share(&world.kubectl, &["--expires", "4h"]).await?;
        let command = join_at(offset, &home, &[link(&shared)?]).await?;
        let mut joined = Process::start(&format!("clock{offset}"), command, &world.cluster.logs())?;
        let port = joined
            .printed("the route's port", PATIENTLY, |said| {
                let (_, rest) = said.split_once("[ok] api → localhost:")?;
                rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse::<u16>().ok()
            })
            .await?;
        download(([127, 0, 0, 1], port).into(), "/bytes/1", |_| {}).await?.checksum()?;
        ensure!(joined.stdout().contains("  Expires in 4 hours\n"), "{offset}: {}", joined.stdout());
        let warning = "This machine's clock is";
        assert_eq!(joined.stderr().contains(warning), said_of_it.is_some(), "{offset}: {}", joined.stderr());
        ensure!(joined.stderr().contains(said_of_it.unwrap_or_default()), "{offset}: {}", joined.stderr());
        plugin::revoke(&world.kubectl, &shared.code).await?;
        ensure!(joined.end(PATIENTLY).await?.success(), "{offset}: {}", joined.stderr());
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_a_wrong_clock_spoils_is_not_called_expired() -> Result<()> {
    let world = World::beside_a_hub("clock-tls").await?;
    let hub = world.hub.as_ref().context("there is one")?;
    let behind = hub.url().strip_prefix("http://").context("plain http")?.parse()?;
    let trust = Trust::new()?;
    let address = format!("https://localhost:{}", trust.before(behind, "localhost", None).await?);
    let home = world.cluster.folder("clock-tls-home")?;
    let ca_file = home.join("ca.pem");
    std::fs::write(&ca_file, trust.pem())?;
    let token = format!("{address}/#abc123");
    let words = [token.as_str(), "--hub-ca-file", ca_file.to_str().context("a path")?];
    for (offset, sentence) in [
        (
            "+3d",
            "its certificate is not valid at the time of this machine's clock, which is 3 days ahead of the hub's",
        ),
        (
            "-3d",
            "its certificate is not valid at the time of this machine's clock, which is 3 days behind the hub's",
        ),
        ("+0", ""),
    ] {
        let command = join_at(offset, &home, &words).await?;
        let mut joining = Process::start(&format!("clock-tls{offset}"), command, &world.cluster.logs())?;
        assert_eq!(joining.end(PATIENTLY).await?.code(), Some(1));
        let expected = match sentence {
            "" => "[x] Share not found or expired\nCheck the code and try again.\n".to_owned(),
            sentence => format!(
                "[x] Cannot trust the hub at {address}: {sentence}\nSet the date and time of this machine, and join again.\n"
            ),
        };
        eventually("what it says", PATIENTLY, || async {
            ensure!(joining.stderr() == expected, "{offset}: {}", joining.stderr());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// What a verb says on a machine whose wall clock is off by this much, with the administrator's kubeconfig.
async fn said_at(world: &World, offset: &str, words: &[&str]) -> Result<String> {
    let mut command = Command::new(script_tool("faketime").await?);
    command.args(["--exclude-monotonic", "-f", offset]);
    command.arg(product().await?.folder().join("kubectl-connect")).args(words);
    command.args(["--namespace", world.namespace.name()]);
    command.env("KUBECONFIG", world.cluster.kubeconfig()).env("TZ", "UTC");
    let output = tokio::process::Command::from(command).stdin(std::process::Stdio::null()).output().await?;
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    ensure!(output.status.success(), "{offset} {words:?}: {said}");
    Ok(said)
}

#[tokio::test]
async fn verbs_of_the_cluster_say_the_same_whatever_the_clock_of_the_machine() -> Result<()> {
    let world = World::start("clock-verbs").await?;
    let _api = world.exposed_api().await?;
    // Days are said of it, which pass while no test runs.
    plugin::share(&world.kubectl, &["--name", "demo", "--expires", "100h"]).await?;
    let share = world.only_share().await?.metadata.name.context("a name")?;
    for offset in ["+25h", "-25h", "+30d", "-30d"] {
        for words in [
            &["share", "--list"][..],
            &["status", &share],
            &["status", &share, "-o", "md"],
            &["status", &share, "-o", "json"],
        ] {
            let (right, wrong) = (said_at(&world, "+0", words).await?, said_at(&world, offset, words).await?);
            ensure!(right == wrong, "{offset} {words:?}: {wrong}\nand not {right}");
        }
        let made = said_at(&world, offset, &["share", "--expires", "4h"]).await?;
        ensure!(made.contains("Expires in 4 hours"), "{offset}: {made}");
        let extended = said_at(&world, offset, &["extend", &share, "24h"]).await?;
        ensure!(extended.contains("now ends in"), "{offset}: {extended}");
    }
    let stored = world.shares().await?.get(&share).await?;
    assert_eq!(stored.spec.expires.as_deref(), Some("196h"), "four times a day more, by whichever clock");
    Ok(())
}
