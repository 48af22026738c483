//! Who is first in a line, and who is next: kept in a record of the line, which every step that changes it requires to be
//! as it was read, so that two processes cannot both make a job the first one.
//!
//! A job that is not first stands in no order of time, so nobody looks at it. The batch that ends the first one makes the
//! next one due. A job that was given up leaves the line: those behind it go on, and say so. When it is taken up again it
//! has the turn that it had.

use portcullis_core::id::RunId;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use super::{RecordJobs, unreadable};
use crate::backend::{Batch, Precondition};
use crate::error::StoreError;
use crate::jobs::keys::held_of;
use crate::jobs::{Job, JobName, JobState, LineName, LinePlace};

/// Locks of lines: steps of one line take their turns within a process, so that they do not beat each other in the store.
const LOCKS: usize = 64;
/// Held jobs looked at for the next one: the first is it, unless its record cannot be used.
const LOOKED_AT: usize = 16;

/// A line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    /// The turn of the next one that joins.
    next: u64,
    /// The turn of the job that is first; absent while all have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    /// The last turn that was first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<u64>,
    /// Jobs of it that were given up and were not taken up again.
    #[serde(default)]
    dead: u64,
    /// Jobs of it that have ended and may come back: the dead ones and those that were skipped.
    #[serde(default)]
    kept: u64,
}

/// A line as it was read.
pub(super) struct ReadLine {
    pub(super) key: String,
    line: Line,
    /// The commit that wrote it; absent if there is none.
    revision: Option<u64>,
}

/// The locks of lines.
pub(super) struct Locks([Mutex<()>; LOCKS]);

impl Default for Locks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Locks {
    /// The lock of a line, which it may share with others.
    pub(super) async fn of(&self, line: &LineName) -> Option<MutexGuard<'_, ()>> {
        let sum = line.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) ^ usize::from(byte));
        match self.0.get(sum % LOCKS) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }
}

/// What a job is to its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Head,
    Held,
    Dead,
    Skipped,
    /// Ended for good, or erased.
    Gone,
}

impl Standing {
    fn of(job: &Job) -> Self {
        match job.state {
            _ if job.is_held() => Self::Held,
            state if state.is_open() => Self::Head,
            JobState::Dead => Self::Dead,
            JobState::Skipped => Self::Skipped,
            _ => Self::Gone,
        }
    }
}

impl Line {
    /// Makes a job that is in it the first one.
    fn begin(&mut self, place: &mut LinePlace) {
        // Why both: of those behind a dead one each is out of order, and so is one that comes back when later ones began.
        place.out_of_order = self.dead > 0 || self.begun.is_some_and(|begun| begun > place.turn);
        place.held = false;
        self.head = Some(place.turn);
        self.begun = self.begun.max(Some(place.turn));
    }

    /// Lets a job in: as the first one if there is none.
    fn enter(&mut self, place: &mut LinePlace) {
        if self.head.is_none() {
            self.begin(place);
        } else {
            place.held = true;
        }
    }

    /// Whether nothing needs to be known of it any more: nobody is in it, and nobody comes back.
    const fn is_over(&self) -> bool {
        self.head.is_none() && self.kept == 0
    }
}

impl ReadLine {
    /// Adds the line to a batch as it is after it, if nobody changed it since.
    fn change(&self, batch: Batch, after: &Line) -> Result<Batch, StoreError> {
        let precondition = self.revision.map_or(Precondition::Absent, Precondition::Revision);
        let batch = batch.require(self.key.clone(), precondition);
        if after.is_over() {
            return Ok(batch.delete(self.key.clone()));
        }
        let json = serde_json::to_vec(after).map_err(|error| unreadable(&self.key, &error))?;
        Ok(batch.put(self.key.clone(), json))
    }

    /// Adds to a batch that a new job joins, which gets its place.
    pub(super) fn join(&self, batch: Batch, job: &mut Job, name: &LineName) -> Result<Batch, StoreError> {
        let mut line = self.line.clone();
        let mut place = LinePlace { name: name.clone(), turn: line.next, held: false, out_of_order: false };
        line.next = line.next.saturating_add(1);
        line.enter(&mut place);
        job.line = Some(place);
        self.change(batch, &line)
    }
}

impl RecordJobs {
    /// The line of that name in a job's workspace.
    pub(super) async fn line_of(&self, job: &JobName, line: &LineName) -> Result<ReadLine, StoreError> {
        let key = job.line_key(line);
        let found = self.store.get(&key).await?;
        let line = found.as_ref().map(|found| serde_json::from_slice(&found.value)).transpose();
        let line = line.map_err(|error| unreadable(&key, &error))?.unwrap_or_default();
        Ok(ReadLine { key, line, revision: found.map(|found| found.revision) })
    }

    /// Adds to the batch of a job's step what it means for its line. `after` is absent for a job that is erased; the place
    /// of one that comes back is decided here.
    pub(super) async fn move_in_line(
        &self,
        batch: Batch,
        name: &JobName,
        before: &Job,
        mut after: Option<&mut Job>,
    ) -> Result<Batch, StoreError> {
        let Some(place) = &before.line else { return Ok(batch) };
        let was = Standing::of(before);
        let is = after.as_deref().map_or(Standing::Gone, Standing::of);
        // Why the second: those that are held are known by their keys alone.
        if was == is || (was == Standing::Held && is == Standing::Gone) {
            return Ok(batch);
        }
        let read = self.line_of(name, &place.name).await?;
        let mut line = read.line.clone();
        line.next = line.next.max(place.turn.saturating_add(1));
        match was {
            Standing::Head => line.head = None,
            Standing::Dead => line.dead = line.dead.saturating_sub(1),
            Standing::Held | Standing::Skipped | Standing::Gone => {}
        }
        if matches!(was, Standing::Dead | Standing::Skipped) {
            line.kept = line.kept.saturating_sub(1);
        }
        match is {
            Standing::Dead => line.dead = line.dead.saturating_add(1),
            Standing::Head | Standing::Held => {
                if let Some(place) = after.as_mut().and_then(|after| after.line.as_mut()) {
                    line.enter(place);
                }
            }
            Standing::Skipped | Standing::Gone => {}
        }
        if matches!(is, Standing::Dead | Standing::Skipped) {
            line.kept = line.kept.saturating_add(1);
        }
        let batch =
            if line.head.is_none() { self.begin_next(batch, name, place, &mut line).await? } else { batch };
        read.change(batch, &line)
    }

    /// Adds to a batch that the first one of those that are held is due.
    async fn begin_next(
        &self,
        mut batch: Batch,
        name: &JobName,
        place: &LinePlace,
        line: &mut Line,
    ) -> Result<Batch, StoreError> {
        let prefix = held_of(&name.org, &name.workspace, &place.name);
        for (key, found) in self.store.list(&prefix, None, LOOKED_AT).await? {
            batch = batch.delete(key);
            let run = std::str::from_utf8(&found.value).ok().and_then(|text| RunId::parse(text).ok());
            let Some(run_id) = run else { continue };
            let next = JobName { run_id, ..name.clone() };
            let (mut job, revision) = match self.read(&next).await {
                Ok(Some((job, revision))) if job.is_held() => (job, revision),
                // Why passed: it was cancelled, or erased, since the list was read.
                Ok(_) => continue,
                Err(error @ (StoreError::Damaged { .. } | StoreError::Unreadable { .. })) => {
                    // Why passed: nobody can execute it, and those behind it are not held for ever.
                    tracing::error!(run_id = %next.run_id, %error, "a job that waits for its turn cannot be read");
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(place) = &mut job.line else { continue };
            line.begin(place);
            let key = next.key();
            let batch = batch.require(key.clone(), Precondition::Revision(revision));
            let batch = batch.put(job.place(&next), b"{}".to_vec());
            return Ok(batch.put(key.clone(), job.json(&key)?));
        }
        Ok(batch)
    }
}
