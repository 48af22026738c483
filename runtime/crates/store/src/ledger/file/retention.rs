//! Which segments of a chain are old enough to be dropped. It changes nothing: dropping is the log's.
//!
//! It reads closed segments only, which never change, so calls go on meanwhile.

use std::path::Path;
use std::time::SystemTime;

use portcullis_core::id::OrgId;
use serde::Deserialize;

use super::chain_walk::WalkError;
use super::checkpoint::read_anchor;
use super::segment::{Lines, Segment, list};
use crate::ledger::line::parse;
use crate::ledger::{LedgerCut, LedgerError};

/// The time of a record.
#[derive(Deserialize)]
struct At<'a> {
    #[serde(borrow)]
    at: std::borrow::Cow<'a, str>,
}

/// The number of the first segment to keep, if any is to be dropped.
pub(super) fn first_to_keep(org: &OrgId, dir: &Path, cut: &LedgerCut) -> Result<Option<u64>, LedgerError> {
    let failed = |error: std::io::Error| LedgerError::io("looking for old ledger segments", &error);
    let anchor = read_anchor(dir).map_err(|error| WalkError::from(error).for_org(org))?;
    let segments = list(dir, anchor.map_or(1, |anchor| anchor.first_segment)).map_err(failed)?;
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
        let Ok(raw) = parse(org, &line) else { return Ok(false) };
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
