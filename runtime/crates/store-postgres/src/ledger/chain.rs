//! A chain of this node as the writer knows it: its head, and what the next records make of it.

use portcullis_core::id::{NodeId, OrgId};
use portcullis_store::BadRecord;
use portcullis_store::for_backends::Link;
use portcullis_store::for_backends::ledger::{Chain, ROWS};

use super::{signed, unsigned};
use crate::position::Positions;
use crate::seal::{Seal, Sealer, is_same};

/// Where a chain ends, as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) link: Link,
    pub(super) pos: i64,
    /// Number of the segment that is written to.
    pub(super) segment: i64,
    /// Length of that segment.
    pub(super) bytes: i64,
    /// Earliest and latest time in it.
    pub(super) oldest_at: String,
    pub(super) newest_at: String,
}

/// A record that is to be written.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Without an end.
    pub(super) text: String,
    pub(super) prev: [u8; 32],
    pub(super) link: Link,
}

/// A segment that the next record does not fit into any more.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) number: i64,
    pub(super) end: Link,
    pub(super) pos: i64,
    pub(super) bytes: i64,
    pub(super) newest_at: String,
}

impl Head {
    /// Of a chain without records.
    pub(super) fn genesis(chain: &Chain<'_>) -> Self {
        Self {
            link: chain.genesis(),
            pos: 0,
            segment: 1,
            bytes: 0,
            oldest_at: String::new(),
            newest_at: String::new(),
        }
    }

    /// The segment that is closed before the next record, if it is full.
    pub(super) fn roll(&mut self, segment_bytes_max: i64) -> Option<Closed> {
        if self.bytes < segment_bytes_max || self.bytes == 0 {
            return None;
        }
        let closed = Closed {
            number: self.segment,
            end: self.link,
            pos: self.pos,
            bytes: self.bytes,
            newest_at: std::mem::take(&mut self.newest_at),
        };
        self.oldest_at.clear();
        (self.segment, self.bytes) = (self.segment.saturating_add(1), 0);
        Some(closed)
    }

    /// Moves to the next record, of this time.
    pub(super) fn extend(
        &mut self,
        chain: &Chain<'_>,
        text: &str,
        at: &str,
        positions: &mut Positions,
        now_us: i64,
    ) -> Line {
        let link = chain.next(&self.link, text);
        let mut line = chain.format_line(&link, &self.link.hash, text);
        self.bytes = self.bytes.saturating_add(i64::try_from(line.len()).unwrap_or(i64::MAX));
        line.truncate(line.trim_end().len());
        let prev = std::mem::replace(&mut self.link, link).hash;
        self.pos = positions.next(now_us, self.pos);
        if self.oldest_at.is_empty() || at < self.oldest_at.as_str() {
            at.clone_into(&mut self.oldest_at);
        }
        if at > self.newest_at.as_str() {
            at.clone_into(&mut self.newest_at);
        }
        Line { text: line, prev, link }
    }
}

/// The seal of the last record of a chain, or of the last that was dropped.
pub(super) fn seal(sealer: &Sealer, what: &[u8], chain: &Chain<'_>, link: &Link, pos: i64) -> Seal {
    let node = chain.node.map(NodeId::as_str).unwrap_or_default();
    let (seq, pos) = (link.seq.to_be_bytes(), pos.to_be_bytes());
    sealer.over(what, &[chain.org.as_str().as_bytes(), node.as_bytes(), &seq, &link.hash, &pos])
}

/// What seals are of.
pub(super) const HEAD: &[u8] = b"ledger head";
pub(super) const ANCHOR: &[u8] = b"ledger anchor";

/// Whether a seal is of this place. A chain without records has none.
pub(super) fn is_sealed(
    sealer: &Sealer,
    what: &[u8],
    chain: &Chain<'_>,
    (link, pos): (&Link, i64),
    stored: &[u8],
) -> bool {
    link.seq == 0 || is_same(&seal(sealer, what, chain, link, pos), stored)
}

/// Damage of a chain that is found at its head.
pub(super) fn bad_head(node: &NodeId, seq: u64, reason: String) -> BadRecord {
    BadRecord { segment: format!("{ROWS} of node {node}"), line: 0, seq, reason }
}

/// A place in a chain from its columns.
pub(super) fn link(seq: i64, hash: &[u8]) -> Link {
    let mut bytes = [0; 32];
    // Why no error: a hash of another length is none that a record has.
    for (to, from) in bytes.iter_mut().zip(hash) {
        *to = *from;
    }
    Link { seq: unsigned(seq), hash: bytes }
}

/// What the head says of an org's chain and what its last record says: why they do not agree, if they do not.
pub(super) fn check_last(
    org: &OrgId,
    node: &NodeId,
    head: &Head,
    last_ending: Option<&str>,
    anchored: Option<i64>,
) -> Result<(), BadRecord> {
    let seq = signed(head.link.seq);
    if seq == 0 || anchored == Some(seq) {
        return Ok(());
    }
    let expected = format!("{}\"}}", portcullis_core::hex::encode(&head.link.hash));
    if last_ending == Some(expected.as_str()) {
        return Ok(());
    }
    let reason = match last_ending {
        None => format!("the head of org {org} says {seq}, and that record is not there"),
        Some(_) => format!("the head of org {org} says {seq}, and that record is another"),
    };
    Err(bad_head(node, head.link.seq, reason))
}
