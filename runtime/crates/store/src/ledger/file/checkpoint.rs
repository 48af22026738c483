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
    /// The last cut that was made; the anchor must be one that a head knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<AnchorText>,
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
    /// The last cut that each of them knows.
    cuts: [Option<Anchor>; 2],
}

impl Heads {
    /// Both, as they are now. The one outside counts as none if it cannot be read.
    pub(super) fn read(org: &OrgId, dir: &Path) -> Result<Self, CheckpointError> {
        let outside = outside(org, dir).and_then(|file| file.read());
        let cut_outside = outside.and_then(|head| head.cut);
        let cut_outside = cut_outside.map(|(first_segment, dropped)| Anchor { first_segment, dropped });
        let (beside, cut_beside) = read_head(dir)?.unzip();
        let cuts = [cut_beside.flatten(), cut_outside];
        Ok(Self { beside, outside: outside.map(|head| head.link), cuts })
    }

    /// The latest cut that one of them knows.
    pub(super) fn cut(&self) -> Option<Anchor> {
        self.cuts.into_iter().flatten().max_by_key(|cut| cut.first_segment)
    }

    /// Whether an anchor is a cut that was made by this product: one that a head knows, or one before it, if the next
    /// cut was interrupted.
    pub(super) fn check_anchor(&self, anchor: Option<&Anchor>) -> Result<(), &'static str> {
        let Some(anchor) = anchor else { return Ok(()) };
        let known = |cut: Anchor| cut == *anchor || cut.first_segment > anchor.first_segment;
        if self.beside.is_none() || self.cuts.into_iter().flatten().any(known) {
            // Without the head beside, that it is missing is what is said.
            return Ok(());
        }
        Err("the chain begins after a cut that no retention made")
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

fn read_head(dir: &Path) -> Result<Option<(Link, Option<Anchor>)>, CheckpointError> {
    let Some(head) = read::<HeadText>(dir, HEAD)? else {
        return Ok(None);
    };
    let hash = lower_hex::decode(&head.hash).ok_or(CheckpointError::Malformed(HEAD))?;
    let cut = head.cut.map(|cut| cut.read(HEAD)).transpose()?;
    Ok(Some((Link { seq: head.seq, hash }, cut)))
}

impl AnchorText {
    fn of(anchor: &Anchor) -> Self {
        let Anchor { first_segment, dropped } = *anchor;
        Self { first_segment, seq: dropped.seq, hash: hex::encode(&dropped.hash) }
    }

    fn read(self, file: &'static str) -> Result<Anchor, CheckpointError> {
        let hash = lower_hex::decode(&self.hash).ok_or(CheckpointError::Malformed(file))?;
        Ok(Anchor { first_segment: self.first_segment, dropped: Link { seq: self.seq, hash } })
    }
}

pub(super) fn read_anchor(dir: &Path) -> Result<Option<Anchor>, CheckpointError> {
    let Some(anchor) = read::<AnchorText>(dir, ANCHOR)? else {
        return Ok(None);
    };
    anchor.read(ANCHOR).map(Some)
}

pub(super) fn write_anchor(dir: &Path, anchor: &Anchor) -> std::io::Result<()> {
    replace(dir, ANCHOR, &AnchorText::of(anchor))
}

/// The only writer of an org's heads: they only ever move forward.
#[derive(Debug)]
pub(super) struct HeadWriter {
    dir: PathBuf,
    outside: Option<HeadFile>,
    written: Mutex<WrittenHead>,
}

#[derive(Debug)]
struct WrittenHead {
    link: Option<Link>,
    /// The segment of that record, as far as this process wrote it.
    segment: u64,
    /// The last cut.
    cut: Option<Anchor>,
}

impl HeadWriter {
    pub(super) fn new(org: &OrgId, dir: &Path, found: Option<Link>, cut: Option<Anchor>) -> Self {
        let written = Mutex::new(WrittenHead { link: found, segment: 0, cut });
        Self { dir: dir.to_owned(), outside: outside(org, dir), written }
    }

    /// Records that the chain is on disk up to `link`, in that segment; does nothing if the heads are there already.
    pub(super) fn advance(&self, link: Link, segment: u64) -> std::io::Result<()> {
        let mut written = lock(&self.written);
        let head = Head { link, segment, cut: slot_cut(written.cut) };
        if written.link.is_some_and(|written| written.seq >= link.seq) {
            // The one outside may be missing or older: it is not synced.
            return match written.link {
                Some(same) if same.seq == link.seq => self.write_outside(head, false),
                _ => Ok(()),
            };
        }
        self.write_beside(link, written.cut)?;
        (written.link, written.segment) = (Some(link), segment);
        self.write_outside(head, false)
    }

    /// Notes a cut in both heads, on disk when this returns. `link` is how far the chain is on disk.
    pub(super) fn cut(&self, cut: Anchor, link: Link, segment: u64) -> std::io::Result<()> {
        let mut written = lock(&self.written);
        // Why: the sync thread may have gone on meanwhile, and a head only moves forward.
        let (link, segment) = match written.link {
            Some(later) if later.seq > link.seq => (later, written.segment.max(segment)),
            _ => (link, segment),
        };
        self.write_beside(link, Some(cut))?;
        *written = WrittenHead { link: Some(link), segment, cut: Some(cut) };
        self.write_outside(Head { link, segment, cut: slot_cut(Some(cut)) }, true)
    }

    fn write_beside(&self, link: Link, cut: Option<Anchor>) -> std::io::Result<()> {
        let cut = cut.as_ref().map(AnchorText::of);
        replace(&self.dir, HEAD, &HeadText { seq: link.seq, hash: hex::encode(&link.hash), cut })
    }

    fn write_outside(&self, head: Head, synced: bool) -> std::io::Result<()> {
        let Some(file) = &self.outside else { return Ok(()) };
        if synced { file.write_synced(head) } else { file.write(head) }
    }
}

fn slot_cut(cut: Option<Anchor>) -> Option<(u64, Link)> {
    cut.map(|cut| (cut.first_segment, cut.dropped))
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
