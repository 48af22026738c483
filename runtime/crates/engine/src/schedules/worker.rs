//! The worker of schedules: one in a process. It reads only what is due, and sleeps until something is.

use std::sync::{Arc, Weak};
use std::time::Duration;

use portcullis_core::cron::{Cron, Times, time_zone};
use portcullis_core::id::{AutomationId, OrgId};
use portcullis_store::{AutomationRecord, Change, Key, ScheduleOrder, ScheduleRecord, StoreError, Writes};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::firing::{Fired, fire_batch};
use super::keep::{ScheduleChange, renewed};
use super::plan::{Moment, Step, advance, rewind, step};
use super::{Missed, READ_AT_ONCE, Schedule, of_document};
use crate::clock::HOUR_MS;
use crate::engine::Engine;
use crate::error::Error;

/// How long the worker sleeps at most: others may have saved a schedule, or a clock was moved.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// The same where other processes share the store.
const SLEEP_SHARED: Duration = Duration::from_secs(1);
/// The wait after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// By how much a clock goes back that was set back, milliseconds: less is what clocks do.
const SET_BACK_MS: u64 = 1000;

/// A schedule that is due: when, and whose.
struct Due {
    at_ms: u64,
    org: OrgId,
    id: AutomationId,
}

/// What came of the schedules that were due.
#[derive(Default)]
struct Round {
    /// Whether a step was taken, after which there may be another.
    went_on: bool,
    failed: bool,
}

impl Engine {
    /// Begins to fire schedules, until [`Self::stop_jobs`] or the engine's end. Once is enough for a process.
    pub fn start_schedules(self: &Arc<Self>) {
        tokio::spawn(rounds(Arc::downgrade(self), self.jobs.stopped()));
    }

    /// Has the clock looked at now, and not only when the next schedule was due: it was moved.
    pub fn wake_schedules(&self) {
        self.resources.schedules_changed.notify_one();
    }
}

async fn rounds(engine: Weak<Engine>, stop: CancellationToken) {
    let mut last_ms = None;
    loop {
        let Some(own) = engine.upgrade() else { return };
        let freshness = Arc::clone(&own.resources.freshness);
        if freshness.is_lost() {
            drop(own);
            // Why: what this node cannot judge is left to the others.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = freshness.regained() => continue,
                () = sleep(SLEEP_MAX) => continue,
            }
        }
        let now_ms = own.resources.clock.now_ms();
        // Why at the beginning: it may have been set back since the last process ended.
        if last_ms.is_none_or(|last: u64| now_ms.saturating_add(SET_BACK_MS) < last)
            && let Err(error) = look_at_all(&own, now_ms, last_ms.is_none()).await
        {
            tracing::error!(%error, "schedules cannot be read");
        }
        last_ms = Some(now_ms);
        let pause = match round(&own, &stop).await {
            Ok(Round { went_on: true, .. }) => Duration::ZERO,
            Ok(Round { failed: true, .. }) => AFTER_FAILURE,
            Ok(_) => until_due(&own).await,
            Err(error) => {
                tracing::error!(%error, "due schedules cannot be read");
                AFTER_FAILURE
            }
        };
        let resources = Arc::clone(&own.resources);
        drop(own);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = resources.schedules_changed.notified(), if !pause.is_zero() => {}
            () = sleep(pause) => {}
        }
    }
}

/// How long nothing is due.
async fn until_due(engine: &Engine) -> Duration {
    let records = &engine.resources.records;
    let most = if records.store().is_shared() { SLEEP_SHARED } else { SLEEP_MAX };
    match records.keys::<ScheduleOrder>(&[], None, 1).await {
        Ok(first) => {
            let at_ms = first.first().and_then(|parts| ScheduleOrder::parse(parts.first()?));
            let left = at_ms.map(|at_ms| at_ms.saturating_sub(engine.resources.clock.now_ms()).max(1));
            left.map_or(most, |ms| Duration::from_millis(ms).min(most))
        }
        Err(_) => AFTER_FAILURE,
    }
}

/// Takes a step with each schedule that is due.
async fn round(engine: &Arc<Engine>, stop: &CancellationToken) -> Result<Round, StoreError> {
    let mut done = Round::default();
    let mut after: Option<Vec<String>> = None;
    loop {
        let records = &engine.resources.records;
        let page = records.keys::<ScheduleOrder>(&[], after.as_deref(), READ_AT_ONCE).await?;
        for parts in &page {
            let Some(due) = Due::of(parts) else { continue };
            if stop.is_cancelled() || due.at_ms > engine.resources.clock.now_ms() {
                return Ok(done);
            }
            match take_step(engine, &due).await {
                Ok(()) => done.went_on = true,
                Err(error) => {
                    let (id, code, detail) = (&due.id, error.code, error.detail.as_str());
                    tracing::error!(automation_id = %id, %code, detail, "a schedule could not be fired");
                    done.failed = true;
                }
            }
        }
        if page.len() < READ_AT_ONCE {
            return Ok(done);
        }
        after = page.last().cloned();
    }
}

impl Due {
    fn of(parts: &[String]) -> Option<Self> {
        let [at, org, id] = parts else { return None };
        let at_ms = ScheduleOrder::parse(at)?;
        Some(Self { at_ms, org: OrgId::parse(org).ok()?, id: AutomationId::parse(id).ok()? })
    }

    fn parts(&self) -> [&str; 2] {
        [self.org.as_str(), self.id.as_str()]
    }
}

/// A step was not taken because another process took one.
fn beaten(error: StoreError) -> Result<(), Error> {
    match error {
        StoreError::Conflict { key } if Key::parse(&key).is_some() => Ok(()),
        other => Err(other.into()),
    }
}

/// Takes the next step with a schedule, and fires some workspaces if it says so.
async fn take_step(engine: &Arc<Engine>, due: &Due) -> Result<(), Error> {
    let resources = &engine.resources;
    let found = resources.records.get::<ScheduleRecord>(&due.parts()).await?;
    let Some((before, commit)) = found else { return forget(engine, due, None).await };
    if before.due_ms != Some(due.at_ms) {
        return forget(engine, due, Some(commit)).await;
    }
    let now_ms = resources.clock.now_ms();
    let Some(wanted) = wanted(engine, due, (&before, commit), now_ms).await? else { return Ok(()) };
    let Wanted { schedule, automation } = wanted;
    let mut after = before.clone();
    let Some(times) = times_of(&before) else {
        tracing::error!(automation_id = %due.id, "a stored schedule cannot be read; save its automation again");
        after.due_ms = Some(now_ms.saturating_add(HOUR_MS));
        return write(engine, &ScheduleChange::to(before, commit, after)).await.map(drop);
    };
    let limits = engine.limits();
    let moment = Moment { now_ms, grace_ms: limits.schedule_grace_ms, lease_ms: limits.job_lease_ms };
    let next = step(&times, schedule.missed == Missed::Once, moment, &mut after);
    let written = write(engine, &ScheduleChange::to(before, commit, after.clone())).await?;
    let Some(commit) = written.filter(|_| next != Step::Rest) else { return Ok(()) };
    let Some(fired) = Fired::of(&after, automation, next == Step::TakeOver) else { return Ok(()) };
    let lease = Duration::from_millis(limits.job_lease_ms);
    let batch = fire_batch(engine, &Arc::new(fired), &schedule.workspaces, lease).await?;
    let mut ended = after.clone();
    advance(&mut ended, batch, resources.clock.now_ms());
    write(engine, &ScheduleChange::to(after, commit, ended)).await.map(drop)
}

/// An automation, and the schedule in its document.
struct Wanted {
    schedule: Schedule,
    automation: Arc<AutomationRecord>,
}

impl Wanted {
    fn of(automation: Arc<AutomationRecord>) -> Option<Self> {
        Some(Self { schedule: of_document(&automation.definition)?, automation })
    }
}

/// The automation of a schedule, if the record is as it wants it; else `None`, and the record is put right.
async fn wanted(
    engine: &Engine,
    due: &Due,
    (before, commit): (&ScheduleRecord, u64),
    now_ms: u64,
) -> Result<Option<Wanted>, Error> {
    let records = &engine.resources.records;
    let shared = records.get_shared::<AutomationRecord>(&due.parts()).await?;
    let shared = shared.and_then(|(automation, _)| Wanted::of(automation));
    if let Some(kept) = shared.filter(|wanted| righted(before, wanted, now_ms).is_none()) {
        return Ok(Some(kept));
    }
    // Why read again: the record is the newest, and what another node saved with it may not be known here yet. What fires
    // is read again with it.
    let key = Key::of::<AutomationRecord>(&due.parts())?;
    records.changed(&[Change { seq: 0, key, deleted: false }]);
    let newest = records.get_shared::<AutomationRecord>(&due.parts()).await?;
    let revision = newest.as_ref().map(|(_, revision)| *revision);
    let change = match newest.and_then(|(automation, _)| Wanted::of(automation)) {
        Some(wanted) => match righted(before, &wanted, now_ms) {
            Some(right) => ScheduleChange::to(before.clone(), commit, right),
            None => return Ok(Some(wanted)),
        },
        None => ScheduleChange::end(before.clone(), commit),
    };
    // Why a condition: the automation may be saved again before this is written.
    let writes = match revision {
        Some(revision) => Writes::new().require_revision::<AutomationRecord>(&due.parts(), revision),
        None => Writes::new().require_absent::<AutomationRecord>(&due.parts()),
    };
    match engine.resources.commit(change.add_to(writes)).await {
        Ok(_) => Ok(None),
        Err(error) => beaten(error).map(|()| None),
    }
}

/// Writes a change; `None` if another process was faster.
async fn write(engine: &Engine, change: &ScheduleChange) -> Result<Option<u64>, Error> {
    match engine.resources.commit(change.add_to(Writes::new())).await {
        Ok(commit) => Ok(Some(commit)),
        Err(error) => beaten(error).map(|()| None),
    }
}

/// Forgets a place in the order that no schedule has.
async fn forget(engine: &Engine, due: &Due, commit: Option<u64>) -> Result<(), Error> {
    let parts = due.parts();
    let writes = match commit {
        Some(commit) => Writes::new().require_revision::<ScheduleRecord>(&parts, commit),
        None => Writes::new().require_absent::<ScheduleRecord>(&parts),
    };
    let order = ScheduleOrder::part(due.at_ms);
    let writes = writes.delete::<ScheduleOrder>(&[&order, due.org.as_str(), due.id.as_str()]);
    match engine.resources.commit(writes).await {
        Ok(_) => Ok(()),
        Err(error) => beaten(error),
    }
}

fn times_of(record: &ScheduleRecord) -> Option<Times> {
    Some(Times { cron: Cron::parse(&record.cron).ok()?, zone: time_zone(&record.timezone).ok()? })
}

/// The record as its automation wants it, if it is another one: they are written together, so only somebody who wrote
/// past the engine made the difference.
fn righted(record: &ScheduleRecord, wanted: &Wanted, now_ms: u64) -> Option<ScheduleRecord> {
    // Why none of one that cannot be read: that is for a person to see.
    times_of(record)?;
    let Wanted { schedule, automation } = wanted;
    let enabled = automation.definition.get("enabled").and_then(serde_json::Value::as_bool).unwrap_or(true);
    let times = super::times_of(schedule).ok()?;
    let whose = (&record.org, &record.automation_id);
    Some(renewed(Some(record), whose, schedule, enabled, &times, now_ms)).filter(|right| right != record)
}

/// Looks at every schedule: after the clock was set back, and when a process begins. What was held by a process that is
/// gone is taken over at once.
async fn look_at_all(engine: &Engine, now_ms: u64, begins: bool) -> Result<(), StoreError> {
    let resources = &engine.resources;
    let nobody_else = begins && !resources.records.store().is_shared();
    let mut after: Option<String> = None;
    loop {
        let page = resources.records.list::<ScheduleRecord>(&[], after.as_deref(), READ_AT_ONCE).await?;
        for (_, before, commit) in &page {
            let mut record = before.clone();
            if record.firing.as_ref().is_some_and(|firing| firing.held) && nobody_else {
                record.due_ms = record.due_ms.map(|due_ms| due_ms.min(now_ms));
            } else if let Some(times) = times_of(before) {
                rewind(&times, &mut record, now_ms);
            }
            if record == *before {
                continue;
            }
            let change = ScheduleChange::to(before.clone(), *commit, record);
            match resources.commit(change.add_to(Writes::new())).await {
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let Some((last, ..)) = page.last().filter(|_| page.len() == READ_AT_ONCE) else { return Ok(()) };
        after = Some(last.clone());
    }
}
