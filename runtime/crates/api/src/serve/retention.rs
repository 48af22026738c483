//! The task that drops what is older than its term, while the server runs.

use std::sync::Arc;
use std::time::Duration;

use portcullis_engine::{audit_log, retention};
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
        match retention::sweep(&api.engine).await {
            Ok(swept) => tracing::debug!(?swept, "retention"),
            Err(error) => tracing::error!(error = error.detail, "retention could not look for old files"),
        }
        match audit_log::sweep(&api.engine).await {
            Ok(dropped) => tracing::debug!(dropped, "retention of the audit log"),
            Err(error) => tracing::error!(error = error.detail, "old audit records could not be looked for"),
        }
    }
}
