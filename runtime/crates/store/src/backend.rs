//! The contract of a storage engine: versioned bytes under ordered keys, changed in atomic batches.
//!
//! It knows nothing of documents (see `records`) or of secrets (see `vault`). Implemented by the
//! memory and sled engines; the same conformance suite runs over all of them.

use std::io::{Read, Write};

use crate::error::StoreError;
use crate::task::BoxFuture;

pub(crate) mod archive;
mod memory;
mod sled;
pub(crate) mod versions;

pub use memory::MemoryStore;
pub use sled::{CompactStep, Compacted, SledStore, StoreBad, StoreSeen, compact_store, examine_store};

/// Longest key in bytes: a kind and four identifiers fit, and index pages stay small.
pub const KEY_BYTES_MAX: usize = 256;

/// Largest value in bytes. Larger things are content-addressed files, not records.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Maximum preconditions and writes in one batch, so that one commit has a bounded cost.
pub const BATCH_OPERATIONS_MAX: usize = 256;

/// Maximum entries that one `list` or `changes` call returns, whatever its limit.
pub const LIST_ENTRIES_MAX: usize = 1000;

/// How many commits the change feed reaches back.
pub const CHANGES_RETAINED_COMMITS: u64 = 4096;

/// A value and the commit that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    pub value: Vec<u8>,
    /// The commit sequence that wrote it.
    pub revision: u64,
}

/// A condition on a key, checked before a batch is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// There is no record.
    Absent,
    /// There is a record, written by this commit sequence.
    Revision(u64),
    /// There is a record.
    Present,
}

impl Precondition {
    /// Whether it is satisfied by a record with that revision (`None`: no record).
    #[must_use]
    pub fn holds(self, revision: Option<u64>) -> bool {
        match self {
            Self::Absent => revision.is_none(),
            Self::Revision(wanted) => revision == Some(wanted),
            Self::Present => revision.is_some(),
        }
    }
}

/// One atomic change: either all preconditions hold and all writes happen, or nothing does.
#[derive(Debug, Clone, Default)]
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    pub(crate) preconditions: Vec<(String, Precondition)>,
    /// In order; `None` deletes. Deleting what is absent is not an error.
    pub(crate) writes: Vec<(String, Option<Vec<u8>>)>,
    /// Writes whose keys end with the sequence of the commit: prefix and value. After the others.
    pub(crate) appends: Vec<(String, Vec<u8>)>,
}

impl Batch {
    /// An empty batch. Committing it checks nothing and changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn require(mut self, key: impl Into<String>, precondition: Precondition) -> Self {
        self.preconditions.push((key.into(), precondition));
        self
    }

    /// Adds a write, whether the key exists or not.
    pub fn put(mut self, key: impl Into<String>, value: Vec<u8>) -> Self {
        self.writes.push((key.into(), Some(value)));
        self
    }

    /// Adds a deletion.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push((key.into(), None));
        self
    }

    /// Adds a write under a new key, which is this prefix and the sequence that the commit gets. So the keys of a prefix
    /// are in the order of their commits, and a reader who goes on after the last one misses none: an engine makes
    /// commits visible in the order of their sequences. One for each prefix.
    pub fn append(mut self, prefix: impl Into<String>, value: Vec<u8>) -> Self {
        self.appends.push((prefix.into(), value));
        self
    }

    /// The key that [`Self::append`] writes.
    #[must_use]
    pub fn appended_key(prefix: &str, seq: u64) -> String {
        format!("{prefix}{seq:020}")
    }

    /// What must hold, in the order in which it is checked.
    #[must_use]
    pub fn preconditions(&self) -> &[(String, Precondition)] {
        &self.preconditions
    }

    /// Its writes in order; `None` deletes.
    #[must_use]
    pub fn writes(&self) -> &[(String, Option<Vec<u8>>)] {
        &self.writes
    }

    /// Prefixes and values of the writes whose keys end with the sequence of the commit. After the others.
    #[must_use]
    pub fn appends(&self) -> &[(String, Vec<u8>)] {
        &self.appends
    }

    /// The keys that it is about, apart from those that it appends.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let required = self.preconditions.iter().map(|(key, _)| key.as_str());
        required.chain(self.writes.iter().map(|(key, _)| key.as_str()))
    }

    /// Bytes of all values that it writes.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        let written = self.writes.iter().filter_map(|(_, value)| value.as_ref());
        written.chain(self.appends.iter().map(|(_, value)| value)).map(Vec::len).sum()
    }

    /// Whether it only checks.
    #[must_use]
    pub fn writes_nothing(&self) -> bool {
        self.writes.is_empty() && self.appends.is_empty()
    }

    /// All writes of the commit with this sequence.
    #[must_use]
    pub fn written(&self, seq: u64) -> Vec<(String, Option<&[u8]>)> {
        let writes = self.writes.iter().map(|(key, value)| (key.clone(), value.as_deref()));
        let appends = self.appends.iter();
        let appends = appends.map(|(prefix, value)| (Self::appended_key(prefix, seq), Some(&**value)));
        writes.chain(appends).collect()
    }

    /// Number of preconditions and writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.preconditions.len().saturating_add(self.writes.len()).saturating_add(self.appends.len())
    }

    /// Whether there is nothing to check or write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks every limit before an engine changes anything.
    ///
    /// # Errors
    /// [`StoreError::BatchTooLarge`], [`StoreError::TooLarge`], [`StoreError::InvalidKey`].
    pub fn check(&self) -> Result<(), StoreError> {
        if self.len() > BATCH_OPERATIONS_MAX {
            return Err(StoreError::BatchTooLarge { operations: self.len(), limit: BATCH_OPERATIONS_MAX });
        }
        for (key, _) in &self.preconditions {
            check_key(key)?;
        }
        for (key, value) in &self.writes {
            check_key(key)?;
            check_value(key, value.as_ref().map_or(0, Vec::len))?;
        }
        for (prefix, value) in &self.appends {
            let key = Self::appended_key(prefix, u64::MAX);
            check_key(&key)?;
            check_value(&key, value.len())?;
        }
        Ok(())
    }
}

fn check_value(key: &str, bytes: usize) -> Result<(), StoreError> {
    if bytes > VALUE_BYTES_MAX {
        return Err(StoreError::TooLarge { key: key.to_owned(), bytes, limit: VALUE_BYTES_MAX });
    }
    Ok(())
}

/// Keys are printable ASCII, so that every engine orders them the same way.
///
/// # Errors
/// [`StoreError::InvalidKey`].
pub fn check_key(key: &str) -> Result<(), StoreError> {
    let well_formed =
        !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.bytes().all(|b| b.is_ascii_graphic());
    if well_formed { Ok(()) } else { Err(StoreError::InvalidKey { key: key.chars().take(80).collect() }) }
}

/// One key that a commit wrote or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub seq: u64,
    pub key: String,
    /// Whether the commit deleted it.
    pub deleted: bool,
}

/// What a snapshot or a restore covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotReport {
    /// Number of records.
    pub records: u64,
    /// The commit sequence that the snapshot contains.
    pub seq: u64,
}

/// What is done at the moment of a snapshot. Commits wait for it.
pub type AtSnapshot = Box<dyn FnOnce() -> Result<(), StoreError> + Send>;

/// The size of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStats {
    pub engine: &'static str,
    /// Sequence of the last commit.
    pub seq: u64,
    /// Number of records.
    pub records: u64,
    /// Bytes on disk; 0 for the memory engine.
    pub disk_bytes: u64,
}

/// A storage engine.
///
/// Errors of all methods: [`StoreError::Damaged`] if stored bytes are not what was written,
/// [`StoreError::Unavailable`] if the storage cannot be used, [`StoreError::InvalidKey`] for a key
/// that is not printable ASCII of 1 to [`KEY_BYTES_MAX`] bytes.
pub trait Store: Send + Sync + 'static {
    /// The record under a key.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>>;

    /// Records whose keys start with `prefix` and are greater than `after`, in key order, at most
    /// `limit` (and never more than [`LIST_ENTRIES_MAX`]).
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>>;

    /// Applies a batch, all or nothing, and returns its sequence once it is durable. A batch without
    /// writes checks its preconditions and returns the current sequence.
    ///
    /// Dropping the future does not cancel the batch. Errors besides the common ones:
    /// [`StoreError::Conflict`], [`StoreError::TooLarge`], [`StoreError::BatchTooLarge`].
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Changes of the commits after `since`, oldest first: whole commits, until `limit` is reached
    /// (so a few more than `limit` may be returned, and no commit is ever split).
    ///
    /// Errors: [`StoreError::ChangesTruncated`] if the feed does not reach back that far.
    fn changes(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, StoreError>>;

    /// Writes the whole store, as of one sequence, to a stream that ends with a checksum. The same
    /// stream restores into any engine. Commits may wait meanwhile: give it a file, not a network peer.
    fn snapshot(&self, to: Box<dyn Write + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>>;

    /// The same, and calls `at` at the moment whose state is written: every earlier commit is in it, and no later one has
    /// been made yet. An engine whose commits go on during a snapshot implements this itself.
    fn snapshot_at(
        &self,
        at: AtSnapshot,
        to: Box<dyn Write + Send>,
    ) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(async move {
            at()?;
            self.snapshot(to).await
        })
    }

    /// Fills an empty store from a snapshot, keeping revisions and sequence. The change feed starts
    /// at the snapshot's sequence.
    ///
    /// Errors: [`StoreError::NotEmpty`], [`StoreError::BadSnapshot`]; the store is then unchanged.
    fn restore(&self, from: Box<dyn Read + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>>;

    /// Resolves when there may be changes that were not read yet: a hint to read them before the next look. `None` from an
    /// engine that gives no hints. One may come without a change, and none may come for a change: who follows the feed
    /// looks in any case.
    fn woken(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    /// The size of the store.
    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>>;

    /// The key with which the storage seals its rows, wrapped by a master key, as [`crate::make_own_key`] made it; `None`
    /// from an engine that has none.
    fn own_key(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Exchanges it for the same key under another master key, if it is still `before`; returns whether it was.
    fn exchange_own_key<'a>(
        &'a self,
        _before: &'a str,
        _after: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// A counter that has another value after every write of that key; `None` from an engine that does not see every
    /// write, and while the key is being written. Writes of other keys may advance it, too.
    fn version(&self, _key: &str) -> Option<u64> {
        None
    }

    /// Bytes that the records take, without what an engine adds; `None` where nobody counts them. What a store has on
    /// disk beyond that is what it does not give back by itself.
    fn live_bytes(&self) -> Option<u64> {
        None
    }

    /// Whether it can be read and written, as far as the last attempts showed.
    fn is_well(&self) -> bool {
        true
    }

    /// Whether what was acknowledged is known outside the store, where that was asked for.
    fn is_anchored(&self) -> bool {
        true
    }

    /// Whether several processes may have the store open at the same time. If not, any lease that an earlier
    /// process held ended with that process.
    fn is_shared(&self) -> bool {
        // Why by default: a lease that is respected too long delays, one that is not respected breaks.
        true
    }
}
