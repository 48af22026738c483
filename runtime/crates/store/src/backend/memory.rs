//! The memory engine: the model that other engines are compared with, and the store of tests.
//!
//! Nothing survives a restart, and nothing is durable. Called through `dyn Store`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

use crate::backend::archive::{ArchiveWriter, read_archive};
use crate::backend::versions::Versions;
use crate::backend::{
    Batch, CHANGES_RETAINED_COMMITS, Change, LIST_ENTRIES_MAX, SnapshotReport, Store, StoreStats, Versioned,
    check_key,
};
use crate::error::StoreError;
use crate::task::BoxFuture;
use portcullis_core::sync::lock;

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    versions: Versions,
}

#[derive(Debug, Default)]
struct State {
    seq: u64,
    /// The oldest sequence that `changes` accepts.
    floor: u64,
    records: BTreeMap<String, Versioned>,
    changes: VecDeque<Change>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Why: every change below is complete before anything can panic, so a poisoned lock is usable.
        lock(&self.state)
    }
}

impl State {
    fn commit(&mut self, batch: &Batch) -> Result<u64, StoreError> {
        batch.check()?;
        for (key, precondition) in &batch.preconditions {
            let revision = self.records.get(key).map(|found| found.revision);
            if !precondition.holds(revision) {
                return Err(StoreError::Conflict { key: key.clone() });
            }
        }
        if batch.writes_nothing() {
            return Ok(self.seq);
        }
        self.seq = self.seq.saturating_add(1);
        let seq = self.seq;
        for (key, value) in batch.written(seq) {
            let deleted = value.is_none();
            let existed = match value {
                Some(value) => {
                    let written = Versioned { value: value.to_vec(), revision: seq };
                    self.records.insert(key.clone(), written).is_some()
                }
                None => self.records.remove(&key).is_some(),
            };
            if existed || !deleted {
                self.changes.push_back(Change { seq, key, deleted });
            }
        }
        self.floor = self.floor.max(seq.saturating_sub(CHANGES_RETAINED_COMMITS));
        while self.changes.front().is_some_and(|c| c.seq <= self.floor) {
            self.changes.pop_front();
        }
        Ok(seq)
    }

    fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<(String, Versioned)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.records
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit.min(LIST_ENTRIES_MAX))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    fn changes(&self, since: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        if since < self.floor {
            return Err(StoreError::ChangesTruncated { since, floor: self.floor });
        }
        let mut found: Vec<Change> = Vec::new();
        for change in self.changes.iter().filter(|change| change.seq > since) {
            let whole_commit = found.last().is_none_or(|last| last.seq != change.seq);
            if whole_commit && found.len() >= limit.min(LIST_ENTRIES_MAX) {
                break;
            }
            found.push(change.clone());
        }
        Ok(found)
    }

    fn snapshot(&self, to: &mut dyn Write) -> Result<SnapshotReport, StoreError> {
        let mut archive = ArchiveWriter::begin(to, self.seq)?;
        for (key, found) in &self.records {
            archive.record(key, found.revision, &found.value)?;
        }
        archive.finish()
    }

    fn restore(&mut self, from: &mut dyn Read) -> Result<SnapshotReport, StoreError> {
        if self.seq != 0 {
            return Err(StoreError::NotEmpty);
        }
        let mut records = BTreeMap::new();
        let report = read_archive(from, &mut |key, value| match records.insert(key, value) {
            None => Ok(()),
            Some(_) => Err(StoreError::BadSnapshot("a key occurs twice")),
        })?;
        self.records = records;
        self.seq = report.seq;
        self.floor = report.seq;
        Ok(report)
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        Box::pin(async move {
            check_key(key)?;
            Ok(self.state().records.get(key).cloned())
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>> {
        Box::pin(async move { Ok(self.state().list(prefix, after, limit)) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let keys: Vec<String> = batch.writes.iter().map(|(key, _)| key.clone()).collect();
            let _writing = self.versions.writing(keys.iter().map(String::as_str));
            self.state().commit(&batch)
        })
    }

    fn changes(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, StoreError>> {
        Box::pin(async move { self.state().changes(since, limit) })
    }

    fn snapshot(&self, mut to: Box<dyn Write + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(async move { self.state().snapshot(&mut *to) })
    }

    fn restore(&self, mut from: Box<dyn Read + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(async move {
            let restored = self.state().restore(&mut *from);
            self.versions.advance_all();
            restored
        })
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        Box::pin(async move {
            let state = self.state();
            Ok(StoreStats {
                engine: "memory",
                seq: state.seq,
                records: u64::try_from(state.records.len()).unwrap_or(u64::MAX),
                disk_bytes: 0,
            })
        })
    }

    fn version(&self, key: &str) -> Option<u64> {
        self.versions.of(key)
    }

    fn is_shared(&self) -> bool {
        false
    }
}
