//! One line of a segment: its exact text, and the hash that links it to the line before.
//!
//! The hash covers the event's bytes as they are in the file, never bytes serialised again.
//! For that reason the text is split by position: there is only one way to write a line.

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::hex;
use portcullis_core::id::{NodeId, OrgId};
use portcullis_core::json;
use portcullis_core::ledger::LedgerEvent;
use serde::Serialize;

use super::error::LedgerError;
pub(super) use crate::head::Link;
use crate::lower_hex;
use crate::record_hash::{finish, length};

/// Longest event in bytes, as JSON.
pub const EVENT_BYTES_MAX: usize = 64 * 1024;

/// Maximum bytes of a line besides its event, with its end.
const AROUND_BYTES: usize = 384;

/// Longest line in bytes, with its end.
pub(super) const LINE_BYTES_MAX: usize = EVENT_BYTES_MAX + AROUND_BYTES;

/// One record of an org's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerLine {
    /// Position in its chain, from 1.
    pub seq: u64,
    /// The node that wrote it and whose chain it is in; absent where an org has one chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Hash of the record before in its chain, 64 hex digits; for the first one, derived from the chain's name.
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

    /// A line that was just written.
    #[must_use]
    pub fn from_written(written: &Written<'_>, event: LedgerEvent) -> Self {
        Self {
            seq: written.seq,
            node: written.node.cloned(),
            prev: hex::encode(&written.prev),
            event,
            hash: hex::encode(&written.hash),
            text: written.line.trim_end_matches('\n').to_owned(),
        }
    }

    /// A line that was parsed and verified.
    ///
    /// # Errors
    /// What is wrong with its event.
    pub fn from_raw(text: &str, raw: &RawLine<'_>) -> Result<Self, &'static str> {
        let event = serde_json::from_str(raw.event).map_err(|_| "its event is not a ledger event")?;
        Ok(Self {
            seq: raw.seq,
            node: raw.node.clone(),
            prev: hex::encode(&raw.prev),
            event,
            hash: hex::encode(&raw.hash),
            text: text.to_owned(),
        })
    }
}

/// A line that was just written.
pub struct Written<'a> {
    pub seq: u64,
    pub node: Option<&'a NodeId>,
    pub prev: [u8; 32],
    pub hash: [u8; 32],
    /// With or without its end.
    pub line: &'a str,
}

/// A chain: the only one of an org, or that of one of the nodes that write for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    pub org: &'a OrgId,
    pub node: Option<&'a NodeId>,
}

impl Chain<'_> {
    /// A hash that names the chain; each form has a name of its own, so that no record fits into both.
    fn hash(&self, only: &[u8], of_node: &[u8]) -> Context {
        let mut hash = Context::new(&SHA256);
        hash.update(if self.node.is_some() { of_node } else { only });
        for name in [Some(self.org.as_str()), self.node.map(NodeId::as_str)].into_iter().flatten() {
            hash.update(&length(name.len()));
            hash.update(name.as_bytes());
        }
        hash
    }

    /// The start of the chain.
    #[must_use]
    pub fn genesis(&self) -> Link {
        let hash = self.hash(b"portcullis ledger genesis v1", b"portcullis ledger genesis of a node v1");
        Link { seq: 0, hash: finish(hash) }
    }

    /// The link after this one, for that event.
    #[must_use]
    pub fn next(&self, last: &Link, event: &str) -> Link {
        let seq = last.seq.saturating_add(1);
        Link { seq, hash: self.record_hash(seq, &last.hash, event) }
    }

    /// Hash of a record: covers all its parts and the chain it belongs to.
    fn record_hash(&self, seq: u64, prev: &[u8; 32], event: &str) -> [u8; 32] {
        let mut hash = self.hash(b"portcullis ledger record v1", b"portcullis ledger record of a node v1");
        hash.update(&seq.to_be_bytes());
        hash.update(prev);
        hash.update(&length(event.len()));
        hash.update(event.as_bytes());
        finish(hash)
    }

    /// The line of the record at `link`, with its end.
    #[must_use]
    pub fn format_line(&self, link: &Link, prev: &[u8; 32], event: &str) -> String {
        let mut line = String::with_capacity(event.len().saturating_add(AROUND_BYTES));
        line.push_str("{\"seq\":");
        json::push_number(link.seq, &mut line);
        if let Some(node) = self.node {
            line.push_str(",\"node\":");
            json::push_plain(node.as_str(), &mut line);
        }
        line.push_str(",\"prev\":\"");
        hex::push(prev, &mut line);
        line.push_str("\",\"event\":");
        line.push_str(event);
        line.push_str(",\"hash\":\"");
        hex::push(&link.hash, &mut line);
        line.push_str("\"}\n");
        line
    }
}

impl Link {
    /// The start of an org's only chain.
    pub(super) fn genesis(org: &OrgId) -> Self {
        Chain { org, node: None }.genesis()
    }

    /// The link after this one in an org's only chain, for that event.
    pub(super) fn next(&self, org: &OrgId, event: &str) -> Self {
        Chain { org, node: None }.next(self, event)
    }
}

/// The event as JSON; compact JSON is always one line.
///
/// # Errors
/// [`LedgerError::TooLarge`].
pub fn serialise(event: &LedgerEvent) -> Result<String, LedgerError> {
    let text = event.to_json();
    if text.len() > EVENT_BYTES_MAX {
        return Err(LedgerError::TooLarge { bytes: text.len(), limit: EVENT_BYTES_MAX });
    }
    Ok(text)
}

/// The line of an org's only chain, with its end.
pub(super) fn format_line(org: &OrgId, link: &Link, prev: &[u8; 32], event: &str) -> String {
    Chain { org, node: None }.format_line(link, prev, event)
}

/// The parts of a line.
#[derive(Debug)]
pub struct RawLine<'a> {
    pub seq: u64,
    pub node: Option<NodeId>,
    pub prev: [u8; 32],
    /// The event's exact bytes.
    pub event: &'a str,
    pub hash: [u8; 32],
}

impl RawLine<'_> {
    /// The record's place in its chain.
    #[must_use]
    pub fn link(&self) -> Link {
        Link { seq: self.seq, hash: self.hash }
    }
}

/// Splits a line (without its end) and checks its own hash, or returns what is wrong with it.
/// The caller must check that it continues the line before in its chain.
///
/// # Errors
/// What is wrong with the line.
pub fn parse<'a>(org: &OrgId, line: &'a [u8]) -> Result<RawLine<'a>, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not text")?;
    let raw = take_apart(text).ok_or("it does not have the form of a record")?;
    let chain = Chain { org, node: raw.node.as_ref() };
    if chain.record_hash(raw.seq, &raw.prev, raw.event) != raw.hash {
        return Err("its hash does not match its content");
    }
    Ok(raw)
}

/// The same for a line of an org's only chain: one of a node's chain is refused.
pub(super) fn parse_only<'a>(org: &OrgId, line: &'a [u8]) -> Result<RawLine<'a>, &'static str> {
    match parse(org, line) {
        Ok(raw) if raw.node.is_some() => Err("it is a record of a node's own chain"),
        parsed => parsed,
    }
}

fn take_apart(text: &str) -> Option<RawLine<'_>> {
    let rest = text.strip_prefix("{\"seq\":")?;
    let (seq, rest) = rest.split_once(',')?;
    let (node, rest) = match rest.strip_prefix("\"node\":\"") {
        Some(rest) => {
            let (node, rest) = rest.split_once("\",")?;
            (Some(NodeId::parse(node).ok()?), rest)
        }
        None => (None, rest),
    };
    let rest = rest.strip_prefix("\"prev\":\"")?;
    let (prev, rest) = rest.split_at_checked(64)?;
    let rest = rest.strip_prefix("\",\"event\":")?;
    let rest = rest.strip_suffix("\"}")?;
    let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
    let event = rest.strip_suffix(",\"hash\":\"")?;
    let number: u64 = seq.parse().ok()?;
    (number.to_string() == seq).then_some(RawLine {
        seq: number,
        node,
        prev: lower_hex::decode(prev)?,
        event,
        hash: lower_hex::decode(hash)?,
    })
}
