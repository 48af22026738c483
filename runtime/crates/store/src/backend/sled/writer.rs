//! The writer thread: applies batches in groups, puts a group on disk, then acknowledges it.
//!
//! It is the only code that changes sled. After a failed write or sync it answers every further job with an error,
//! because what a disk contains after that is unknown. It then closes sled, writes its files once more, and reads
//! and compares everything as at a start, again and again until that succeeds.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portcullis_core::sync::write;
use sled::transaction::{ConflictableTransactionError, TransactionError};
use tokio::sync::{mpsc, oneshot};

use crate::backend::archive::read_archive;
use crate::backend::{AtSnapshot, Batch, SnapshotReport, Versioned};
use crate::error::StoreError;

use super::anchor::Keeper;
use super::layout::{META, Meta};
use super::transaction::{self, Applied};
use super::watermark::{Mark, Watermark};
use super::{Shared, opening, reading};

/// Commits that share one sync. More would only make the first of them wait longer.
const GROUP_COMMITS_MAX: usize = 128;

/// Records of one transaction while restoring.
const RESTORE_GROUP_RECORDS: usize = 64;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked to do.
pub(super) enum Job {
    Commit {
        batch: Batch,
        reply: Reply<u64>,
    },
    /// Begins a snapshot of the store as it is now; another thread writes it.
    BeginSnapshot {
        at: AtSnapshot,
        reply: Reply<Meta>,
    },
    Restore {
        from: Box<dyn Read + Send>,
        reply: Reply<SnapshotReport>,
    },
    /// The store is broken: try to use the disk again.
    Heal,
}

/// How long after a failure the disk is tried again; longer each time, because a look reads everything.
const HEAL_WAIT: Duration = Duration::from_millis(250);
const HEAL_WAIT_MAX: Duration = Duration::from_secs(2);

/// What the thread writes besides sled.
pub(super) struct Files {
    /// A second descriptor of sled's file, for the sync that sled omits. Long-lived, because
    /// closing any descriptor of a file would drop a POSIX lock on it.
    pub(super) db_file: File,
    pub(super) watermark: Watermark,
}

/// The thread's state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    files: Files,
    anchor: Option<Keeper>,
    /// How long the next attempt to heal waits.
    heal_wait: Duration,
    /// To ask itself to heal; weak, so that the thread ends with the store.
    jobs: mpsc::WeakSender<Job>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        files: Files,
        anchor: Option<Keeper>,
        jobs: mpsc::WeakSender<Job>,
    ) -> Self {
        Self { shared, files, anchor, heal_wait: HEAL_WAIT, jobs }
    }

    /// Runs until every sender is gone.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(Job::Commit { batch, reply }) = next {
                group.push((batch, reply));
                next = if group.len() < GROUP_COMMITS_MAX { queue.try_recv().ok() } else { None };
            }
            self.commit_group(group);
            match next {
                Some(Job::BeginSnapshot { at, reply }) => {
                    if reply.send(self.begin_snapshot(at)).is_err() {
                        // Nobody writes it.
                        self.shared.scanning.end();
                    }
                }
                Some(Job::Restore { from, reply }) => answer(reply, self.restore(from)),
                Some(Job::Heal) => self.heal(),
                Some(Job::Commit { .. }) | None => {}
            }
        }
    }

    /// Puts everything applied so far on disk: sled first, then the watermark.
    pub(super) fn make_durable(&mut self) -> Result<(), StoreError> {
        let done = self.sync_all();
        if let Err(error) = &done {
            tracing::error!(%error, "the store could not be synced; it refuses until the disk can be written");
            self.note_broken();
        }
        done
    }

    fn sync_all(&mut self) -> Result<(), StoreError> {
        let db = self.shared.usable()?;
        db.flush().map_err(reading::storage)?;
        self.files.db_file.sync_all().map_err(|error| StoreError::io("syncing the store", &error))?;
        let meta = reading::meta(&db)?;
        let mark = Mark { seq: meta.seq, digest: meta.digest };
        self.files.watermark.write(mark).map_err(|error| StoreError::io("writing the watermark", &error))?;
        if let Some(anchor) = &self.anchor {
            anchor.tell(mark);
        }
        Ok(())
    }

    /// Refuses everything from here on, and tries the disk again in a while.
    fn note_broken(&mut self) {
        if !self.shared.broken.swap(true, Ordering::AcqRel) {
            self.shared.scanning.fail();
            self.try_later();
        }
    }

    /// Asks this thread to heal the store, after a pause.
    fn try_later(&mut self) {
        let (jobs, wait) = (self.jobs.clone(), self.heal_wait);
        self.heal_wait = wait.saturating_mul(2).min(HEAL_WAIT_MAX);
        let waiting = move || {
            std::thread::sleep(wait);
            if let Some(jobs) = jobs.upgrade() {
                // Why ignored: the store is closing.
                let _ = jobs.blocking_send(Job::Heal);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("store-heal".to_owned()).spawn(waiting) {
            tracing::error!(%error, "the store cannot be tried again; restart the process");
        }
    }

    fn heal(&mut self) {
        if !self.shared.is_broken() {
            return;
        }
        match self.read_again() {
            Ok(()) => {
                // What is in memory above may be of commits that were never acknowledged.
                self.shared.versions.advance_all();
                self.heal_wait = HEAL_WAIT;
                tracing::warn!("the store is written again");
            }
            Err(error) => {
                tracing::warn!(%error, "the store cannot be used yet");
                self.try_later();
            }
        }
    }

    /// Closes sled, and opens what is on the disk as at a start. Nothing that was acknowledged may be missing.
    fn read_again(&mut self) -> Result<(), StoreError> {
        let dir = self.shared.dir.clone();
        let acknowledged = self.files.watermark.last();
        // Why caught: sled may panic on what it could not write.
        let closing = AssertUnwindSafe(|| drop(write(&self.shared.db).take()));
        if catch_unwind(closing).is_err() {
            tracing::error!("sled ended with a panic");
        }
        opening::write_once_more(&dir.join("sled"))?;
        let (db, files, live_bytes) = opening::open_checked(&dir)?;
        if let Some(mark) =
            acknowledged.filter(|mark| files.watermark.last().is_none_or(|m| m.seq < mark.seq))
        {
            return Err(StoreError::damaged(format!(
                "the watermark went back in time, to before {}",
                mark.seq
            )));
        }
        self.files = files;
        self.shared.live_bytes.store(live_bytes, Ordering::Relaxed);
        *write(&self.shared.db) = Some(db);
        self.shared.broken.store(false, Ordering::Release);
        self.sync_all().inspect_err(|_| self.shared.broken.store(true, Ordering::Release))
    }

    fn commit_group(&mut self, group: Vec<(Batch, Reply<u64>)>) {
        if group.is_empty() {
            return;
        }
        let mut answers = Vec::with_capacity(group.len());
        for (batch, reply) in group {
            answers.push((reply, self.apply(&batch)));
        }
        if answers.iter().all(|(_, applied)| applied.is_err()) {
            for (reply, refused) in answers {
                answer(reply, refused);
            }
            return;
        }
        let durable = self.shared.usable().map(|_| ()).and_then(|()| self.make_durable());
        for (reply, applied) in answers {
            let lost = durable.as_ref().err().map(|error| StoreError::Unavailable(error.to_string()));
            answer(reply, lost.map_or(applied, Err));
        }
    }

    fn apply(&mut self, batch: &Batch) -> Result<u64, StoreError> {
        let db = self.shared.usable()?;
        let shared = Arc::clone(&self.shared);
        let unpassed =
            shared.scanning.before_commit(&db, batch.writes.iter().map(|(key, _)| key.as_str()))?;
        let _writing = shared.versions.writing(batch.writes.iter().map(|(key, _)| key.as_str()));
        let applied = catch_unwind(AssertUnwindSafe(|| transaction::apply(&db, batch)));
        drop(unpassed);
        match applied {
            Ok(Applied::Done(seq, grown)) => {
                let grow = |live: u64| Some(live.saturating_add_signed(grown));
                // Why ignored: the update always answers.
                let _ = shared.live_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow);
                Ok(seq)
            }
            Ok(Applied::Refused(error)) => Err(error),
            Ok(Applied::Failed(error)) => {
                self.note_broken();
                Err(error)
            }
            Err(_) => {
                self.note_broken();
                Err(StoreError::damaged("writing to the store failed"))
            }
        }
    }

    /// No commit is made meanwhile, because this thread would have to do it.
    fn begin_snapshot(&self, at: AtSnapshot) -> Result<Meta, StoreError> {
        let meta = reading::meta(&self.shared.usable()?)?;
        at()?;
        self.shared.scanning.begin(meta.seq);
        Ok(meta)
    }

    fn restore(&mut self, mut from: Box<dyn Read + Send>) -> Result<SnapshotReport, StoreError> {
        let db = self.shared.usable()?;
        if reading::meta(&db)?.seq != 0 || !db.is_empty() {
            return Err(StoreError::NotEmpty);
        }
        // The meta row comes last, after the checksum: a restore that was interrupted does not open, because
        // its records do not match the digest of an empty store.
        let restored = restore_records(&db, &mut *from);
        self.shared.versions.advance_all();
        match restored {
            Ok((report, meta)) => {
                self.shared
                    .live_bytes
                    .store(u64::try_from(meta.grown).unwrap_or_default(), Ordering::Relaxed);
                db.insert(META, meta.encode()).map_err(reading::storage)?;
                self.make_durable()?;
                tracing::info!(
                    records = report.records,
                    seq = report.seq,
                    dir = %self.shared.dir.display(),
                    "store restored"
                );
                Ok(report)
            }
            Err(error) => {
                db.clear().map_err(reading::storage)?;
                self.make_durable()?;
                Err(error)
            }
        }
    }
}

fn restore_records(db: &sled::Db, from: &mut dyn Read) -> Result<(SnapshotReport, Meta), StoreError> {
    let mut meta = Meta::default();
    let mut group: Vec<(String, Versioned)> = Vec::new();
    let mut previous: Option<String> = None;
    let report = read_archive(from, &mut |key, value| {
        if previous.as_ref().is_some_and(|previous| *previous >= key) {
            return Err(StoreError::BadSnapshot("keys are not in order"));
        }
        previous = Some(key.clone());
        group.push((key, value));
        if group.len() >= RESTORE_GROUP_RECORDS {
            meta = restore_group(db, &group, meta)?;
            group.clear();
        }
        Ok(())
    })?;
    meta = restore_group(db, &group, meta)?;
    meta.seq = report.seq;
    meta.floor = report.seq;
    Ok((report, meta))
}

fn restore_group(db: &sled::Db, group: &[(String, Versioned)], before: Meta) -> Result<Meta, StoreError> {
    let done = db.transaction(|tree| {
        let mut meta = before;
        for (key, found) in group {
            transaction::insert(tree, key, &found.value, found.revision, &mut meta)?;
        }
        Ok::<_, ConflictableTransactionError<StoreError>>(meta)
    });
    done.map_err(|error| match error {
        TransactionError::Abort(error) => error,
        TransactionError::Storage(error) => reading::storage(error),
    })
}

fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    // The caller may have stopped waiting; the work is done either way.
    drop(reply.send(result));
}
