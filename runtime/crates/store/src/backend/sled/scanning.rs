//! A snapshot at one sequence while commits go on.
//!
//! A thread passes over the records in the order of their keys, some at a time. A commit that is about to replace a record
//! which was not passed yet keeps it as it was, for that thread: in memory, and from some size on in a file. So a commit
//! waits for one step at most, whatever a snapshot takes, and what is written is the store of one moment: its digest is
//! compared with the one of that moment at the end. A snapshot that would have to keep too much is given up.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use portcullis_core::sync::lock;

use self::kept::{Kept, KeptRecords};
use super::layout::{Meta, RECORDS, checksum, record_key};
use super::{Shared, reading};
use crate::backend::SnapshotReport;
use crate::backend::archive::ArchiveWriter;
use crate::error::StoreError;

mod kept;

pub(super) use self::kept::KeptBounds;

/// Records of one step, and the bytes after which it ends: what a commit waits for at most, some milliseconds.
const STEP_RECORDS: usize = 256;
const STEP_BYTES: usize = 512 * 1024;

/// The snapshot that is under way, if one is.
pub(super) struct Scanning {
    scan: Mutex<Option<Scan>>,
    /// Where a file can be made.
    dir: PathBuf,
    bounds: KeptBounds,
}

struct Scan {
    /// The sequence of the snapshot.
    seq: u64,
    /// The last key that was passed.
    passed: Option<String>,
    /// Records that were replaced or deleted before they were passed.
    kept: KeptRecords,
    /// Why it cannot be finished.
    failed: Option<String>,
}

impl Scan {
    fn is_passed(&self, key: &str) -> bool {
        self.passed.as_deref().is_some_and(|passed| key <= passed)
    }

    fn fail(&mut self, reason: String) {
        self.failed.get_or_insert(reason);
        // Why: what it kept is of no use any more.
        self.kept.clear();
    }
}

impl Scanning {
    /// None yet. What is kept beyond the bounds is in a file in `dir`.
    pub(super) fn new(dir: PathBuf, bounds: KeptBounds) -> Self {
        Self { scan: Mutex::default(), dir, bounds }
    }

    /// Begins one; called between two commits.
    pub(super) fn begin(&self, seq: u64) {
        let kept = KeptRecords::new(self.dir.clone(), self.bounds);
        *lock(&self.scan) = Some(Scan { seq, passed: None, kept, failed: None });
    }

    /// Ends it, however far it came.
    pub(super) fn end(&self) {
        *lock(&self.scan) = None;
    }

    /// Gives it up: the store is opened again, and nobody knows what a commit left.
    pub(super) fn fail(&self) {
        if let Some(scan) = &mut *lock(&self.scan) {
            scan.fail("the store was opened again during the snapshot".to_owned());
        }
    }

    /// Keeps what a commit is about to replace. The thread makes no step while the guard lives. What cannot be kept ends
    /// the snapshot and never the commit, which is the one that may not wait: it may be the kill switch.
    pub(super) fn before_commit<'k>(
        &self,
        db: &sled::Db,
        keys: impl Iterator<Item = &'k str>,
    ) -> Result<Held<'_>, StoreError> {
        let mut held = lock(&self.scan);
        if let Some(scan) = held.as_mut() {
            for key in keys {
                if scan.failed.is_some() {
                    break;
                }
                if scan.is_passed(key) || scan.kept.contains(key) {
                    continue;
                }
                if let Some(found) = reading::get(db, key)?.filter(|found| found.revision <= scan.seq)
                    && let Err(reason) = scan.kept.keep(key, found)
                {
                    scan.fail(reason);
                }
            }
        }
        Ok(Held { _scan: held })
    }
}

/// Held while a commit is made, for its lock.
pub(super) struct Held<'a> {
    _scan: MutexGuard<'a, Option<Scan>>,
}

/// Ends a snapshot with the thread that writes it.
struct Ending<'a>(&'a Scanning);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Writes the snapshot that was begun with this state.
pub(super) fn write(shared: &Shared, begun: &Meta, to: &mut dyn Write) -> Result<SnapshotReport, StoreError> {
    let _ending = Ending(&shared.scanning);
    let mut archive = ArchiveWriter::begin(to, begun.seq)?;
    let mut seen = Meta::default();
    loop {
        let (records, is_last) = step(shared)?;
        for (key, kept) in records {
            let found = kept.read()?;
            seen.toggle(&checksum(&key, found.revision, &found.value));
            seen.records = seen.records.saturating_add(1);
            archive.record(&key, found.revision, &found.value)?;
        }
        if is_last {
            break;
        }
    }
    if (seen.digest, seen.records) != (begun.digest, begun.records) {
        return Err(StoreError::damaged("the records are not the ones that the store says it has"));
    }
    archive.finish()
}

/// The next records as they were, in order, and whether these are the last.
fn step(shared: &Shared) -> Result<(BTreeMap<String, Kept>, bool), StoreError> {
    let ended = || StoreError::Unavailable("the snapshot has ended".to_owned());
    let mut held = lock(&shared.scanning.scan);
    let scan = held.as_mut().ok_or_else(ended)?;
    if let Some(reason) = &scan.failed {
        return Err(StoreError::Unavailable(reason.clone()));
    }
    let db = shared.usable()?;
    let start = match &scan.passed {
        Some(passed) => Bound::Excluded(record_key(passed)),
        None => Bound::Included(RECORDS.to_vec()),
    };
    let (mut records, mut bytes, mut looked) = (BTreeMap::new(), 0_usize, 0_usize);
    let mut reached = None;
    for row in db.range((start, Bound::Unbounded)) {
        let (key, _) = row.map_err(reading::storage)?;
        let Some(key) = key.strip_prefix(RECORDS) else { break };
        let key = std::str::from_utf8(key).map_err(|_| StoreError::damaged("a record's key is damaged"))?;
        if !scan.kept.contains(key)
            && let Some(found) = reading::get(&db, key)?.filter(|found| found.revision <= scan.seq)
        {
            bytes = bytes.saturating_add(key.len()).saturating_add(found.value.len());
            records.insert(key.to_owned(), Kept::in_memory(found));
        }
        looked = looked.saturating_add(1);
        if looked >= STEP_RECORDS || bytes >= STEP_BYTES {
            reached = Some(key.to_owned());
            break;
        }
    }
    records.append(&mut scan.kept.take_up_to(reached.as_deref()));
    let is_last = reached.is_none();
    // At the end nothing is to be kept any more: this is greater than any key.
    scan.passed = Some(reached.unwrap_or_else(|| char::MAX.to_string()));
    Ok((records, is_last))
}

#[cfg(test)]
mod tests;
