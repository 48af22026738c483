//! The sync thread: puts appended records on disk, many at once.
//!
//! A log is asked for once, at its first unsynced record, and synced within the wait below; a strict
//! append does not wait for the others.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::slot::Slot;

/// Half of the promised 100 ms; the other half is for the disk.
const GROUP_WAIT: Duration = Duration::from_millis(50);

#[derive(Default)]
pub(super) struct Syncer {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    slots: Vec<Arc<Slot>>,
    /// When the oldest of them asked.
    since: Option<Instant>,
    urgent: bool,
    stopping: bool,
}

impl Syncer {
    /// Asks for a log to be synced: soon, or now.
    pub(super) fn ask(&self, slot: &Arc<Slot>, now: bool) {
        let mut queue = self.queue();
        if !queue.slots.iter().any(|other| Arc::ptr_eq(other, slot)) {
            queue.slots.push(Arc::clone(slot));
        }
        let first = queue.since.is_none();
        queue.since.get_or_insert_with(Instant::now);
        queue.urgent |= now;
        if first || now {
            self.changed.notify_one();
        }
    }

    /// Lets the thread sync what it was asked for and end.
    pub(super) fn stop(&self) {
        self.queue().stopping = true;
        self.changed.notify_one();
    }

    /// The thread.
    pub(super) fn run(&self) {
        loop {
            let (slots, stopping) = self.next();
            for slot in slots {
                slot.sync();
            }
            if stopping {
                return;
            }
        }
    }

    /// Waits for logs that are due.
    fn next(&self) -> (Vec<Arc<Slot>>, bool) {
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
                return (std::mem::take(&mut queue.slots), queue.stopping);
            }
            queue = if wait == Duration::MAX {
                self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.changed.wait_timeout(queue, wait);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
