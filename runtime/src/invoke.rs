//! The life of a call, on one page.
//!
//! ```text
//! Call      who, where, what; authorised and bounded by the API
//!   → name       connector and action exist
//!   → resolve    enabled, credential state, input, grant — or a silent skip
//!   → attempts   as often as the retry rules allow, waiting with no guest alive:
//!       → token      renewed ahead of its end, where the auth type has one
//!       → budget     the connection's own rate limits
//!       → guard      the capability of this one try: grant + sealed credential + ledger
//!       → sandbox    a fresh instance of the handler; its only import is the guard
//!           → guard.send  lists → action → headers → ledger begin → resolve → connect → TLS →
//!                         open credential → inject → send → cap → scrub → ledger complete
//!       → end        output, or the refusal that the guard recorded, or the guest's failure
//!   → keep       the run's record
//! ```

use std::sync::Arc;
use std::time::Instant;

use portcullis_core::id::RunId;

use crate::app::App;
use crate::attempts::Attempts;
use crate::clock;
use crate::problem::Problem;
use crate::resolve::{Resolved, name, resolve};
use crate::run::{Call, Run, RunEnd};
use crate::running::RunningCall;

/// Runs one call to its end and keeps its record.
///
/// # Errors
/// A [`Problem`] when the request itself was wrong and nothing ran. A refused or failed run is not
/// an error here: it is a [`Run`] with that end.
pub async fn invoke(app: &Arc<App>, call: Call) -> Result<Run, Problem> {
    let started = Instant::now();
    // Why before anything is read: whatever is switched off from here on ends this call too.
    let ticket = app.running.register(RunningCall {
        org: call.org.as_str().to_owned(),
        workspace: call.workspace.as_str().to_owned(),
        connector: call.connector_id.clone(),
        host: None,
    });
    let named = name(app, &call).await?;
    let mut run = Run::new(
        clock::fresh("run", RunId::parse)?,
        named.loaded.connector.id.clone(),
        named.action()?.id.clone(),
        named.loaded.revision,
        call.automation_id.clone(),
    );
    if let Some(reason) = call.skip {
        run.end = RunEnd::Skipped(reason);
        if !call.rehearse {
            run.keep(app, &call.org, &call.workspace).await?;
        }
        return Ok(run);
    }
    match resolve(app, &call, &named).await? {
        Resolved::Skip(reason) => run.end = RunEnd::Skipped(reason),
        Resolved::Ready(ready) => {
            ticket.set_host(ready.host.clone());
            Attempts::new(app, &call, &named, &ticket).run(*ready, &mut run).await?;
        }
    }
    run.usage.total_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    if call.rehearse {
        return Ok(run);
    }
    if let Err(problem) = run.keep(app, &call.org, &call.workspace).await {
        // Why the answer stands: what was sent was sent, and an error would invite a second time.
        tracing::error!(run_id = %run.id, code = %problem.code, "the run's record could not be kept");
    }
    Ok(run)
}
