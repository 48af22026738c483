//! Whether the rows of a list are all there: each follows the one before in its chain, from head or anchor on.

use std::collections::HashMap;

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::{RunOrder, StoreError};
use tokio_postgres::Row;

use super::column;
use super::row::{Checked, damaged, genesis};
use crate::seal::Sealer;

/// The ends of a workspace's chains.
pub(super) const ENDS: &str = "SELECT node, seq, hash, born, anchor_seq, anchor_hash FROM run_heads \
                               WHERE org = $1 AND workspace = $2";

/// A place in a chain: a row's number and hash.
type Place = (i64, Vec<u8>);

struct Chain {
    anchor: Place,
    head: Place,
    /// The row that was met last: its place, and that of the row before it.
    met: Option<(Place, Place)>,
}

/// A walk along a workspace's rows, in either order.
pub(super) struct Continuity<'a> {
    org: &'a OrgId,
    workspace: &'a WorkspaceId,
    order: RunOrder,
    /// Whether the list begins at its beginning.
    is_start: bool,
    chains: HashMap<String, Chain>,
}

impl<'a> Continuity<'a> {
    pub(super) fn new(
        (org, workspace): (&'a OrgId, &'a WorkspaceId),
        order: RunOrder,
        is_start: bool,
        ends: &[Row],
        sealer: &Sealer,
    ) -> Result<Self, StoreError> {
        let mut chains = HashMap::new();
        for row in ends {
            let node: String = column(row, "node")?;
            let anchored: i64 = column(row, "anchor_seq")?;
            let mut anchor: Place = (anchored, column(row, "anchor_hash")?);
            if anchored == 0 {
                let key = super::row::ChainKey { org: org.clone(), workspace: workspace.clone() };
                anchor.1 = genesis(sealer, &key, &node, column(row, "born")?).to_vec();
            }
            let head = (column(row, "seq")?, column(row, "hash")?);
            chains.insert(node, Chain { anchor, head, met: None });
        }
        Ok(Self { org, workspace, order, is_start, chains })
    }

    /// Meets the next row of the list.
    pub(super) fn meet(&mut self, row: &Checked) -> Result<(), StoreError> {
        let what = format!("run {}", row.record.run_id);
        let bad = |reason: &str| damaged(self.org.as_str(), self.workspace.as_str(), &what, reason);
        let chain = self.chains.get_mut(&row.node).ok_or_else(|| bad("no head knows its chain"))?;
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
        for (node, chain) in &self.chains {
            let is_whole = match (&chain.met, self.order) {
                (None, _) => !self.is_start || chain.head == chain.anchor,
                (Some((_, before)), RunOrder::NewestFirst) => *before == chain.anchor,
                (Some((last, _)), RunOrder::OldestFirst) => *last == chain.head,
            };
            if !is_whole {
                let what = format!("the chain of node {node}");
                let reason = "runs at its end are missing, or are others than they were";
                return Err(damaged(self.org.as_str(), self.workspace.as_str(), &what, reason));
            }
        }
        Ok(())
    }
}
