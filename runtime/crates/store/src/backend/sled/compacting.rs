//! Gives back the space that sled keeps: the records are copied into a new directory, which then takes the place of the
//! old one in one step. A process that dies at any point leaves the old store or the new one in that place, never none.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{SledStore, reading};
use crate::backend::Store as _;
use crate::disk_sync::{sync_directory, sync_tree};
use crate::error::StoreError;

/// How far a compaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompactStep {
    /// Everything was read and compared; copying begins.
    Copying,
    /// The copy is on disk, and has been read and compared.
    Copied,
    /// The copy is in the place of the store, on disk.
    Exchanged,
    /// The old store is gone.
    Removed,
}

/// What a compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Records in the store.
    pub records: u64,
    /// Bytes on disk before.
    pub bytes_before: u64,
    /// Bytes on disk now.
    pub bytes_after: u64,
}

/// Compacts the store in `dir`, which no process has open. `fresh` is where the copy is made: beside it, on the same file
/// system, and removed first if an earlier attempt left something there. Needs room for the records once more.
///
/// # Errors
/// Those of [`SledStore::open_anchored`]; [`StoreError::Unavailable`] if the copy cannot be made, or if the file system
/// cannot exchange two directories. The store is then as it was.
pub async fn compact_store(
    dir: &Path,
    fresh: &Path,
    anchor: Option<&Path>,
    each: &mut (dyn FnMut(CompactStep) + Send),
) -> Result<Compacted, StoreError> {
    remove(fresh)?;
    let old = SledStore::open_anchored(dir, anchor)?;
    let bytes_before = bytes(dir)?;
    each(CompactStep::Copying);
    let copied = copy(old, fresh).await;
    let records = match copied {
        Ok(records) => records,
        Err(error) => {
            // Why ignored: the reason why nothing was copied says more.
            let _ = remove(fresh);
            return Err(error);
        }
    };
    each(CompactStep::Copied);
    if let Err(error) = exchange(dir, fresh) {
        // Why ignored: as above.
        let _ = remove(fresh);
        return Err(error);
    }
    each(CompactStep::Exchanged);
    let bytes_after = bytes(dir)?;
    remove(fresh)?;
    each(CompactStep::Removed);
    Ok(Compacted { records, bytes_before, bytes_after })
}

/// Copies the records, and compares what is on disk then; returns how many there are. Both stores are closed after it.
async fn copy(old: SledStore, fresh: &Path) -> Result<u64, StoreError> {
    let failed = |error: std::io::Error| StoreError::io("copying the store", &error);
    let (reader, writer) = std::io::pipe().map_err(failed)?;
    let new = Arc::new(SledStore::open(fresh)?);
    let restoring = {
        let new = Arc::clone(&new);
        tokio::spawn(async move { new.restore(Box::new(reader)).await })
    };
    let written = old.snapshot(Box::new(writer)).await;
    let restored = restoring.await.map_err(|_| StoreError::damaged("copying the store failed"))?;
    // Why this order: a copy that failed ends the pipe, and its reason says more.
    let report = restored.and_then(|report| written.map(|_| report))?;
    let was = reading::meta(&old.shared.usable()?)?;
    drop((old, new));
    // Read again from the disk, as a start does.
    let opened = SledStore::open(fresh)?;
    let is = reading::meta(&opened.shared.usable()?)?;
    drop(opened);
    if (is.seq, is.records, is.digest) != (was.seq, was.records, was.digest) {
        return Err(StoreError::Unavailable("the copy is not the store that was copied".to_owned()));
    }
    sync_tree(fresh).map_err(failed)?;
    Ok(report.records)
}

/// Puts the copy in the place of the store, and the store in the place of the copy.
fn exchange(dir: &Path, fresh: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::io("exchanging the store", &error);
    if let Some(parent) = fresh.parent() {
        sync_directory(parent).map_err(failed)?;
    }
    renameat_with(CWD, fresh, CWD, dir, RenameFlags::EXCHANGE).map_err(|error| match error {
        // Why no other way: with two renames there would be a moment without a store.
        rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS => StoreError::Unavailable(
            "this file system cannot exchange two directories in one step; make a backup and restore it into a new \
             directory instead"
                .to_owned(),
        ),
        other => failed(other.into()),
    })?;
    dir.parent().map_or(Ok(()), sync_directory).map_err(failed)
}

fn remove(dir: &Path) -> Result<(), StoreError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io(&format!("removing {}", dir.display()), &error))
        }
        _ => Ok(()),
    }
}

/// Bytes of the files below a directory.
fn bytes(dir: &Path) -> Result<u64, StoreError> {
    let failed = |error: std::io::Error| StoreError::io("measuring the store", &error);
    let mut bytes = 0_u64;
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let found = entry.metadata().map_err(failed)?;
        let more = if found.is_dir() { self::bytes(&entry.path())? } else { found.len() };
        bytes = bytes.saturating_add(more);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
