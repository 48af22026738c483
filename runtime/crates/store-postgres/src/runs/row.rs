//! A row of the runs: its columns, what its hash covers, and how it is checked when it is read.

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::for_backends::runs::{each_term, ended_us};
use portcullis_store::{RunRecord, StoreError};
use tokio_postgres::Row;

use super::column;
use crate::seal::{SEAL_BYTES, Seal, Sealer, is_same};

/// Characters of a term that lists are made by; what is longer is compared with the record itself.
const TERM_CHARS: usize = 200;

/// The columns that lists are made by, in the order of the table.
pub(super) const TERMS: [&str; 8] =
    ["status", "class", "code", "connector_id", "connection", "action_id", "automation_id", "event_id"];

/// A chain of runs: those of a workspace that one node wrote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ChainKey {
    pub(super) org: OrgId,
    pub(super) workspace: WorkspaceId,
}

/// What a term is as a column: its beginning, and without the character that the database has not.
pub(super) fn term(value: &str) -> String {
    value.chars().take(TERM_CHARS).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

/// The terms of a record, by [`TERMS`].
pub(super) fn terms(record: &str) -> [Option<String>; 8] {
    let mut found: [Option<String>; 8] = Default::default();
    each_term(record.as_bytes(), |name, value| {
        if let Some((_, place)) = TERMS.iter().zip(&mut found).find(|(known, _)| **known == name) {
            *place = Some(term(value));
        }
    });
    found
}

/// The start of a chain.
pub(super) fn genesis(sealer: &Sealer, (org, workspace, node): (&str, &str, &str), born: i64) -> Seal {
    let names = [org, workspace, node].map(str::as_bytes);
    let [org, workspace, node] = names;
    sealer.over(b"runs genesis", &[org, workspace, node, &born.to_be_bytes()])
}

/// The seal of a chain's head: where the chain ends, and when it was born. What was dropped from its start is not in it.
pub(super) fn head_seal(
    sealer: &Sealer,
    (org, workspace, node): (&str, &str, &str),
    (seq, hash, pos): (i64, &[u8], i64),
    born: i64,
) -> Seal {
    let names = [org, workspace, node].map(str::as_bytes);
    let [org, workspace, node] = names;
    let [seq, pos, born] = [seq, pos, born].map(i64::to_be_bytes);
    sealer.over(b"run head", &[org, workspace, node, &seq, hash, &pos, &born])
}

/// The hash of a row.
pub(super) fn hash(
    sealer: &Sealer,
    (org, workspace, node): (&str, &str, &str),
    (seq, pos): (i64, i64),
    prev: &[u8],
    record: &str,
) -> Seal {
    let (seq, pos) = (seq.to_be_bytes(), pos.to_be_bytes());
    let names = [org, workspace, node].map(str::as_bytes);
    let [org, workspace, node] = names;
    sealer.over(b"run", &[org, workspace, node, &seq, &pos, prev, record.as_bytes()])
}

/// A row that was read and checked.
pub(super) struct Checked {
    pub(super) pos: i64,
    pub(super) node: String,
    pub(super) seq: i64,
    pub(super) prev: Vec<u8>,
    pub(super) hash: Vec<u8>,
    pub(super) text: String,
    pub(super) record: RunRecord,
}

impl Checked {
    /// Checks a row: its hash, and that its columns are what its record says.
    pub(super) fn read(row: &Row, sealer: &Sealer) -> Result<Self, StoreError> {
        let (org, workspace): (String, String) = (column(row, "org")?, column(row, "workspace")?);
        let (run, node): (String, String) = (column(row, "run_id")?, column(row, "node")?);
        let (seq, pos): (i64, i64) = (column(row, "seq")?, column(row, "pos")?);
        let (prev, stored): (Vec<u8>, Vec<u8>) = (column(row, "prev")?, column(row, "hash")?);
        let text: String = column(row, "record")?;
        let ended: i64 = column(row, "ended_us")?;
        let damaged = |reason: &str| damaged(&org, &workspace, &format!("run {run}"), reason);
        let computed = hash(sealer, (&org, &workspace, &node), (seq, pos), &prev, &text);
        if stored.len() != SEAL_BYTES || !is_same(&computed, &stored) {
            return Err(damaged("its hash does not match its content and its place"));
        }
        let record: RunRecord = serde_json::from_str(&text).map_err(|_| damaged("it holds no run record"))?;
        let is_own = record.org.as_str() == org
            && record.workspace.as_str() == workspace
            && record.run_id.as_str() == run;
        if !is_own {
            return Err(damaged("its columns name another run than its record"));
        }
        if ended != ended_column(&record) {
            return Err(damaged("its column ended_us is not what its record says"));
        }
        for (name, wanted) in TERMS.iter().zip(terms(&text)) {
            if column::<Option<String>>(row, name)? != wanted {
                return Err(damaged(&format!("its column {name} is not what its record says")));
            }
        }
        Ok(Self { pos, node, seq, prev, hash: stored, text, record })
    }
}

/// When a run ended, as a column.
pub(super) fn ended_column(record: &RunRecord) -> i64 {
    i64::try_from(ended_us(&record.created_at, record.run_id.as_str())).unwrap_or(i64::MAX)
}

/// What is wrong with a row.
pub(super) fn damaged(org: &str, workspace: &str, what: &str, reason: &str) -> StoreError {
    StoreError::DamagedRow {
        row: format!("{what} of {org}/{workspace} in the table runs"),
        reason: reason.to_owned(),
    }
}
