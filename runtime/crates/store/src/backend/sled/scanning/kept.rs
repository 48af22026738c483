//! Records that are kept as they were for a snapshot: their values in memory up to a bound, further ones in a file that has
//! no name, so that nothing of it is left however the process ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backend::Versioned;
use crate::error::StoreError;

/// Bytes of values that are kept in memory: a store that is replaced as a whole during a snapshot must not be in memory
/// twice.
const VALUES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of keys with what is around them, which are always in memory: more than half a million records that are replaced
/// or deleted before a snapshot has come to them. A snapshot that would need more is given up.
const KEYS_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What an entry takes besides its key and value.
const AROUND_BYTES: usize = 128;

/// Name of the file for the moment in which it is made.
const FILE: &str = "snapshot.kept";

/// What may be kept.
#[derive(Debug, Clone, Copy)]
pub(in crate::backend::sled) struct KeptBounds {
    /// Bytes of values in memory.
    pub(in crate::backend::sled) values_bytes_max: usize,
    /// Bytes of keys, and of what is around them.
    pub(in crate::backend::sled) keys_bytes_max: usize,
}

impl Default for KeptBounds {
    fn default() -> Self {
        Self { values_bytes_max: VALUES_BYTES_MAX, keys_bytes_max: KEYS_BYTES_MAX }
    }
}

/// A record as it was.
pub(super) struct Kept {
    revision: u64,
    value: Value,
}

enum Value {
    Memory(Vec<u8>),
    File { file: Arc<File>, at: u64, bytes: usize },
}

impl Kept {
    pub(super) fn in_memory(found: Versioned) -> Self {
        Self { revision: found.revision, value: Value::Memory(found.value) }
    }

    /// Bytes of it in memory, besides its key.
    const fn memory(&self) -> usize {
        match &self.value {
            Value::Memory(value) => value.len(),
            Value::File { .. } => 0,
        }
    }

    /// The record.
    pub(super) fn read(self) -> Result<Versioned, StoreError> {
        let value = match self.value {
            Value::Memory(value) => value,
            Value::File { file, at, bytes } => {
                let mut value = vec![0; bytes];
                let read = file.read_exact_at(&mut value, at);
                read.map_err(|error| StoreError::io("reading what was kept for the snapshot", &error))?;
                value
            }
        };
        Ok(Versioned { value, revision: self.revision })
    }
}

/// What is kept for one snapshot.
pub(super) struct KeptRecords {
    dir: PathBuf,
    bounds: KeptBounds,
    records: BTreeMap<String, Kept>,
    keys_bytes: usize,
    values_bytes: usize,
    /// With the bytes that were written to it.
    file: Option<(Arc<File>, u64)>,
}

impl KeptRecords {
    /// Nothing yet. `dir` is where the file is made, if one is needed.
    pub(super) const fn new(dir: PathBuf, bounds: KeptBounds) -> Self {
        let records = BTreeMap::new();
        Self { dir, bounds, records, keys_bytes: 0, values_bytes: 0, file: None }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.records.contains_key(key)
    }

    /// Keeps a record, which is not kept yet.
    ///
    /// # Errors
    /// Why the snapshot cannot be finished.
    pub(super) fn keep(&mut self, key: &str, found: Versioned) -> Result<(), String> {
        let keys_bytes = self.keys_bytes.saturating_add(around(key));
        if keys_bytes > self.bounds.keys_bytes_max {
            return Err("too much was changed during the snapshot, and it was given up; try again".to_owned());
        }
        let values_bytes = self.values_bytes.saturating_add(found.value.len());
        let kept = if values_bytes <= self.bounds.values_bytes_max {
            Kept::in_memory(found)
        } else {
            self.put_aside(&found)
                .map_err(|error| format!("keeping a record for the snapshot, which was given up: {error}"))?
        };
        self.keys_bytes = keys_bytes;
        self.values_bytes = self.values_bytes.saturating_add(kept.memory());
        self.records.insert(key.to_owned(), kept);
        Ok(())
    }

    /// Takes the records up to this key, its own included; all of them without one.
    pub(super) fn take_up_to(&mut self, key: Option<&str>) -> BTreeMap<String, Kept> {
        let mut later = key.map_or_else(BTreeMap::new, |key| self.records.split_off(key));
        if let Some((key, same)) = key.and_then(|key| later.remove_entry(key)) {
            self.records.insert(key, same);
        }
        let taken = std::mem::replace(&mut self.records, later);
        for (key, kept) in &taken {
            self.keys_bytes = self.keys_bytes.saturating_sub(around(key));
            self.values_bytes = self.values_bytes.saturating_sub(kept.memory());
        }
        taken
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(std::mem::take(&mut self.dir), self.bounds);
    }

    /// Writes a value into the file. It only grows: no place is used twice, so what was taken can be read at any time.
    fn put_aside(&mut self, found: &Versioned) -> std::io::Result<Kept> {
        let (file, at) = match &self.file {
            Some((file, at)) => (Arc::clone(file), *at),
            None => (Arc::new(nameless(&self.dir)?), 0),
        };
        file.write_all_at(&found.value, at)?;
        let bytes = found.value.len();
        let end = at.checked_add(bytes as u64).ok_or_else(|| Error::from(ErrorKind::FileTooLarge))?;
        self.file = Some((Arc::clone(&file), end));
        Ok(Kept { revision: found.revision, value: Value::File { file, at, bytes } })
    }
}

fn around(key: &str) -> usize {
    key.len().saturating_add(AROUND_BYTES)
}

/// A new file whose name is gone again.
fn nameless(dir: &Path) -> std::io::Result<File> {
    let path = dir.join(FILE);
    match std::fs::remove_file(&path) {
        // What a process left that was killed at that moment.
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
