//! A preview per pull request: the scripts of the GitHub Action and of the GitLab jobs, as the pipeline's own user, against a
//! stand-in for the forge.

mod forge;
mod guide;

use anyhow::{Context as _, Result, ensure};
use connect_crds::condition::{kind, reason};
use connect_tests::control_plane::Kubectl;
use connect_tests::plugin;
use connect_tests::toolchain;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use crate::chart::PREVIEW;
use crate::world::World;
use connect_tests::helm::Helm;
use forge::{Forge, TOKEN};

/// What the action runs.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.github/actions/preview/preview.sh");

/// Who runs it.
const PIPELINE: &str = "pipeline";

/// A cluster with a pull request's environment, as the chart makes it, and the forge.
struct Fixture {
    world: World,
    forge: Forge,
    kubectl: Kubectl,
    kind: &'static str,
}

/// How a script ended.
struct Ended {
    succeeded: bool,
    said: String,
}

impl Fixture {
    async fn set(purpose: &str, kind: &'static str) -> Result<Self> {
        for tool in ["jq", "curl"] {
            toolchain::script_tool(tool).await?;
        }
        let world = World::start(purpose).await?;
        world.service("api", 8080).await?;
        let settings = [
            "--set",
            "share.enabled=false,services[0].name=api,services[0].port=8080",
            "--set",
            "ci.subjects[0].kind=User,ci.subjects[0].name=pipeline,ci.subjects[0].apiGroup=rbac.authorization.k8s.io",
        ];
        let objects =
            Helm::new().await?.objects_of(PREVIEW, "pr-7", world.namespace.name(), &settings).await?;
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        world.kubectl.apply(&list.to_string()).await?;
        let kubeconfig = world.cluster.kubeconfig_for(PIPELINE, &[])?;
        let kubectl = plugin::with_plugin(&world.cluster.kubectl().as_user(kubeconfig)).await?;
        Ok(Self { world, forge: Forge::start().await?, kubectl, kind })
    }

    async fn run(&self, verb: &str) -> Result<Ended> {
        let typed = self.kubectl.command([""; 0]);
        let mut command = tokio::process::Command::new("bash");
        command.args([SCRIPT, verb]).env_clear().kill_on_drop(true);
        // kubectl keeps what it learns of a cluster at home.
        command.env("HOME", self.world.cluster.folder("pipeline-home")?);
        command.envs(typed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs([
            ("FORGE", self.kind),
            ("NUMBER", "7"),
            ("NAMESPACE", self.world.namespace.name()),
            ("PREVIEW_TOKEN", TOKEN),
            ("REPOSITORY", "acme/shop"),
            ("GITHUB_API_URL", &self.forge.url),
            ("CI_API_V4_URL", &self.forge.url),
            ("CI_PROJECT_ID", "1"),
        ]);
        let output = command.output().await.context("bash is needed")?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok(Ended { succeeded: output.status.success(), said })
    }

    /// Runs it, and gives the only comment.
    async fn comment_after(&self, verb: &str) -> Result<String> {
        let Ended { succeeded, said } = self.run(verb).await?;
        ensure!(succeeded, "{verb}: {said}");
        ensure!(!said.contains(TOKEN), "the token is shown: {said}");
        let mut own = self.forge.own();
        ensure!(own.len() == 1, "{} comments: {own:?}", own.len());
        own.pop().context("one")
    }

    async fn shares(&self) -> Result<usize> {
        let words = ["get", "environmentshares", "--output", "json"];
        let listed: Value = serde_json::from_str(&self.world.kubectl.run(words).await?.success()?.stdout)?;
        Ok(listed["items"].as_array().map_or(0, Vec::len))
    }

    async fn code_and_end(&self) -> Result<(String, Timestamp)> {
        let share = self.world.share_says("pr-7", kind::READY, "True", reason::SHARED).await?;
        ensure!(share.name_any() == "pr-7", "{share:?}");
        let end = share.spec.expiration_time.context("a date")?.0;
        Ok((self.world.code("pr-7", "code").await?, end))
    }
}

#[tokio::test]
async fn a_pull_request_from_its_opening_to_its_end() -> Result<()> {
    let fixture = Fixture::set("pull-request", "github").await?;
    let opened = fixture.comment_after("share").await?;
    let (code, end) = fixture.code_and_end().await?;
    ensure!(
        opened.starts_with("<!-- preview by private-connect -->\n### Environment share PR-7\n"),
        "{opened}"
    );
    let full = fixture.world.full_code("pr-7").await?;
    let (_, secret) = full.split_once('+').context("the code has a secret")?;
    ensure!(opened.contains("| api | Auto | `localhost:8080` |") && !opened.contains(&code), "{opened}");
    ensure!(!opened.contains(secret), "{opened}");

    // Pushed: the same share and comment, and a later end.
    fixture.comment_after("share").await?;
    let (same, later) = fixture.code_and_end().await?;
    ensure!(same == code && later >= end && fixture.shares().await? == 1, "{same} {later}");

    // The forge is away: nothing is made of that, and nothing ended.
    fixture.forge.learn(|known| known.is_down = true);
    ensure!(!fixture.run("share").await?.succeeded, "nobody was told that the forge refuses");
    fixture.forge.learn(|known| known.is_down = false);
    assert_eq!(fixture.code_and_end().await?.0, code);

    // Closed, and closed again.
    fixture.forge.learn(|known| known.states = vec!["closed"]);
    for _ in 0..2 {
        let closed = fixture.comment_after("end").await?;
        ensure!(closed.ends_with("The share of this environment has ended."), "{closed}");
        assert_eq!(fixture.shares().await?, 0);
    }
    // A push that comes after the close shares nothing.
    fixture.comment_after("share").await?;
    assert_eq!(fixture.shares().await?, 0);

    // Re-opened, in a repository that has become private.
    fixture.forge.learn(|known| (known.states, known.is_private) = (vec!["open"], true));
    let reopened = fixture.comment_after("share").await?;
    let (new, _) = fixture.code_and_end().await?;
    let full = fixture.world.full_code("pr-7").await?;
    ensure!(full.starts_with(&format!("{new}+")), "{full} {new}");
    ensure!(new != code && reopened.contains(&format!("/#{full}'")), "{reopened}");

    // A share that somebody has revoked is made anew by the next push.
    plugin::revoke(&fixture.world.kubectl, "pr-7").await?;
    fixture.comment_after("share").await?;
    ensure!(fixture.code_and_end().await?.0 != new, "the code is the old one");

    // Closed while the share is made.
    fixture.comment_after("end").await?;
    fixture.forge.learn(|known| known.states = vec!["open", "closed"]);
    let closed = fixture.comment_after("share").await?;
    ensure!(closed.ends_with("The share of this environment has ended."), "{closed}");
    assert_eq!(fixture.shares().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_merge_request_is_shared_and_its_end_is_told() -> Result<()> {
    let fixture = Fixture::set("merge-request", "gitlab").await?;
    // Nothing to end, and nothing to say.
    let ended = fixture.run("end").await?;
    ensure!(ended.succeeded && fixture.forge.own().is_empty(), "{}", ended.said);
    for _ in 0..2 {
        let shared = fixture.comment_after("share").await?;
        ensure!(shared.contains("### Environment share PR-7"), "{shared}");
    }
    fixture.code_and_end().await?;
    let ended = fixture.comment_after("end").await?;
    ensure!(ended.ends_with("The share of this environment has ended."), "{ended}");
    assert_eq!(fixture.shares().await?, 0);
    let wrong = fixture.run("frob").await?;
    ensure!(!wrong.succeeded && wrong.said == "usage: preview.sh share|end\n", "{}", wrong.said);
    Ok(())
}
