//! Run files of the first format: JSON lines without checksums, named by the time at which each was begun.
//!
//! They are read and never written. Each line must be a run record of this workspace. Once the workspace has a file
//! of the present format, their bytes are also compared with the SHA-256 that its header holds, so that a change
//! since then is noticed; a change before then that leaves a valid record is not. Nothing is assumed of their names
//! but the order, since the clock may have been wrong. Called by the log and by reading.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use memchr::{memchr_iter, memmem};
use portcullis_core::hex;
use portcullis_core::id::RunId;

use super::chain::{Place, Sealed};
use super::segment::{Fault, parse};
use crate::head::Link;
use crate::lower_hex;
use crate::runs::RunRecord;

/// The seals of the files as they are now.
pub(super) fn seal(place: &Place, files: &[PathBuf]) -> Result<Vec<Sealed>, Fault> {
    let mut seals = Vec::with_capacity(files.len());
    for path in files {
        let bytes = read(path)?;
        // What is damaged already must not be sealed as if it were sound: its seal stays empty.
        let sound = records(place, path, &bytes).is_ok();
        let sha256 = if sound { hex::encode(digest(&SHA256, &bytes).as_ref()) } else { String::new() };
        seals.push(Sealed { file: file_name(path), bytes: bytes.len() as u64, sha256 });
    }
    Ok(seals)
}

/// Compares the list of files with the seals: none may be missing and none may be new.
pub(super) fn check_list(dir: &Path, files: &[PathBuf], seals: &[Sealed]) -> Result<(), Fault> {
    for seal in seals {
        if !files.iter().any(|path| file_name(path) == seal.file) {
            return Err(Fault::Damaged(dir.join(&seal.file), "the file is missing".to_owned()));
        }
    }
    match files.iter().find(|path| !seals.iter().any(|seal| seal.file == file_name(path))) {
        Some(path) => Err(Fault::Damaged(path.clone(), "the file does not belong there".to_owned())),
        None => Ok(()),
    }
}

/// The records of a file, in order; `seals` are those of all files, if they are sealed.
pub(super) fn read_records(
    place: &Place,
    path: &Path,
    seals: Option<&[Sealed]>,
) -> Result<Vec<RunRecord>, Fault> {
    let bytes = read(path)?;
    check_seal(path, &bytes, seals)?;
    records(place, path, &bytes)
}

/// Whether a file holds a run; a cheap look before all of it is read and checked.
pub(super) fn mentions(path: &Path, run: &RunId) -> Result<bool, Fault> {
    Ok(memmem::find(&read(path)?, format!("{{\"run_id\":\"{run}\"").as_bytes()).is_some())
}

/// What stands for a sealed file that was sound: its length and its SHA-256.
pub(super) fn sealed_as(path: &Path, seals: Option<&[Sealed]>) -> Option<Link> {
    let name = file_name(path);
    let seal = seals?.iter().find(|seal| seal.file == name)?;
    Some(Link { seq: seal.bytes, hash: lower_hex::decode(&seal.sha256)? })
}

/// Where the index of a file is kept.
pub(super) fn index_path(dir: &Path, path: &Path) -> PathBuf {
    dir.join(file_name(path)).with_extension("idx")
}

fn check_seal(path: &Path, bytes: &[u8], seals: Option<&[Sealed]>) -> Result<(), Fault> {
    let name = file_name(path);
    let Some(seal) =
        seals.and_then(|seals| seals.iter().find(|seal| seal.file == name && !seal.sha256.is_empty()))
    else {
        return Ok(());
    };
    if seal.bytes != bytes.len() as u64 || seal.sha256 != hex::encode(digest(&SHA256, bytes).as_ref()) {
        return Err(Fault::Damaged(path.to_owned(), "it is not as it was when it was sealed".to_owned()));
    }
    Ok(())
}

/// Every record; what follows the last line end was being written when the process died.
fn records(place: &Place, path: &Path, bytes: &[u8]) -> Result<Vec<RunRecord>, Fault> {
    let mut found = Vec::new();
    let mut at = 0_usize;
    for end in memchr_iter(b'\n', bytes) {
        found.push(parse(place, path, bytes.get(at..end).unwrap_or_default())?);
        at = end.saturating_add(1);
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    std::fs::read(path).map_err(|error| Fault::Io(path.to_owned(), error))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
