//! Reads records, lists and changes from sled and verifies every checksum.
//!
//! Readers take no lock: a value of several rows may be replaced while it is read, which shows as a
//! newer head and is read again. Called by the engine, by recovery and by snapshots.

use std::ops::Bound;

use crate::backend::{Change, LIST_ENTRIES_MAX, Versioned};
use crate::error::StoreError;

use super::layout::{
    CHANGES, Head, META, Meta, RECORDS, change_key, change_seq, checksum, chunk_key, decode_changes,
    record_key,
};

/// How often a value may be replaced while it is read before the reader gives up.
const REPLACED_READS_MAX: usize = 64;

/// A checked value and its checksum.
pub(super) struct Read {
    pub(super) found: Versioned,
    pub(super) checksum: [u8; 32],
}

pub(super) fn get(db: &sled::Db, key: &str) -> Result<Option<Versioned>, StoreError> {
    Ok(read(db, key)?.map(|read| read.found))
}

/// The record under a key, assembled and checked.
pub(super) fn read(db: &sled::Db, key: &str) -> Result<Option<Read>, StoreError> {
    for _ in 0..REPLACED_READS_MAX {
        let Some(row) = row(db, &record_key(key))? else {
            return Ok(None);
        };
        let head = Head::decode(&row).ok_or_else(|| damaged(key))?;
        let revision = head.revision;
        if let Some(value) = assemble(db, key, &head)?
            && checksum(key, revision, &value) == head.checksum
        {
            return Ok(Some(Read { found: Versioned { value, revision }, checksum: head.checksum }));
        }
        let now = self::row(db, &record_key(key))?;
        let replaced = now.is_none_or(|now| now != row);
        if !replaced {
            return Err(damaged(key));
        }
    }
    Err(StoreError::Unavailable(format!("record {key} changes faster than it can be read")))
}

pub(super) fn list(
    db: &sled::Db,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Versioned)>, StoreError> {
    let start = match after {
        Some(after) if after >= prefix => Bound::Excluded(record_key(after)),
        _ => Bound::Included(record_key(prefix)),
    };
    let mut found = Vec::new();
    for row in db.range((start, Bound::Unbounded)) {
        if found.len() >= limit.min(LIST_ENTRIES_MAX) {
            break;
        }
        let (key, _) = row.map_err(storage)?;
        let Some(key) = key.strip_prefix(RECORDS) else {
            break;
        };
        let key = std::str::from_utf8(key).map_err(|_| StoreError::damaged("a record's key is damaged"))?;
        if !key.starts_with(prefix) {
            break;
        }
        // `None`: deleted since the iterator returned it.
        if let Some(value) = get(db, key)? {
            found.push((key.to_owned(), value));
        }
    }
    Ok(found)
}

pub(super) fn changes(db: &sled::Db, since: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
    let mut found: Vec<Change> = Vec::new();
    for row in db.range(change_key(since.saturating_add(1), 0)..) {
        let (key, row) = row.map_err(storage)?;
        if !key.starts_with(CHANGES) {
            break;
        }
        let feed_damaged = || StoreError::damaged("the change feed is damaged");
        let seq = change_seq(&key).ok_or_else(feed_damaged)?;
        let whole_commit = found.last().is_none_or(|last| last.seq != seq);
        if whole_commit && found.len() >= limit.min(LIST_ENTRIES_MAX) {
            break;
        }
        found.extend(decode_changes(seq, &row).ok_or_else(feed_damaged)?);
    }
    // After the scan: what was dropped from the feed meanwhile is below this floor.
    let floor = meta(db)?.floor;
    if since < floor {
        return Err(StoreError::ChangesTruncated { since, floor });
    }
    Ok(found)
}

pub(super) fn meta(db: &sled::Db) -> Result<Meta, StoreError> {
    Meta::decode(row(db, META)?.as_deref())
}

/// Visits every record in key order. Consistent only while nothing commits.
pub(super) fn each_record(
    db: &sled::Db,
    each: &mut dyn FnMut(&str, Read) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for row in db.scan_prefix(RECORDS) {
        let (key, _) = row.map_err(storage)?;
        let key = key
            .strip_prefix(RECORDS)
            .and_then(|key| std::str::from_utf8(key).ok())
            .ok_or_else(|| StoreError::damaged("a record's key is damaged"))?;
        let read = read(db, key)?.ok_or_else(|| damaged(key))?;
        each(key, read)?;
    }
    Ok(())
}

/// A failure inside sled. For corruption the error names the repair; the rest comes from the disk.
pub(super) fn storage(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => StoreError::damaged("a page of the store is damaged"),
        other => StoreError::Unavailable(other.to_string()),
    }
}

fn damaged(key: &str) -> StoreError {
    StoreError::damaged(format!("record {key} is damaged"))
}

fn row(db: &sled::Db, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
    db.get(key).map_err(storage)
}

/// `None` if a chunk is missing.
fn assemble(db: &sled::Db, key: &str, head: &Head) -> Result<Option<Vec<u8>>, StoreError> {
    let mut value = Vec::with_capacity(head.value_bytes);
    value.extend_from_slice(&head.start);
    for index in 1..=head.further_chunks() {
        match row(db, &chunk_key(key, head.revision, index))? {
            Some(chunk) => value.extend_from_slice(&chunk),
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}
