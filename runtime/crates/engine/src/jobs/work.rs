//! One try of a job.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portcullis_admission::Permit;
use portcullis_core::fault::Code;
use portcullis_core::sync::lock;
use portcullis_store::{
    AutomationRecord, BoxFuture, Job, JobState, Jobs, Lease, Leased, StoreError, WorkspaceRecord,
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::detail::{Detail, Failure};
use super::payload::{Lost, Payload};
use super::put_off::{put_off, until_half_open};
use super::random_part;
use super::settle::{Ending, Failed, again, finish};
use crate::call::pipeline::{Called, Trying, tried};
use crate::call::run::{EndReason, Progress, Run, RunEnd};
use crate::call::{CallRequest, Commitment, NoteSending};
use crate::clock::now_ms;
use crate::connection::ConnectionKey;
use crate::engine::Engine;
use crate::error::Error;
use crate::org_limits;
use crate::workers::Lane;

/// Notes on disk that a try is about to send something: once, whatever it sends after that.
struct SentMark {
    jobs: Arc<dyn Jobs>,
    lease: Lease,
    noted: OnceCell<()>,
}

impl NoteSending for SentMark {
    fn note(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let noting = || async { self.jobs.note_sent(&self.lease).await };
            self.noted.get_or_try_init(noting).await.map(|_| ())
        })
    }
}

/// Where a repeat does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeat {
    /// Whether a request that may have been carried out may be made again.
    harmless: bool,
    /// The time after which it does, milliseconds since 1970: the vendor forgets the key.
    until_ms: u64,
}

impl Repeat {
    /// Whether it does no harm now.
    pub(super) fn holds(self) -> bool {
        self.harmless && now_ms() < self.until_ms
    }
}

/// A run that this process executes; can be cancelled while this exists.
struct Running<'e> {
    engine: &'e Engine,
    lease: &'e Lease,
    cancel: CancellationToken,
}

impl<'e> Running<'e> {
    fn new(engine: &'e Engine, lease: &'e Lease) -> Self {
        let cancel = CancellationToken::new();
        lock(&engine.jobs.running).insert(lease.job.run_id.clone(), cancel.clone());
        Self { engine, lease, cancel }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.engine.jobs.running).remove(&self.lease.job.run_id);
    }
}

/// Makes one try of a leased job. An error leaves it leased: when the lease has run out, it is tried again.
pub(super) async fn work(engine: &Arc<Engine>, leased: &Leased) -> Result<(), Error> {
    let Leased { job, lease, .. } = leased;
    let resources = &engine.resources;
    // Why before anything is read: what changes from here on ends the call.
    let seen = engine.state_version();
    let parts = [job.org.as_str(), job.workspace.as_str()];
    let workspace = resources.records.get_shared::<WorkspaceRecord>(&parts).await?;
    if workspace.is_none_or(|(_, commit)| commit != job.workspace_commit) {
        return Ok(engine.jobs.store.erase(&lease.job).await?);
    }
    let mut detail = Detail::of(job)?;
    if leased.interrupted && detail.first_try_ms.is_none() {
        // Why so early: when the interrupted try began is not stored, and the vendor's memory must not be overrated.
        detail.first_try_ms = Some(detail.accepted_ms());
    }
    // Why in the detail: what a lease's end or a try tells is forgotten with the next one, and the vendor's memory is not.
    detail.maybe_done |= leased.interrupted && job.sent;
    if let Some(ending) = ended_before(engine, leased, &detail).await? {
        return finish(engine, job, lease, detail, ending).await;
    }
    let lane = Lane::of(Some(job.org.as_str()));
    let (own, of, about) = (Arc::clone(engine), leased.clone(), detail.clone());
    // Why movable: a large input is opened and read.
    let beginning = Box::pin(async move { begin(&own, &of, &about).await });
    let begun = resources.workers.movable(lane.clone(), beginning).await.and_then(|begun| begun)?;
    let Some((permit, payload)) = begun else { return Ok(()) };
    let now = now_ms();
    let untried = detail.first_try_ms;
    let first = *detail.first_try_ms.get_or_insert(now);
    let running = Running::new(engine, lease);
    // Why read again: who cancelled it while it was prepared found nothing that could be told.
    if engine.jobs.store.get(&lease.job).await?.is_some_and(|job| job.cancel) {
        let ending = Ending::cancelled(EndReason::Cancelled, None);
        return finish(engine, job, lease, detail, ending).await;
    }
    let mark = Arc::new(SentMark {
        jobs: Arc::clone(&engine.jobs.store),
        lease: lease.clone(),
        noted: OnceCell::new(),
    });
    let call = call_of(job, &detail, payload, seen, Commitment::noting(Arc::clone(&mark) as _));
    let age = Duration::from_millis(now.saturating_sub(first));
    let trying = Trying { once: true, age, cancel: running.cancel.clone(), pinned: detail.pinned() };
    let own = Arc::clone(engine);
    let calling = Box::pin(detail.mark().around(async move { tried(&own, &call, &trying).await }));
    let calling = permit.run(resources.workers.movable(lane, calling));
    let called = match while_leased(engine, lease, &running.cancel, calling).await {
        Some(Ok(called)) => called.and_then(|called| called),
        // Why counted as no try: the call did not begin.
        Some(Err(refused)) => {
            tracing::debug!(%refused, run_id = %job.run_id, "a run finds no turn");
            return put_back(engine, lease, soon(), &detail).await;
        }
        None => return Ok(()),
    };
    let was_cancelled = running.cancel.is_cancelled();
    drop(running);
    if let Some(due_ms) = until_half_open(&called).filter(|_| !was_cancelled) {
        let connection = connection_of(job, &detail);
        engine.jobs.budget.undo(&connection, is_first(leased), Instant::now());
        let due_ms = engine.jobs.returns.next(&connection, due_ms);
        // Why as before: nothing was sent, so the vendor has nothing to remember from then on.
        detail.first_try_ms = untried;
        return put_back(engine, lease, due_ms.min(detail.deadline_ms), &put_off(detail)).await;
    }
    after(engine, leased, detail, called, was_cancelled, mark.noted.initialized()).await
}

fn connection_of(job: &Job, detail: &Detail) -> ConnectionKey {
    let (org, workspace, connector) = (job.org.clone(), job.workspace.clone(), detail.connector_id.clone());
    ConnectionKey { org, workspace, connector, name: detail.connection.clone() }
}

/// Whether it is a first try. Why an interrupted one, too: that was no fault of the vendor's.
const fn is_first(leased: &Leased) -> bool {
    leased.job.tries <= 1 || leased.interrupted
}

/// A time within the next second, so that what finds no place now does not come back together.
pub(super) fn soon() -> u64 {
    now_ms().saturating_add(random_part(1000))
}

/// What a try needs: its place among the calls, and its input. `None` if the job was given back or ended instead.
async fn begin(
    engine: &Engine,
    leased: &Leased,
    detail: &Detail,
) -> Result<Option<(Permit, Payload)>, Error> {
    let Leased { job, lease, .. } = leased;
    let budget = &engine.jobs.budget;
    let (connection, is_first) = (connection_of(job, detail), is_first(leased));
    if !is_first && let Err(wait) = budget.take(&connection, Instant::now()) {
        let due_ms = engine.jobs.returns.next(&connection, soon().saturating_add(super::millis(wait)));
        return put_back(engine, lease, due_ms, detail).await.map(|()| None);
    }
    let permit = match org_limits::admit_try(engine, &job.org, &job.workspace).await? {
        Ok(permit) => permit,
        Err(wait) => {
            let due_ms = engine.jobs.returns.next(&connection, soon().saturating_add(super::millis(wait)));
            return put_back(engine, lease, due_ms, detail).await.map(|()| None);
        }
    };
    let payload = match Payload::open(engine, &lease.job).await {
        Ok(payload) => payload,
        Err(Lost::Shredded) => {
            engine.jobs.store.erase(&lease.job).await?;
            return Ok(None);
        }
        Err(Lost::Gone) => {
            let ending = Ending::dead(EndReason::InputLost, None);
            return finish(engine, job, lease, detail.clone(), ending).await.map(|()| None);
        }
        Err(Lost::Failed(error)) => return Err(error),
    };
    if is_first {
        budget.note_first(&connection, Instant::now());
    }
    Ok(Some((permit, payload)))
}

/// The call of a job. It has no token: the run belongs to the org.
fn call_of(job: &Job, detail: &Detail, payload: Payload, seen: u64, commitment: Commitment) -> CallRequest {
    CallRequest {
        org: job.org.clone(),
        workspace: job.workspace.clone(),
        workspace_commit: job.workspace_commit,
        seen,
        connector_id: detail.connector_id.as_str().to_owned(),
        connection: detail.connection.clone(),
        action_id: detail.action_id.as_str().to_owned(),
        run_id: Some(job.run_id.clone()),
        input: payload.input,
        automation_id: detail.automation_id.clone(),
        event_id: detail.event_id.clone(),
        token_id: None,
        skip: None,
        dry_run: false,
        key: detail.key.clone(),
        commitment,
    }
}

/// Why a job ends without a try.
async fn ended_before(engine: &Engine, leased: &Leased, detail: &Detail) -> Result<Option<Ending>, Error> {
    let Leased { job, interrupted, .. } = leased;
    if job.cancel {
        return Ok(Some(Ending::cancelled(EndReason::Cancelled, None)));
    }
    if let Some(id) = &detail.automation_id {
        let parts = [job.org.as_str(), id.as_str()];
        if engine.resources.records.get_shared::<AutomationRecord>(&parts).await?.is_none() {
            return Ok(Some(Ending::cancelled(EndReason::AutomationDeleted, None)));
        }
    }
    let repeat = repeat(engine, detail).await?;
    if detail.maybe_done && !repeat.holds() {
        let was_cut_off = *interrupted && job.sent;
        // Why the deadline for the others: the time in which the vendor knows the key is over.
        let is_unknown = was_cut_off || !repeat.harmless;
        let reason = if is_unknown { EndReason::Interrupted } else { EndReason::Deadline };
        return Ok(Some(Ending::dead(reason, None)));
    }
    // Why not the first try of one in a line: its time may have passed while it was held.
    let may_be_late = job.line.is_some() && job.tries <= 1;
    let is_late = now_ms() >= detail.deadline_ms && !may_be_late;
    Ok(is_late.then(|| Ending::dead(EndReason::Deadline, None)))
}

/// Whether the action may be repeated though it may have been carried out, by the definition of now.
pub(super) async fn repeat(engine: &Engine, detail: &Detail) -> Result<Repeat, Error> {
    let never = Repeat { harmless: false, until_ms: 0 };
    let Some(loaded) = engine.resources.cache.connector(detail.connector_id.as_str()).await? else {
        return Ok(never);
    };
    let Some(action) = loaded.connector.action(detail.action_id.as_str()) else { return Ok(never) };
    if action.idempotent || action.retry.allow_non_idempotent {
        return Ok(Repeat { harmless: true, until_ms: u64::MAX });
    }
    let Some(rules) = &action.key else { return Ok(never) };
    let first = detail.first_try_ms.unwrap_or_else(now_ms);
    let until_ms = rules.ttl_s.map_or(u64::MAX, |s| first.saturating_add(u64::from(s).saturating_mul(1000)));
    Ok(Repeat { harmless: true, until_ms })
}

/// Gives a job back whose try did not begin.
async fn put_back(engine: &Engine, lease: &Lease, due_ms: u64, detail: &Detail) -> Result<(), Error> {
    engine.jobs.store.reschedule(lease, due_ms, false, detail.text()?).await?;
    engine.jobs.wake.notify_one();
    Ok(())
}

/// Waits for a call and renews the lease meanwhile. `None` if another has the job: the call is dropped, because what
/// it would say is not wanted any more.
async fn while_leased<T>(
    engine: &Engine,
    lease: &Lease,
    cancel: &CancellationToken,
    call: impl Future<Output = T>,
) -> Option<T> {
    let lasts = engine.limits().job_lease_ms;
    let mut ticks = tokio::time::interval(Duration::from_millis((lasts / 3).max(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            biased;
            ended = &mut call => return Some(ended),
            _ = ticks.tick() => {}
        }
        match engine.jobs.store.renew(lease, now_ms().saturating_add(lasts)).await {
            Ok(job) if job.cancel => cancel.cancel(),
            Ok(_) => {}
            Err(StoreError::LeaseLost { .. }) => {
                tracing::warn!(run_id = %lease.job.run_id, "another worker has the run; this try is dropped");
                return None;
            }
            Err(error) => tracing::error!(%error, run_id = %lease.job.run_id, "a lease cannot be renewed"),
        }
    }
}

/// What follows a try.
async fn after(
    engine: &Engine,
    leased: &Leased,
    mut detail: Detail,
    called: Result<Called, Error>,
    was_cancelled: bool,
    sent: bool,
) -> Result<(), Error> {
    let Leased { job, lease, .. } = leased;
    let run = match called {
        Ok(Called { is_orphan: true, .. }) => return Ok(engine.jobs.store.erase(&lease.job).await?),
        Ok(Called { run, .. }) => run,
        Err(error) => return after_error(engine, leased, detail, error, was_cancelled, sent).await,
    };
    let RunEnd::Failed { code, message, class, retry_at, .. } = &run.end else {
        let ending = match &run.end {
            RunEnd::Skipped(reason) => {
                Ending { state: JobState::Skipped, reason: Some((*reason).into()), run: Some(run) }
            }
            _ => Ending::of(run),
        };
        return finish(engine, job, lease, detail, ending).await;
    };
    if was_cancelled {
        let ending = Ending::cancelled(EndReason::Cancelled, Some(run));
        return finish(engine, job, lease, detail, ending).await;
    }
    if *code == Code::CallEnded && engine.jobs.stop.is_cancelled() {
        // Why nothing is written: the process stops. What becomes of the run is decided as after a crash.
        return Ok(());
    }
    if *code == Code::StoreUnavailable {
        // Why as well: the call was ended because this node cannot judge it, and another one may.
        return Ok(());
    }
    let repeat = repeat(engine, &detail).await?;
    // Why also a call whose time was over: it may have more the next time.
    let ran_out = *code == Code::UpstreamTimeout && (!sent || repeat.holds());
    if !run.progress.may_repeat && !ran_out {
        return finish(engine, job, lease, detail, Ending::of(run)).await;
    }
    let failure = Failure::new(*code, message, class.as_deref());
    let not_before_ms = retry_at.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
    let not_before_ms = not_before_ms.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let until_ms = repeatable_until(&mut detail, repeat, sent);
    again(engine, job, lease, detail, Failed { failure, not_before_ms, run: Some(run) }, until_ms).await
}

/// Until when a job may be tried again, after a try that may be repeated.
fn repeatable_until(detail: &mut Detail, repeat: Repeat, sent: bool) -> u64 {
    // Why not where a repeat does harm: what was sent was refused then, or it would not be tried again.
    detail.maybe_done |= sent && repeat.harmless;
    // Why unbounded where nothing may have been carried out: the vendor has nothing to forget.
    if detail.maybe_done { repeat.until_ms } else { u64::MAX }
}

/// What follows a try in which no request of the action could be made, or whose end is not known.
async fn after_error(
    engine: &Engine,
    leased: &Leased,
    mut detail: Detail,
    error: Error,
    was_cancelled: bool,
    sent: bool,
) -> Result<(), Error> {
    let Leased { job, lease, .. } = leased;
    let run = Run {
        id: job.run_id.clone(),
        connector_id: detail.connector_id.clone(),
        connection: detail.connection.clone(),
        action_id: detail.action_id.clone(),
        revision: detail.revision,
        automation_id: detail.automation_id.clone(),
        event_id: detail.event_id.clone(),
        end: RunEnd::plain(error.code).explained(Some(&error.detail)),
        progress: Progress::default(),
    };
    if was_cancelled {
        let ending = Ending::cancelled(EndReason::Cancelled, Some(run));
        return finish(engine, job, lease, detail, ending).await;
    }
    let repeat = repeat(engine, &detail).await?;
    let may_repeat = passes(error.code) && (!sent || repeat.holds());
    if !may_repeat {
        return finish(engine, job, lease, detail, Ending::of(run)).await;
    }
    let not_before_ms = error.retry_after_s.map(|s| now_ms().saturating_add(s.saturating_mul(1000)));
    let failure = Failure::new(error.code, &error.detail, None);
    let until_ms = repeatable_until(&mut detail, repeat, sent);
    again(engine, job, lease, detail, Failed { failure, not_before_ms, run: Some(run) }, until_ms).await
}

/// Whether what prevented a try may pass: a person mends the connection, a part answers again.
const fn passes(code: Code) -> bool {
    matches!(
        code,
        Code::CredentialNeedsAttention
            | Code::StoreUnavailable
            | Code::LedgerUnavailable
            | Code::Overloaded
            | Code::WorkspaceBusy
            | Code::OrgBusy
            | Code::OrgRateLimited
            | Code::RateLimited
            | Code::DnsFailed
            | Code::ConnectFailed
            | Code::UpstreamTimeout
    )
}
