//! Opens an org's chain: finds its end, checks it, and makes the one repair.
//!
//! The repair removes a torn last line that the head does not cover: a record that was being
//! written when the machine stopped. A chain with any other damage is not opened. The first opening in a process
//! walks all segments; later ones go on from what was checked then.

use std::path::Path;

use portcullis_core::id::OrgId;

use super::chain_walk::{ChainWalk, WalkError};
use super::checkpoint::{Anchor, Heads, read_anchor};
use super::segment::{Segment, list, missing};
use crate::disk_sync::sync_directory;
use crate::ledger::error::LedgerError;
use crate::ledger::line::Link;

/// Where a chain ends.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The last record.
    pub(super) link: Link,
    /// The current segment; it may not exist yet.
    pub(super) segment: Segment,
    pub(super) segment_bytes: u64,
    /// The head beside the segments as it was found.
    pub(super) head: Option<Link>,
    /// The latest cut that the heads know.
    pub(super) cut: Option<Anchor>,
    /// What was checked.
    pub(super) checked: Checked,
}

/// The segments of a chain that were walked, up to the start of its current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checked {
    /// Number of the segment that follows them.
    pub(super) next: u64,
    /// Their last record.
    pub(super) link: Link,
}

/// Where an org's chain starts: after the anchor, or at the hash of the org's name.
pub(super) fn start(org: &OrgId, anchor: Option<&Anchor>) -> Link {
    anchor.map_or_else(|| Link::genesis(org), |anchor| anchor.dropped)
}

/// Finds the end of the chain in `dir`, which must exist. `checked` is what this process has walked already.
pub(super) fn recover(org: &OrgId, dir: &Path, checked: Option<Checked>) -> Result<Recovered, LedgerError> {
    recover_files(org, dir, checked).map_err(|error| error.for_org(org))
}

fn recover_files(org: &OrgId, dir: &Path, checked: Option<Checked>) -> Result<Recovered, WalkError> {
    let anchor = read_anchor(dir)?;
    let heads = Heads::read(org, dir)?;
    let first = anchor.map_or(1, |anchor| anchor.first_segment);
    heads.check_anchor(anchor.as_ref()).map_err(|reason| WalkError::anchor(reason, anchor.as_ref()))?;
    finish_prune(dir, first)?;
    let segments = list(dir, first)?;
    let start = start(org, anchor.as_ref());
    if let Some(number) = missing(&segments, first) {
        return Err(WalkError::missing(&Segment::new(dir, number)));
    }
    let checked =
        checked.filter(|checked| checked.next > first).unwrap_or(Checked { next: first, link: start });
    let mut walk = ChainWalk::new(org, Some(checked.link), heads);
    let mut end = super::chain_walk::SegmentEnd::default();
    let mut walked = checked;
    for segment in segments.iter().filter(|segment| segment.number >= checked.next) {
        walked = Checked { next: segment.number, link: walk.link().unwrap_or(start) };
        end = walk.segment(segment, segments.last() == Some(segment))?;
    }
    walk.finish()?;
    let head = heads.beside;
    // A head is written before the second segment is started and before anything is dropped.
    if head.is_none() && (anchor.is_some() || segments.len() > 1) {
        return Err(walk.bad("the head file is missing"));
    }
    let segment = segments.last().cloned().unwrap_or(Segment::new(dir, first));
    if end.torn_bytes > 0 {
        tracing::warn!(
            %org,
            segment = segment.name(),
            bytes = end.torn_bytes,
            "cutting away a record that was not completely written"
        );
        let file = std::fs::File::options().write(true).open(&segment.path)?;
        file.set_len(end.whole_bytes)?;
        file.sync_all()?;
    }
    let link = walk.link().unwrap_or(start);
    Ok(Recovered { link, segment, segment_bytes: end.whole_bytes, head, cut: heads.cut(), checked: walked })
}

/// Deletes segments that an earlier prune had put before the anchor but not deleted yet.
fn finish_prune(dir: &Path, first: u64) -> std::io::Result<()> {
    let mut deleted = false;
    for segment in list(dir, 0)? {
        if segment.number < first {
            std::fs::remove_file(&segment.path)?;
            deleted = true;
        }
    }
    if deleted { sync_directory(dir) } else { Ok(()) }
}
