//! The sync thread: puts appended records of many logs on disk at once.
//!
//! A log is registered once, at its first unsynced record, and synced within the wait below; a strict
//! append does not wait for the others.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use portcullis_core::sync::{lock, whole};

/// Half of the promised 100 ms; the other half is for the disk.
const GROUP_WAIT: Duration = Duration::from_millis(50);

/// A log with records that are not on disk yet.
pub(crate) trait ToSync {
    /// Puts everything appended so far on disk; handles a failure itself.
    fn sync(&self);
}

pub(crate) struct Syncer<L> {
    queue: Mutex<Queue<L>>,
    changed: Condvar,
}

impl<L> Default for Syncer<L> {
    fn default() -> Self {
        let queue = Queue { logs: Vec::new(), since: None, urgent: false, stopping: false };
        Self { queue: Mutex::new(queue), changed: Condvar::new() }
    }
}

struct Queue<L> {
    logs: Vec<Arc<L>>,
    /// When the first of them was registered.
    since: Option<Instant>,
    urgent: bool,
    stopping: bool,
}

impl<L: ToSync> Syncer<L> {
    /// Requests that a log is synced: soon, or now.
    pub(crate) fn ask(&self, log: &Arc<L>, now: bool) {
        let mut queue = self.queue();
        if !queue.logs.iter().any(|other| Arc::ptr_eq(other, log)) {
            queue.logs.push(Arc::clone(log));
        }
        let first = queue.since.is_none();
        queue.since.get_or_insert_with(Instant::now);
        queue.urgent |= now;
        if first || now {
            self.changed.notify_one();
        }
    }

    /// Lets the thread sync the registered logs and end.
    pub(crate) fn stop(&self) {
        self.queue().stopping = true;
        self.changed.notify_one();
    }

    /// The thread's main loop.
    pub(crate) fn run(&self) {
        loop {
            let (logs, stopping) = self.next();
            for log in logs {
                log.sync();
            }
            if stopping {
                return;
            }
        }
    }

    /// Waits for logs that are due.
    fn next(&self) -> (Vec<Arc<L>>, bool) {
        let mut queue = self.queue();
        loop {
            let wait = match queue.since {
                _ if queue.stopping || queue.urgent => Duration::ZERO,
                Some(since) => GROUP_WAIT.saturating_sub(since.elapsed()),
                None => Duration::MAX,
            };
            if wait.is_zero() {
                queue.since = None;
                queue.urgent = false;
                return (std::mem::take(&mut queue.logs), queue.stopping);
            }
            queue = if wait == Duration::MAX {
                whole(self.changed.wait(queue))
            } else {
                whole(self.changed.wait_timeout(queue, wait)).0
            };
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<L>> {
        lock(&self.queue)
    }
}
