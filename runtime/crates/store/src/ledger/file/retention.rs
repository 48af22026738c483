//! Dropping the old segments of a chain: which they are, and the cut.
//!
//! It works on closed segments only, which never change, and without the log's lock, so calls go on meanwhile.

use std::path::Path;
use std::time::SystemTime;

use portcullis_core::id::OrgId;
use serde::Deserialize;

use super::chain_walk::{ChainWalk, WalkError};
use super::checkpoint::{Anchor, Heads, read_anchor, write_anchor};
use super::org_log::Unsynced;
use super::segment::{Lines, Segment, list};
use crate::disk_sync::sync_directory;
use crate::ledger::line::{Link, parse_only};
use crate::ledger::{LedgerCut, LedgerError, PruneReport};

/// The time of a record.
#[derive(Deserialize)]
struct At<'a> {
    #[serde(borrow)]
    at: std::borrow::Cow<'a, str>,
}

/// The number of the first segment to keep, if any is to be dropped.
pub(super) fn first_to_keep(org: &OrgId, dir: &Path, cut: &LedgerCut) -> Result<Option<u64>, LedgerError> {
    let failed = |error: std::io::Error| LedgerError::io("looking for old ledger segments", &error);
    let first = anchor(org, dir)?.map_or(1, |anchor| anchor.first_segment);
    let segments = list(dir, first).map_err(failed)?;
    let mut bytes = 0_u64;
    for segment in &segments {
        bytes = bytes.saturating_add(std::fs::metadata(&segment.path).map_err(failed)?.len());
    }
    // Why the last one with records stays: the head is on it.
    let last = segments.last().map(|last| std::fs::metadata(&last.path)).transpose().map_err(failed)?;
    let kept = if last.is_some_and(|last| last.len() == 0) { 2 } else { 1 };
    let mut first = None;
    for pair in segments.windows(2).take(segments.len().saturating_sub(kept)) {
        let [segment, next] = pair else { break };
        let Some(before) = cut.before_for(bytes) else { break };
        if !is_before(org, segment, before).map_err(failed)? {
            break;
        }
        bytes = bytes.saturating_sub(std::fs::metadata(&segment.path).map_err(failed)?.len());
        first = Some(next.number);
    }
    Ok(first)
}

/// The number of the first segment to keep, of which there are `keep`.
pub(super) fn first_of_last(org: &OrgId, dir: &Path, keep: usize) -> Result<Option<u64>, LedgerError> {
    let anchor = anchor(org, dir)?;
    let segments =
        list(dir, anchor.map_or(1, |anchor| anchor.first_segment)).map_err(|error| pruning(&error))?;
    let dropped = segments.len().saturating_sub(keep.max(1));
    Ok(segments.get(dropped).filter(|_| dropped > 0).map(|first| first.number))
}

/// Drops the segments before this one; the current one always stays. The cut is noted in both heads and in the anchor
/// before anything is deleted: what is missing without that was not dropped here.
pub(super) fn drop_before(
    org: &OrgId,
    dir: &Path,
    log: &Unsynced,
    first: Option<u64>,
) -> Result<PruneReport, LedgerError> {
    let anchor = anchor(org, dir)?;
    let dropped_to_seq = anchor.map_or(0, |anchor| anchor.dropped.seq);
    let nothing = PruneReport { segments_dropped: 0, dropped_to_seq };
    let Some(first) = first.map(|first| first.min(log.segment())) else { return Ok(nothing) };
    let mut segments =
        list(dir, anchor.map_or(1, |anchor| anchor.first_segment)).map_err(|error| pruning(&error))?;
    segments.retain(|segment| segment.number < first);
    let Some(last) = segments.last() else { return Ok(nothing) };
    let mut walk = ChainWalk::new(org, None, Heads::default());
    walk.segment(last, false).map_err(|error| error.for_org(org))?;
    let dropped = walk.link().unwrap_or_else(|| Link::genesis(org));
    let anchor = Anchor { first_segment: first, dropped };
    // First the cut, then the files: if interrupted in between, opening completes it.
    log.cut(anchor).and_then(|()| write_anchor(dir, &anchor)).map_err(|error| pruning(&error))?;
    for segment in &segments {
        match std::fs::remove_file(&segment.path) {
            // Why: the log may be opened again meanwhile, which completes a cut, too.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done.map_err(|error| pruning(&error))?,
        }
    }
    sync_directory(dir).map_err(|error| pruning(&error))?;
    Ok(PruneReport { segments_dropped: segments.len(), dropped_to_seq: dropped.seq })
}

fn anchor(org: &OrgId, dir: &Path) -> Result<Option<Anchor>, LedgerError> {
    read_anchor(dir).map_err(|error| WalkError::from(error).for_org(org))
}

fn pruning(error: &std::io::Error) -> LedgerError {
    LedgerError::io("pruning the ledger", error)
}

/// Bytes of an org's segments.
pub(super) fn bytes(dir: &Path) -> Result<u64, LedgerError> {
    let failed = |error: std::io::Error| LedgerError::io("measuring the ledger", &error);
    let mut bytes = 0_u64;
    for segment in list(dir, 0).map_err(failed)? {
        bytes = bytes.saturating_add(std::fs::metadata(&segment.path).map_err(failed)?.len());
    }
    Ok(bytes)
}

/// Whether the segment that is written to has a record from before this time.
pub(super) fn is_to_be_closed(dir: &Path, before: &str) -> Result<bool, LedgerError> {
    let failed = |error: std::io::Error| LedgerError::io("looking at the ledger's segment", &error);
    let Some(last) = list(dir, 0).map_err(failed)?.pop() else { return Ok(false) };
    let mut line = Vec::new();
    let mut lines = Lines::open(&last.path).map_err(failed)?;
    if lines.next(&mut line).map_err(failed)?.is_none() {
        return Ok(false);
    }
    let text = std::str::from_utf8(&line).unwrap_or_default();
    let event = text.split_once(",\"event\":").map(|(_, event)| event).unwrap_or_default();
    // Why only the first value: the line goes on after the event.
    let at = serde_json::Deserializer::from_str(event).into_iter::<At<'_>>().next();
    Ok(at.and_then(Result::ok).is_some_and(|at| *at.at < *before))
}

/// Whether every record of a segment is from before this time. One that cannot be read is not: it is damage, and damage
/// is kept as it is.
fn is_before(org: &OrgId, segment: &Segment, before: &str) -> std::io::Result<bool> {
    // Why first: a file that was written later has a later record, and is not read.
    let written = std::fs::metadata(&segment.path)?.modified()?;
    if later(written, before) {
        return Ok(false);
    }
    let mut lines = Lines::open(&segment.path)?;
    let mut line = Vec::new();
    while lines.next(&mut line)?.is_some() {
        let Ok(raw) = parse_only(org, &line) else { return Ok(false) };
        match serde_json::from_str::<At<'_>>(raw.event) {
            Ok(at) if *at.at < *before => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn later(time: SystemTime, before: &str) -> bool {
    let before = before.parse::<jiff::Timestamp>().ok();
    jiff::Timestamp::try_from(time).ok().zip(before).is_some_and(|(time, before)| time >= before)
}
