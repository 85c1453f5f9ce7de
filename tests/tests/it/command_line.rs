//! The command line as people use it: real kubectl, the plugin on its `PATH`, a real cluster, operator and hub.
//!
//! | module | what is seen |
//! |---|---|
//! | [`page`] | each sentence of the page has its test |
//! | [`share`] | the page's examples and its troubleshooting part |
//! | [`status`] | status, joins, lists, watching |
//! | [`listing`] | lists of many shares, ended ones, hubs that are down, times in the reader's zone |
//! | [`change`] | extend, rotate, revoke; what a GitOps tool manages |
//! | [`kubectl`] | kubectl's own flags, dry runs, manifests |
//! | [`rights`] | users who may not read codes |
//! | [`doctor`] | the checks |
//! | [`exposing`] | expose and unexpose |
//! | [`kubeconfigs`] | ways to log in |
//! | [`session`] | the picture of a terminal in the README |
//! | [`transcripts`] | a comment for a pull request, a join from its first line to its last |

mod change;
mod doctor;
mod exposing;
mod kubeconfigs;
mod kubectl;
mod listing;
mod page;
mod rights;
mod session;
mod share;
mod status;
mod transcripts;

use anyhow::{Context as _, Result};
use connect_tests::control_plane::Output;
use snapbox::data::Inline;
use snapbox::{Data, assert_data_eq};

use crate::world::World;

/// What differs from run to run, and what stands for it.
#[derive(Clone, Default)]
struct Names(Vec<(String, &'static str)>);

impl Names {
    /// The names of this world.
    fn of(world: &World) -> Self {
        let names = Self::default().and(world.namespace.name(), "NAMESPACE");
        names.and(world.operator.hub_url(), "HUB")
    }

    /// One more.
    fn and(mut self, text: &str, name: &'static str) -> Self {
        self.0.push((text.to_owned(), name));
        self
    }

    /// What a command printed and how it ended, the same in every run.
    fn transcript(&self, output: &Output) -> String {
        let Output { code, stdout, stderr, .. } = output;
        let code = code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        let mut text = format!("{stdout}---\n{stderr}exit {code}\n");
        for (name, stands_for) in &self.0 {
            text = text.replace(name, stands_for);
        }
        text
    }

    /// The output is this one. `[..]` stands for anything within a line.
    fn check(&self, output: &Output, expected: Inline) {
        assert_data_eq!(Data::text(self.transcript(output)), expected);
    }
}

/// Runs `kubectl connect` with these words.
async fn connect(world: &World, words: &[&str]) -> Result<Output> {
    world.kubectl.run(["connect"].iter().chain(words)).await
}

/// As [`connect`], and the answer must be JSON.
async fn json(world: &World, words: &[&str]) -> Result<serde_json::Value> {
    let output = connect(world, words).await?.success()?;
    serde_json::from_str(&output.stdout).with_context(|| format!("no JSON: {}", output.report()))
}

/// Services that are exposed, with nobody behind them: enough for all that is only shown.
async fn expose(world: &World, services: &[(&str, u16)]) -> Result<()> {
    for (name, port) in services {
        world.service(name, *port).await?;
        connect(world, &["expose", &format!("{name}:{port}")]).await?.success()?;
    }
    Ok(())
}
