//! Codes with a part that no hub is told: where it is, who is asked for it, and what is said of who does not know it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{find, kind, reason};
use connect_crds::{HeldEncryption, ROTATE_ANNOTATION};
use connect_tests::control_plane;
use connect_tests::hub::Hub;
use connect_tests::plugin;
use connect_tests::recording_proxy::RecordingProxy;
use connect_tests::services::transfer::download;
use connect_tests::teammate::Teammate;
use connect_tests::wait::{SOON, eventually};
use serde_json::json;

use crate::world::{API, World};

/// What a teammate is told whose code has another secret, and whose has none.
const DOES_NOT_KNOW: &str =
    "the other end does not know this code's secret: wrong code, or the hub replaced the keys";
const FULL_CODE_ONLY: &str = "this share takes the full code only";

/// As many connections in a minute are no slip.
const REPEATED: usize = 5;

#[tokio::test]
async fn no_hub_is_told_the_secret_and_it_is_in_one_secret_of_the_cluster() -> Result<()> {
    let cluster = control_plane::shared().await?;
    let hub = Hub::start(&cluster.folder("untold")?, &cluster.logs()).await?;
    let proxy = RecordingProxy::start(hub.url()).await?;
    let world = World::at_hub("untold", proxy.url(), hub.key_file()).await?;
    let _api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--name", "demo"]).await?;
    let (handle, secret) = shared.code.split_once('+').context("the code has a secret")?;
    let alice = Teammate::join(&world.kubectl, "alice", &shared.join, &[API]).await?;
    download(alice.address(API)?, "/bytes/1", |_| {}).await?.checksum()?;
    let said = alice.said();
    plugin::rotate(&world.kubectl, &world.only_share().await?.metadata.name.context("a name")?).await?;

    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_lowercase();
    let told = text(&proxy.heard());
    ensure!(told.contains(handle), "the hub was told nothing that we have seen");
    let mut kept = String::new();
    for file in files(hub.data())? {
        kept.push_str(&text(&fs::read(file)?));
    }
    ensure!(kept.contains(handle), "nothing of the hub's data was looked at");
    for (place, seen) in [
        ("what the hub was told", told),
        ("the hub's data", kept),
        ("what anybody may read", world.all_that_is_public().await?.to_lowercase()),
        ("what the teammate's plugin said", said.to_lowercase()),
    ] {
        for form in [secret.to_owned(), secret.replace('-', "")] {
            ensure!(!seen.contains(&form), "the secret is in {place}");
        }
    }
    Ok(())
}

/// Every file of a folder.
fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

#[tokio::test]
async fn who_has_the_handle_only_is_let_in_where_the_share_says_so_and_nowhere_else() -> Result<()> {
    let world = World::start("handle-only").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("strict", json!({})).await?;
    world.apply_share("lenient", json!({ "encryption": "Preferred" })).await?;
    for (share, held) in [("strict", HeldEncryption::Verified), ("lenient", HeldEncryption::Preferred)] {
        let found = world.share_says(share, kind::READY, "True", reason::SHARED).await?;
        assert_eq!(found.status.and_then(|status| status.encryption), Some(held), "{share}");
        let full = world.join_words(share).await?;
        let alice = Teammate::join(&world.kubectl, "alice", &full, &[API]).await?;
        download(alice.address(API)?, "/bytes/1", |_| {}).await?.checksum()?;

        let handle = without_secret(&full);
        let bob = Teammate::join(&world.kubectl, "bob", &handle, &[API]).await?;
        let got = download(bob.address(API)?, "/bytes/1", |_| {}).await;
        if held == HeldEncryption::Preferred {
            got?.checksum()?;
        } else {
            ensure!(got.is_err(), "bytes came without the secret");
            says(&bob, FULL_CODE_ONLY).await?;
        }
    }
    let listed = world.kubectl.run(["get", "environmentshares", "-o", "wide"]).await?.success()?.stdout;
    ensure!(listed.contains("ENCRYPTION") && listed.contains("Verified"), "{listed}");
    let one = world.kubectl.run(["connect", "status", "lenient"]).await?.success()?.stdout;
    let handle = world.code("lenient", "code").await?;
    ensure!(one.contains(&format!("{handle} (unverified: the hub could read along)")), "{one}");
    ensure!(one.contains("Preferred"), "{one}");
    let strict = world.kubectl.run(["connect", "status", "strict"]).await?.success()?.stdout;
    ensure!(!strict.contains("unverified"), "{strict}");
    Ok(())
}

/// The words with the handle alone.
fn without_secret(words: &[String]) -> Vec<String> {
    words.iter().map(|word| word.split('+').next().unwrap_or_default().to_owned()).collect()
}

async fn says(teammate: &Teammate, sentence: &str) -> Result<()> {
    eventually("the teammate is told why", SOON, || async {
        let said = teammate.said();
        ensure!(said.contains(sentence), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_wrong_secret_is_an_event_and_again_and_again_a_condition_until_the_code_rotates() -> Result<()> {
    let world = World::start("wrong-secret").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", json!({})).await?;
    let words = world.join_words("demo").await?;
    let alice = Teammate::join(&world.kubectl, "alice", &words, &[API]).await?;
    let wrong: Vec<String> = words
        .iter()
        .map(|word| {
            word.split_once('+').map_or(word.clone(), |(handle, _)| format!("{handle}+abcdefghjkmnpqrs"))
        })
        .collect();
    let mallory = Teammate::join(&world.kubectl, "mallory", &wrong, &[API]).await?;
    for _ in 0..REPEATED {
        let got = download(mallory.address(API)?, "/bytes/1", |_| {}).await;
        ensure!(got.is_err(), "bytes came with another secret");
    }
    says(&mallory, DOES_NOT_KNOW).await?;
    world.share_says("demo", kind::SECRET_MISMATCH, "True", reason::REPEATED).await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    assert_eq!(world.events("SecretMismatch").await?.len(), 1);
    let status = world.kubectl.run(["connect", "status", "demo"]).await?.success()?.stdout;
    ensure!(status.contains("SecretMismatch is True (Repeated)"), "{status}");
    // Nobody else feels any of it.
    download(alice.address(API)?, "/bytes/1", |_| {}).await?.checksum()?;
    let metrics = reqwest::get(format!("{}/metrics", world.operator.admin_url())).await?.text().await?;
    let counted = format!("refused_dials_total{{reason=\"SecretMismatch\"}} {REPEATED}");
    ensure!(metrics.contains(&counted), "{metrics}");

    let before = world.full_code("demo").await?;
    plugin::rotate(&world.kubectl, "demo").await?;
    let after = world.full_code("demo").await?;
    let parts = |code: &str| -> Result<(String, String)> {
        let (handle, secret) = code.split_once('+').context("the code has a secret")?;
        Ok((handle.to_owned(), secret.to_owned()))
    };
    let ((handle, secret), (new_handle, new_secret)) = (parts(&before)?, parts(&after)?);
    ensure!(handle != new_handle && secret != new_secret, "half of the code is the old one");
    eventually("nothing is in doubt", SOON, || async {
        let conditions = world.only_share().await?.status.unwrap_or_default().conditions;
        ensure!(find(&conditions, kind::SECRET_MISMATCH).is_none(), "{conditions:?}");
        Ok(())
    })
    .await?;
    let bob = Teammate::join(&world.kubectl, "bob", &world.join_words("demo").await?, &[API]).await?;
    download(bob.address(API)?, "/bytes/1", |_| {}).await?.checksum().map(drop)
}

#[tokio::test]
async fn a_share_from_before_goes_on_without_a_secret_until_it_rotates() -> Result<()> {
    let mut world = World::beside_a_hub("from-before").await?;
    let _api = world.exposed_api().await?;
    world.apply_share("demo", json!({})).await?;
    world.share_says("demo", kind::READY, "True", reason::SHARED).await?;
    world.operator.process().kill()?;
    // As an earlier operator has written it.
    let command = without_secret(&world.join_words("demo").await?).join(" ");
    let older = json!([
        { "op": "remove", "path": "/data/secret" },
        { "op": "remove", "path": "/data/joinCommand" },
        { "op": "add", "path": "/stringData", "value": { "joinCommand": format!("kubectl {command}'") } },
    ]);
    let words = ["patch", "secret", "demo-share-code", "--type=json", "--patch", &older.to_string()];
    world.kubectl.run(words).await?.success()?;
    let handle = world.code("demo", "code").await?;
    let world = world.start_the_operator_again().await?;
    eventually("the share says what holds", SOON, || async {
        let status = world.only_share().await?.status.unwrap_or_default();
        ensure!(status.encryption == Some(HeldEncryption::Unverified), "{:?}", status.encryption);
        Ok(())
    })
    .await?;
    let words = world.join_words("demo").await?;
    let alice = Teammate::join(&world.kubectl, "alice", &words, &[API]).await?;
    download(alice.address(API)?, "/bytes/1", |_| {}).await?.checksum()?;
    assert_eq!(world.full_code("demo").await?, handle);

    // A program that knows nothing of plugins rotates it.
    let asked = format!("{ROTATE_ANNOTATION}=once");
    world.kubectl.run(["annotate", "envshare", "demo", &asked]).await?.success()?;
    eventually("the new code has a secret", SOON, || async {
        ensure!(world.full_code("demo").await?.contains('+'), "not yet");
        let status = world.only_share().await?.status.unwrap_or_default();
        ensure!(status.encryption == Some(HeldEncryption::Verified), "{:?}", status.encryption);
        Ok(())
    })
    .await?;
    ensure!(world.code("demo", "code").await? != handle, "the handle is the old one");
    let bob = Teammate::join(&world.kubectl, "bob", &world.join_words("demo").await?, &[API]).await?;
    download(bob.address(API)?, "/bytes/1", |_| {}).await?.checksum().map(drop)
}
