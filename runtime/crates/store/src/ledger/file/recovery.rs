//! Opens an org's chain: finds its end, checks it, and makes the one repair.
//!
//! The repair removes a torn last line that the head does not cover: a record that was being
//! written when the machine stopped. A chain with any other damage is not opened. Only the last
//! two segments are walked; `verify` walks all of them.

use std::path::Path;

use portcullis_core::id::OrgId;

use super::chain_walk::{ChainWalk, WalkError};
use super::checkpoint::{Anchor, read_anchor, read_head, sync_directory};
use super::segment::{Segment, list};
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
    /// The head as it was found.
    pub(super) head: Option<Link>,
}

/// Where an org's chain starts: after the anchor, or at the hash of the org's name.
pub(super) fn start(org: &OrgId, anchor: Option<&Anchor>) -> Link {
    anchor.map_or_else(|| Link::genesis(org), |anchor| anchor.dropped)
}

/// Finds the end of the chain in `dir`, which must exist.
pub(super) fn recover(org: &OrgId, dir: &Path) -> Result<Recovered, LedgerError> {
    recover_files(org, dir).map_err(|error| error.for_org(org))
}

fn recover_files(org: &OrgId, dir: &Path) -> Result<Recovered, WalkError> {
    let anchor = read_anchor(dir)?;
    let head = read_head(dir)?;
    let first = anchor.map_or(1, |anchor| anchor.first_segment);
    finish_prune(dir, first)?;
    let segments = list(dir, first)?;
    let start = start(org, anchor.as_ref());
    let walked = segments.len().saturating_sub(2);
    let mut walk = ChainWalk::new(org, (walked == 0).then_some(start), head);
    let mut end = super::chain_walk::SegmentEnd::default();
    for (index, segment) in segments.iter().enumerate().skip(walked) {
        end = walk.segment(segment, index.saturating_add(1) == segments.len())?;
    }
    walk.finish()?;
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
    Ok(Recovered { link: walk.link().unwrap_or(start), segment, segment_bytes: end.whole_bytes, head })
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
