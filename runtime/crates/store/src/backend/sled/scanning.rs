//! A snapshot at one sequence while commits go on.
//!
//! A thread passes over the records in the order of their keys, some at a time. A commit that is about to replace a record
//! which was not passed yet keeps it as it was, for that thread. So a commit waits for one step at most, and what is
//! written is the store of one moment: its digest is compared with the one of that moment at the end.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Bound;
use std::sync::{Condvar, Mutex, MutexGuard};

use portcullis_core::sync::{lock, whole};

use super::layout::{Meta, RECORDS, checksum, record_key};
use super::{Shared, reading};
use crate::backend::archive::ArchiveWriter;
use crate::backend::{SnapshotReport, Versioned};
use crate::error::StoreError;

/// Records of one step, and the bytes after which it ends: what a commit waits for at most, some milliseconds.
const STEP_RECORDS: usize = 256;
const STEP_BYTES: usize = 512 * 1024;

/// Bytes of records that are kept as they were. With more, commits wait until the thread has passed some: a store that is
/// replaced as a whole during a snapshot must not be in memory twice.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What an entry takes besides its key and value.
const AROUND_BYTES: usize = 128;

/// The snapshot that is under way, if one is.
#[derive(Default)]
pub(super) struct Scanning {
    scan: Mutex<Option<Scan>>,
    moved: Condvar,
}

pub(super) struct Scan {
    /// The sequence of the snapshot.
    seq: u64,
    /// The last key that was passed.
    passed: Option<String>,
    /// Records that were replaced or deleted before they were passed.
    kept: BTreeMap<String, Versioned>,
    kept_bytes: usize,
    /// Why it cannot be finished.
    failed: bool,
}

impl Scan {
    fn is_passed(&self, key: &str) -> bool {
        self.passed.as_deref().is_some_and(|passed| key <= passed)
    }
}

impl Scanning {
    /// Begins one; called between two commits.
    pub(super) fn begin(&self, seq: u64) {
        let scan = Scan { seq, passed: None, kept: BTreeMap::new(), kept_bytes: 0, failed: false };
        *lock(&self.scan) = Some(scan);
    }

    /// Ends it, however far it came.
    pub(super) fn end(&self) {
        *lock(&self.scan) = None;
        self.moved.notify_all();
    }

    /// Gives it up: the store is opened again, and nobody knows what a commit left.
    pub(super) fn fail(&self) {
        if let Some(scan) = &mut *lock(&self.scan) {
            scan.failed = true;
        }
        self.moved.notify_all();
    }

    /// Keeps what a commit is about to replace. The thread makes no step while the guard lives.
    pub(super) fn before_commit<'k>(
        &self,
        db: &sled::Db,
        keys: impl Iterator<Item = &'k str>,
    ) -> Result<Held<'_>, StoreError> {
        let mut held = lock(&self.scan);
        let is_full =
            |scan: &Option<Scan>| scan.as_ref().is_some_and(|s| s.kept_bytes > KEPT_BYTES_MAX && !s.failed);
        while is_full(&held) {
            held = whole(self.moved.wait(held));
        }
        if let Some(scan) = held.as_mut().filter(|scan| !scan.failed) {
            for key in keys {
                if scan.is_passed(key) || scan.kept.contains_key(key) {
                    continue;
                }
                if let Some(found) = reading::get(db, key)?.filter(|found| found.revision <= scan.seq) {
                    scan.kept_bytes = scan.kept_bytes.saturating_add(size(key, &found));
                    scan.kept.insert(key.to_owned(), found);
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

fn size(key: &str, found: &Versioned) -> usize {
    key.len().saturating_add(found.value.len()).saturating_add(AROUND_BYTES)
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
        for (key, found) in &records {
            seen.toggle(&checksum(key, found.revision, &found.value));
            seen.records = seen.records.saturating_add(1);
            archive.record(key, found.revision, &found.value)?;
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
fn step(shared: &Shared) -> Result<(Vec<(String, Versioned)>, bool), StoreError> {
    let gone = || StoreError::Unavailable("the store was opened again during the snapshot".to_owned());
    let mut held = lock(&shared.scanning.scan);
    let scan = held.as_mut().filter(|scan| !scan.failed).ok_or_else(gone)?;
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
        if !scan.kept.contains_key(key)
            && let Some(found) = reading::get(&db, key)?.filter(|found| found.revision <= scan.seq)
        {
            bytes = bytes.saturating_add(size(key, &found));
            records.insert(key.to_owned(), found);
        }
        looked = looked.saturating_add(1);
        if looked >= STEP_RECORDS || bytes >= STEP_BYTES {
            reached = Some(key.to_owned());
            break;
        }
    }
    let later = reached.as_ref().map_or_else(BTreeMap::new, |key| {
        let mut later = scan.kept.split_off(key);
        if let Some(same) = later.remove(key) {
            scan.kept.insert(key.clone(), same);
        }
        later
    });
    let mut kept = std::mem::replace(&mut scan.kept, later);
    let passed = kept.iter().map(|(key, found)| size(key, found)).fold(0, usize::saturating_add);
    scan.kept_bytes = scan.kept_bytes.saturating_sub(passed);
    records.append(&mut kept);
    let is_last = reached.is_none();
    // At the end nothing is to be kept any more: this is greater than any key.
    scan.passed = Some(reached.unwrap_or_else(|| char::MAX.to_string()));
    shared.scanning.moved.notify_all();
    Ok((records.into_iter().collect(), is_last))
}

#[cfg(test)]
mod tests;
