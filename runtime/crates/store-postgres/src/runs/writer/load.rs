//! Reads the heads that a group needs, and answers what a try without an answer has written.

use deadpool_postgres::Object;
use portcullis_store::StoreError;

use super::{ByChain, HEADS_MAX, Head, Writer, answer};
use crate::error::unavailable;
use crate::runs::column;
use crate::runs::row::{ChainKey, damaged};
use crate::seal::{SEAL_BYTES, is_same};

/// For each chain its head, and the hash of the row at its end.
const LOAD: &str = "\
    SELECT o.number::integer AS number, h.seq, h.hash, h.pos, h.born, h.seal, r.hash AS last, h.anchor_seq \
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS o (org, workspace, number) \
    JOIN run_heads h ON h.org = o.org AND h.workspace = o.workspace AND h.node = $3 \
    LEFT JOIN runs r ON r.pos = h.pos AND r.org = h.org AND r.workspace = h.workspace AND r.node = h.node";

impl Writer {
    /// Has every head that the group needs. Chains that are damaged are refused and taken out of the group.
    pub(super) async fn load(&mut self, client: &Object, group: &mut ByChain) -> Result<(), StoreError> {
        if self.heads.len() > HEADS_MAX {
            let heads = std::mem::take(&mut self.heads);
            self.heads = heads.into_iter().filter(|(key, _)| group.contains_key(key)).collect();
        }
        let needed: Vec<ChainKey> = group
            .keys()
            .filter(|key| !self.heads.contains_key(*key) || self.stale.contains(*key))
            .cloned()
            .collect();
        if needed.is_empty() {
            return Ok(());
        }
        let orgs: Vec<&str> = needed.iter().map(|key| key.org.as_str()).collect();
        let workspaces: Vec<&str> = needed.iter().map(|key| key.workspace.as_str()).collect();
        let node = self.shared.node.clone();
        let statement = client.prepare_cached(LOAD).await.map_err(|error| unavailable(&error))?;
        let rows = client.query(&statement, &[&orgs, &workspaces, &node.as_str()]).await;
        let rows = rows.map_err(|error| unavailable(&error))?;
        let wrote: Vec<Option<Head>> = needed.iter().map(|key| self.heads.remove(key)).collect();
        for row in &rows {
            let number: i32 = column(row, "number")?;
            let at = usize::try_from(number.saturating_sub(1)).unwrap_or_default();
            let (Some(key), Some(wrote)) = (needed.get(at), wrote.get(at)) else { continue };
            let head = Head {
                seq: column(row, "seq")?,
                hash: hash_of(column(row, "hash")?),
                pos: column(row, "pos")?,
                born: column(row, "born")?,
            };
            let seal: Vec<u8> = column(row, "seal")?;
            let last: Option<Vec<u8>> = column(row, "last")?;
            let anchored: i64 = column(row, "anchor_seq")?;
            let refused = if head.seq > 0
                && !is_same(&head.seal(&self.shared.sealer, key, node.as_str()), &seal)
            {
                Some("the seal of its head does not match, or is of another integrity key")
            } else if head.seq > anchored && last.is_none_or(|last| last != head.hash) {
                Some("the last row that its head knows is not there, or is another")
            } else if wrote.as_ref().is_some_and(|wrote| wrote.born == head.born && wrote.seq > head.seq) {
                Some("its head is older than what this node wrote")
            } else {
                None
            };
            if let Some(reason) = refused {
                let what = format!("the chain of node {node}");
                let error = || damaged(key.org.as_str(), key.workspace.as_str(), &what, reason);
                tracing::error!(error = %error(), "runs are not written");
                for wanted in group.remove(key).unwrap_or_default() {
                    let _ = wanted.done.send(Err(error()));
                }
                continue;
            }
            self.heads.insert(key.clone(), head);
        }
        self.settle(client, group).await?;
        for key in &needed {
            self.stale.remove(key);
        }
        Ok(())
    }

    /// Answers what was written by a try that had no answer.
    async fn settle(&mut self, client: &Object, group: &mut ByChain) -> Result<(), StoreError> {
        if self.doubtful.is_empty() {
            return Ok(());
        }
        let positions: Vec<i64> = self.doubtful.values().flatten().map(|head| head.pos).collect();
        let rows = client.query("SELECT pos, hash FROM runs WHERE pos = ANY ($1)", &[&positions]).await;
        let mut written = Vec::new();
        for row in rows.map_err(|error| unavailable(&error))? {
            let (pos, hash): (i64, Vec<u8>) = (column(&row, "pos")?, column(&row, "hash")?);
            let is_it = |head: &Head| head.pos == pos && head.hash.as_slice() == hash.as_slice();
            written.extend(
                self.doubtful.iter().filter(|(_, heads)| heads.iter().any(is_it)).map(|(key, _)| key.clone()),
            );
        }
        for key in written {
            answer(group.remove(&key).unwrap_or_default());
            self.doubtful.remove(&key);
        }
        Ok(())
    }
}

fn hash_of(stored: Vec<u8>) -> [u8; SEAL_BYTES] {
    stored.try_into().unwrap_or([0; SEAL_BYTES])
}
