//! The session that the README shows is one that was had: shared, joined, seen, revoked, at a terminal.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use connect_tests::teammate::routes_in;
use connect_tests::wait::{SOON, eventually};
use snapbox::data::DataFormat;
use snapbox::{Data, assert_data_eq, file};

use crate::world::{API, World};

/// `make generate` writes the picture anew.
#[tokio::test]
async fn the_session_in_the_readme_is_one_that_was_had() -> Result<()> {
    let world = World::start("session").await?;
    let server = world.exposed_api().await?;
    let mut session = Session { world: &world, text: String::new() };
    session.runs("expose", "api:8080 --protocol http").await?;
    session.runs("share", "--name demo --expires 4h").await?;
    let share = world.only_share().await?.metadata.name.context("a name")?;
    let (code, full) = (world.code(&share, "code").await?, world.full_code(&share).await?);
    let join = world.join_words(&share).await?;
    let token = join.get(2).context("a join command names its code")?;
    session.runs("join", &format!("{token} -- sh -c 'curl -sS -d hello $CONNECT_API_URL/echo'")).await?;
    eventually("the share says that the teammate has left", SOON, || async {
        let joins = world.only_share().await?.status.and_then(|status| status.joins);
        ensure!(joins.is_some_and(|joins| joins.count == 1 && joins.connected == Some(0)), "not yet");
        Ok(())
    })
    .await?;
    session.runs("revoke", &share).await?;
    let port = routes_in(&session.text)[API].to_string();
    let text = session
        .text
        .replace(" (8080 is taken)", "")
        .replace(&port, "8080")
        .replace(&share, "demo-x7k2p")
        .replace(&full, "k7mwx2pq9d+abcd-efgh-jkmn-pqrs")
        .replace(&code, "k7mwx2pq9d")
        .replace(world.operator.hub_url(), "https://hub.example.com");
    drop(server);
    assert_data_eq!(
        Data::text(text).coerce_to(DataFormat::TermSvg),
        file!["../../../../kubectl-connect/session.term.svg"]
    );
    Ok(())
}

/// What a terminal shows.
struct Session<'a> {
    world: &'a World,
    text: String,
}

impl Session<'_> {
    /// Types a command and waits for its end. `script` gives it a terminal, one on which nothing moves.
    async fn runs(&mut self, verb: &str, rest: &str) -> Result<()> {
        let command = self.world.kubectl.command(["connect", verb]);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        let line = format!("{} {} {rest}", command.get_program().to_string_lossy(), words.join(" "));
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]);
        script.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        script.env("TERM", "dumb").env("CLICOLOR_FORCE", "1").stdin(Stdio::null());
        let output = tokio::process::Command::from(script)
            .output()
            .await
            .context("`script` of util-linux is needed")?;
        let shown = String::from_utf8(output.stdout)?.replace('\r', "");
        ensure!(output.status.success(), "{line}: {shown}");
        self.text.push_str(&format!("$ kubectl connect {verb} {rest}\n{shown}\n"));
        Ok(())
    }
}
