//! Checks an export: the records of one org as NDJSON, as `GET /org/{org}/outbound` gives them, away from any server.

use std::io::{BufRead, Read as _};

use portcullis_core::id::OrgId;
use serde::Deserialize;

use super::chains::ChainsWalk;
use super::error::LedgerError;
use super::line::LINE_BYTES_MAX;
use super::report::VerifyReport;

/// The part of a line that says whose it is.
#[derive(Deserialize)]
struct Line {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    org: OrgId,
}

/// Verifies the chains in an export. It must be a whole one: a record that a filter left out is missing from its chain.
/// What is after the last record of a chain, and before its first if that is not number 1, cannot be known from it.
///
/// # Errors
/// [`LedgerError::Unavailable`] if it cannot be read or its first line is no record; damage is in the report.
pub fn verify_export(mut export: impl BufRead, name: &str) -> Result<VerifyReport, LedgerError> {
    let failed = |error: &std::io::Error| LedgerError::io(&format!("reading {name}"), error);
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| {
        line.clear();
        let read = export.by_ref().take(limit).read_until(b'\n', line).map_err(|error| failed(&error))?;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        Ok::<_, LedgerError>(read > 0)
    };
    if !next(&mut line)? {
        return Err(LedgerError::Unavailable(format!("{name} is empty")));
    }
    let first: Line = serde_json::from_slice(&line)
        .map_err(|_| LedgerError::Unavailable(format!("line 1 of {name} is no record of a ledger")))?;
    let org = first.event.org;
    let mut walk = ChainsWalk::of_export(&org, name);
    loop {
        walk.line(&line, None);
        if !next(&mut line)? {
            return Ok(walk.finish(0));
        }
    }
}
