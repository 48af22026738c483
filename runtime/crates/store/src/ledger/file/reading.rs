//! Reading an org's files: records newest first for pages, and oldest first for exports.
//!
//! Every record's own hash is checked, its position in the chain is not (`verify` does that).

use std::path::Path;

use portcullis_core::id::OrgId;

use super::chain_walk::WalkError;
use super::checkpoint::read_anchor;
use super::segment::{LineEnd, Lines, Segment, list};
use crate::ledger::LedgerSink;
use crate::ledger::error::{BadRecord, LedgerError};
use crate::ledger::line::{LedgerLine, parse};
use crate::ledger::query::{LedgerPage, LedgerQuery, PageBuilder};

/// Reads one page.
pub(super) fn read(org: &OrgId, dir: &Path, query: &LedgerQuery) -> Result<LedgerPage, LedgerError> {
    let mut page = PageBuilder::new(query);
    for segment in segments(org, dir)?.iter().rev() {
        let bytes = match std::fs::read(&segment.path) {
            Ok(bytes) => bytes,
            // Dropped since it was listed, together with everything older.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
            Err(error) => return Err(LedgerError::io("reading a ledger segment", &error)),
        };
        // Anything after the last line end is being written now.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        let lines = bytes.get(..whole).unwrap_or_default();
        if lines.is_empty() {
            continue;
        }
        for (back, line) in lines.rsplit(|byte| *byte == b'\n').enumerate() {
            let line = checked(org, segment, line, || {
                let total = lines.split(|byte| *byte == b'\n').count();
                total.saturating_sub(back)
            })?;
            if page.add(line).is_break() {
                return page.finish();
            }
        }
    }
    page.finish()
}

/// Passes matching records to `sink`, oldest first.
pub(super) fn export(
    org: &OrgId,
    dir: &Path,
    query: &LedgerQuery,
    mut sink: LedgerSink,
) -> Result<u64, LedgerError> {
    let failed = |error: std::io::Error| LedgerError::io("reading a ledger segment", &error);
    let mut given = 0_u64;
    let mut line = Vec::new();
    for segment in segments(org, dir)? {
        let mut lines = match Lines::open(&segment.path) {
            Ok(lines) => lines,
            // Dropped since it was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        let mut number = 0_usize;
        while let Some(end) = lines.next(&mut line).map_err(failed)? {
            if end == LineEnd::Torn {
                break;
            }
            number = number.saturating_add(1);
            let line = checked(org, &segment, &line, || number)?;
            if query.matches(&line.event) {
                given = given.saturating_add(1);
                if sink(&line).is_break() {
                    return Ok(given);
                }
            }
        }
    }
    Ok(given)
}

fn segments(org: &OrgId, dir: &Path) -> Result<Vec<Segment>, LedgerError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let anchor = read_anchor(dir).map_err(|error| WalkError::from(error).for_org(org))?;
    list(dir, anchor.map_or(1, |anchor| anchor.first_segment))
        .map_err(|error| LedgerError::io("listing ledger segments", &error))
}

fn checked(
    org: &OrgId,
    segment: &Segment,
    line: &[u8],
    number: impl FnOnce() -> usize,
) -> Result<LedgerLine, LedgerError> {
    let judged = parse(org, line).and_then(|raw| {
        let text = std::str::from_utf8(line).map_err(|_| "it is not text")?;
        LedgerLine::from_raw(text, &raw)
    });
    judged.map_err(|reason| LedgerError::Damaged {
        org: org.clone(),
        bad: BadRecord {
            segment: segment.name(),
            line: u64::try_from(number()).unwrap_or(u64::MAX),
            seq: 0,
            reason: reason.to_owned(),
        },
    })
}
