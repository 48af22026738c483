//! Verifies a chain from its files, without a running process and without a key.
//!
//! It shows that nothing was changed, dropped, swapped or cut off, unless the attacker also rewrote all
//! that follows and the head; against that, keep a copy of a hash elsewhere. Called by
//! `portcullis ledger verify` and by the API.

use std::path::Path;

use portcullis_core::hex;
use portcullis_core::id::OrgId;

use super::chain_walk::{ChainWalk, WalkError};
use super::checkpoint::{read_anchor, read_head};
use super::recovery::start;
use super::segment::list;
use crate::ledger::error::LedgerError;
use crate::ledger::report::VerifyReport;

/// A prune may delete segments during the walk; a second attempt uses the new anchor.
const LOOKS_MAX: usize = 3;

/// Verifies one org's directory, whose name is the org's; a process may be running or not.
///
/// # Errors
/// [`LedgerError::Unavailable`] if the directory or its files cannot be read, or the name is not an
/// org's; damage is in the report.
pub fn verify_directory(dir: &Path) -> Result<VerifyReport, LedgerError> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let org = OrgId::parse(name)
        .map_err(|error| LedgerError::Unavailable(format!("the directory's name: {error}")))?;
    if !dir.is_dir() {
        return Err(LedgerError::Unavailable(format!("no directory {}", dir.display())));
    }
    verify(&org, dir)
}

/// Verifies an org's directory; a missing one has no records.
pub(super) fn verify(org: &OrgId, dir: &Path) -> Result<VerifyReport, LedgerError> {
    let mut looks = 0_usize;
    loop {
        looks = looks.saturating_add(1);
        match look(org, dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && looks < LOOKS_MAX => {}
            other => return other.map_err(|error| LedgerError::io("reading the ledger", &error)),
        }
    }
}

fn look(org: &OrgId, dir: &Path) -> std::io::Result<VerifyReport> {
    let mut report = VerifyReport::empty(org);
    if !dir.try_exists()? {
        return Ok(report);
    }
    // The head is read before the records: they may grow meanwhile, and then reach past it.
    match walk(org, dir, &mut report) {
        Ok(()) => {}
        Err(WalkError::Bad(bad)) => report.bad = Some(bad),
        Err(WalkError::Io(error)) => return Err(error),
    }
    Ok(report)
}

fn walk(org: &OrgId, dir: &Path, report: &mut VerifyReport) -> Result<(), WalkError> {
    let head = read_head(dir)?;
    let anchor = read_anchor(dir)?;
    let segments = list(dir, anchor.map_or(1, |anchor| anchor.first_segment))?;
    report.anchored = anchor.is_some();
    report.segments = segments.len();
    let start = start(org, anchor.as_ref());
    let mut walk = ChainWalk::new(org, Some(start), head);
    let mut walked = Ok(());
    for (index, segment) in segments.iter().enumerate() {
        match walk.segment(segment, index.saturating_add(1) == segments.len()) {
            Ok(end) => report.torn_tail_bytes = end.torn_bytes,
            Err(error) => {
                walked = Err(error);
                break;
            }
        }
    }
    if walked.is_ok() {
        walked = walk.finish();
    }
    if walked.is_ok() && head.is_none() && (anchor.is_some() || segments.len() > 1) {
        walked = Err(walk.bad("the head file is missing"));
    }
    let link = walk.link().unwrap_or(start);
    report.records = walk.records;
    report.first_seq = walk.first_seq;
    report.last_seq = link.seq;
    report.last_hash = hex::encode(&link.hash);
    walked
}
