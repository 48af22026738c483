//! Two small files beside the segments: the head (how far the chain is on disk) and the anchor
//! (where it starts after old segments were dropped). A second head is kept outside the org's directory.
//!
//! Head and anchor are replaced as a whole: a temporary file, fsync, rename, fsync of the directory. Without the head
//! a chain cut short at its end would still verify, and without the one outside a directory that is gone or older.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use portcullis_core::hex;
use portcullis_core::id::OrgId;
use serde::{Deserialize, Serialize};

use crate::disk_sync::sync_directory;
use crate::head::{Head, HeadFile};
use crate::ledger::line::Link;
use crate::lower_hex;
use portcullis_core::sync::lock;

const HEAD: &str = "head.json";
const ANCHOR: &str = "anchor.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadText {
    seq: u64,
    hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorText {
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

/// How far a chain is known to reach.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heads {
    /// By the file beside the segments.
    pub(super) beside: Option<Link>,
    /// By the file outside the org's directory.
    pub(super) outside: Option<Link>,
}

impl Heads {
    /// Both, as they are now. The one outside counts as none if it cannot be read.
    pub(super) fn read(org: &OrgId, dir: &Path) -> Result<Self, CheckpointError> {
        let outside = outside(org, dir).and_then(|file| file.read()).map(|head| head.link);
        Ok(Self { beside: read_head(dir)?, outside })
    }

    /// Records that must be there.
    pub(super) fn records(&self) -> u64 {
        self.beside.into_iter().chain(self.outside).map(|link| link.seq).max().unwrap_or_default()
    }
}

/// The head outside the directory of an org.
pub(super) fn outside(org: &OrgId, dir: &Path) -> Option<HeadFile> {
    dir.parent().map(|root| HeadFile::of(root, &[org.as_str()]))
}

fn read_head(dir: &Path) -> Result<Option<Link>, CheckpointError> {
    let Some(head) = read::<HeadText>(dir, HEAD)? else {
        return Ok(None);
    };
    let hash = lower_hex::decode(&head.hash).ok_or(CheckpointError::Malformed(HEAD))?;
    Ok(Some(Link { seq: head.seq, hash }))
}

pub(super) fn read_anchor(dir: &Path) -> Result<Option<Anchor>, CheckpointError> {
    let Some(anchor) = read::<AnchorText>(dir, ANCHOR)? else {
        return Ok(None);
    };
    let hash = lower_hex::decode(&anchor.hash).ok_or(CheckpointError::Malformed(ANCHOR))?;
    Ok(Some(Anchor { first_segment: anchor.first_segment, dropped: Link { seq: anchor.seq, hash } }))
}

pub(super) fn write_anchor(dir: &Path, anchor: &Anchor) -> std::io::Result<()> {
    let file = AnchorText {
        first_segment: anchor.first_segment,
        seq: anchor.dropped.seq,
        hash: hex::encode(&anchor.dropped.hash),
    };
    replace(dir, ANCHOR, &file)
}

/// The only writer of an org's heads: they only ever move forward.
#[derive(Debug)]
pub(super) struct HeadWriter {
    dir: PathBuf,
    outside: Option<HeadFile>,
    written: Mutex<Option<Link>>,
}

impl HeadWriter {
    pub(super) fn new(org: &OrgId, dir: &Path, found: Option<Link>) -> Self {
        Self { dir: dir.to_owned(), outside: outside(org, dir), written: Mutex::new(found) }
    }

    /// Records that the chain is on disk up to `link`, in that segment; does nothing if the heads are there already.
    pub(super) fn advance(&self, link: Link, segment: u64) -> std::io::Result<()> {
        let mut written = lock(&self.written);
        let head = Head { link, segment, cut: None };
        if written.is_some_and(|written| written.seq >= link.seq) {
            // The one outside may be missing or older: it is not synced.
            return match &*written {
                Some(same) if same.seq == link.seq => self.write_outside(head),
                _ => Ok(()),
            };
        }
        let file = HeadText { seq: link.seq, hash: hex::encode(&link.hash) };
        replace(&self.dir, HEAD, &file)?;
        *written = Some(link);
        self.write_outside(head)
    }

    fn write_outside(&self, head: Head) -> std::io::Result<()> {
        self.outside.as_ref().map_or(Ok(()), |file| file.write(head))
    }
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
