//! The sync thread: puts appended records of many logs on disk at once.
//!
//! A log is registered once, at its first unsynced record, and synced within the wait below; a strict
//! append does not wait for the others. A log whose disk fails is tried again until it succeeds, so that it heals
//! without a call that would have to fail first.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use portcullis_core::sync::{lock, whole};

/// Half of the promised 100 ms; the other half is for the disk.
const GROUP_WAIT: Duration = Duration::from_millis(50);

/// How long a log that failed is left alone before it is tried again.
const RETRY_WAIT: Duration = Duration::from_millis(250);

/// What is written to a file to learn whether it takes records again: as much as many records have.
const PROBE_BYTES: usize = 16 * 1024;

/// A log with records that are not on disk yet.
pub(crate) trait ToSync {
    /// Puts everything appended so far on disk, or opens again what an earlier failure closed. Returns whether the
    /// log takes records; if not, it is called again later.
    fn sync(&self) -> bool;
}

pub(crate) struct Syncer<L> {
    queue: Mutex<Queue<L>>,
    changed: Condvar,
    /// Whether a log does not take records now.
    failing: AtomicBool,
}

impl<L> Default for Syncer<L> {
    fn default() -> Self {
        let queue = Queue { logs: Vec::new(), since: None, urgent: false, stopping: false };
        Self { queue: Mutex::new(queue), changed: Condvar::new(), failing: AtomicBool::new(false) }
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

    /// Notes that a log failed, and has it tried again.
    pub(crate) fn failed(&self, log: &Arc<L>) {
        self.failing.store(true, Ordering::Release);
        self.ask(log, false);
    }

    /// Whether every log that was used takes records.
    pub(crate) fn is_well(&self) -> bool {
        !self.failing.load(Ordering::Acquire)
    }

    /// The thread's main loop.
    pub(crate) fn run(&self) {
        let mut failing: Vec<Arc<L>> = Vec::new();
        let mut tried = Instant::now();
        loop {
            let retry_at = (!failing.is_empty()).then(|| tried + RETRY_WAIT);
            let (mut logs, stopping) = self.next(retry_at);
            if stopping || retry_at.is_some_and(|at| at <= Instant::now()) {
                tried = Instant::now();
                let again = std::mem::take(&mut failing);
                for log in again {
                    if !logs.iter().any(|other| Arc::ptr_eq(other, &log)) {
                        logs.push(log);
                    }
                }
            }
            for log in logs {
                let well = log.sync();
                failing.retain(|other| !Arc::ptr_eq(other, &log));
                if !well {
                    failing.push(log);
                }
            }
            // Under the queue's lock, so that a failure that is noted meanwhile stays noted.
            let queue = self.queue();
            let noted_meanwhile = !queue.logs.is_empty() && !self.is_well();
            self.failing.store(!failing.is_empty() || noted_meanwhile, Ordering::Release);
            drop(queue);
            if stopping {
                return;
            }
        }
    }

    /// Waits for logs that are due, or until failed ones are tried again.
    fn next(&self, retry_at: Option<Instant>) -> (Vec<Arc<L>>, bool) {
        let mut queue = self.queue();
        loop {
            let due = match queue.since {
                _ if queue.stopping || queue.urgent => Duration::ZERO,
                Some(since) => GROUP_WAIT.saturating_sub(since.elapsed()),
                None => Duration::MAX,
            };
            let retry = retry_at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            let wait = due.min(retry);
            if due.is_zero() {
                queue.since = None;
                queue.urgent = false;
                return (std::mem::take(&mut queue.logs), queue.stopping);
            }
            if wait.is_zero() {
                return (Vec::new(), queue.stopping);
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

/// Puts a file on disk after a sync of it failed. The system may have dropped what it could not write and count it
/// as written, so everything is written once more before the sync that counts.
pub(crate) fn rewrite(path: &Path) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mut block = vec![0_u8; 256 * 1024];
    let mut at = 0_u64;
    loop {
        let read = file.read_at(&mut block, at)?;
        let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return file.sync_all();
        };
        file.write_all_at(bytes, at)?;
        at = at.saturating_add(read as u64);
    }
}

/// Whether a file that is open for appending takes more than its `bytes`; it is as it was afterwards. What is
/// written for that has no line end, so it counts as torn if the process dies in between.
pub(crate) fn probe(file: &File, bytes: u64) -> std::io::Result<()> {
    let mut appending = file;
    let written = appending.write_all(&[b' '; PROBE_BYTES]);
    file.set_len(bytes)?;
    written
}

/// Whether a path still leads to an open file: its directory may have been moved away or replaced.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    let same = || {
        let (open, there) = (file.metadata()?, std::fs::metadata(path)?);
        Ok::<_, std::io::Error>((open.dev(), open.ino()) == (there.dev(), there.ino()))
    };
    same().unwrap_or(false)
}

/// Puts a directory's entries on disk.
pub(crate) fn sync_directory(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Puts every file and folder below a directory on disk.
pub(crate) fn sync_tree(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { sync_tree(&path)? } else { File::open(&path)?.sync_all()? }
    }
    sync_directory(dir)
}
