//! What follows a try: the end, another try, or giving up.

use portcullis_core::fault::Code;
use portcullis_core::id::{ConnectorId, RunId};
use portcullis_core::limits::Limits;
use portcullis_core::sync::lock;
use portcullis_store::{Job, JobEnd, JobName, JobState, Lease, OutboxKind, OutboxRecord, RunRecord};
use serde_json::value::to_raw_value;

use super::detail::{Detail, Failure};
use super::keeping::keep_until_ms;
use crate::call::done::CallDone;
use crate::call::run::{EndReason, Progress, Run, RunEnd, RunStatus, StoredRun};
use crate::clock::{self, jitter, now_ms};
use crate::engine::Engine;
use crate::error::Error;

/// Longest document of an end: the store's limit, with room for what is around it.
const DOCUMENT_BYTES_MAX: usize = 56 * 1024;

/// How a job ends.
pub(super) struct Ending {
    pub(super) state: JobState,
    pub(super) reason: Option<EndReason>,
    /// The last try; absent if it was not tried.
    pub(super) run: Option<Run>,
}

impl Ending {
    /// The call came to its end.
    pub(super) const fn of(run: Run) -> Self {
        Self { state: JobState::Ended, reason: None, run: Some(run) }
    }

    /// Given up.
    pub(super) const fn dead(reason: EndReason, run: Option<Run>) -> Self {
        Self { state: JobState::Dead, reason: Some(reason), run }
    }

    /// Ended by a person.
    pub(super) const fn cancelled(reason: EndReason, run: Option<Run>) -> Self {
        Self { state: JobState::Cancelled, reason: Some(reason), run }
    }
}

/// What a job's end is stored as.
pub(super) struct Settled {
    pub(super) end: JobEnd,
    /// For the records of runs, if it is an end for good.
    pub(super) record: Option<RunRecord>,
    /// What is told of it once it is stored.
    pub(super) told: Told,
}

/// What the log and the counters are told of an end.
pub(super) struct Told {
    done: CallDone,
    connector_id: ConnectorId,
    status: RunStatus,
}

impl Told {
    /// Tells it. Once for an end, by who stored it.
    pub(super) fn tell(&self, engine: &Engine) -> RunStatus {
        self.done.tell(&engine.resources.metrics, Some((&self.connector_id, self.status)));
        self.done.tell_webhooks(engine);
        self.status
    }
}

/// The end of a job as it is stored.
///
/// # Errors
/// `internal`; an end can always be written.
pub(super) fn settled(
    job: &Job,
    mut detail: Detail,
    ending: Ending,
    keep_until_ms: u64,
) -> Result<Settled, Error> {
    let internal = |_| Error::plain(Code::Internal);
    let Ending { state, reason, run } = ending;
    let ended_at = clock::now();
    if let Some(run) = &run {
        detail.revision = run.revision;
        if let RunEnd::Failed { code, message, class, .. } = &run.end {
            detail.failure = Some(Failure::new(*code, message, class.as_deref()));
        }
    }
    let run = run.unwrap_or_else(|| untried(job, &detail, reason));
    let run_code = if let RunEnd::Failed { code, .. } = &run.end { Some(*code) } else { None };
    let status = match state {
        JobState::Dead => RunStatus::Dead,
        JobState::Cancelled => RunStatus::Cancelled,
        JobState::Skipped => RunStatus::Skipped,
        _ => run.status(),
    };
    let told = Told {
        done: detail.done(job).with(&run, status.as_str(), reason),
        connector_id: detail.connector_id.clone(),
        status,
    };
    let mut stored = StoredRun::of_job(&run, status, reason).map_err(internal)?;
    let of_job = |stored: &mut StoredRun| {
        stored.tries = Some(job.tries);
        stored.out_of_order = job.is_out_of_order().then_some(true);
        stored.created_at.clone_from(&ended_at);
    };
    of_job(&mut stored);
    let mut document = serde_json::to_string(&stored).map_err(internal)?;
    if document.len() > DOCUMENT_BYTES_MAX {
        // Why without them: what happened at the end is worth more than the checks and lines before it.
        let short = Run { progress: Progress::default(), ..run };
        let short = Run { end: without_quotes(short.end.clone()), ..short };
        stored = StoredRun::of_job(&short, status, reason).map_err(internal)?;
        of_job(&mut stored);
        document = serde_json::to_string(&stored).map_err(internal)?;
    }
    let record = state.is_final().then(|| {
        Ok::<_, serde_json::Error>(RunRecord {
            run_id: job.run_id.clone(),
            org: job.org.clone(),
            workspace: job.workspace.clone(),
            created_at: ended_at.clone(),
            body: to_raw_value(&stored)?,
        })
    });
    let record = record.transpose().map_err(internal)?;
    let entry = entry(job, &detail, status, reason, run_code);
    detail.reason = reason;
    detail.ended_at = Some(ended_at);
    let (erase_input, detail) = (detail.is_sensitive, detail.text()?);
    let end = JobEnd { state, document, keep_until_ms, erase_input, detail, told: entry };
    Ok(Settled { end, record, told })
}

/// What the org is told of an end: identifiers and our own words, nothing of the third party's.
fn entry(
    job: &Job,
    detail: &Detail,
    status: RunStatus,
    reason: Option<EndReason>,
    code: Option<Code>,
) -> OutboxRecord {
    let word = |reason| serde_json::to_value(reason).ok()?.as_str().map(str::to_owned);
    OutboxRecord {
        kind: OutboxKind::RunEnded,
        at_ms: now_ms(),
        org: job.org.clone(),
        workspace: job.workspace.clone(),
        run_id: job.run_id.clone(),
        status: status.as_str().to_owned(),
        code: code.map(|code| code.as_str().to_owned()),
        reason: reason.and_then(word),
        connector_id: detail.connector_id.clone(),
        connection: detail.connection.clone(),
        action_id: detail.action_id.clone(),
        automation_id: detail.automation_id.clone(),
        event_id: detail.event_id.clone(),
    }
}

/// A failure without what the third party said of it.
fn without_quotes(end: RunEnd) -> RunEnd {
    match end {
        RunEnd::Failed { code, class, upstream, retryable, retry_at, .. } => RunEnd::Failed {
            code,
            message: code.title().to_owned(),
            class,
            upstream,
            retryable,
            error: None,
            retry_at,
        },
        other => other,
    }
}

/// A run that ends without a try of its own: with what the last one said, if there was one.
fn untried(job: &Job, detail: &Detail, reason: Option<EndReason>) -> Run {
    let last = detail.failure.as_ref();
    let code = last.and_then(|failure| Code::parse(&failure.code)).unwrap_or(Code::CallEnded);
    let mut end = RunEnd::plain(code);
    if let (RunEnd::Failed { message, class, retryable, .. }, Some(failure)) = (&mut end, last) {
        message.clone_from(&failure.message);
        class.clone_from(&failure.class);
        *retryable = reason == Some(EndReason::Deadline);
    }
    Run {
        id: job.run_id.clone(),
        connector_id: detail.connector_id.clone(),
        connection: detail.connection.clone(),
        action_id: detail.action_id.clone(),
        revision: detail.revision,
        automation_id: detail.automation_id.clone(),
        event_id: detail.event_id.clone(),
        end,
        progress: Progress::default(),
    }
}

/// Ends a leased job, and stores its record.
///
/// # Errors
/// Those of the store; the lease then runs out.
pub(super) async fn finish(
    engine: &Engine,
    job: &Job,
    lease: &Lease,
    detail: Detail,
    ending: Ending,
) -> Result<(), Error> {
    let keep_until_ms = keep_until_ms(engine, &job.org, ending.state, now_ms()).await;
    let Settled { end, record, told } = settled(job, detail, ending, keep_until_ms)?;
    let recording = Recording::new(engine, &job.run_id);
    engine.jobs.store.finish(lease, &end).await?;
    let status = told.tell(engine);
    keep(engine, recording, &lease.job, record, status).await;
    Ok(())
}

/// That this process ends a run: while it exists, a sweep does not store the run's record.
pub(super) struct Recording<'e> {
    engine: &'e Engine,
    run: RunId,
}

impl<'e> Recording<'e> {
    pub(super) fn new(engine: &'e Engine, run: &RunId) -> Self {
        *lock(&engine.jobs.recording).entry(run.clone()).or_default() += 1;
        Self { engine, run: run.clone() }
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        let mut recording = lock(&self.engine.jobs.recording);
        if let Some(count) = recording.get_mut(&self.run) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                recording.remove(&self.run);
            }
        }
    }
}

/// Stores the record of a run that has ended, and tells those who wait. The job has its document as well, and says that
/// the record may be missing: one that cannot be stored now is stored by a sweep.
pub(super) async fn keep(
    engine: &Engine,
    recording: Recording<'_>,
    name: &JobName,
    record: Option<RunRecord>,
    status: RunStatus,
) {
    let stored = match &record {
        Some(record) => engine.runs.append(record).await,
        None => Ok(()),
    };
    if stored.is_ok() && record.is_some() {
        engine.resources.metrics.run_recorded(status);
    }
    engine.jobs.note_ended(name);
    let noted = match stored {
        Ok(()) if record.is_some() => engine.jobs.store.note_recorded(name).await,
        other => other,
    };
    if let Err(error) = noted {
        tracing::error!(run_id = %name.run_id, %error, "the run's record could not be kept");
    }
    drop(recording);
}

/// Tries a job again after a wait, or gives it up at its deadline. `until_ms` is the time after which it may not be
/// repeated.
///
/// # Errors
/// Those of the store; the lease then runs out.
pub(super) async fn again(
    engine: &Engine,
    job: &Job,
    lease: &Lease,
    mut detail: Detail,
    failed: Failed,
    until_ms: u64,
) -> Result<(), Error> {
    let limits = &engine.resources.limits;
    let now = now_ms();
    let asked = failed.not_before_ms.unwrap_or_default();
    let due_ms = now.saturating_add(wait_ms(job.tries, limits, jitter())).max(asked);
    detail.failure = Some(failed.failure);
    if due_ms >= detail.deadline_ms.min(until_ms) {
        return finish(engine, job, lease, detail, Ending::dead(EndReason::Deadline, failed.run)).await;
    }
    if let Some(run) = &failed.run {
        detail.revision = run.revision;
    }
    engine.jobs.store.reschedule(lease, due_ms, true, detail.text()?).await?;
    if let Some(run) = &failed.run {
        detail.done(job).with(run, "waiting", None).tell(&engine.resources.metrics, None);
    }
    engine.jobs.wake.notify_one();
    Ok(())
}

/// A try that failed and may be repeated.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// Before when the vendor wants no other try.
    pub(super) not_before_ms: Option<u64>,
    pub(super) run: Option<Run>,
}

/// The wait after a try: anything below a bound that doubles with each try.
fn wait_ms(tries: u32, limits: &Limits, random: f64) -> u64 {
    let doublings = tries.saturating_sub(1).min(30);
    let bound = limits.job_retry_base_ms.saturating_mul(1 << doublings).min(limits.job_retry_cap_ms);
    super::millis(std::time::Duration::from_millis(bound).mul_f64(random.clamp(0.0, 1.0)))
}

/// The name of a job.
pub(super) fn name_of(job: &Job) -> JobName {
    JobName { org: job.org.clone(), workspace: job.workspace.clone(), run_id: job.run_id.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_drawn_below_a_bound_that_doubles_to_the_longest() {
        let limits = Limits { job_retry_base_ms: 1000, job_retry_cap_ms: 60_000, ..Limits::default() };
        for (tries, bound) in [(1, 1000), (2, 2000), (3, 4000), (7, 60_000), (u32::MAX, 60_000)] {
            assert_eq!(wait_ms(tries, &limits, 1.0), bound, "{tries}");
            assert_eq!(wait_ms(tries, &limits, 0.5), bound / 2, "{tries}");
            assert_eq!(wait_ms(tries, &limits, 0.0), 0, "{tries}");
        }
    }
}
