//! One log as it is at a moment, while it is written to and while its old files are dropped.
//!
//! Its files are linked into the spool, so that they stay as long as they are read; they only grow. A file that is written
//! to counts up to its last whole line. Heads are read first: what they speak of is in the files by then.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_core::id::{OrgId, WorkspaceId};
use serde::Deserialize;

use super::format::{LogKind, LogName, OUTER_HEAD, is_earlier, segment_number};
use crate::head::{HEADS, HeadFile};

/// Files may be dropped during a look; what a later look misses, too, is not there.
const LOOKS_MAX: usize = 10;
/// Pause before the next look: a log is dropped or begun within it.
const LOOK_PAUSE: Duration = Duration::from_millis(3);

/// Longest line of any log, with room.
const LINE_BYTES_MAX: u64 = 256 * 1024;

/// A log whose files stay as long as this value.
pub(super) struct Frozen {
    /// Number of the first file that counts.
    pub(super) first: u64,
    /// In order of their names.
    pub(super) files: Vec<FrozenFile>,
    /// Heads and anchor, as the files had them.
    pub(super) small: Vec<(&'static str, Vec<u8>)>,
}

/// A file of it.
pub(super) struct FrozenFile {
    pub(super) name: String,
    /// Absent for one of the first format.
    pub(super) number: Option<u64>,
    /// The link to it.
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for file in &self.files {
            // Why ignored: the whole spool is removed at the end.
            let _ = std::fs::remove_file(&file.path);
        }
    }
}

/// Every log of a kind, those whose directory is missing included.
pub(super) fn names(kind: LogKind, root: &Path) -> Vec<LogName> {
    let orgs = children(&[root.to_owned(), root.join(HEADS)]);
    let orgs = orgs.into_iter().filter(|org| OrgId::parse(org).is_ok());
    match kind {
        LogKind::Ledger => orgs.map(|org| LogName { kind, parts: vec![org] }).collect(),
        LogKind::Runs => {
            let of = |org: String| {
                let workspaces = children(&[root.join(&org), root.join(HEADS).join(&org)]).into_iter();
                let workspaces = workspaces.filter(|workspace| WorkspaceId::parse(workspace).is_ok());
                workspaces.map(move |workspace| LogName { kind, parts: vec![org.clone(), workspace] })
            };
            orgs.flat_map(of).collect()
        }
    }
}

fn children(dirs: &[PathBuf]) -> BTreeSet<String> {
    let entries = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// The log as it is now; `None` if it is gone.
pub(super) fn freeze(name: &LogName, root: &Path, spool: &Path) -> io::Result<Option<Frozen>> {
    let mut looks = 0_usize;
    loop {
        looks = looks.saturating_add(1);
        if looks > 1 {
            // What is dropped or begun at this moment is whole again after some writes.
            std::thread::sleep(LOOK_PAUSE);
        }
        let (frozen, is_whole) = match look(name, root, spool) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound && looks < LOOKS_MAX => continue,
            Err(error) => return Err(error),
        };
        // Why in the end as it is: what is damaged is damaged in the backup, too, and found there.
        if is_whole || looks >= LOOKS_MAX {
            let is_gone = frozen.files.is_empty() && frozen.small.is_empty();
            return Ok((!is_gone).then_some(frozen));
        }
    }
}

/// One look, and whether no file was missing.
fn look(name: &LogName, root: &Path, spool: &Path) -> io::Result<(Frozen, bool)> {
    let dir = name.parts.iter().fold(root.to_owned(), |path, part| path.join(part));
    let outer = name.parts.iter().fold(root.join(HEADS), |path, part| path.join(part));
    let mut frozen = Frozen { first: 1, files: Vec::new(), small: Vec::new() };
    let mut reaches = 0;
    if name.kind == LogKind::Ledger {
        // Why the anchor first: the heads must know the cut that it speaks of.
        for file in ["anchor.json", "head.json"] {
            frozen.small.extend(read(&dir.join(file))?.map(|bytes| (file, bytes)));
        }
        let anchor = frozen.small.first().filter(|(file, _)| *file == "anchor.json");
        let anchor = anchor.and_then(|(_, bytes)| serde_json::from_slice::<Anchor>(bytes).ok());
        frozen.first = anchor.map_or(1, |anchor| anchor.first_segment);
    }
    if let Some(bytes) = read(&outer)? {
        if name.kind == LogKind::Runs {
            let head = HeadFile::of(root, &name.parts()).parse_slots(&bytes);
            frozen.first = head.and_then(|head| head.cut).map_or(1, |(first, _)| first);
            reaches = head.filter(|head| head.link.seq > 0).map_or(0, |head| head.segment);
        }
        // Why not an empty one: it was made a moment ago, and its first note follows. That counts as none.
        if !bytes.is_empty() {
            frozen.small.push((OUTER_HEAD, bytes));
        }
    }
    let is_cut = frozen.first > 1;
    for file in children(std::slice::from_ref(&dir)) {
        let number = segment_number(&file);
        let counts = match number {
            Some(number) => number >= frozen.first,
            None => name.kind == LogKind::Runs && is_earlier(&file) && !is_cut,
        };
        if counts {
            let link = spool.join(&file);
            hold(&dir.join(&file), &link)?;
            let bytes = std::fs::metadata(&link)?.len();
            frozen.files.push(FrozenFile { name: file, number, path: link, bytes });
        }
    }
    if let Some(last) = frozen.files.iter_mut().rev().find(|file| file.number.is_some()) {
        last.bytes = whole_bytes(&last.path, last.bytes)?;
    }
    let numbers: Vec<u64> = frozen.files.iter().filter_map(|file| file.number).collect();
    let unbroken = numbers.iter().copied().zip(frozen.first..).all(|(number, expected)| number == expected);
    let is_whole = unbroken && numbers.last().copied().unwrap_or_default() >= reaches;
    Ok((frozen, is_whole))
}

/// What the anchor says that is asked here.
#[derive(Deserialize)]
struct Anchor {
    first_segment: u64,
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        // Also where the directory of another log stands in its place.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps a file by a link to it; by a copy, where the file system has no links.
pub(super) fn hold(file: &Path, link: &Path) -> io::Result<()> {
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match std::fs::hard_link(file, link) {
        Err(error) if error.kind() != ErrorKind::NotFound => std::fs::copy(file, link).map(drop),
        linked => linked,
    }
}

/// Up to where a file has whole lines: what follows is being written.
fn whole_bytes(path: &Path, bytes: u64) -> io::Result<u64> {
    let from = bytes.saturating_sub(LINE_BYTES_MAX);
    let mut end = vec![0; usize::try_from(bytes.saturating_sub(from)).unwrap_or_default()];
    File::open(path)?.read_exact_at(&mut end, from)?;
    let line_end = end.iter().rposition(|byte| *byte == b'\n');
    match line_end {
        Some(at) => Ok(from.saturating_add(at as u64).saturating_add(1)),
        // No line of ours is as long as that: it is damage, and stays as it is.
        None if from > 0 => Ok(bytes),
        None => Ok(0),
    }
}
