//! The product shown on real parts, as a person would use it: every step prints what was typed and what was seen.
//!
//! A step that does not see what it should is an error, so the exit code tells whether the product works.

pub mod backends;
mod elsewhere;
mod stage;
mod story;
mod walk;

use anyhow::{Context as _, Result, bail};

pub use stage::{Stage, up};

use story::Story;

/// What was asked for on the command line.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Leave everything running at the end.
    pub keep: bool,
    /// A context of the usual kubeconfig whose cluster is used instead of one of our own.
    pub context: Option<String>,
}

/// Runs the demo to its end, or until Ctrl+C.
///
/// # Errors
/// A part did not start, or a step did not see what it should.
pub async fn run(plan: Plan) -> Result<()> {
    if plan.keep || plan.context.is_none() {
        crate::lab::must_be_down()?;
    }
    tokio::select! {
        outcome = perform(plan) => outcome,
        pressed = tokio::signal::ctrl_c() => {
            pressed.context("cannot listen for Ctrl+C")?;
            bail!("stopped by Ctrl+C");
        }
    }
}

async fn perform(Plan { keep, context }: Plan) -> Result<()> {
    let stage = match context {
        None => stage::own(keep).await?,
        Some(context) => elsewhere::stage(&context).await?,
    };
    let mut story = Story::default();
    if let Err(error) = walk::through(&stage, &mut story).await {
        stage.mourn();
        return Err(error);
    }
    story.table();
    if keep { stage.keep() } else { stage.strike().await }
}
