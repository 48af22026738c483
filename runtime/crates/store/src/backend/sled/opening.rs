//! Opens the files of a store and compares them with each other, at start and after a failure.
//!
//! What sled says about a damaged file speaks of its own history; here it becomes an error that names the files and
//! the repair.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use super::recovery;
use super::watermark::Watermark;
use super::writer::Files;
use crate::disk_sync::{rewrite, sync_directory};
use crate::error::StoreError;

/// Less than sled's default of 1 GiB, which is more than the whole product should need.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How long to wait for an earlier handle of the same directory to close inside sled.
const CLOSING_WAIT_MAX: Duration = Duration::from_secs(10);
const CLOSING_POLL: Duration = Duration::from_millis(2);

/// sled's own files that a store with commits cannot be without.
const SLED_FILES: [&str; 2] = ["conf", "db"];

pub(super) fn lock_directory(dir: &Path) -> Result<File, StoreError> {
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(|error| StoreError::io(&format!("opening {}/lock", dir.display()), &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(StoreError::AlreadyOpen { dir: dir.display().to_string() })
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(StoreError::io(&format!("locking {}", dir.display()), &error))
        }
    }
}

/// Opens everything below `dir` and compares sled's content with its digest and the watermark. Returns the bytes that
/// the records take, too.
pub(super) fn open_checked(dir: &Path) -> Result<(sled::Db, Files, u64), StoreError> {
    let opened = catch_unwind(AssertUnwindSafe(|| open_files(dir)));
    // Why: sled panics on some damaged pages, and an error that names the repair is better than that.
    opened.unwrap_or_else(|_| Err(unreadable(dir)))
}

fn open_files(dir: &Path) -> Result<(sled::Db, Files, u64), StoreError> {
    let (watermark, mark) = Watermark::open(&dir.join("watermark"))?;
    if mark.is_some() {
        present(dir)?;
    }
    let db = open_sled(dir)?;
    let live_bytes = recovery::examine(&db, mark)?;
    let db_file = File::open(dir.join("sled").join("db"))
        .map_err(|error| StoreError::io("opening sled's file for syncing", &error))?;
    for dir in [&dir.join("sled"), dir] {
        sync_directory(dir).map_err(|error| StoreError::io(&format!("syncing {}", dir.display()), &error))?;
    }
    Ok((db, Files { db_file, watermark }, live_bytes))
}

/// Writes sled's files once more, each with what it has: after a failed sync the system may count as written what is
/// not on the disk.
pub(super) fn write_once_more(sled: &Path) -> Result<(), StoreError> {
    let failed = |error: std::io::Error| StoreError::io("writing sled's files again", &error);
    // Before so much is written: whether the disk takes anything.
    let probe = sled.with_extension("probe");
    let probed = std::fs::write(&probe, [0; 64 * 1024]).and_then(|()| File::open(&probe)?.sync_all());
    std::fs::remove_file(&probe).map_err(failed)?;
    probed.map_err(failed)?;
    for entry in std::fs::read_dir(sled).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() {
            rewrite(&path).map_err(failed)?;
        }
    }
    sync_directory(sled).map_err(failed)
}

/// Why before sled sees them: it takes a store without them for a new one.
pub(super) fn present(dir: &Path) -> Result<(), StoreError> {
    for name in SLED_FILES {
        let path = dir.join("sled").join(name);
        let what = match std::fs::metadata(&path) {
            Ok(found) if !found.is_file() => "is not a file",
            Ok(found) if found.len() == 0 => "is empty",
            Ok(_) => continue,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "is missing",
            Err(error) => return Err(StoreError::io(&format!("looking at {}", path.display()), &error)),
        };
        return Err(StoreError::damaged(format!("{} {what}", path.display())));
    }
    Ok(())
}

/// Opens sled, waiting for an earlier handle of this process to close.
pub(super) fn open_sled(dir: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(dir.join("sled")).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let started = Instant::now();
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            // Why: sled's thread pool may hold its file for a moment after the last handle is dropped. Our own lock
            // shows that no other process is there.
            Err(sled::Error::Io(error)) if is_lock(&error) && started.elapsed() < CLOSING_WAIT_MAX => {
                std::thread::sleep(CLOSING_POLL);
            }
            Err(sled::Error::Io(error)) if is_lock(&error) || is_of_the_disk(&error) => {
                return Err(StoreError::io(&format!("opening {}", dir.display()), &error));
            }
            // Also what it says of versions and settings: the files are made by one version, with one setting.
            Err(_) => return Err(unreadable(dir)),
        }
    }
}

pub(super) fn unreadable(dir: &Path) -> StoreError {
    let sled = dir.join("sled");
    StoreError::damaged(format!("a file of the store in {} is damaged: sled cannot read it", sled.display()))
}

/// How sled reports that its file is locked.
fn is_lock(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::Other && error.to_string().starts_with("could not acquire lock")
}

/// Whether an error says that the disk cannot be used, and not that a file is not what it was.
fn is_of_the_disk(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{
        FileTooLarge, OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let kinds = [FileTooLarge, OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull];
    // Without a kind of its own: the device failed (EIO), or there are too many open files.
    kinds.contains(&error.kind()) || matches!(error.raw_os_error(), Some(5 | 23 | 24))
}
