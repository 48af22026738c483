//! Jobs as records of a [`Store`]: every step is one batch, decided by compare-and-set on the job.
//!
//! A job stands in exactly one order of time, under the time that it holds itself; the step that moves it takes it out
//! of the old place in the same batch. Jobs that become due are moved to the order of their workspace when somebody
//! asks who has due ones, so that no step reads more than it takes.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use tokio::sync::MutexGuard;

use super::keys::{ALL_LATER, jobs_of};
use super::{
    Changed, JOB_INPUT_BYTES_MAX, Job, JobEnd, JobName, JobOrder, JobState, Lease, LinePlace, NewJob,
};
use crate::WorkspaceRecord;
use crate::backend::{Batch, Precondition, Store};
use crate::error::StoreError;
use crate::outbox::entries_of;
use crate::records::Key;

mod kept;
mod lines;
mod steps;
mod tally;

use lines::Locks;

/// Largest part of an input: below the store's 64 KiB with room for what an engine adds.
const PART_BYTES: usize = 60 * 1024;
/// Longest document with which a job ends.
const DOCUMENT_BYTES_MAX: usize = 60 * 1024;
/// Jobs that are moved to the order of their workspace in one batch; each takes three operations.
const MOVED_AT_ONCE: usize = 64;
/// Batches that are moved before somebody is answered.
const MOVES_MAX: usize = 8;
/// How often a step is tried again when another step was faster.
const STEPS_MAX: usize = 32;

/// Every order of lists.
const ORDERS: [JobOrder; 2] = [JobOrder::NewestFirst, JobOrder::OldestFirst];

/// Jobs in a store. Cheap to share.
pub struct RecordJobs {
    store: Arc<dyn Store>,
    lines: Locks,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Job {
    fn name(&self) -> JobName {
        JobName { org: self.org.clone(), workspace: self.workspace.clone(), run_id: self.run_id.clone() }
    }

    /// The key of its order at the time it holds, or of its turn in its line.
    fn place(&self, name: &JobName) -> String {
        match self.state {
            _ if self.is_held() => self.line.as_ref().map(|place| name.held_key(place)).unwrap_or_default(),
            JobState::Running => name.later_key(self.at_ms),
            JobState::Queued | JobState::Waiting if self.at_ms <= now_ms() => name.due_key(self.at_ms),
            JobState::Queued | JobState::Waiting => name.later_key(self.at_ms),
            _ => name.kept_key(self.at_ms),
        }
    }

    /// What stands in its order under its key.
    fn mark(&self) -> Vec<u8> {
        if self.is_held() { self.run_id.as_str().as_bytes().to_vec() } else { b"{}".to_vec() }
    }

    /// Takes it out of every order in which it may be.
    fn unplaced(&self, batch: Batch, name: &JobName) -> Batch {
        if let Some(place) = self.line.as_ref().filter(|_| self.is_held()) {
            batch.delete(name.held_key(place))
        } else if self.state.is_open() {
            // Why both: it may have been moved since it was read.
            batch.delete(name.due_key(self.at_ms)).delete(name.later_key(self.at_ms))
        } else {
            batch.delete(name.kept_key(self.at_ms))
        }
    }

    fn listed(&self, batch: Batch, name: &JobName) -> Batch {
        ORDERS
            .iter()
            .fold(batch, |batch, order| batch.put(name.listed_key(*order, self.stored_ms), b"{}".to_vec()))
    }

    fn unlisted(&self, batch: Batch, name: &JobName) -> Batch {
        ORDERS.iter().fold(batch, |batch, order| batch.delete(name.listed_key(*order, self.stored_ms)))
    }

    fn json(&self, key: &str) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| unreadable(key, &error))
    }
}

fn unreadable(key: &str, error: &serde_json::Error) -> StoreError {
    StoreError::Unreadable {
        key: key.to_owned(),
        kind: "job",
        reason: format!("{:?} error at column {}", error.classify(), error.column()),
    }
}

/// A step of a job from one state to another.
struct Step {
    after: Job,
    document: Option<String>,
    erase_input: bool,
    /// What the org is told, as JSON.
    told: Option<Vec<u8>>,
}

impl Step {
    const fn to(after: Job) -> Self {
        Self { after, document: None, erase_input: false, told: None }
    }

    fn end(mut job: Job, end: &JobEnd) -> Result<Self, StoreError> {
        let bytes = end.document.len();
        if bytes > DOCUMENT_BYTES_MAX {
            let key = job.name().end_key();
            return Err(StoreError::TooLarge { key, bytes, limit: DOCUMENT_BYTES_MAX });
        }
        job.state = end.state;
        job.at_ms = end.keep_until_ms;
        job.detail.clone_from(&end.detail);
        job.cancel = false;
        let told =
            serde_json::to_vec(&end.told).map_err(|error| unreadable(&job.name().end_key(), &error))?;
        let (document, erase_input) = (Some(end.document.clone()), end.erase_input);
        Ok(Self { after: job, document, erase_input, told: Some(told) })
    }
}

impl RecordJobs {
    /// The jobs in that store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, lines: Locks::default() }
    }

    /// Waits until no other step of this process changes the same line; of a job of no line it does not wait.
    async fn alone_in(&self, place: Option<&LinePlace>) -> Option<MutexGuard<'_, ()>> {
        match place {
            Some(place) => self.lines.of(&place.name).await,
            None => None,
        }
    }

    async fn read(&self, name: &JobName) -> Result<Option<(Job, u64)>, StoreError> {
        let key = name.key();
        let Some(found) = self.store.get(&key).await? else { return Ok(None) };
        let job = serde_json::from_slice(&found.value).map_err(|error| unreadable(&key, &error))?;
        Ok(Some((job, found.revision)))
    }

    /// Takes a step if the job is still what the step was made of, and returns the job after it; `None` if it is not.
    async fn take(
        &self,
        name: &JobName,
        (before, revision): (&Job, u64),
        step: &Step,
    ) -> Result<Option<Job>, StoreError> {
        let key = name.key();
        let mut after = step.after.clone();
        let leaves_or_comes = before.state.is_open() != after.state.is_open();
        let _alone = self.alone_in(before.line.as_ref().filter(|_| leaves_or_comes)).await;
        let mut batch = Batch::new().require(key.clone(), Precondition::Revision(revision));
        batch = before.unplaced(batch, name);
        batch = self.move_in_line(batch, name, before, Some(&mut after)).await?;
        if step.erase_input {
            batch = (0..before.input_parts).fold(batch, |batch, part| batch.delete(name.input_key(part)));
            after.input_parts = 0;
            let erased = std::mem::take(&mut after.input_bytes);
            if erased > 0 {
                batch = self.part_of(name).await?.change(batch, 0, erased);
            }
        }
        if let Some(document) = &step.document {
            batch = batch.put(name.end_key(), document.clone().into_bytes());
        } else if after.state.is_open() && !before.state.is_open() {
            batch = batch.delete(name.end_key());
        }
        batch = match (before.state.is_open(), after.state.is_open()) {
            (true, false) if after.state.is_final() => {
                batch.delete(name.open_key()).put(name.unrecorded_key(), b"{}".to_vec())
            }
            (true, false) => batch.delete(name.open_key()),
            (false, true) => batch.put(name.open_key(), b"{}".to_vec()),
            _ => batch,
        };
        batch = match (before.state.is_listed(), after.state.is_listed()) {
            (true, false) => before.unlisted(batch, name),
            (false, true) => after.listed(batch, name),
            // Why again: those that were skipped before they were listed are not.
            (true, true) if !before.state.is_open() && after.state.is_open() => after.listed(batch, name),
            _ => batch,
        };
        batch = match (before.can_be_revived(), after.can_be_revived()) {
            (true, false) => batch.delete(name.given_up_key()),
            (false, true) => batch.put(name.given_up_key(), b"{}".to_vec()),
            _ => batch,
        };
        if let Some(told) = &step.told {
            batch = batch.append(entries_of(&name.org), told.clone());
        }
        batch = batch.put(after.place(name), after.mark()).put(key.clone(), after.json(&key)?);
        match self.store.commit(batch).await {
            Ok(_) => Ok(Some(after)),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes a leased job.
    async fn leased(
        &self,
        lease: &Lease,
        step: impl Fn(Job) -> Result<Step, StoreError> + Send,
    ) -> Result<Job, StoreError> {
        let lost = || StoreError::LeaseLost { run: lease.job.run_id.as_str().to_owned() };
        for _ in 0..STEPS_MAX {
            let (job, revision) = self.read(&lease.job).await?.ok_or_else(lost)?;
            if job.state != JobState::Running || job.fence != lease.fence {
                return Err(lost());
            }
            let step = step(job.clone())?;
            if let Some(after) = self.take(&lease.job, (&job, revision), &step).await? {
                return Ok(after);
            }
        }
        Err(StoreError::Conflict { key: lease.job.key() })
    }

    /// Changes a job that nobody leased. `step` returns `None` where the state does not allow it.
    async fn unleased(
        &self,
        name: &JobName,
        step: impl Fn(&Job) -> Result<Option<Step>, StoreError> + Send,
    ) -> Result<Changed, StoreError> {
        for _ in 0..STEPS_MAX {
            let Some((job, revision)) = self.read(name).await? else { return Ok(Changed::Missing) };
            let Some(step) = step(&job)? else { return Ok(Changed::Not(job)) };
            if let Some(after) = self.take(name, (&job, revision), &step).await? {
                let running = after.state == JobState::Running;
                return Ok(if running { Changed::Running(after) } else { Changed::Done(after) });
            }
        }
        Err(StoreError::Conflict { key: name.key() })
    }

    /// Moves what has become due to the order of its workspace: much of it at once, and the rest the next time, so that
    /// nobody waits until a great number is moved.
    async fn promote(&self, now_ms: u64) -> Result<(), StoreError> {
        for _ in 0..MOVES_MAX {
            let found = self.store.list(ALL_LATER, None, MOVED_AT_ONCE).await?;
            let due: Vec<_> = found
                .iter()
                .filter_map(|(key, _)| Some((key, JobName::by_time(key)?)))
                .take_while(|(_, (at_ms, _))| *at_ms <= now_ms)
                .collect();
            if due.is_empty() {
                return Ok(());
            }
            let moved = |batch: Batch, (key, (at_ms, name)): &(&String, (u64, JobName))| {
                let batch = batch.require((*key).clone(), Precondition::Present);
                batch.delete((*key).clone()).put(name.due_key(*at_ms), b"{}".to_vec())
            };
            match self.store.commit(due.iter().fold(Batch::new(), moved)).await {
                Err(StoreError::Conflict { .. }) => {}
                other => {
                    other?;
                    continue;
                }
            }
            // Why one by one: one of them took a step meanwhile, and the others are still due.
            for one in &due {
                match self.store.commit(moved(Batch::new(), one)).await {
                    Ok(_) | Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn erase_found(&self, name: &JobName) -> Result<(), StoreError> {
        for _ in 0..STEPS_MAX {
            let Some((job, revision)) = self.read(name).await? else { return Ok(()) };
            let key = name.key();
            let _alone = self.alone_in(job.line.as_ref()).await;
            let mut batch = Batch::new().require(key.clone(), Precondition::Revision(revision));
            batch = job.unplaced(batch, name).delete(name.open_key()).delete(name.end_key()).delete(key);
            batch = self.move_in_line(batch, name, &job, None).await?;
            batch = batch.delete(name.unrecorded_key()).delete(name.given_up_key());
            batch = job.unlisted(batch, name);
            if job.input_bytes > 0 {
                batch = self.part_of(name).await?.change(batch, 0, job.input_bytes);
            }
            batch = (0..job.input_parts).fold(batch, |batch, part| batch.delete(name.input_key(part)));
            match self.store.commit(batch).await {
                Err(StoreError::Conflict { .. }) => {}
                other => return other.map(|_| ()),
            }
        }
        Err(StoreError::Conflict { key: name.key() })
    }

    async fn page(
        &self,
        org: &OrgId,
        workspace: Option<&WorkspaceId>,
        after: Option<&(WorkspaceId, RunId)>,
        limit: usize,
    ) -> Result<Vec<Job>, StoreError> {
        let after = after.map(|(workspace, run_id)| {
            let (org, workspace) = (org.clone(), workspace.clone());
            JobName { org, workspace, run_id: run_id.clone() }.key()
        });
        let found = self.store.list(&jobs_of(org, workspace), after.as_deref(), limit).await?;
        let read = found.iter().map(|(key, found)| {
            serde_json::from_slice(&found.value).map_err(|error| unreadable(key, &error))
        });
        read.collect()
    }
}

/// The key of the record that says that a workspace exists.
fn workspace_key(job: &JobName) -> Result<String, StoreError> {
    Key::of::<WorkspaceRecord>(&[job.org.as_str(), job.workspace.as_str()])
}

/// The parts of an input as they are stored.
fn parts_of(input: &[u8]) -> Vec<&[u8]> {
    // Why one part for an empty input: that it is there is told by its parts.
    if input.is_empty() { vec![input] } else { input.chunks(PART_BYTES).collect() }
}

/// A job as it is stored first, in no line yet.
fn fresh(job: &NewJob, input: &[u8]) -> Job {
    let NewJob { run_id, org, workspace, workspace_commit, due_ms, line: _, detail } = job;
    Job {
        run_id: run_id.clone(),
        org: org.clone(),
        workspace: workspace.clone(),
        workspace_commit: *workspace_commit,
        state: JobState::Queued,
        stored_ms: now_ms(),
        at_ms: *due_ms,
        tries: 0,
        fence: 0,
        sent: false,
        cancel: false,
        input_parts: u32::try_from(parts_of(input).len()).unwrap_or(u32::MAX),
        input_bytes: input.len() as u64,
        line: None,
        detail: detail.clone(),
    }
}

/// Adds to a batch that a new job is stored.
fn stored(batch: Batch, job: &Job, input: &[u8]) -> Result<Batch, StoreError> {
    let name = job.name();
    let key = name.key();
    if input.len() > JOB_INPUT_BYTES_MAX {
        return Err(StoreError::TooLarge { key, bytes: input.len(), limit: JOB_INPUT_BYTES_MAX });
    }
    let mut batch = job
        .listed(batch, &name)
        .require(key.clone(), Precondition::Absent)
        .require(workspace_key(&name)?, Precondition::Revision(job.workspace_commit))
        .put(job.place(&name), job.mark())
        .put(name.open_key(), b"{}".to_vec())
        .put(key.clone(), job.json(&key)?);
    for (part, number) in parts_of(input).into_iter().zip(0..) {
        batch = batch.put(name.input_key(number), part.to_vec());
    }
    Ok(batch)
}
