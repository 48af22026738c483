//! Whether the rows of a list are all there: each follows the one before in its chain, from head or anchor on.
//!
//! A page that goes on somewhere in a list knows nothing of the rows before it; who has to know carries one walk over all
//! pages.

use std::collections::BTreeMap;

use portcullis_store::{RunOrder, StoreError};
use tokio_postgres::Row;

use super::column;
use super::row::{Checked, damaged, genesis, head_seal};
use crate::seal::{Sealer, is_same};

/// The ends of a workspace's chains.
pub(super) const ENDS: &str = "SELECT node, seq, hash, pos, born, anchor_seq, anchor_hash, seal FROM run_heads \
                               WHERE org = $1 AND workspace = $2";

/// A place in a chain: a row's number and hash.
type Place = (i64, Vec<u8>);

const UNSEALED: &str = "the seal of its head does not match, or is of another integrity key";

struct Chain {
    anchor: Place,
    head: Place,
    /// Whether the head is as its node wrote it. A head without rows, which nobody ever leaves behind, is not.
    is_sealed: bool,
    /// The row that was met last: its place, and that of the row before it.
    met: Option<(Place, Place)>,
}

/// A walk along a workspace's rows, in either order.
pub(super) struct Continuity<'a> {
    org: &'a str,
    workspace: &'a str,
    order: RunOrder,
    /// Whether the list begins at its beginning.
    is_start: bool,
    chains: BTreeMap<String, Chain>,
}

impl<'a> Continuity<'a> {
    pub(super) fn new(
        (org, workspace): (&'a str, &'a str),
        order: RunOrder,
        is_start: bool,
        ends: &[Row],
        sealer: &Sealer,
    ) -> Result<Self, StoreError> {
        let mut chains = BTreeMap::new();
        for row in ends {
            let node: String = column(row, "node")?;
            let (anchored, born): (i64, i64) = (column(row, "anchor_seq")?, column(row, "born")?);
            let mut anchor: Place = (anchored, column(row, "anchor_hash")?);
            let names = (org, workspace, node.as_str());
            if anchored == 0 {
                anchor.1 = genesis(sealer, names, born).to_vec();
            }
            let head: Place = (column(row, "seq")?, column(row, "hash")?);
            let seal = head_seal(sealer, names, (head.0, &head.1, column(row, "pos")?), born);
            let is_sealed = is_same(&seal, column(row, "seal")?);
            chains.insert(node, Chain { anchor, head, is_sealed, met: None });
        }
        Ok(Self { org, workspace, order, is_start, chains })
    }

    /// Meets the next row of the list.
    pub(super) fn meet(&mut self, row: &Checked) -> Result<(), StoreError> {
        let what = format!("run {}", row.record.run_id);
        let bad = |reason: &str| damaged(self.org, self.workspace, &what, reason);
        let chain = self.chains.get_mut(&row.node).ok_or_else(|| bad("no head knows its chain"))?;
        if !chain.is_sealed {
            return Err(damaged(self.org, self.workspace, &name_of(&row.node), UNSEALED));
        }
        let place: Place = (row.seq, row.hash.clone());
        let before: Place = (row.seq.saturating_sub(1), row.prev.clone());
        let follows = match (&chain.met, self.order) {
            (None, _) if !self.is_start => true,
            (None, RunOrder::NewestFirst) => place == chain.head,
            (None, RunOrder::OldestFirst) => before == chain.anchor,
            (Some((_, wanted)), RunOrder::NewestFirst) => place == *wanted,
            (Some((last, _)), RunOrder::OldestFirst) => before == *last,
        };
        if !follows {
            return Err(bad("runs beside it are missing, or are others than they were"));
        }
        chain.met = Some((place, before));
        Ok(())
    }

    /// The list has no more rows.
    pub(super) fn end(&self) -> Result<(), StoreError> {
        self.faults().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// What is wrong with the ends of chains once the list has no more rows, each with its node.
    pub(super) fn faults(&self) -> impl Iterator<Item = (&str, StoreError)> {
        self.chains.iter().filter_map(|(node, chain)| {
            let is_whole = match (&chain.met, self.order) {
                (None, _) => !self.is_start || chain.head == chain.anchor,
                (Some((_, before)), RunOrder::NewestFirst) => *before == chain.anchor,
                (Some((last, _)), RunOrder::OldestFirst) => *last == chain.head,
            };
            let reason = match (chain.is_sealed, is_whole) {
                (false, _) => UNSEALED,
                (true, false) => "runs at its end are missing, or are others than they were",
                (true, true) => return None,
            };
            Some((node.as_str(), damaged(self.org, self.workspace, &name_of(node), reason)))
        })
    }
}

fn name_of(node: &str) -> String {
    format!("the chain of node {node}")
}
