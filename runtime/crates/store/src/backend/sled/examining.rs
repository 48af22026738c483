//! A look at everything in a store's directory that goes on after the first fault, for people who want to know all of it.
//!
//! Opening a store ends at the first fault; this names each. It changes nothing but what sled itself does when it opens
//! its files. Called by the check of a data directory.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::layout::{CHANGES, META, Meta, RECORDS, change_seq, decode_changes, live_bytes};
use super::opening::{lock_directory, open_sled, present};
use super::watermark::{Mark, Watermark};
use super::{reading, recovery};
use crate::error::StoreError;

/// Faults that are named one by one; a store whose files are gone has as many as it has records.
const NAMED_MAX: usize = 1000;

/// Prefix of further chunks of values, which are checked with their records.
const CHUNKS: &[u8] = b"x/";

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreBad {
    /// The file, from the store's directory.
    pub file: &'static str,
    /// The record or the part, if it is known.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What a look at a store found.
#[derive(Debug, Default)]
pub struct StoreSeen {
    /// Records that are as they were written.
    pub records: u64,
    /// Bytes that these take.
    pub bytes: u64,
    /// What is not.
    pub bad: Vec<StoreBad>,
}

impl StoreSeen {
    fn add(&mut self, file: &'static str, place: impl Into<String>, reason: impl Into<String>) {
        if self.bad.len() < NAMED_MAX {
            self.bad.push(StoreBad { file, place: place.into(), reason: reason.into() });
        }
    }

    fn add_error(&mut self, file: &'static str, place: impl Into<String>, error: StoreError) {
        match error {
            StoreError::Damaged { what, .. } => self.add(file, place, what),
            other => self.add(file, place, other.to_string()),
        }
    }
}

/// Looks at the store in `dir`, which no process has open. `each` is told how many records were read.
///
/// # Errors
/// [`StoreError::AlreadyOpen`], [`StoreError::Unavailable`] if the files cannot be read; damage is in what is returned.
pub fn examine_store(dir: &Path, each: &mut dyn FnMut(u64)) -> Result<StoreSeen, StoreError> {
    let _lock = lock_directory(dir)?;
    let mut seen = StoreSeen::default();
    let Some(mark) = mark(dir, &mut seen)? else { return Ok(seen) };
    let looked = catch_unwind(AssertUnwindSafe(|| look(dir, mark, &mut seen, each)));
    match looked {
        Ok(Ok(())) => {}
        Ok(Err(error @ StoreError::Damaged { .. })) => seen.add_error(DB, "", error),
        Ok(Err(error)) => return Err(error),
        Err(_) => seen.add(DB, "", "sled cannot read it"),
    }
    Ok(seen)
}

const DB: &str = "sled/db";
const WATERMARK: &str = "watermark";

/// What was acknowledged; `None` if sled must not see the files, because it would take the store for a new one.
fn mark(dir: &Path, seen: &mut StoreSeen) -> Result<Option<Option<Mark>>, StoreError> {
    let path = dir.join(WATERMARK);
    // Why first: opening would make it.
    let mark = match path.try_exists() {
        Ok(true) => match Watermark::open(&path) {
            Ok((_, mark)) => mark,
            Err(error @ StoreError::Damaged { .. }) => {
                seen.add_error(WATERMARK, "", error);
                None
            }
            Err(error) => return Err(error),
        },
        Ok(false) => None,
        Err(error) => return Err(StoreError::io(&format!("looking at {}", path.display()), &error)),
    };
    match present(dir) {
        Ok(()) => Ok(Some(mark)),
        // A store that never had a commit has neither.
        Err(StoreError::Damaged { .. }) if mark.is_none() && !dir.join("sled").exists() => Ok(None),
        Err(StoreError::Damaged { what, .. }) => {
            seen.add("sled", "", what);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn look(
    dir: &Path,
    mark: Option<Mark>,
    seen: &mut StoreSeen,
    each: &mut dyn FnMut(u64),
) -> Result<(), StoreError> {
    let db = open_sled(dir)?;
    let meta = match reading::meta(&db) {
        Ok(meta) => Some(meta),
        Err(error @ StoreError::Damaged { .. }) => {
            seen.add_error(DB, "state", error);
            None
        }
        Err(error) => return Err(error),
    };
    let (mut found, mut feed) = (Meta::default(), Feed::default());
    for row in db.iter() {
        let (key, value) = row.map_err(reading::storage)?;
        if let Some(name) = key.strip_prefix(RECORDS) {
            record(&db, name, meta.as_ref(), &mut found, seen);
            each(found.records);
        } else if key.starts_with(CHANGES) {
            feed.row(&key, &value, seen);
        } else if &*key != META && !key.starts_with(CHUNKS) {
            seen.add(DB, String::from_utf8_lossy(&key), "a row that no version of the product writes");
        }
    }
    seen.records = found.records;
    let Some(meta) = meta else { return Ok(()) };
    feed.finish(&meta, seen);
    if let Err(error) = recovery::compare(&meta, mark) {
        seen.add_error(WATERMARK, "", error);
    }
    if (found.digest, found.records) != (meta.digest, meta.records) {
        let reason = format!(
            "records are missing or are older than they should be: {} are whole, and there should be {}",
            found.records, meta.records
        );
        seen.add(DB, "state", reason);
    }
    Ok(())
}

fn record(db: &sled::Db, name: &[u8], meta: Option<&Meta>, found: &mut Meta, seen: &mut StoreSeen) {
    let Ok(name) = std::str::from_utf8(name) else {
        return seen.add(DB, String::from_utf8_lossy(name), "a record's key is damaged");
    };
    match reading::read(db, name) {
        Ok(Some(read)) => {
            if meta.is_some_and(|meta| read.found.revision > meta.seq) {
                seen.add(DB, format!("record {name}"), "it is newer than the store");
            }
            found.toggle(&read.checksum);
            found.records = found.records.saturating_add(1);
            seen.bytes = seen.bytes.saturating_add(live_bytes(name, read.found.value.len()));
        }
        Ok(None) => seen.add(DB, format!("record {name}"), "it cannot be read"),
        Err(error) => seen.add_error(DB, format!("record {name}"), error),
    }
}

/// The change feed, as its rows come.
#[derive(Default)]
struct Feed {
    /// The commits that have rows, from the first to the last without a gap.
    commits: Option<(u64, u64)>,
    gap: Option<u64>,
}

impl Feed {
    fn row(&mut self, key: &[u8], value: &[u8], seen: &mut StoreSeen) {
        let Some(seq) = change_seq(key) else {
            return seen.add(DB, "change feed", "a row's key is damaged");
        };
        if decode_changes(seq, value).is_none() {
            seen.add(DB, format!("changes of commit {seq}"), "they are not what was written");
        }
        let (first, last) = self.commits.unwrap_or((seq, seq));
        if seq > last.saturating_add(1) {
            self.gap.get_or_insert(last.saturating_add(1));
        }
        self.commits = Some((first, seq));
    }

    fn finish(&self, meta: &Meta, seen: &mut StoreSeen) {
        let first = meta.floor.saturating_add(1);
        let missing = match self.commits {
            _ if meta.seq == meta.floor => None,
            None => Some(first),
            Some((begins, _)) if begins > first => Some(first),
            Some((_, ends)) if ends < meta.seq => Some(ends.saturating_add(1)),
            Some(_) => self.gap,
        };
        if let Some(seq) = missing {
            seen.add(DB, format!("changes of commit {seq}"), "they are missing");
        }
    }
}
