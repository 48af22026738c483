//! One line of a segment: its exact text, and the hash that links it to the line before.
//!
//! The hash covers the event's bytes as they are in the file, never bytes serialised again.
//! For that reason the text is split by position: there is only one way to write a line.

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::hex;
use portcullis_core::id::OrgId;
use portcullis_core::json;
use portcullis_core::ledger::LedgerEvent;
use serde::Serialize;

use super::error::LedgerError;
pub(super) use crate::head::Link;
use crate::lower_hex;
use crate::record_hash::{finish, length};

/// Longest event in bytes, as JSON.
pub(super) const EVENT_BYTES_MAX: usize = 64 * 1024;

/// Maximum bytes of a line besides its event, with its end.
const AROUND_BYTES: usize = 256;

/// Longest line in bytes, with its end.
pub(super) const LINE_BYTES_MAX: usize = EVENT_BYTES_MAX + AROUND_BYTES;

/// One record of an org's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerLine {
    /// Position in the org's chain, from 1.
    pub seq: u64,
    /// Hash of the previous record, 64 hex digits; for the first one, derived from the org's name.
    pub prev: String,
    /// What happened.
    pub event: LedgerEvent,
    /// Hash of this record, 64 hex digits.
    pub hash: String,
    #[serde(skip)]
    text: String,
}

impl LedgerLine {
    /// The line as it is in the segment file, without its end. Exports use it, so that
    /// the receiver can check the hashes.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.text
    }

    pub(super) fn from_written(written: &Written<'_>, event: LedgerEvent) -> Self {
        Self {
            seq: written.seq,
            prev: hex::encode(&written.prev),
            event,
            hash: hex::encode(&written.hash),
            text: written.line.trim_end_matches('\n').to_owned(),
        }
    }

    /// A line that was parsed and verified.
    pub(super) fn from_raw(text: &str, raw: &RawLine<'_>) -> Result<Self, &'static str> {
        let event = serde_json::from_str(raw.event).map_err(|_| "its event is not a ledger event")?;
        Ok(Self {
            seq: raw.seq,
            prev: hex::encode(&raw.prev),
            event,
            hash: hex::encode(&raw.hash),
            text: text.to_owned(),
        })
    }
}

/// A line that was just written.
pub(super) struct Written<'a> {
    pub(super) seq: u64,
    pub(super) prev: [u8; 32],
    pub(super) hash: [u8; 32],
    pub(super) line: &'a str,
}

impl Link {
    /// The start of an org's chain.
    pub(super) fn genesis(org: &OrgId) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(b"portcullis ledger genesis v1");
        hash.update(&length(org.as_str().len()));
        hash.update(org.as_str().as_bytes());
        Self { seq: 0, hash: finish(hash) }
    }

    /// The link after this one, for that event.
    pub(super) fn next(&self, org: &OrgId, event: &str) -> Self {
        let seq = self.seq.saturating_add(1);
        Self { seq, hash: chain_hash(org, seq, &self.hash, event) }
    }
}

/// Hash of a record: covers all its parts and the org it belongs to.
fn chain_hash(org: &OrgId, seq: u64, prev: &[u8; 32], event: &str) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(b"portcullis ledger record v1");
    hash.update(&length(org.as_str().len()));
    hash.update(org.as_str().as_bytes());
    hash.update(&seq.to_be_bytes());
    hash.update(prev);
    hash.update(&length(event.len()));
    hash.update(event.as_bytes());
    finish(hash)
}

/// The event as JSON; compact JSON is always one line.
pub(super) fn serialise(event: &LedgerEvent) -> Result<String, LedgerError> {
    let text = event.to_json();
    if text.len() > EVENT_BYTES_MAX {
        return Err(LedgerError::TooLarge { bytes: text.len(), limit: EVENT_BYTES_MAX });
    }
    Ok(text)
}

/// The line with its end.
pub(super) fn format_line(link: &Link, prev: &[u8; 32], event: &str) -> String {
    let mut line = String::with_capacity(event.len().saturating_add(AROUND_BYTES));
    line.push_str("{\"seq\":");
    json::push_number(link.seq, &mut line);
    line.push_str(",\"prev\":\"");
    hex::push(prev, &mut line);
    line.push_str("\",\"event\":");
    line.push_str(event);
    line.push_str(",\"hash\":\"");
    hex::push(&link.hash, &mut line);
    line.push_str("\"}\n");
    line
}

/// The parts of a line.
#[derive(Debug)]
pub(super) struct RawLine<'a> {
    pub(super) seq: u64,
    pub(super) prev: [u8; 32],
    /// The event's exact bytes.
    pub(super) event: &'a str,
    pub(super) hash: [u8; 32],
}

/// Splits a line (without its end) and checks its own hash, or returns what is wrong with it.
/// The caller must check that it continues the line before.
pub(super) fn parse<'a>(org: &OrgId, line: &'a [u8]) -> Result<RawLine<'a>, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not text")?;
    let raw = take_apart(text).ok_or("it does not have the form of a record")?;
    if chain_hash(org, raw.seq, &raw.prev, raw.event) != raw.hash {
        return Err("its hash does not match its content");
    }
    Ok(raw)
}

fn take_apart(text: &str) -> Option<RawLine<'_>> {
    let rest = text.strip_prefix("{\"seq\":")?;
    let (seq, rest) = rest.split_once(',')?;
    let rest = rest.strip_prefix("\"prev\":\"")?;
    let (prev, rest) = rest.split_at_checked(64)?;
    let rest = rest.strip_prefix("\",\"event\":")?;
    let rest = rest.strip_suffix("\"}")?;
    let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
    let event = rest.strip_suffix(",\"hash\":\"")?;
    let number: u64 = seq.parse().ok()?;
    (number.to_string() == seq).then_some(RawLine {
        seq: number,
        prev: lower_hex::decode(prev)?,
        event,
        hash: lower_hex::decode(hash)?,
    })
}
