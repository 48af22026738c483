//! The statement that writes a group: arrays of chains and rows for `runs_append`.

use deadpool_postgres::Object;
use portcullis_core::id::NodeId;

use super::{Head, Wanted};
use crate::runs::row::ChainKey;
use crate::seal::Seal;

const APPEND: &str = "SELECT runs_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
                      $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)";

/// What is to be written, by columns.
#[derive(Default)]
pub(super) struct Batch {
    orgs: Vec<String>,
    workspaces: Vec<String>,
    from_seqs: Vec<i64>,
    from_hashes: Vec<Vec<u8>>,
    to_seqs: Vec<i64>,
    to_hashes: Vec<Vec<u8>>,
    to_positions: Vec<i64>,
    births: Vec<i64>,
    added: Vec<i64>,
    shifts: Vec<i64>,
    seals: Vec<Vec<u8>>,
    chains: Vec<i32>,
    positions: Vec<i64>,
    seqs: Vec<i64>,
    ends: Vec<i64>,
    ids: Vec<String>,
    terms: [Vec<Option<String>>; 8],
    records: Vec<String>,
    prevs: Vec<Vec<u8>>,
    hashes: Vec<Vec<u8>>,
}

impl Batch {
    /// A chain goes from one head to the next, by so many bytes.
    pub(super) fn chain(
        &mut self,
        key: &ChainKey,
        from: &Head,
        to: &Head,
        (bytes, shift): (i64, i64),
        seal: Vec<u8>,
    ) {
        self.orgs.push(key.org.as_str().to_owned());
        self.workspaces.push(key.workspace.as_str().to_owned());
        self.from_seqs.push(from.seq);
        self.from_hashes.push(from.hash.to_vec());
        self.to_seqs.push(to.seq);
        self.to_hashes.push(to.hash.to_vec());
        self.to_positions.push(to.pos);
        self.births.push(to.born);
        self.added.push(bytes);
        self.shifts.push(shift);
        self.seals.push(seal);
    }

    /// A row is added to the chain with this number.
    pub(super) fn row(
        &mut self,
        chain: i32,
        (pos, seq): (i64, i64),
        row: &Wanted,
        terms: [Option<String>; 8],
        prev: &Seal,
        hash: &Seal,
    ) {
        self.chains.push(chain);
        self.positions.push(pos);
        self.seqs.push(seq);
        self.ends.push(row.ended_us);
        self.ids.push(row.run_id.clone());
        for (column, term) in self.terms.iter_mut().zip(terms) {
            column.push(term);
        }
        self.records.push(row.text.clone());
        self.prevs.push(prev.to_vec());
        self.hashes.push(hash.to_vec());
    }

    /// Writes it; returns the numbers of the chains whose head was not where it was thought to be.
    pub(super) async fn execute(
        &self,
        client: &Object,
        node: &NodeId,
    ) -> Result<Vec<i32>, tokio_postgres::Error> {
        let statement = client.prepare_cached(APPEND).await?;
        let [status, class, code, connector, connection, action, automation, event] = &self.terms;
        let row = client
            .query_one(
                &statement,
                &[
                    &node.as_str(),
                    &self.orgs,
                    &self.workspaces,
                    &self.from_seqs,
                    &self.from_hashes,
                    &self.to_seqs,
                    &self.to_hashes,
                    &self.to_positions,
                    &self.births,
                    &self.added,
                    &self.shifts,
                    &self.seals,
                    &self.chains,
                    &self.positions,
                    &self.seqs,
                    &self.ends,
                    &self.ids,
                    status,
                    class,
                    code,
                    connector,
                    connection,
                    action,
                    automation,
                    event,
                    &self.records,
                    &self.prevs,
                    &self.hashes,
                ],
            )
            .await?;
        row.try_get(0)
    }
}
