//! Writes the archive: entry by entry, with a digest over all of them at its end.

use std::io::{self, Read, Write};

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::hex;
use serde::Serialize;
use tar::{Builder, EntryType, Header};

use super::format::{END, End};
use super::{BackupError, BackupProgress};
use crate::record_hash::length;

/// Adds an entry to a digest over all; its content follows.
pub(super) fn begin_entry(digest: &mut Context, name: &str, bytes: u64) {
    digest.update(&length(name.len()));
    digest.update(name.as_bytes());
    digest.update(&bytes.to_be_bytes());
}

/// An archive that is being written.
pub(super) struct Pack<W: Write> {
    tar: Builder<W>,
    digest: Context,
    entries: u64,
    /// Seconds since 1970.
    time: u64,
    bytes: u64,
    progress: BackupProgress,
}

/// Reads exactly so many bytes, and hashes them.
struct Exactly<'a> {
    from: &'a mut dyn Read,
    left: u64,
    digest: &'a mut Context,
}

impl Read for Exactly<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let into = into.get_mut(..most).unwrap_or_default();
        if into.is_empty() {
            return Ok(0);
        }
        let read = self.from.read(into)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file is shorter than it was"));
        }
        self.digest.update(into.get(..read).unwrap_or_default());
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

impl<W: Write> Pack<W> {
    pub(super) fn new(to: W, time: u64, progress: BackupProgress) -> Self {
        let digest = Context::new(&SHA256);
        Self { tar: Builder::new(to), digest, entries: 0, time, bytes: 0, progress }
    }

    /// Bytes of the entries so far.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds an entry of exactly so many bytes.
    pub(super) fn add(&mut self, name: &str, bytes: u64, from: &mut dyn Read) -> Result<(), BackupError> {
        begin_entry(&mut self.digest, name, bytes);
        let exactly = Exactly { from, left: bytes, digest: &mut self.digest };
        append(&mut self.tar, name, self.time, bytes, exactly)?;
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        (self.progress)(self.bytes);
        Ok(())
    }

    pub(super) fn add_bytes(&mut self, name: &str, mut bytes: &[u8]) -> Result<(), BackupError> {
        self.add(name, bytes.len() as u64, &mut bytes)
    }

    pub(super) fn add_json<T: Serialize>(&mut self, name: &str, content: &T) -> Result<(), BackupError> {
        self.add_bytes(name, &serde_json::to_vec(content).map_err(|error| BackupError::Output(error.into()))?)
    }

    /// Adds the last entry, and ends the archive.
    pub(super) fn finish(mut self) -> Result<W, BackupError> {
        let end = End { entries: self.entries, sha256: hex::encode(self.digest.finish().as_ref()) };
        let end = serde_json::to_vec(&end).map_err(|error| BackupError::Output(error.into()))?;
        append(&mut self.tar, END, self.time, end.len() as u64, end.as_slice())?;
        self.tar.into_inner().map_err(BackupError::Output)
    }
}

fn append<W: Write>(
    tar: &mut Builder<W>,
    name: &str,
    time: u64,
    bytes: u64,
    from: impl Read,
) -> Result<(), BackupError> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_mtime(time);
    header.set_size(bytes);
    tar.append_data(&mut header, name, from).map_err(BackupError::Output)
}
