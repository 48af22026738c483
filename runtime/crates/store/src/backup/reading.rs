//! Reads an archive: each entry by its name, and at the end whether all of it was there as it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::hex;
use serde::de::DeserializeOwned;
use tar::{Archive, EntryType};

use super::format::{END, End, Entry, FORMAT, Header, KnownBackup, LOG, LogState, entry};
use super::pack::begin_entry;
use super::{BackupError, BackupIdentity, sealing};
use crate::backends::DATA_FORMAT;

/// Longest document of an archive besides the list of modules: a log has at most some millions of files.
const DOCUMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The beginning of a file that holds records alone, as earlier versions wrote it.
const RECORDS_ALONE: &[u8] = b"PCSTORE1";

/// Zeros after the last block that is looked at: a tar archive ends with two blocks of them.
const LAST_PADDING_BYTES: usize = 512;

/// What is done with each entry: its kind, its name, its length and its content.
type OnEntry<'a> = &'a mut dyn FnMut(Entry<'_>, &str, u64, &mut dyn Read) -> Result<(), BackupError>;

/// An archive that is read.
pub(super) struct Reading {
    /// The file's name, for errors.
    pub(super) file: String,
    from: Box<dyn Read + Send>,
}

impl Reading {
    /// Opens a file; one that is sealed needs the key that opens it.
    pub(super) fn open(path: &Path, identity: Option<&BackupIdentity>) -> Result<Self, BackupError> {
        let file = path.display().to_string();
        let opened = File::open(path).map_err(BackupError::io(file.clone()))?;
        let mut from = BufReader::with_capacity(256 * 1024, opened);
        let start = from.fill_buf().map_err(BackupError::io(file.clone()))?;
        if start.starts_with(RECORDS_ALONE) {
            let reason = "it holds records alone, as versions before this one wrote them; restore it with one of these";
            return Err(BackupError::refused(&file, reason));
        }
        let from: Box<dyn Read + Send> = if start.starts_with(sealing::MAGIC) {
            sealing::open(&file, from, identity)?
        } else {
            Box::new(from)
        };
        Ok(Self { file, from })
    }

    /// Passes each entry on, the last one excepted: its name, its length and its content. What is read of it is not to be
    /// believed before this returns.
    pub(super) fn each(self, each: OnEntry<'_>) -> Result<(), BackupError> {
        let file = self.file;
        let bad = |reason: &str| BackupError::refused(&file, reason);
        let unreadable =
            |error: std::io::Error| BackupError::refused(&file, format!("it is not a whole backup: {error}"));
        let mut archive = Archive::new(self.from);
        let (mut digest, mut count, mut ended) = (Context::new(&SHA256), 0_u64, false);
        for found in archive.entries().map_err(unreadable)? {
            let mut found = found.map_err(unreadable)?;
            if ended {
                return Err(bad("something follows its end"));
            }
            let name = String::from_utf8(found.path_bytes().into_owned())
                .map_err(|_| bad("a name in it is not text"))?;
            if found.header().entry_type() != EntryType::Regular {
                return Err(bad("it has something else than files in it"));
            }
            let bytes = found.size();
            if name == END {
                let end: End = document(&file, &name, bytes, &mut found)?;
                let sum = hex::encode(digest.clone().finish().as_ref());
                if (end.entries, end.sha256) != (count, sum) {
                    return Err(bad("its content is not what was written"));
                }
                ended = true;
                continue;
            }
            let kind = entry(&name).ok_or_else(|| bad(&format!("it has {name:?}, which no backup has")))?;
            if (count == 0) != (kind == Entry::Header) {
                return Err(bad("it does not begin as a backup does"));
            }
            begin_entry(&mut digest, &name, bytes);
            let mut hashed = Hashed { from: &mut found, digest: &mut digest, bytes: 0 };
            each(kind, &name, bytes, &mut hashed)?;
            std::io::copy(&mut hashed, &mut std::io::sink()).map_err(unreadable)?;
            if hashed.bytes != bytes {
                return Err(bad("it ends too early"));
            }
            count = count.saturating_add(1);
        }
        if !ended {
            return Err(bad("it ends too early"));
        }
        // Why: one that was cut in its padding was cut all the same, and whoever cut it may have cut others.
        let (mut rest, most) = (Vec::new(), LAST_PADDING_BYTES.saturating_add(1));
        archive.into_inner().take(most as u64).read_to_end(&mut rest).map_err(unreadable)?;
        match rest.len() {
            LAST_PADDING_BYTES if rest.iter().all(|byte| *byte == 0) => Ok(()),
            short if short < LAST_PADDING_BYTES => Err(bad("it ends too early")),
            _ => Err(bad("something follows its end")),
        }
    }
}

/// Hashes what is read.
struct Hashed<'a> {
    from: &'a mut dyn Read,
    digest: &'a mut Context,
    bytes: u64,
}

impl Read for Hashed<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(into)?;
        self.digest.update(into.get(..read).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(read as u64);
        Ok(read)
    }
}

/// A document in an archive.
pub(super) fn document<T: DeserializeOwned>(
    file: &str,
    name: &str,
    bytes: u64,
    from: &mut dyn Read,
) -> Result<T, BackupError> {
    let bad = || BackupError::refused(file, format!("its {name} is not what a backup has there"));
    if bytes > DOCUMENT_BYTES_MAX {
        return Err(bad());
    }
    let mut text = Vec::new();
    from.read_to_end(&mut text).map_err(|_| BackupError::refused(file, "it ends too early"))?;
    serde_json::from_slice(&text).map_err(|_| bad())
}

/// The first document, if this version reads the file.
pub(super) fn header(file: &str, bytes: u64, from: &mut dyn Read) -> Result<Header, BackupError> {
    let header: Header = document(file, super::format::HEADER, bytes, from)?;
    if header.format > FORMAT || header.data_format > DATA_FORMAT {
        let reason = format!("portcullis {} made it; use that version or a later one", header.version);
        return Err(BackupError::refused(file, reason));
    }
    Ok(header)
}

/// What a backup has, for one that continues it. Reads and checks all of it.
///
/// # Errors
/// [`BackupError::Io`], [`BackupError::Refused`].
pub fn read_known(path: &Path, identity: Option<&BackupIdentity>) -> Result<KnownBackup, BackupError> {
    let reading = Reading::open(path, identity)?;
    let file = reading.file.clone();
    let (mut known, mut logs, mut modules) = (None, BTreeMap::new(), BTreeSet::new());
    reading.each(&mut |entry, name, bytes, from| {
        match entry {
            Entry::Header => known = Some(header(&file, bytes, from)?),
            Entry::OfLog(log, LOG) => {
                let state: LogState = document(&file, name, bytes, from)?;
                logs.insert(log.path(), LogState { pieces: Vec::new(), ..state });
            }
            Entry::Modules => modules = document(&file, name, bytes, from)?,
            _ => {}
        }
        Ok(())
    })?;
    let header = known.ok_or_else(|| BackupError::refused(&file, "it ends too early"))?;
    Ok(KnownBackup { id: header.id, made_at: header.made_at, logs, modules })
}
