//! The timer that ends shares on time: one task for all of them, by the wall clock.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    core::Core,
    error_chain,
    limits::{ENDED_GUEST_LIFE, ENDED_SHARE_LIFE},
    store::StoreError,
    timestamp::Timestamp,
};

/// How often what ended long ago is forgotten.
const CLEANING: Duration = Duration::from_secs(3600);

/// Ends what became due while the hub was away and learns the ends to come. To be called before anything is served.
pub async fn catch_up(core: &Core) -> Result<(), StoreError> {
    let ended = core.store.end_due_shares(Timestamp::now()).await?;
    if ended > 0 {
        tracing::info!(ended, "shares ended while the hub was away");
    }
    for (share, end) in core.store.coming_ends().await? {
        core.expirations.set(share, end);
    }
    Ok(())
}

/// Ends shares on time until cancelled.
pub async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut cleaned: Option<Instant> = None;
    loop {
        let due = core.expirations.take_due(Timestamp::now());
        if !due.is_empty() {
            core.expire(&due);
        }
        if cleaned.is_none_or(|at| at.elapsed() >= CLEANING) {
            cleaned = Some(Instant::now());
            tokio::spawn(clean(core.clone()));
        }
        let idle = core.expirations.idle_for(Timestamp::now());
        tokio::select! {
            () = tokio::time::sleep(idle) => {}
            () = core.expirations.changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn clean(core: Arc<Core>) {
    let now = Timestamp::now();
    match core.store.forget_ended_shares(now.before(ENDED_SHARE_LIFE)).await {
        Ok(0) => {}
        Ok(forgotten) => tracing::info!(forgotten, "forgot shares that ended long ago"),
        Err(error) => {
            tracing::error!(error = error_chain(&error), "cannot forget shares that ended long ago");
        }
    }
    if let Err(error) = core.store.forget_guests(now.before(ENDED_GUEST_LIFE)).await {
        tracing::error!(error = error_chain(&error), "cannot forget guests whose shares have ended");
    }
}
