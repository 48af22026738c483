//! What is compared when a store is opened: every record, the digest over all, and the watermark.
//!
//! It repairs nothing: a store that is not as it was acknowledged is not opened, because sled silently
//! cuts a log at the first damaged byte and would serve older data. Called by `SledStore::open`.

use crate::error::StoreError;

use super::layout::{Meta, live_bytes};
use super::reading;
use super::watermark::Mark;

/// Reads everything and compares; returns the bytes that the records take. `mark` is `None` if there was no watermark
/// file.
pub(super) fn examine(db: &sled::Db, mark: Option<Mark>) -> Result<u64, StoreError> {
    let meta = reading::meta(db)?;
    let (mut seen, mut bytes) = (Meta::default(), 0_u64);
    reading::each_record(db, &mut |key, read| {
        if read.found.revision > meta.seq {
            return Err(StoreError::damaged(format!("record {key} is newer than the store")));
        }
        seen.toggle(&read.checksum);
        seen.records = seen.records.saturating_add(1);
        bytes = bytes.saturating_add(live_bytes(key, read.found.value.len()));
        Ok(())
    })?;
    compare(&meta, mark)?;
    if seen.digest != meta.digest || seen.records != meta.records {
        return Err(StoreError::damaged(
            "records are missing from the store or are older than they should be",
        ));
    }
    Ok(bytes)
}

/// Compares what a store says of itself with what was acknowledged.
pub(super) fn compare(meta: &Meta, mark: Option<Mark>) -> Result<(), StoreError> {
    match mark {
        None if meta.seq > 0 => {
            return Err(StoreError::damaged("the store's watermark file is missing"));
        }
        Some(mark) if meta.seq < mark.seq => {
            return Err(StoreError::damaged(format!(
                "the store went back in time: commit {} was acknowledged, the store ends at {}",
                mark.seq, meta.seq
            )));
        }
        Some(mark) if meta.seq == mark.seq && meta.digest != mark.digest => {
            return Err(StoreError::damaged("the store is not the one its watermark belongs to"));
        }
        _ => {}
    }
    Ok(())
}
