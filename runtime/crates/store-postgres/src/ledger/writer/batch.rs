//! The statement that writes a group: arrays of heads, closed segments and records for `ledger_append`.

use std::collections::HashSet;

use deadpool_postgres::Object;
use portcullis_core::id::OrgId;

use crate::ledger::chain::{Closed, Head, Line};
use crate::ledger::signed;

const APPEND: &str = "SELECT ledger_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
                      $18, $19, $20, $21, $22, $23, $24)";

/// What is to be written, by columns.
#[derive(Default)]
pub(in crate::ledger) struct Batch {
    orgs: Vec<String>,
    from_seqs: Vec<i64>,
    from_hashes: Vec<Vec<u8>>,
    from_segments: Vec<i64>,
    to_seqs: Vec<i64>,
    to_hashes: Vec<Vec<u8>>,
    to_positions: Vec<i64>,
    to_segments: Vec<i64>,
    to_bytes: Vec<i64>,
    to_oldest: Vec<String>,
    to_newest: Vec<String>,
    to_seals: Vec<Vec<u8>>,
    closed_orgs: Vec<String>,
    closed_numbers: Vec<i64>,
    closed_seqs: Vec<i64>,
    closed_hashes: Vec<Vec<u8>>,
    closed_positions: Vec<i64>,
    closed_bytes: Vec<i64>,
    closed_newest: Vec<String>,
    record_orgs: Vec<String>,
    record_positions: Vec<i64>,
    record_seqs: Vec<i64>,
    record_lines: Vec<String>,
}

impl Batch {
    /// A chain goes from one head to the next.
    pub(in crate::ledger) fn head(&mut self, org: &OrgId, from: &Head, to: &Head, seal: Vec<u8>) {
        self.orgs.push(org.as_str().to_owned());
        self.from_seqs.push(signed(from.link.seq));
        self.from_hashes.push(from.link.hash.to_vec());
        self.from_segments.push(from.segment);
        self.to_seqs.push(signed(to.link.seq));
        self.to_hashes.push(to.link.hash.to_vec());
        self.to_positions.push(to.pos);
        self.to_segments.push(to.segment);
        self.to_bytes.push(to.bytes);
        self.to_oldest.push(to.oldest_at.clone());
        self.to_newest.push(to.newest_at.clone());
        self.to_seals.push(seal);
    }

    /// A segment is closed on the way.
    pub(in crate::ledger) fn close(&mut self, org: &OrgId, closed: &Closed) {
        self.closed_orgs.push(org.as_str().to_owned());
        self.closed_numbers.push(closed.number);
        self.closed_seqs.push(signed(closed.end.seq));
        self.closed_hashes.push(closed.end.hash.to_vec());
        self.closed_positions.push(closed.pos);
        self.closed_bytes.push(closed.bytes);
        self.closed_newest.push(closed.newest_at.clone());
    }

    /// A record is added.
    pub(in crate::ledger) fn record(&mut self, org: &OrgId, pos: i64, line: &Line) {
        self.record_orgs.push(org.as_str().to_owned());
        self.record_positions.push(pos);
        self.record_seqs.push(signed(line.link.seq));
        self.record_lines.push(line.text.clone());
    }

    /// Writes it; returns the orgs whose head was not where it was thought to be, of which nothing was written.
    pub(in crate::ledger) async fn execute(
        &self,
        client: &Object,
        node: &str,
    ) -> Result<HashSet<OrgId>, tokio_postgres::Error> {
        let statement = client.prepare_cached(APPEND).await?;
        let row = client
            .query_one(
                &statement,
                &[
                    &node,
                    &self.orgs,
                    &self.from_seqs,
                    &self.from_hashes,
                    &self.from_segments,
                    &self.to_seqs,
                    &self.to_hashes,
                    &self.to_positions,
                    &self.to_segments,
                    &self.to_bytes,
                    &self.to_oldest,
                    &self.to_newest,
                    &self.to_seals,
                    &self.closed_orgs,
                    &self.closed_numbers,
                    &self.closed_seqs,
                    &self.closed_hashes,
                    &self.closed_positions,
                    &self.closed_bytes,
                    &self.closed_newest,
                    &self.record_orgs,
                    &self.record_positions,
                    &self.record_seqs,
                    &self.record_lines,
                ],
            )
            .await?;
        let lost: Vec<String> = row.try_get(0)?;
        Ok(lost.iter().filter_map(|org| OrgId::parse(org).ok()).collect())
    }
}
