//! The task that drops what is older than its term, while the server runs.

use std::sync::Arc;
use std::time::Duration;

use portcullis_engine::nodes::{Duty, is_on_duty};
use portcullis_engine::{audit_log, growth, retention};
use tokio::time::{MissedTickBehavior, interval_at};

use crate::service::Api;

/// How often: terms are days, and a look that finds nothing costs a look at each file's name.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// Pause after the start, which has other work.
const FIRST: Duration = Duration::from_secs(60);

/// Sweeps until it is aborted.
pub(super) async fn drop_old(api: Arc<Api>) {
    let mut ticks = interval_at(tokio::time::Instant::now() + FIRST, EVERY);
    // Why: a sweep that took long is not followed by two.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let on_duty = is_on_duty(&api.engine, Duty::Retention, EVERY).await;
        if on_duty || api.engine.has_own_files() {
            drop_records(&api).await;
        }
        if !on_duty {
            continue;
        }
        match audit_log::sweep(&api.engine).await {
            Ok(dropped) => tracing::debug!(dropped, "retention of the audit log"),
            Err(error) => tracing::error!(error = error.detail, "old audit records could not be looked for"),
        }
        match growth::sweep(&api.engine).await {
            Ok(dropped) => tracing::debug!(?dropped, "what nothing refers to"),
            Err(error) => tracing::error!(error = error.detail, "old revisions could not be looked for"),
        }
    }
}

async fn drop_records(api: &Api) {
    match retention::sweep(&api.engine).await {
        Ok(swept) => tracing::debug!(?swept, "retention"),
        Err(error) => tracing::error!(error = error.detail, "retention could not look for old files"),
    }
}
