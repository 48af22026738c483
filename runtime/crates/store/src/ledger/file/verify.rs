//! Verifies a chain from its files, without a running process and without a key.
//!
//! It shows that nothing was changed, dropped, swapped or cut off, unless the attacker also rewrote all
//! that follows and the head; against that, keep a copy of a hash elsewhere. Called by
//! `portcullis ledger verify` and by the API.

use std::path::Path;

use portcullis_core::hex;
use portcullis_core::id::OrgId;

use super::chain_walk::{ChainWalk, WalkError};
use super::checkpoint::{Heads, outside, read_anchor};
use super::recovery::{Checked, start};
use super::segment::{Segment, list, missing};
use crate::ledger::error::LedgerError;
use crate::ledger::report::VerifyReport;

/// A prune may delete segments during the walk; a second attempt uses the new anchor.
const LOOKS_MAX: usize = 3;

/// Verifies one org's directory, whose name is the org's; a process may be running or not.
///
/// # Errors
/// [`LedgerError::Unavailable`] if the directory or its files cannot be read, if there is none and never was, or if
/// the name is not an org's; damage is in the report.
pub fn verify_directory(dir: &Path) -> Result<VerifyReport, LedgerError> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let org = OrgId::parse(name)
        .map_err(|error| LedgerError::Unavailable(format!("the directory's name: {error}")))?;
    if !dir.is_dir() && outside(&org, dir).and_then(|head| head.read()).is_none() {
        return Err(LedgerError::Unavailable(format!("no directory {}", dir.display())));
    }
    verify(&org, dir)
}

/// Verifies an org's directory; a missing one has no records, unless the head outside it knows some.
pub(super) fn verify(org: &OrgId, dir: &Path) -> Result<VerifyReport, LedgerError> {
    check(org, dir).map(|(report, _)| report)
}

/// The same, and what was walked of an intact chain.
pub(super) fn check(org: &OrgId, dir: &Path) -> Result<(VerifyReport, Option<Checked>), LedgerError> {
    let mut looks = 0_usize;
    loop {
        looks = looks.saturating_add(1);
        match look(org, dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && looks < LOOKS_MAX => {}
            Ok((report, _)) if !report.is_intact() && looks < LOOKS_MAX => {}
            other => return other.map_err(|error| LedgerError::io("reading the ledger", &error)),
        }
    }
}

fn look(org: &OrgId, dir: &Path) -> std::io::Result<(VerifyReport, Option<Checked>)> {
    let mut report = VerifyReport::empty(org);
    if !dir.try_exists()? {
        let known = outside(org, dir).and_then(|head| head.read());
        if let Some(WalkError::Bad(bad)) = known.map(|known| WalkError::no_directory(org, known.link.seq)) {
            report.bad = Some(bad);
        }
        return Ok((report, None));
    }
    // The head is read before the records: they may grow meanwhile, and then reach past it.
    match walk(org, dir, &mut report) {
        Ok(checked) => Ok((report, checked)),
        Err(WalkError::Bad(bad)) => {
            report.bad = Some(bad);
            Ok((report, None))
        }
        Err(WalkError::Io(error)) => Err(error),
    }
}

fn walk(org: &OrgId, dir: &Path, report: &mut VerifyReport) -> Result<Option<Checked>, WalkError> {
    let heads = Heads::read(org, dir)?;
    let anchor = read_anchor(dir)?;
    let first = anchor.map_or(1, |anchor| anchor.first_segment);
    let segments = list(dir, first)?;
    report.anchored = anchor.is_some();
    report.segments = segments.len();
    heads.check_anchor(anchor.as_ref()).map_err(|reason| WalkError::anchor(reason, anchor.as_ref()))?;
    let start = start(org, anchor.as_ref());
    let mut walk = ChainWalk::new(org, Some(start), heads);
    let mut walked = Ok(());
    let mut checked = None;
    for ((index, segment), number) in segments.iter().enumerate().zip(first..) {
        if segment.number != number {
            break;
        }
        checked = Some(Checked { next: number, link: walk.link().unwrap_or(start) });
        match walk.segment(segment, index.saturating_add(1) == segments.len()) {
            Ok(end) => report.torn_tail_bytes = end.torn_bytes,
            Err(error) => {
                walked = Err(error);
                break;
            }
        }
    }
    if walked.is_ok()
        && let Some(number) = missing(&segments, first)
    {
        walked = Err(WalkError::missing(&Segment::new(dir, number)));
    }
    if walked.is_ok() {
        walked = walk.finish();
    }
    if walked.is_ok() && heads.beside.is_none() && (anchor.is_some() || segments.len() > 1) {
        walked = Err(walk.bad("the head file is missing"));
    }
    let link = walk.link().unwrap_or(start);
    report.records = walk.records;
    report.first_seq = walk.first_seq;
    report.last_seq = link.seq;
    report.last_hash = hex::encode(&link.hash);
    walked.map(|()| checked)
}
