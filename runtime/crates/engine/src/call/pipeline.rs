//! The life of a call, on one page.
//!
//! ```text
//! CallRequest   who, where, what; authorised and bounded by the API
//!   → name        connector and action exist
//!   → prepare     enabled, credential state, the org's rules, input, grant; or a silent skip
//!   → retry loop  attempts as the retry rules allow; all waiting is done without a guest instance:
//!       → breaker    the vendor is asked at all; how the attempt ends is taken up
//!       → token      renewed before it expires, where the auth type has one
//!       → rate limit the connection's own budgets
//!       → guard      the capability of this one attempt: grant + sealed credential + ledger
//!       → sandbox    a fresh instance of the handler; its only import is the guard
//!           → guard.send  lists → action → headers → ledger begin → resolve → connect → TLS →
//!                         open credential → inject → send → cap → scrub → ledger complete
//!       → end        output, or the refusal that the guard recorded, or the guest's failure
//!   → store       the run's record
//! ```

use std::time::{Duration, Instant};

use portcullis_core::fault::Code;
use portcullis_core::id::RunId;
use portcullis_store::WorkspaceRecord;
use tokio_util::sync::CancellationToken;

use super::active_calls::{CallScope, CancelHandle};
use super::done;
use super::earlier::{Pinned, named};
use super::org_rules;
use super::prepare::{Prepared, prepare};
use super::request::CallRequest;
use super::retry_loop::RetryLoop;
use super::run::{Progress, Run, RunEnd};
use crate::clock;
use crate::connection::health;
use crate::engine::Engine;
use crate::error::Error;
use crate::invalidation;
use crate::org_limits;
use crate::request_mark::RequestMark;

/// How a call is tried. By default with all attempts that its retry rules allow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trying {
    /// Only one attempt: who asks repeats it later, as the retry rules allow ([`Progress::may_repeat`]).
    pub(crate) once: bool,
    /// How long ago the first attempt of the run was.
    pub(crate) age: Duration,
    /// Ends the call.
    pub(crate) cancel: CancellationToken,
    /// The revision of the definition that its action is of; the one in force if there is none.
    pub(crate) pinned: Option<Pinned>,
}

/// What became of a call, whose record is not stored.
pub(crate) struct Called {
    pub(crate) run: Run,
    /// Whether its workspace was deleted meanwhile: the next one of that name is not to find the record.
    pub(crate) is_orphan: bool,
}

/// Runs one call to its end and stores its record.
///
/// # Errors
/// An [`Error`] if the request itself was wrong and nothing ran. A refused or failed run is not an error here: it is
/// a [`Run`] with that end.
pub(crate) async fn invoke(engine: &Engine, call: CallRequest) -> Result<Run, Error> {
    // Why not of what the org's rules refuse: nothing is asked of anybody for it.
    if call.skip.is_none() && !call.dry_run && !org_rules::is_refused(&engine.resources, &call).await? {
        org_limits::count_call(engine, &call.org).await?;
    }
    let mut is_orphan = false;
    let called = tried(engine, &call, &Trying::default()).await.map(|called| {
        is_orphan = called.is_orphan;
        called.run
    });
    done::ended(engine, &call, &called);
    let run = called?;
    if call.dry_run || is_orphan {
        return Ok(run);
    }
    let kept = match run.record(&call.org, &call.workspace) {
        Ok(record) => engine.runs.append(&record).await.map_err(Error::from),
        Err(error) => Err(error),
    };
    match kept {
        // Why the answer is still returned: the request was sent, and an error would invite a repeat.
        Err(error) if call.skip.is_none() => {
            tracing::error!(run_id = %run.id, code = %error.code, "the run's record could not be kept");
            Ok(run)
        }
        kept => kept.map(|()| {
            engine.resources.metrics.run_recorded(run.status());
            run
        }),
    }
}

/// Runs one call to its end, or makes one attempt of it.
///
/// # Errors
/// As for [`invoke`].
pub(crate) async fn tried(engine: &Engine, call: &CallRequest, trying: &Trying) -> Result<Called, Error> {
    let started = Instant::now();
    // Why before anything is read: a change that is committed from here on ends this call, too.
    let handle = engine.resources.active_calls.register(CallScope::of(call), call.commitment.clone());
    // Why after that: when this node loses the changes of others, calls that are registered are ended, and later ones fail here.
    if !call.dry_run && call.skip.is_none() {
        engine.resources.freshness.check()?;
    }
    let version = engine.resources.cache.version();
    let named = named(&engine.resources, call, trying.pinned.as_ref()).await?;
    let id = call.run_id.clone().map_or_else(|| clock::fresh("run", RunId::parse), Ok)?;
    let queue_us = RequestMark::current().map(|mark| mark.queue_us());
    let mut progress = Progress { queue_us, ..Progress::default() };
    // Why: what was taken from the caller between its authentication and the registration did not know of the call.
    if version != call.seen {
        invalidation::end_without_caller(&engine.resources, &handle).await;
    }
    let mut watched = None;
    let end = match (handle.end_reason(), call.skip) {
        (Some(code), _) => RunEnd::plain(code),
        (None, Some(reason)) => RunEnd::Skipped(reason),
        (None, None) => match prepare(&engine.resources, call, &named, &handle, version).await? {
            Prepared::Skip(reason) => RunEnd::Skipped(reason),
            Prepared::Refused(refused) => refused.end(&engine.resources, call, &id, &mut progress).await,
            Prepared::Ready(ready) => {
                watched = health::Watched::of(&ready.connection);
                let attempts = RetryLoop::new(engine, call, &id, &named, &handle).trying(trying);
                match cancellable(attempts.run(*ready, &mut progress), trying, &handle).await {
                    // Why: what was sent has a run, whose record says so. Where each attempt is asked for by itself, who
                    // asks knows what was sent before.
                    Err(error) if !trying.once && progress.timeline.has_sent() => RunEnd::broken_off(&error),
                    ended => ended?,
                }
            }
        },
    };
    progress.usage.total_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let run = Run {
        id,
        connector_id: named.loaded.connector.id.clone(),
        connection: call.connection.clone(),
        action_id: named.action()?.id.clone(),
        revision: named.loaded.revision,
        automation_id: call.automation_id.clone(),
        event_id: call.event_id.clone(),
        end,
        progress,
    };
    // Why not of a try that is repeated: the call has not ended.
    let has_ended = !(trying.once && run.progress.may_repeat);
    if let Some(watched) = watched.filter(|_| has_ended && !call.dry_run) {
        health::after_call(engine, &watched, &run).await;
    }
    let is_orphan = is_gone(engine, call, &handle).await;
    Ok(Called { run, is_orphan })
}

/// Waits for the end of a call, which whoever asks for it may end.
async fn cancellable(
    call: impl Future<Output = Result<RunEnd, Error>>,
    trying: &Trying,
    handle: &CancelHandle,
) -> Result<RunEnd, Error> {
    let mut call = std::pin::pin!(call);
    tokio::select! {
        biased;
        end = &mut call => end,
        () = trying.cancel.cancelled() => {
            handle.end(Code::CallEnded);
            call.as_mut().await
        }
    }
}

/// Whether the call was ended because its workspace is gone.
async fn is_gone(engine: &Engine, call: &CallRequest, handle: &CancelHandle) -> bool {
    if handle.end_reason() != Some(Code::CallEnded) {
        return false;
    }
    let parts = [call.org.as_str(), call.workspace.as_str()];
    let found = engine.resources.records.get_shared::<WorkspaceRecord>(&parts).await;
    found.is_ok_and(|found| found.is_none_or(|(_, commit)| commit != call.workspace_commit))
}
