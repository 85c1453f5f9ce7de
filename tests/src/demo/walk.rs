//! The steps of the demo: expose, share, join, read and write, and both ways in which access ends.
use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};

use super::backends::{API, Backends, POSTGRES, REDIS};
use super::stage::Stage;
use super::story::Story;
use crate::control_plane::Kubectl;
use crate::plugin::{self, Shared};
use crate::services::transfer::{Running, Transfer, download};
use crate::services::{redis, select};
use crate::teammate::Teammate;
use crate::wait::{SOON, eventually};
use connect_tools::human;

/// MiB that are copied as fast as they come.
const BULK_MIB: u64 = 256;

/// A transfer that is in the middle when its share ends: 256 MiB at 2 MiB/s take two minutes.
const CUT: &str = "/paced/256/2048";

/// A transfer that spans both ends: 128 MiB at 3 MiB/s take 42 s, and it starts just before the share that lives for 20 s.
const SURVIVOR: &str = "/paced/128/3072";
/// The same bytes, as fast as they come.
const SURVIVOR_AT_ONCE: &str = "/bytes/128";

/// Life of the second share.
const SHORT_LIFE: SignedDuration = SignedDuration::from_secs(20);

/// What the plugin wants to hear before it talks http to a hub on another machine.
const ALLOW_INSECURE: &str = "--allow-insecure-hub";

/// All routes.
const ROUTES: [&str; 3] = [POSTGRES.0, REDIS.0, API.0];

/// The whole demo.
pub(super) async fn through(stage: &Stage, story: &mut Story) -> Result<()> {
    let kubectl = &stage.kubectl;
    let backends = stage.backends.as_ref().context("the demo needs its services")?;
    expose(kubectl, story).await?;
    let first = share(kubectl, story).await?;
    let alice = join(kubectl, &first, story).await?;
    read_and_write(backends, &alice, story).await?;
    copy(backends, &alice, story).await?;
    listed(kubectl, story).await?;

    let (carol, survivor) = beside(kubectl, story).await?;
    expiry(kubectl, story).await?;
    revocation(kubectl, &first, alice, story).await?;
    survived(backends, survivor, story).await?;
    carol.leave()?;
    Ok(())
}

async fn expose(kubectl: &Kubectl, story: &mut Story) -> Result<()> {
    story.chapter("Expose three Services of the cluster");
    for (name, port) in [POSTGRES, REDIS, API] {
        story.typed(&plugin::expose(kubectl, &format!("{name}:{port}")).await?);
    }
    story.seen("three Services exposed", &ROUTES.join(", "));
    Ok(())
}

async fn share(kubectl: &Kubectl, story: &mut Story) -> Result<Shared> {
    story.chapter("Share them with one code");
    let shared = plugin::share(kubectl, &["--name", "demo"]).await?;
    story.typed(&shared.output);
    story.seen("shared with one code", &format!("{} characters", shared.code.len()));
    Ok(shared)
}

/// The words that join, with leave to use a hub that speaks http beyond this machine: a platform team's trial may.
fn permitted(words: &[String]) -> Vec<String> {
    let is_plain = |word: &String| {
        let host = word.strip_prefix("http://").map(|rest| rest.split([':', '/']).next().unwrap_or_default());
        host.is_some_and(|host| host != "localhost" && !host.starts_with("127."))
    };
    let mut words = words.to_vec();
    if words.iter().any(is_plain) && !words.iter().any(|word| word == ALLOW_INSECURE) {
        words.push(ALLOW_INSECURE.to_owned());
    }
    words
}

async fn join(kubectl: &Kubectl, shared: &Shared, story: &mut Story) -> Result<Teammate> {
    story.chapter("Join as a teammate: an empty home, no kubeconfig, only the code");
    let alice = Teammate::join(kubectl, "alice", &permitted(&shared.join), &ROUTES).await?;
    story.command(alice.command());
    story.said(&alice.said());
    let routes = alice.routes().iter().map(|(name, port)| format!("{name} on port {port}"));
    story.seen("joined without a cluster", &routes.collect::<Vec<_>>().join(", "));
    Ok(alice)
}

async fn read_and_write(backends: &Backends, alice: &Teammate, story: &mut Story) -> Result<()> {
    story.chapter("Use PostgreSQL and Redis through the join");
    let words = "hello from the cluster";
    let seed = format!("CREATE TABLE greeting AS SELECT '{words}' AS words");
    select(&backends.programs, backends.postgres, &seed).await?;
    let statement = "SELECT words FROM greeting";
    let row = select(&backends.programs, alice.address(POSTGRES.0)?, statement).await?;
    story.command(&format!("psql --host localhost --command \"{statement}\""));
    story.said(&row);
    ensure!(row == words, "the cluster has {words:?} and psql read {row:?}");
    story.seen("psql: SELECT", &format!("{row:?}"));

    redis::set(alice.address(REDIS.0)?, "greeting", words).await?;
    let joined = redis::get(alice.address(REDIS.0)?, "greeting").await?;
    let straight = redis::get(backends.redis, "greeting").await?;
    ensure!(joined == words && straight == words, "{words:?} was set, {joined:?} and {straight:?} were read");
    story.seen("Redis: SET, GET", &format!("{joined:?}"));
    Ok(())
}

async fn copy(backends: &Backends, alice: &Teammate, story: &mut Story) -> Result<()> {
    story.chapter("Copy 256 MiB over HTTP through the join, and the same bytes straight from the Service");
    let path = format!("/bytes/{BULK_MIB}");
    let plain = download(backends.api, &path, |_| {}).await?;
    let joined = download(alice.address(API.0)?, &path, |_| {}).await?;
    let expected = plain.checksum()?;
    ensure!(joined.checksum()? == expected, "the checksums differ: {plain:?}, {joined:?}");
    story.saw(&format!("straight from the Service  {} in {}", rate(&plain), human(plain.took)));
    story.saw(&format!("through the join           {} in {}", rate(&joined), human(joined.took)));
    let short = &expected[..12];
    story.seen(
        "256 MiB over HTTP",
        &format!("equal SHA-256 {short}..., {} (straight {})", rate(&joined), rate(&plain)),
    );
    Ok(())
}

async fn listed(kubectl: &Kubectl, story: &mut Story) -> Result<()> {
    story.chapter("List the active shares");
    let list = eventually("the list shows one join", SOON, || async {
        let list = plugin::list(kubectl).await?;
        ensure!(list.stdout.contains("Joined: 1"), "{}", list.report());
        Ok(list)
    })
    .await?;
    story.typed(&list);
    story.seen("listed", "Joined: 1");
    Ok(())
}

/// A third share, joined, with a transfer that goes on while the two others end.
async fn beside(kubectl: &Kubectl, story: &mut Story) -> Result<(Teammate, Running)> {
    story.chapter("A third share, which stays: start a transfer on it");
    let third = plugin::share(kubectl, &["--name", "stays"]).await?;
    let carol = Teammate::join(kubectl, "carol", &permitted(&third.join), &[API.0]).await?;
    let running = Running::start(carol.address(API.0)?, SURVIVOR).await?;
    story.seen("a third share", "its transfer runs");
    Ok((carol, running))
}

async fn expiry(kubectl: &Kubectl, story: &mut Story) -> Result<()> {
    story.chapter("A share that ends in 20 s, as Git would hold it");
    let end = Timestamp::from_second((Timestamp::now() + SHORT_LIFE).as_second())
        .context("a time of this century")?;
    let object = serde_json::json!({
        "apiVersion": "connect.privateconnect.co/v1alpha1",
        "kind": "EnvironmentShare",
        "metadata": { "name": "short" },
        "spec": { "expirationTime": end.to_string() },
    });
    story.command("kubectl apply -f -");
    story.said(&object.to_string());
    kubectl.apply(&object.to_string()).await?;
    let words = join_command(kubectl, "short-share-code").await?;
    let mut bob = Teammate::join(kubectl, "bob", &words, &[API.0]).await?;
    let running = Running::start(bob.address(API.0)?, CUT).await?;
    story.saw(&format!("a transfer runs; the share ends at {end}"));
    let transfer = running.cut().await?;
    let late = Timestamp::now().duration_since(end);
    ensure!(!late.is_negative(), "the transfer was cut {} ms before the end", -late.as_millis());
    bob.end(SOON).await?;
    story.said(&bob.said());
    refused(kubectl, &words, story).await?;
    let what = format!(
        "cut {} ms after its end, in the middle of a transfer ({} MiB)",
        late.as_millis(),
        mib(&transfer)
    );
    story.seen("expired", &what);
    Ok(())
}

async fn revocation(kubectl: &Kubectl, first: &Shared, mut alice: Teammate, story: &mut Story) -> Result<()> {
    story.chapter("Revoke the first share in the middle of a transfer");
    let running = Running::start(alice.address(API.0)?, CUT).await?;
    let revoke = plugin::revoke(kubectl, &first.code).await?;
    story.typed(&revoke);
    let transfer = running.cut().await?;
    alice.end(SOON).await?;
    refused(kubectl, &permitted(&first.join), story).await?;
    story.seen("revoked", &format!("cut in the middle of a transfer ({} MiB)", mib(&transfer)));
    Ok(())
}

async fn survived(backends: &Backends, survivor: Running, story: &mut Story) -> Result<()> {
    story.chapter("The third share's transfer beside them");
    ensure!(!survivor.has_ended(), "it had ended before the others were cut, so it shows nothing");
    let transfer = survivor.end().await?;
    let expected = download(backends.api, SURVIVOR_AT_ONCE, |_| {}).await?;
    ensure!(transfer.checksum()? == expected.checksum()?, "the checksums differ: {transfer:?}, {expected:?}");
    story.seen("the third share's transfer", &format!("complete, {} MiB with equal SHA-256", mib(&transfer)));
    Ok(())
}

/// The words of the join command in a share's Secret, once it is there.
async fn join_command(kubectl: &Kubectl, secret: &str) -> Result<Vec<String>> {
    let template = "go-template={{.data.joinCommand | base64decode}}";
    let command = eventually("the share's Secret has a join command", SOON, || async {
        let said = kubectl.run(["get", "secret", secret, "--output", template]).await?.success()?.stdout;
        said.strip_prefix("kubectl ").map(str::to_owned).with_context(|| format!("it says {said:?}"))
    })
    .await?;
    Ok(permitted(&command.split_whitespace().map(str::to_owned).collect::<Vec<_>>()))
}

/// The code of an ended share is refused with one sentence.
async fn refused(kubectl: &Kubectl, words: &[String], story: &Story) -> Result<()> {
    let home = crate::scratch::Scratch::new("refused")?;
    let elsewhere = kubectl.clone().on_a_bare_machine(home.path());
    story.typed(&elsewhere.run(words).await?.fails_with(1)?);
    Ok(())
}

fn rate(transfer: &Transfer) -> String {
    format!("{:.0} MB/s", transfer.rate())
}

fn mib(transfer: &Transfer) -> u64 {
    transfer.bytes / (1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_beyond_this_machine_needs_leave() {
        let rows = [
            ("connect join abc --hub https://hub.example.com", false),
            ("connect join abc --hub http://127.0.0.1:3001", false),
            ("connect join abc --hub http://localhost:3001", false),
            ("connect join abc --hub http://10.0.0.7:30080", true),
            ("connect join abc --hub http://hub.example.com", true),
            ("connect join abc --hub http://hub.example.com --allow-insecure-hub", false),
        ];
        for (line, added) in rows {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(permitted(&words).len() > words.len(), added, "{line}");
        }
    }
}
