//! `join` beyond ports: commands that run while joined, their environment, one route of many, and what a terminal shows.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Context as _, Result, bail, ensure};
use connect_tests::control_plane::Kubectl;
use connect_tests::plugin::{self, Shared};
use connect_tests::process::Process;
use connect_tests::services::http::Http;
use connect_tests::services::transfer::download;
use connect_tests::teammate::Teammate;
use connect_tests::wait::{PATIENTLY, SOON, eventually};
use rustix::pty;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::world::{API, World};

/// Asks the route `api` for nothing, with what bash has, and prints the first word of the answer.
const ASK: &str = r#"exec 3<>"/dev/tcp/$CONNECT_API_HOST/$CONNECT_API_PORT"; printf 'GET /bytes/0 HTTP/1.0\r\n\r\n' >&3; head -c 5 <&3"#;

/// A share of two routes, `api` and `other`, of which only the first has something behind it.
struct Fixture {
    world: World,
    _api: Http,
    shared: Shared,
}

impl Fixture {
    async fn set(purpose: &str) -> Result<Self> {
        let world = World::start(purpose).await?;
        let api = world.exposed_api().await?;
        world.service("other", 5432).await?;
        plugin::expose(&world.kubectl, "other:5432").await?;
        let shared = plugin::share(&world.kubectl, &["--name", "demo"]).await?;
        Ok(Self { world, _api: api, shared })
    }

    fn elsewhere(&self) -> Result<Kubectl> {
        self.world.kubectl_elsewhere()
    }

    fn join(&self, more: &[&str]) -> Vec<String> {
        let more = more.iter().map(|&word| word.to_owned());
        self.shared.join.iter().cloned().chain(more).collect()
    }

    fn process(&self, name: &str, words: &[&str]) -> Result<Process> {
        let command = self.elsewhere()?.command(self.join(words));
        Process::start(name, command, &self.world.cluster.folder(name)?)
    }
}

#[tokio::test]
async fn a_command_uses_the_routes_and_its_exit_code_is_ours() -> Result<()> {
    let fixture = Fixture::set("join-command").await?;
    let kubectl = fixture.elsewhere()?;

    let asked = kubectl.run(fixture.join(&["--", "bash", "-c", ASK])).await?.success()?;
    assert_eq!(asked.stdout, "HTTP/", "stdout is the command's alone: {}", asked.report());
    ensure!(asked.stderr.contains("[ok] 2 tunnel(s) active, running bash"), "{}", asked.report());

    for (words, code, sentence) in [
        (["--exec", "--", "sh", "-c", "exit 7"].as_slice(), 7, ""),
        (&["--", "sh", "-c", "kill -KILL $$"], 137, ""),
        (&["--", "no-such-program"], 127, "[x] Cannot run no-such-program: not found\n"),
        (&["--", "/etc/passwd"], 126, "[x] Cannot run /etc/passwd: permission denied\n"),
    ] {
        let ended = kubectl.run(fixture.join(words)).await?.fails_with(code)?;
        ensure!(ended.stdout.is_empty() && ended.stderr.ends_with(sentence), "{}", ended.report());
    }

    let piped = kubectl.run_with_input(fixture.join(&["--", "cat"]), "its input is ours").await?.success()?;
    assert_eq!(piped.stdout, "its input is ours");
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_share_ends_the_command_and_all_it_started() -> Result<()> {
    let fixture = Fixture::set("join-command-end").await?;
    // A child that its parent forgets, and a parent that does not want to end.
    let script =
        "trap '' TERM; (trap - TERM; exec sleep 600) & echo started $!; wait; while :; do sleep 1; done";
    let mut joined = fixture.process("stubborn", &["--", "sh", "-c", script])?;
    let child =
        joined.printed("the command has a child", PATIENTLY, |said| number_after(said, "started ")).await?;
    plugin::revoke(&fixture.world.kubectl, &fixture.shared.code).await?;
    let status = joined.end(PATIENTLY).await?;
    assert_eq!(status.code(), Some(124), "{}", joined.stderr());
    let said = joined.stderr();
    ensure!(said.contains("[x] Share revoked before the command was done; it was ended\n"), "{said}");
    must_be_gone(child).await
}

#[tokio::test]
async fn signals_reach_the_command_and_nothing_stays_behind() -> Result<()> {
    let fixture = Fixture::set("join-command-signal").await?;
    let script = "sleep 600 & trap 'exit 9' TERM; echo started $!; wait";
    let mut joined = fixture.process("polite", &["--", "sh", "-c", script])?;
    let child =
        joined.printed("the command has a child", PATIENTLY, |said| number_after(said, "started ")).await?;
    let status = joined.terminate()?;
    assert_eq!((status.code(), status.signal()), (Some(9), None), "{}", joined.stderr());
    must_be_gone(child).await
}

#[tokio::test]
async fn the_environment_is_printed_alone_and_only_for_the_routes_that_were_wanted() -> Result<()> {
    let fixture = Fixture::set("join-env").await?;
    let mut joined = fixture.process("printing", &["--print-env", "--only", "other"])?;
    let said = joined
        .printed("the environment", PATIENTLY, |said| said.contains("PGPORT=").then(|| said.to_owned()))
        .await?;
    let port = number_after(&said, "PGPORT=").context("a port")?;
    assert_eq!(
        joined.stdout(),
        format!(
            "CONNECT_OTHER_HOST=127.0.0.1\nCONNECT_OTHER_PORT={port}\nCONNECT_OTHER_URL=postgresql://127.0.0.1:{port}\n\
             PGHOST=127.0.0.1\nPGPORT={port}\n"
        )
    );
    ensure!(said.contains("[ok] 1 tunnel(s) active") && !said.contains("api"), "{said}");
    assert!(joined.terminate()?.success());

    let words = fixture.join(&["--only", "nothing"]);
    let wrong = fixture.elsewhere()?.run(words).await?.fails_with(1)?;
    let sentence = "[x] --only names nothing, but the share has ";
    ensure!(wrong.stderr.starts_with(sentence), "{}", wrong.report());
    Ok(())
}

#[tokio::test]
async fn a_terminal_shows_what_passes_and_a_pipe_is_not_flooded() -> Result<()> {
    let fixture = Fixture::set("join-live").await?;
    let master = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY)?;
    pty::grantpt(&master)?;
    pty::unlockpt(&master)?;
    let name = pty::ptsname(&master, Vec::new())?;
    // A terminal that does not tell its width, as serial consoles do not.
    tcsetwinsize(&master, Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 })?;
    let slave = File::options().read(true).write(true).open(name.to_str()?)?;
    let mut joined = tokio::process::Command::from(fixture.elsewhere()?.command(fixture.join(&[])))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(slave)
        .kill_on_drop(true)
        .spawn()?;
    let (seen_tx, mut seen_rx) = tokio::sync::watch::channel(String::new());
    std::thread::spawn(move || {
        let mut screen = File::from(master);
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            seen_tx.send_modify(|seen| seen.push_str(&String::from_utf8_lossy(&bytes[..count])));
        }
    });
    let mut seen = async |what: &str, words: &str| {
        let found = tokio::time::timeout(SOON, seen_rx.wait_for(|seen| seen.contains(words))).await;
        let found =
            found.with_context(|| format!("not seen in time: {what}"))?.context("the terminal is gone")?;
        anyhow::Ok(found.clone())
    };
    let first = seen("a line for the route", "0 open of 0").await?;
    let port = number_after(&first, "localhost:").context("a port")?;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], u16::try_from(port)?));
    download(address, "/bytes/3", |_| {}).await?.checksum()?;
    let last = seen("what has passed", "↓ 3.0 MiB").await?;
    ensure!(last.contains("\u{1b}[2A\u{1b}[J"), "two lines are drawn over: {last:?}");
    joined.kill().await?;

    let alice = Teammate::join(&fixture.world.kubectl, "alice", &fixture.shared.join, &[API]).await?;
    download(alice.address(API)?, "/bytes/3", |_| {}).await?.checksum()?;
    let said = alice.said();
    ensure!(!said.contains('↓') && !said.contains('\u{1b}'), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_join_outlives_its_hub_and_says_so_in_a_line_each_way() -> Result<()> {
    let mut world = World::beside_a_hub("join-outage").await?;
    let _api = world.exposed_api().await?;
    let shared = plugin::share(&world.kubectl, &["--name", "demo"]).await?;
    let alice = Teammate::join(&world.kubectl, "alice", &shared.join, &[API]).await?;
    let before = download(alice.address(API)?, "/bytes/1", |_| {}).await?.checksum()?.to_owned();

    let mut hub = world.hub.take().context("there is one")?;
    hub.process().kill()?;
    says(&alice, "[!] Connection to the hub lost, reconnecting: ").await?;
    world.hub = Some(hub.restart(&world.cluster.logs()).await?);
    says(&alice, "[ok] Reconnected\n").await?;
    eventually("the same port leads there again", SOON, || async {
        let after = download(alice.address(API)?, "/bytes/1", |_| {}).await?;
        ensure!(after.checksum()? == before, "other bytes came");
        Ok(())
    })
    .await?;
    let said = alice.said();
    for line in ["Connection to the hub lost", "Reconnected"] {
        assert_eq!(said.matches(line).count(), 1, "{said}");
    }
    assert!(alice.leave()?.success());
    Ok(())
}

#[tokio::test]
async fn ports_are_on_both_loopbacks_or_where_they_were_asked_for() -> Result<()> {
    let fixture = Fixture::set("join-address").await?;
    let alice = Teammate::join(&fixture.world.kubectl, "alice", &fixture.shared.join, &[API]).await?;
    let SocketAddr::V4(usual) = alice.address(API)? else { bail!("a teammate uses IPv4") };
    let expected = download(usual.into(), "/bytes/1", |_| {}).await?.checksum()?.to_owned();
    // A machine without IPv6 has one loopback.
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        let same = download((Ipv6Addr::LOCALHOST, usual.port()).into(), "/bytes/1", |_| {}).await?;
        assert_eq!(same.checksum()?, expected);
    }

    // 127.0.0.0/8 is this machine, too, and what is bound to another of its addresses is not reached by this one.
    let words = ["--only", API, "--address", "127.0.0.2"];
    let mut elsewhere = fixture.process("elsewhere", &words)?;
    let port = elsewhere
        .printed("the port at that address", PATIENTLY, |said| number_after(said, "[ok] api → 127.0.0.2:"))
        .await?;
    let port = u16::try_from(port)?;
    let same = download(([127, 0, 0, 2], port).into(), "/bytes/1", |_| {}).await?;
    assert_eq!(same.checksum()?, expected);
    let said = elsewhere.stdout();
    ensure!(said.contains(&format!("    • api: 127.0.0.2:{port}\n")), "{said}");
    assert_eq!(listeners(elsewhere.id())?, 1, "and nowhere else");
    assert!(elsewhere.terminate()?.success());

    let words = fixture.join(&["--address", "192.0.2.1"]);
    let wrong = fixture.elsewhere()?.run(words).await?.fails_with(1)?;
    ensure!(
        wrong.stderr.contains("[x] Cannot listen on a port for ")
            && wrong.stderr.ends_with("Check --address: it must be an address of this machine.\n"),
        "{}",
        wrong.report()
    );
    Ok(())
}

#[tokio::test]
async fn a_key_is_checked_with_its_hub_before_it_is_kept() -> Result<()> {
    let world = World::beside_a_hub("join-login").await?;
    let hub = world.hub.as_ref().context("there is one")?;
    let (kubectl, key) = (world.kubectl_elsewhere()?, std::fs::read_to_string(hub.key_file())?);
    let file = world.cluster.folder("join-login-home")?.join("keys/config.json");
    let words = [
        "connect",
        "login",
        "--hub",
        hub.url(),
        "--api-key-stdin",
        "--config",
        file.to_str().context("a path")?,
    ];
    let wrong = kubectl.run_with_input(words, "pc_wrong").await?.fails_with(1)?;
    let sentence = format!("[x] The hub at {} does not accept the API key\n", hub.url());
    ensure!(wrong.stderr.starts_with(&sentence) && !file.exists(), "{}", wrong.report());
    let right = kubectl.run_with_input(words, &key).await?.success()?;
    assert_eq!(right.stdout, format!("[ok] Logged in to {} (workspace lab)\n", hub.url()));
    ensure!(!right.report().contains(key.trim()), "the key is shown");
    ensure!(std::fs::read_to_string(&file)?.contains(key.trim()), "the key is not kept");
    let browser = kubectl.run(["connect", "login", "--hub", hub.url()]).await?.fails_with(1)?;
    let sentence = format!("[x] The hub at {} cannot log in with a browser\n", hub.url());
    ensure!(browser.stderr.starts_with(&sentence), "{}", browser.report());
    Ok(())
}

/// Waits until a teammate has said this.
async fn says(teammate: &Teammate, words: &str) -> Result<()> {
    eventually(&format!("a teammate says {words:?}"), PATIENTLY, || async {
        let said = teammate.said();
        ensure!(said.contains(words), "{said}");
        Ok(())
    })
    .await
}

/// On how many addresses and ports a process listens.
fn listeners(process: u32) -> Result<usize> {
    let mut own = Vec::new();
    for file in std::fs::read_dir(format!("/proc/{process}/fd"))? {
        // One that was closed meanwhile listens nowhere.
        own.extend(std::fs::read_link(file?.path()).ok().map(|target| target.display().to_string()));
    }
    let sockets = ["tcp", "tcp6"].map(|kind| std::fs::read_to_string(format!("/proc/{process}/net/{kind}")));
    let [by_ipv4, by_ipv6] = sockets.map(Result::unwrap_or_default);
    let listening = by_ipv4.lines().chain(by_ipv6.lines()).filter(|line| {
        let mut words = line.split_whitespace();
        // 0A: it listens. What follows up to the inode is of no interest here.
        words.nth(3) == Some("0A")
            && words.nth(5).is_some_and(|inode| own.contains(&format!("socket:[{inode}]")))
    });
    Ok(listening.count())
}

fn number_after(said: &str, words: &str) -> Option<u32> {
    let (_, rest) = said.split_once(words)?;
    let (digits, _) = rest.split_once(|letter: char| !letter.is_ascii_digit())?;
    digits.parse().ok()
}

async fn must_be_gone(process: u32) -> Result<()> {
    eventually("what the command started has ended", SOON, || async {
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        ensure!(status.is_empty() || status.contains(") Z "), "it runs: {status}");
        Ok(())
    })
    .await
}
