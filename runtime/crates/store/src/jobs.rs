//! Jobs: accepted runs that are executed later, each with its input, until they have ended and are not kept any more.
//!
//! It stores what is to be done and who may do it now. It does not look into a job's detail, input or document, and
//! decides neither when something is tried again nor what an end means. Implemented over any [`Store`]; the conformance
//! suite runs over each of them. Nothing here assumes that one process has the jobs alone. Called by the engine.
//!
//! [`Store`]: crate::Store

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::StoreError;
use crate::outbox::OutboxRecord;
use crate::task::BoxFuture;

mod keys;
mod line;
mod records;

pub use line::{LineName, LinePlace};
pub use records::RecordJobs;

/// Largest input in bytes, sealed: its parts and what is written with it are one batch.
pub const JOB_INPUT_BYTES_MAX: usize = 12 * 1024 * 1024;

/// What is to be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted, not begun.
    Queued,
    /// Begun before, and due for another try.
    Waiting,
    /// Leased.
    Running,
    /// Given up; kept so that it can be taken up again.
    Dead,
    /// Not done because nothing may be called; kept so that it can be taken up again.
    Skipped,
    /// Ended by a person.
    Cancelled,
    /// Done, whatever the result.
    Ended,
}

impl JobState {
    /// Whether it will be leased, or is.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Waiting | Self::Running)
    }

    /// Whether it is in the lists of what has not ended for good.
    #[must_use]
    pub const fn is_listed(self) -> bool {
        self.is_open() || matches!(self, Self::Dead | Self::Skipped)
    }

    /// Whether nothing brings it back.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Ended)
    }
}

/// A job. All times are milliseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub run_id: RunId,
    pub org: OrgId,
    pub workspace: WorkspaceId,
    /// The commit that made the workspace.
    pub workspace_commit: u64,
    pub state: JobState,
    /// When it was stored.
    #[serde(default)]
    pub stored_ms: u64,
    /// When it is looked at next: the time of its next try, the end of its lease, or of being kept.
    pub at_ms: u64,
    /// Tries that were begun.
    pub tries: u32,
    /// Counts up with every lease; a write with an earlier one is refused.
    pub fence: u64,
    /// Whether the try that was begun last may have sent something.
    pub sent: bool,
    /// Whether a running one is to be ended.
    pub cancel: bool,
    /// Parts of its input; none once it was erased.
    pub input_parts: u32,
    /// Bytes of its input; none once it was erased.
    #[serde(default)]
    pub input_bytes: u64,
    /// Its place in a line; none of a job that waits for no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<LinePlace>,
    /// What else the engine knows of it: a JSON object, not sealed.
    pub detail: Box<RawValue>,
}

impl Job {
    /// Whether it was given up or skipped, and can be taken up again.
    #[must_use]
    pub const fn can_be_revived(&self) -> bool {
        matches!(self.state, JobState::Dead | JobState::Skipped) && self.keeps_input()
    }

    /// Whether its input is still there.
    #[must_use]
    pub const fn keeps_input(&self) -> bool {
        self.input_parts > 0
    }
}

/// A job that is to be stored.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub run_id: RunId,
    pub org: OrgId,
    pub workspace: WorkspaceId,
    /// The commit that made the workspace.
    pub workspace_commit: u64,
    /// When it is due.
    pub due_ms: u64,
    /// The line whose end it joins.
    pub line: Option<LineName>,
    pub detail: Box<RawValue>,
}

/// The name of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobName {
    pub org: OrgId,
    pub workspace: WorkspaceId,
    pub run_id: RunId,
}

/// The order of a list of jobs, by the time when they were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOrder {
    NewestFirst,
    OldestFirst,
}

/// The right to work on a job, until it runs out and another takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub job: JobName,
    pub fence: u64,
}

/// A job that was leased.
#[derive(Debug, Clone)]
pub struct Leased {
    pub job: Job,
    pub lease: Lease,
    /// Whether an earlier lease ran out: its try was interrupted, and [`Job::sent`] is that try's.
    pub interrupted: bool,
}

/// How a job ends.
#[derive(Debug, Clone)]
pub struct JobEnd {
    /// A state that is not open.
    pub state: JobState,
    pub detail: Box<RawValue>,
    /// The run as it is shown, as JSON; at most 60 KiB.
    pub document: String,
    /// How long it is kept.
    pub keep_until_ms: u64,
    pub erase_input: bool,
    /// What the org is told of it, written with the end.
    pub told: OutboxRecord,
}

/// What became of a wish to change a job that nobody leased.
#[derive(Debug, Clone)]
pub enum Changed {
    /// Done.
    Done(Job),
    /// It is running; it is told.
    Running(Job),
    /// It is in another state, which does not allow it.
    Not(Job),
    /// There is no such job.
    Missing,
}

/// Jobs of a workspace by state.
pub type JobCounts = std::collections::BTreeMap<JobState, u64>;

/// A part of the count of all jobs that are open or can be taken up again.
#[derive(Debug, Clone, Default)]
pub struct JobTally {
    /// Those of this part.
    pub counts: JobCounts,
    /// Where the next part begins; `None` after the last.
    pub next: Option<String>,
}

/// The jobs of all workspaces.
///
/// Errors of all methods: [`StoreError::Unavailable`] if the storage cannot be used, [`StoreError::Damaged`] or
/// [`StoreError::Unreadable`] if a record is not what was written. Of those that take a [`Lease`] besides:
/// [`StoreError::LeaseLost`] if another has the job by now, or it is not leased any more.
pub trait Jobs: Send + Sync + 'static {
    /// Stores a job with its input; it is on disk when this returns. One of a line is held until those that were stored
    /// before it have ended, and the batch that ends the last of them makes it due.
    ///
    /// Errors besides the common ones: [`StoreError::Conflict`] if there is a job of that name, or if the workspace is
    /// not the one that this commit made; [`StoreError::TooLarge`] above [`JOB_INPUT_BYTES_MAX`].
    fn enqueue<'a>(&'a self, job: &'a NewJob, input: &'a [u8]) -> BoxFuture<'a, Result<Job, StoreError>>;

    /// Workspaces that have a due job, in order of name, after this one. A lease that ran out is due. The cost depends
    /// on the number of workspaces that are returned, not on the number of their jobs.
    fn due_workspaces<'a>(
        &'a self,
        now_ms: u64,
        after: Option<&'a (OrgId, WorkspaceId)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(OrgId, WorkspaceId)>, StoreError>>;

    /// Leases the job of a workspace that has been due longest; `None` if none is.
    fn lease<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        until_ms: u64,
    ) -> BoxFuture<'a, Result<Option<Leased>, StoreError>>;

    /// Extends a lease; returns the job, which says whether it is to be ended.
    fn renew<'a>(&'a self, lease: &'a Lease, until_ms: u64) -> BoxFuture<'a, Result<Job, StoreError>>;

    /// Notes that the current try is about to send something; on disk when this returns.
    fn note_sent<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Gives a lease back: the job is due again at this time, and one that is to be ended at once. A try that did not begin is not counted.
    fn reschedule<'a>(
        &'a self,
        lease: &'a Lease,
        due_ms: u64,
        began: bool,
        detail: Box<RawValue>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Ends a leased job.
    fn finish<'a>(&'a self, lease: &'a Lease, end: &'a JobEnd) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Ends a job that waits; one that runs is told to end.
    fn cancel<'a>(&'a self, job: &'a JobName, end: &'a JobEnd) -> BoxFuture<'a, Result<Changed, StoreError>>;

    /// Takes up a job that is dead or was skipped, if its input is there: due at this time, its tries counted anew. One of
    /// a line whose turn another has is held, ahead of those that were stored after it.
    fn revive<'a>(
        &'a self,
        job: &'a JobName,
        due_ms: u64,
        detail: Box<RawValue>,
    ) -> BoxFuture<'a, Result<Changed, StoreError>>;

    /// A job.
    fn get<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<Option<Job>, StoreError>>;

    /// A job's input; `None` once it was erased.
    fn input<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// The document with which a job ended; `None` if it has not.
    fn document<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<Option<String>, StoreError>>;

    /// Jobs of an org in order of workspace and run, after this one; of one workspace if it is given.
    fn list<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: Option<&'a WorkspaceId>,
        after: Option<&'a (WorkspaceId, RunId)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Job>, StoreError>>;

    /// How many jobs a workspace has in each state. It reads them all: for people, not for every call.
    fn count<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<JobCounts, StoreError>>;

    /// Counts jobs of all workspaces by state, those that are open or can be taken up again: a part of about so many,
    /// from the beginning or from [`JobTally::next`] of the part before. Jobs that change meanwhile may be counted twice
    /// or not at all: for figures, not for decisions.
    fn tally<'a>(
        &'a self,
        from: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<JobTally, StoreError>>;

    /// How many jobs of a workspace have not ended, counted up to this number.
    fn open<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        at_most: usize,
    ) -> BoxFuture<'a, Result<usize, StoreError>>;

    /// Bytes of the inputs that a workspace's jobs keep, open ones and ended ones.
    fn input_bytes<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// The same of all workspaces of an org.
    fn input_bytes_of_org<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, StoreError>>;

    /// When a job becomes due next that is not due yet, lease ends included; `None` if there is none.
    fn next_due(&self) -> BoxFuture<'_, Result<Option<u64>, StoreError>>;

    /// Ended jobs that need not be kept any more, each with the end of its time: those first that have been so longest,
    /// after this one.
    fn outdated<'a>(
        &'a self,
        now_ms: u64,
        after: Option<&'a (u64, JobName)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(u64, JobName)>, StoreError>>;

    /// Jobs of an org that are open, were given up or skipped, each with the time when it was stored; after this one.
    /// Those of all orgs are in order of org.
    fn listed<'a>(
        &'a self,
        org: Option<&'a OrgId>,
        order: JobOrder,
        after: Option<&'a (u64, JobName)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(u64, JobName)>, StoreError>>;

    /// Jobs of an org that can be taken up again, in order of workspace and run, after this one; of one workspace if it
    /// is given.
    fn given_up<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: Option<&'a WorkspaceId>,
        after: Option<&'a JobName>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<JobName>, StoreError>>;

    /// Jobs that have ended for good and whose runs may have no record, in order of name, after this one.
    fn unrecorded<'a>(
        &'a self,
        after: Option<&'a JobName>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<JobName>, StoreError>>;

    /// Notes that the run of a job has its record; of a missing one is no error.
    fn note_recorded<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Keeps a job that has ended no longer than until this time; one that is kept shorter, is open or missing stays.
    fn keep_until<'a>(&'a self, job: &'a JobName, until_ms: u64) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Ends the time in which a job that has ended can be taken up again: its input is erased if that is possible now.
    /// `None` if there is no such job, or it was taken up meanwhile, or is kept longer.
    fn expire<'a>(&'a self, job: &'a JobName, now_ms: u64) -> BoxFuture<'a, Result<Option<Job>, StoreError>>;

    /// Deletes a job with its input, whatever its state; a missing one is no error.
    fn erase<'a>(&'a self, job: &'a JobName) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Deletes the jobs of a workspace. One that is accepted meanwhile may stay, and after an error some may be deleted.
    fn remove<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}
