//! What can go wrong with the ledger, and the description of a bad record.
//!
//! Never the content of a record.

use portcullis_core::id::OrgId;
use serde::Serialize;

/// The first record that does not verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRecord {
    /// File name of the segment, or the table and the node whose chain it is in.
    pub segment: String,
    /// Line in that file, or which of the kept records of the chain, from 1.
    pub line: u64,
    /// Sequence that the record there should have.
    pub seq: u64,
    pub reason: String,
}

impl std::fmt::Display for BadRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} line {} (seq {}): {}", self.segment, self.line, self.seq, self.reason)
    }
}

/// Why a ledger call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The org's chain does not verify; nothing is appended to it.
    #[error("ledger of {org} is damaged at {bad}; {}", repair(org, bad))]
    Damaged { org: OrgId, bad: BadRecord },
    /// The event is too large for one record.
    #[error("ledger event has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// No entry has the id after which a page was to start.
    #[error("no ledger entry has the id the page starts after")]
    UnknownCursor,
    /// Another process, or another handle of this one, has the ledgers open.
    #[error("{dir} is already open in another process")]
    AlreadyOpen {
        /// The directory.
        dir: String,
    },
    /// Files cannot be read or written.
    #[error("ledger is unavailable: {0}")]
    Unavailable(String),
}

/// What the place of a bad record begins with where records are rows of a table.
pub const ROWS: &str = "ledger_records";

fn repair(org: &OrgId, bad: &BadRecord) -> String {
    if bad.segment.starts_with(ROWS) {
        return format!(
            "look at it with GET /org/{org}/outbound/verify, and put the rows back from a backup of the database, or, \
             with every node stopped, move the org's rows of all ledger tables aside to start new chains"
        );
    }
    format!(
        "look at it with `portcullis ledger verify`, and put the file back from a backup, or, with the process stopped, \
         move ledger/{org} and ledger/.heads/{org} aside to start a new chain"
    )
}

impl LedgerError {
    pub(super) fn io(doing: &str, error: &std::io::Error) -> Self {
        Self::Unavailable(format!("{doing}: {error}"))
    }
}
