//! Results of a verification and of a prune. Made by the backends; decides nothing.

use portcullis_core::hex;
use portcullis_core::id::{NodeId, OrgId};
use serde::Serialize;

use super::error::BadRecord;
use super::line::Chain;

/// The result of a verification. Where an org has several chains, sequences and hash are those of the chain that was
/// written to last, and the numbers of records and segments those of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    pub org: OrgId,
    /// Number of segments.
    pub segments: usize,
    /// Records before the first bad one of each chain; all of them verify.
    pub records: u64,
    /// Sequence of the first record that is kept.
    pub first_seq: Option<u64>,
    /// Sequence of the last record that verifies.
    pub last_seq: u64,
    /// Hash of that record, 64 hex digits.
    pub last_hash: String,
    /// Whether older segments were dropped and the chain starts at its anchor.
    pub anchored: bool,
    /// Bytes of an incomplete last line: one being written now, or when the machine stopped.
    pub torn_tail_bytes: u64,
    /// The first record that does not verify, of the first chain that has one.
    pub bad: Option<BadRecord>,
    /// Each node's chain, by node; none where the org has one chain only that belongs to no node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chains: Vec<ChainReport>,
}

/// The result for the chain of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// `None` for the chain that belongs to no node.
    pub node: Option<NodeId>,
    /// Records before the first bad one.
    pub records: u64,
    /// Sequence of the first record that is kept.
    pub first_seq: Option<u64>,
    /// Sequence of the last record that verifies.
    pub last_seq: u64,
    /// Hash of that record, 64 hex digits.
    pub last_hash: String,
    /// Whether older records were dropped and the chain starts at its anchor.
    pub anchored: bool,
    /// The first record that does not verify.
    pub bad: Option<BadRecord>,
}

impl VerifyReport {
    /// The report of a chain without records.
    #[must_use]
    pub fn empty(org: &OrgId) -> Self {
        Self {
            org: org.clone(),
            segments: 0,
            records: 0,
            first_seq: None,
            last_seq: 0,
            last_hash: hex::encode(&Chain { org, node: None }.genesis().hash),
            anchored: false,
            torn_tail_bytes: 0,
            bad: None,
            chains: Vec::new(),
        }
    }

    /// Whether every record verifies.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.bad.is_none()
    }
}

/// What of an org's ledger is old. Times are in the ledger's own form, RFC 3339 in UTC with microseconds, and compared
/// as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerCut {
    /// Records from before this time may be dropped.
    pub before: Option<String>,
    /// If the ledger has more than this many bytes …
    pub bytes: Option<u64>,
    /// … records from before this time may be dropped, too.
    pub bytes_before: Option<String>,
    /// The segment that is written to is closed if it has a record from before this time, so that it can be dropped
    /// when its turn comes.
    pub close_before: Option<String>,
}

impl LedgerCut {
    /// The time before which records may be dropped from a ledger of this length.
    #[must_use]
    pub fn before_for(&self, bytes: u64) -> Option<&str> {
        let by_bytes = self.bytes_before.as_deref().filter(|_| self.bytes.is_some_and(|most| bytes > most));
        self.before.as_deref().max(by_bytes)
    }
}

/// What a cut left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerLeft {
    /// Segments that were deleted.
    pub segments_dropped: usize,
    /// Bytes of those that are left.
    pub bytes: u64,
}

/// The result of a prune.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Segments that were deleted.
    pub segments_dropped: usize,
    /// Sequence of the last dropped record; 0 if none was ever dropped.
    pub dropped_to_seq: u64,
}
