//! The chains of an org as their heads and anchors say, and its records in order.

use deadpool_postgres::GenericClient;
use portcullis_core::id::{InvalidId, NodeId, OrgId};
use portcullis_store::for_backends::Link;
use portcullis_store::for_backends::ledger::{Chain, Ends, ROWS};
use portcullis_store::{BadRecord, LedgerError};
use tokio_postgres::Row;

use super::chain::{ANCHOR, HEAD, is_sealed, link};
use super::importing::NO_NODE;
use super::{Shared, failed, signed, unsigned};

/// Rows that are read at once, at first and at most; between, as many as are some hundred kilobytes.
pub(super) const ROWS_FIRST: i64 = 128;
const ROWS_MAX: usize = 2048;
const ROWS_MIN: usize = 16;
const READ_BYTES: usize = 512 * 1024;

/// A chain of an org.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// `None`: the chain that the org had in a data directory.
    pub(super) node: Option<NodeId>,
    pub(super) ends: Ends,
    /// Position of the last record.
    pub(super) pos: i64,
    /// What is wrong with what is known, if anything is.
    pub(super) bad: Option<String>,
}

const KNOWN: &str = "\
    SELECT node, h.seq, h.hash, h.pos, h.seal, a.seq, a.hash, a.pos, a.seal \
    FROM (SELECT * FROM ledger_heads WHERE org = $1) h FULL JOIN (SELECT * FROM ledger_anchors WHERE org = $1) a \
        USING (node) ORDER BY node";

impl Known {
    /// The name of its node in the tables.
    pub(super) fn name(&self) -> &str {
        self.node.as_ref().map_or(NO_NODE, NodeId::as_str)
    }
}

/// The node that a table names.
pub(super) fn node_of(name: &str) -> Result<Option<NodeId>, InvalidId> {
    if name == NO_NODE { Ok(None) } else { NodeId::parse(name).map(Some) }
}

/// All chains of an org.
pub(super) async fn known(
    client: &impl GenericClient,
    shared: &Shared,
    org: &OrgId,
) -> Result<Vec<Known>, LedgerError> {
    let statement = client.prepare_cached(KNOWN).await.map_err(|error| failed(&error))?;
    let rows = client.query(&statement, &[&org.as_str()]).await.map_err(|error| failed(&error))?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let name: String = row.try_get(0).map_err(|error| failed(&error))?;
        let Ok(node) = node_of(&name) else {
            let reason = format!("a head or an anchor names the node {name:?}, which is no name of one");
            let bad = BadRecord { segment: ROWS.to_owned(), line: 0, seq: 0, reason };
            return Err(LedgerError::Damaged { org: org.clone(), bad });
        };
        all.push(read_known(&row, shared, org, node).map_err(|error| failed(&error))?);
    }
    Ok(all)
}

fn read_known(
    row: &Row,
    shared: &Shared,
    org: &OrgId,
    node: Option<NodeId>,
) -> Result<Known, tokio_postgres::Error> {
    let chain = Chain { org, node: node.as_ref() };
    let place = |at: usize| -> Result<Option<(Link, i64, Vec<u8>)>, tokio_postgres::Error> {
        let Some(seq) = row.try_get::<_, Option<i64>>(at)? else { return Ok(None) };
        let hash: Vec<u8> = row.try_get(at + 1)?;
        Ok(Some((link(seq, &hash), row.try_get(at + 2)?, row.try_get(at + 3)?)))
    };
    let (head, anchor) = (place(1)?, place(5)?);
    let is_sound = |what: &[u8], place: &Option<(Link, i64, Vec<u8>)>| {
        let sealed = |(link, pos, seal): &(Link, i64, Vec<u8>)| {
            is_sealed(&shared.sealer, what, &chain, (link, *pos), seal)
        };
        place.as_ref().is_none_or(sealed)
    };
    let bad = if head.is_none() {
        Some("its head is gone")
    } else if !is_sound(HEAD, &head) {
        Some("the seal of its head does not match, or is of another integrity key")
    } else if !is_sound(ANCHOR, &anchor) {
        Some("the seal of its anchor does not match, or is of another integrity key")
    } else {
        None
    };
    let anchor = anchor.map(|(link, ..)| link);
    let (head, pos) = head.map_or((chain.genesis(), 0), |(link, pos, _)| (link, pos));
    let bad = bad.map(str::to_owned);
    Ok(Known { ends: Ends { anchor, head }, pos, bad, node })
}

/// A row of the records.
pub(super) struct Record {
    pub(super) pos: i64,
    pub(super) node: String,
    pub(super) seq: u64,
    pub(super) line: String,
}

impl Record {
    pub(super) fn read(row: &Row) -> Result<Self, LedgerError> {
        let read = || {
            let seq = unsigned(row.try_get(2)?);
            Ok(Self { pos: row.try_get(0)?, node: row.try_get(1)?, seq, line: row.try_get(3)? })
        };
        read().map_err(|error: tokio_postgres::Error| failed(&error))
    }
}

const FORWARD: &str = "SELECT pos, node, seq, line FROM ledger_records WHERE org = $1 AND pos > $2 AND pos <= $3 \
                       ORDER BY pos LIMIT $4";
const BACKWARD: &str =
    "SELECT pos, node, seq, line FROM ledger_records WHERE org = $1 AND pos < $2 ORDER BY pos DESC LIMIT $3";

/// Reads records in order, some at a time.
pub(super) struct Reader {
    at: i64,
    to: i64,
    rows: i64,
    is_done: bool,
}

impl Reader {
    /// From the oldest on, up to a position.
    pub(super) const fn forward(to: i64) -> Self {
        Self { at: i64::MIN, to, rows: ROWS_FIRST, is_done: false }
    }

    /// From before a position back to the oldest.
    pub(super) const fn backward(before: i64) -> Self {
        Self { at: before, to: 0, rows: ROWS_FIRST, is_done: false }
    }

    /// The next records, oldest first; none at the end.
    pub(super) async fn next(
        &mut self,
        client: &impl GenericClient,
        org: &OrgId,
    ) -> Result<Vec<Record>, LedgerError> {
        if self.is_done {
            return Ok(Vec::new());
        }
        let statement = client.prepare_cached(FORWARD).await.map_err(|error| failed(&error))?;
        let rows = client.query(&statement, &[&org.as_str(), &self.at, &self.to, &self.rows]).await;
        self.take(&rows.map_err(|error| failed(&error))?)
    }

    /// The next records, newest first; none at the end.
    pub(super) async fn next_back(
        &mut self,
        client: &impl GenericClient,
        org: &OrgId,
    ) -> Result<Vec<Record>, LedgerError> {
        if self.is_done {
            return Ok(Vec::new());
        }
        let statement = client.prepare_cached(BACKWARD).await.map_err(|error| failed(&error))?;
        let rows = client.query(&statement, &[&org.as_str(), &self.at, &self.rows]).await;
        self.take(&rows.map_err(|error| failed(&error))?)
    }

    fn take(&mut self, rows: &[Row]) -> Result<Vec<Record>, LedgerError> {
        self.is_done = signed(rows.len() as u64) < self.rows;
        let records = rows.iter().map(Record::read).collect::<Result<Vec<_>, _>>()?;
        if let Some(last) = records.last() {
            self.at = last.pos;
            let bytes: usize = records.iter().map(|record| record.line.len()).sum();
            let each = (bytes / records.len()).max(1);
            self.rows = signed((READ_BYTES / each).clamp(ROWS_MIN, ROWS_MAX) as u64);
        }
        Ok(records)
    }
}
