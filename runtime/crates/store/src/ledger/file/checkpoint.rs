//! Two small files beside the segments: the head (how far the chain is on disk) and the anchor
//! (where it starts after old segments were dropped).
//!
//! Both are replaced as a whole: a temporary file, fsync, rename, fsync of the directory. Without the head
//! a chain cut short at its end would still verify.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use portcullis_core::hex;
use serde::{Deserialize, Serialize};

use crate::ledger::line::Link;
use crate::lower_hex;
use portcullis_core::sync::lock;

const HEAD: &str = "head.json";
const ANCHOR: &str = "anchor.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadFile {
    seq: u64,
    hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorFile {
    first_segment: u64,
    seq: u64,
    hash: String,
}

/// Where a chain starts after pruning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Anchor {
    /// Number of the first segment that is kept.
    pub(super) first_segment: u64,
    /// The last record that was dropped.
    pub(super) dropped: Link,
}

/// Why one of the two files cannot be read.
#[derive(Debug)]
pub(super) enum CheckpointError {
    Io(std::io::Error),
    /// Which file is malformed.
    Malformed(&'static str),
}

pub(super) fn read_head(dir: &Path) -> Result<Option<Link>, CheckpointError> {
    let Some(head) = read::<HeadFile>(dir, HEAD)? else {
        return Ok(None);
    };
    let hash = lower_hex::decode(&head.hash).ok_or(CheckpointError::Malformed(HEAD))?;
    Ok(Some(Link { seq: head.seq, hash }))
}

pub(super) fn read_anchor(dir: &Path) -> Result<Option<Anchor>, CheckpointError> {
    let Some(anchor) = read::<AnchorFile>(dir, ANCHOR)? else {
        return Ok(None);
    };
    let hash = lower_hex::decode(&anchor.hash).ok_or(CheckpointError::Malformed(ANCHOR))?;
    Ok(Some(Anchor { first_segment: anchor.first_segment, dropped: Link { seq: anchor.seq, hash } }))
}

pub(super) fn write_anchor(dir: &Path, anchor: &Anchor) -> std::io::Result<()> {
    let file = AnchorFile {
        first_segment: anchor.first_segment,
        seq: anchor.dropped.seq,
        hash: hex::encode(&anchor.dropped.hash),
    };
    replace(dir, ANCHOR, &file)
}

/// The only writer of an org's head: it only ever moves forward.
#[derive(Debug)]
pub(super) struct HeadWriter {
    dir: PathBuf,
    written: Mutex<Option<Link>>,
}

impl HeadWriter {
    pub(super) fn new(dir: &Path, found: Option<Link>) -> Self {
        Self { dir: dir.to_owned(), written: Mutex::new(found) }
    }

    /// Records that the chain is on disk up to `link`; does nothing if the head is there already.
    pub(super) fn advance(&self, link: Link) -> std::io::Result<()> {
        let mut written = lock(&self.written);
        if written.is_some_and(|written| written.seq >= link.seq) {
            return Ok(());
        }
        let file = HeadFile { seq: link.seq, hash: hex::encode(&link.hash) };
        replace(&self.dir, HEAD, &file)?;
        *written = Some(link);
        Ok(())
    }
}

pub(super) fn sync_directory(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

fn read<T: for<'de> Deserialize<'de>>(dir: &Path, name: &'static str) -> Result<Option<T>, CheckpointError> {
    match std::fs::read(dir.join(name)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| CheckpointError::Malformed(name)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CheckpointError::Io(error)),
    }
}

fn replace<T: Serialize>(dir: &Path, name: &str, content: &T) -> std::io::Result<()> {
    let temporary = dir.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(content)?)?;
    file.sync_all()?;
    std::fs::rename(&temporary, dir.join(name))?;
    sync_directory(dir)
}
