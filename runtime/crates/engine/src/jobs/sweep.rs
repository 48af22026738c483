//! Erases ended jobs, with their inputs, once they need not be kept any more. Their records stay, and one that is missing
//! is stored.

use std::sync::{Arc, Weak};
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::sync::lock;
use portcullis_store::{Job, JobName, RunRecord, WorkspaceRecord};
use serde_json::value::RawValue;
use tokio::time::{MissedTickBehavior, interval};

use super::JobDesk;
use super::detail::Detail;
use super::feed;
use super::keeping::is_past;
use crate::clock::{self, now_ms};
use crate::engine::Engine;
use crate::error::Error;
use crate::idempotency;
use crate::nodes::{Duty, is_on_duty};
use crate::rate_limit;
use crate::retention;
use crate::runs;

/// How often it is looked for what can be erased.
const EVERY: Duration = Duration::from_secs(60);
/// How long another process is given to store the record of a run that it ended.
const OTHERS_MS: u64 = 60_000;
/// Jobs read at a time.
const PAGE: usize = 100;

/// Erases what need not be kept any more, until the process takes no more jobs. Beside the worker, which does not wait
/// for it.
pub(super) async fn sweeps(engine: Weak<Engine>, desk: Arc<JobDesk>) {
    let mut ticks = interval(EVERY);
    // Why: a sweep that took long is not followed by two.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = desk.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Some(engine) = engine.upgrade() else { return };
        if !is_on_duty(&engine, Duty::Runs, EVERY).await {
            continue;
        }
        tokio::select! {
            biased;
            // Why it may be dropped: each step is complete by itself, and the next process goes on.
            () = desk.stop.cancelled() => return,
            () = all(&engine) => {}
        }
    }
}

async fn all(engine: &Engine) {
    if let Err(error) = record_missing(engine).await {
        tracing::error!(code = %error.code, detail = error.detail, "runs without a record could not be listed");
    }
    if let Err(error) = sweep(engine).await {
        tracing::error!(code = %error.code, detail = error.detail, "ended runs could not be listed");
    }
    if let Err(error) = feed::trim(engine).await {
        tracing::error!(code = %error.code, detail = error.detail, "old entries of feeds could not be dropped");
    }
    if let Err(error) = rate_limit::sweep(engine).await {
        tracing::error!(%error, "what was taken of budgets could not be listed");
    }
    if let Err(error) = idempotency::sweep(engine).await {
        tracing::error!(code = %error.code, detail = error.detail, "idempotency keys could not be listed");
    }
}

/// Stores the records of runs whose process ended between their end and their record.
///
/// # Errors
/// Those of the store if they cannot be listed.
async fn record_missing(engine: &Engine) -> Result<(), Error> {
    let mut after = None;
    loop {
        let mut page = engine.jobs.store.unrecorded(after.as_ref(), PAGE).await?;
        for name in &page {
            // Why read after the list: what is in neither has its record by now.
            let is_under_way = lock(&engine.jobs.recording).contains_key(&name.run_id);
            if !is_under_way && let Err(error) = record_one(engine, name).await {
                let (run, code, detail) = (&name.run_id, error.code, error.detail.as_str());
                tracing::error!(run_id = %run, %code, detail, "the record of a run could not be stored");
            }
        }
        let is_full = page.len() == PAGE;
        let Some(last) = page.pop().filter(|_| is_full) else { return Ok(()) };
        after = Some(last);
    }
}

async fn record_one(engine: &Engine, name: &JobName) -> Result<(), Error> {
    let Some(job) = engine.jobs.store.get(name).await? else { return Ok(()) };
    let is_shared = engine.resources.records.store().is_shared();
    let ended_ms = Detail::of(&job)?.ended_ms().unwrap_or_default();
    // Why: another process may be about to store it.
    if is_shared && now_ms() < ended_ms.saturating_add(OTHERS_MS) {
        return Ok(());
    }
    record(engine, name, &job).await?;
    Ok(engine.jobs.store.note_recorded(name).await?)
}

/// Erases the jobs whose time is over. One that cannot be erased is logged, and keeps no other from it.
///
/// # Errors
/// Those of the store if they cannot be listed.
async fn sweep(engine: &Engine) -> Result<(), Error> {
    let now = now_ms();
    let mut after = None;
    loop {
        let mut page = engine.jobs.store.outdated(now, after.as_ref(), PAGE).await?;
        for (_, name) in &page {
            if let Err(error) = erase(engine, name).await {
                let (run, code, detail) = (&name.run_id, error.code, error.detail.as_str());
                tracing::error!(run_id = %run, %code, detail, "an ended run could not be erased");
            }
        }
        let is_full = page.len() == PAGE;
        let Some(last) = page.pop().filter(|_| is_full) else { return Ok(()) };
        after = Some(last);
    }
}

/// Erases a job whose time is over.
async fn erase(engine: &Engine, name: &JobName) -> Result<(), Error> {
    // Why first: from here on nobody takes it up again, so its record is final and it is not erased under somebody.
    let Some(job) = engine.jobs.store.expire(name, now_ms()).await? else { return Ok(()) };
    record(engine, name, &job).await?;
    Ok(engine.jobs.store.erase(name).await?)
}

/// Makes sure that the run has a record: one that was given up has none before, because it might have been taken up.
async fn record(engine: &Engine, name: &JobName, job: &Job) -> Result<(), Error> {
    let JobName { org, workspace, run_id } = name;
    let parts = [org.as_str(), workspace.as_str()];
    let found = engine.resources.records.get_shared::<WorkspaceRecord>(&parts).await?;
    if found.is_none_or(|(_, commit)| commit != job.workspace_commit) {
        return Ok(());
    }
    // Why for all: the process may have ended between the record and the erasing.
    if engine.runs.get(org, workspace, run_id).await?.is_some() {
        return Ok(());
    }
    let detail = Detail::of(job)?;
    let terms = retention::in_force(engine, org).await?;
    // Why: a record that retention dropped does not come back.
    if detail.ended_ms().is_some_and(|ended_ms| is_past(&terms, ended_ms, now_ms())) {
        return Ok(());
    }
    let Some(document) = engine.jobs.store.document(name).await? else { return Ok(()) };
    let body = RawValue::from_string(document).map_err(|_| Error::plain(Code::Internal))?;
    let created_at = detail.ended_at.unwrap_or_else(clock::now);
    let (run_id, org, workspace) = (run_id.clone(), org.clone(), workspace.clone());
    let record = RunRecord { run_id, org, workspace, created_at, body };
    engine.runs.append(&record).await?;
    if let Ok(run) = runs::stored(&record) {
        engine.resources.metrics.run_recorded(run.status());
    }
    Ok(())
}
