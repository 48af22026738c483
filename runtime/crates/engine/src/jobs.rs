//! Durable runs: accepted now, executed by a worker, tried again for days, and never lost.
//!
//! ```text
//! accept     what is checked before anything runs; the input sealed; the job on disk; only then the answer
//!   → worker   leases the next due job, workspaces in rotation
//!     → work     one attempt of the call, under the run's own id and key
//!       → settle   ended; or due again after a wait; or given up, and kept so that it can be taken up again
//! ```
//!
//! **After a crash** a job's lease runs out and another worker takes it. If the attempt may have sent something, it is
//! made again only where a repeat does no harm: the action is idempotent, or the vendor gets a key that it still knows.
//! Any other job is given up as `interrupted`. What an attempt is about to send is noted on disk before it is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_core::limits::Limits;
use portcullis_core::sync::lock;
use portcullis_store::{ContentBinding, JobName, Jobs, Outbox};
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

mod accept;
mod acting;
mod backlog;
mod budget;
mod detail;
mod document;
mod feed;
mod keeping;
pub(crate) mod listing;
mod naming;
mod payload;
mod put_off;
mod reading;
mod settle;
mod sweep;
mod work;
mod worker;

pub(crate) use accept::{Acceptance, accept};
pub use accept::{Accepted, Asynchronously};
pub use acting::{Redrive, Redriven, RerunDefinition, cancel, redrive, rerun};
pub use document::{JobStatus, RunView, WaitingRun};
pub use feed::{FeedWish, RunFeed, feed};
pub(crate) use keeping::shorten;
pub(crate) use naming::named_revisions;
pub use portcullis_store::{OutboxEntry, OutboxKind, OutboxRecord};
pub use reading::{known, show};

use backlog::Backlogs;
use budget::RetryBudget;
use put_off::Returns;

use crate::clock::jitter;

/// Ends of runs that are remembered for those who wait; one who is later than that looks again.
const ENDS_REMEMBERED: usize = 256;

/// What jobs need besides the stores. One of it per process.
pub(crate) struct JobDesk {
    pub(crate) store: Arc<dyn Jobs>,
    /// Ends of accepted runs, for the feeds of their orgs.
    pub(crate) outbox: Arc<dyn Outbox>,
    /// There may be something to do.
    wake: Notify,
    /// Runs that ended in this process.
    ended: broadcast::Sender<JobName>,
    /// Runs that are executed by this process.
    running: Mutex<HashMap<RunId, CancellationToken>>,
    /// Runs that this process ends, until their records are stored, and how many do so.
    recording: Mutex<HashMap<RunId, u32>>,
    budget: RetryBudget,
    returns: Returns,
    backlogs: Backlogs,
    waiters: Arc<Semaphore>,
    /// The process takes no more jobs.
    stop: CancellationToken,
}

impl JobDesk {
    pub(crate) fn new(store: Arc<dyn Jobs>, outbox: Arc<dyn Outbox>, limits: &Limits) -> Self {
        let waiters = usize::try_from(limits.run_waiters).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            store,
            outbox,
            wake: Notify::new(),
            ended: broadcast::Sender::new(ENDS_REMEMBERED),
            running: Mutex::default(),
            recording: Mutex::default(),
            budget: RetryBudget::new(limits),
            returns: Returns::new(limits),
            backlogs: Backlogs::default(),
            waiters: Arc::new(Semaphore::new(waiters.min(Semaphore::MAX_PERMITS))),
            stop: CancellationToken::new(),
        }
    }

    /// No further job is leased, and nobody waits for the end of a run any more.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Told when the process takes no more jobs, and fires no more schedules.
    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Ends of runs in this process, from now on.
    pub(crate) fn ends(&self) -> broadcast::Receiver<JobName> {
        self.ended.subscribe()
    }

    /// Wakes the worker, and those who wait for this run.
    fn note_ended(&self, job: &JobName) {
        self.backlogs.take_off(&job.org, &job.workspace);
        // Why ignored: usually nobody waits.
        let _ = self.ended.send(job.clone());
        self.wake.notify_one();
    }

    /// Ends a run that this process executes.
    fn end_running(&self, run: &RunId) {
        if let Some(cancel) = lock(&self.running).get(run) {
            cancel.cancel();
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A random part of this many milliseconds.
fn random_part(ms: u64) -> u64 {
    millis(Duration::from_millis(ms).mul_f64(jitter()))
}

/// What a run's input is sealed for.
fn input_of<'a>(org: &'a OrgId, workspace: &'a WorkspaceId, run: &'a RunId) -> ContentBinding<'a> {
    ContentBinding { org, workspace, purpose: "run input", name: run.as_str() }
}
