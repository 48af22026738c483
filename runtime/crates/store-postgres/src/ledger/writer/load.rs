//! Reads the heads that a group needs, and judges them: against their last records, against what this process wrote before,
//! and against what it tried without an answer.

use std::collections::HashMap;

use deadpool_postgres::Object;
use portcullis_core::hex;
use portcullis_core::id::{NodeId, OrgId};
use portcullis_store::for_backends::ledger::Chain;
use portcullis_store::{BadRecord, LedgerError};
use tokio_postgres::Row;

use super::{After, ByOrg, HEADS_MAX, Writer, refuse};
use crate::ledger::chain::{HEAD, Head, bad_head, check_last, is_sealed, link};
use crate::ledger::{failed, signed};
use crate::seal::Sealer;

/// For each org its head, its anchor, the end of its last record and of the one that this process wrote last, and
/// whether something is left of a chain without a head.
const LOAD: &str = "\
    SELECT o.org, h.seq, h.hash, h.pos, h.segment, h.bytes, h.oldest_at, h.newest_at, h.seal, a.seq, \
        right(l.line, 66), right(r.line, 66), \
        h.org IS NULL AND (\
            EXISTS (SELECT FROM ledger_segments x WHERE x.org = o.org AND x.node = $2) \
            OR EXISTS (SELECT FROM ledger_anchors x WHERE x.org = o.org AND x.node = $2) \
            OR (NOT EXISTS (SELECT FROM ledger_heads x WHERE x.org = o.org) \
                AND EXISTS (SELECT FROM ledger_records x WHERE x.org = o.org))) \
    FROM unnest($1::text[], $3::bigint[]) AS o (org, pos) \
    LEFT JOIN ledger_heads h ON h.org = o.org AND h.node = $2 \
    LEFT JOIN ledger_anchors a ON a.org = o.org AND a.node = $2 \
    LEFT JOIN ledger_records l ON l.org = o.org AND l.pos = h.pos AND l.node = $2 \
    LEFT JOIN ledger_records r ON r.org = o.org AND r.pos = o.pos AND r.node = $2";

/// The ends of the records at these places.
const TRIED: &str = "\
    SELECT r.org, r.pos, right(r.line, 66) FROM unnest($1::text[], $2::bigint[]) AS o (org, pos) \
    JOIN ledger_records r ON r.org = o.org AND r.pos = o.pos AND r.node = $3";

impl Writer {
    /// Has every head that the group needs. Chains that are damaged are refused and taken out of the group, and what turns
    /// out to be written already is answered.
    pub(super) async fn load(&mut self, client: &Object, group: &mut ByOrg) -> Result<(), LedgerError> {
        if self.heads.len() > HEADS_MAX {
            let heads = std::mem::take(&mut self.heads);
            self.heads = heads.into_iter().filter(|(org, _)| group.contains_key(org)).collect();
        }
        let needed: Vec<OrgId> = group
            .keys()
            .filter(|org| !self.heads.contains_key(*org) || self.stale.contains(*org))
            .cloned()
            .collect();
        if needed.is_empty() {
            return Ok(());
        }
        let orgs: Vec<&str> = needed.iter().map(OrgId::as_str).collect();
        let wrote: Vec<i64> =
            needed.iter().map(|org| self.heads.get(org).map_or(0, |head| head.pos)).collect();
        let statement = client.prepare_cached(LOAD).await.map_err(|error| failed(&error))?;
        let node = self.shared.node.clone();
        let rows = client.query(&statement, &[&orgs, &node.as_str(), &wrote]).await;
        for row in rows.map_err(|error| failed(&error))? {
            let found = Found::read(&row).map_err(|error| failed(&error))?;
            let Some(org) = needed.iter().find(|org| org.as_str() == found.org) else { continue };
            match found.judge(&self.shared.sealer, org, &node, self.heads.get(org)) {
                Ok(Some(head)) => drop(self.heads.insert(org.clone(), head)),
                Ok(None) => drop(self.heads.remove(org)),
                Err(bad) => {
                    self.shared.note(org, Some(&bad));
                    let error = LedgerError::Damaged { org: org.clone(), bad };
                    let records = group.remove(org).unwrap_or_default();
                    refuse(ByOrg::from([(org.clone(), records)]), &error);
                }
            }
        }
        self.settle(client, group).await?;
        for org in &needed {
            self.stale.remove(org);
        }
        Ok(())
    }

    /// Answers what was written by a try that had no answer.
    async fn settle(&mut self, client: &Object, group: &mut ByOrg) -> Result<(), LedgerError> {
        if self.doubtful.is_empty() {
            return Ok(());
        }
        let tried = || self.doubtful.iter().flat_map(|(org, all)| all.iter().map(move |after| (org, after)));
        let orgs: Vec<&str> = tried().map(|(org, _)| org.as_str()).collect();
        let positions: Vec<i64> = tried().map(|(_, after)| after.head.pos).collect();
        let node = self.shared.node.clone();
        let rows = client.query(TRIED, &[&orgs, &positions, &node.as_str()]).await;
        let mut there = HashMap::new();
        for row in rows.map_err(|error| failed(&error))? {
            let found =
                (|| Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))();
            let (org, pos, ending): (String, i64, String) = found.map_err(|error| failed(&error))?;
            there.insert((org, pos), ending);
        }
        let is_there = |org: &OrgId, after: &After| {
            let ending = there.get(&(org.as_str().to_owned(), after.head.pos));
            ending.is_some_and(|ending| *ending == ending_of(&after.head.link.hash))
        };
        let written: Vec<(OrgId, After)> = tried()
            .filter(|(org, after)| is_there(org, after))
            .map(|(org, after)| (org.clone(), after.clone()))
            .collect();
        for (org, after) in written {
            self.acknowledge(&org, group.remove(&org).unwrap_or_default(), &after.lines);
            self.doubtful.remove(&org);
        }
        Ok(())
    }
}

/// How a line with this hash ends.
fn ending_of(hash: &[u8; 32]) -> String {
    format!("{}\"}}", hex::encode(hash))
}

/// What was read of a chain.
struct Found {
    org: String,
    head: Option<(Head, Vec<u8>)>,
    anchored: Option<i64>,
    last_ending: Option<String>,
    own_ending: Option<String>,
    is_headless: bool,
}

impl Found {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let seq: Option<i64> = row.try_get(1)?;
        let head = match seq {
            None => None,
            Some(seq) => {
                let hash: Vec<u8> = row.try_get(2)?;
                let head = Head {
                    link: link(seq, &hash),
                    pos: row.try_get(3)?,
                    segment: row.try_get(4)?,
                    bytes: row.try_get(5)?,
                    oldest_at: row.try_get(6)?,
                    newest_at: row.try_get(7)?,
                };
                Some((head, row.try_get(8)?))
            }
        };
        Ok(Self {
            org: row.try_get(0)?,
            head,
            anchored: row.try_get(9)?,
            last_ending: row.try_get(10)?,
            own_ending: row.try_get(11)?,
            is_headless: row.try_get(12)?,
        })
    }

    /// The head, if it is to be believed; `None` for a chain that begins.
    fn judge(
        self,
        sealer: &Sealer,
        org: &OrgId,
        node: &NodeId,
        wrote: Option<&Head>,
    ) -> Result<Option<Head>, BadRecord> {
        let wrote = wrote.filter(|head| head.link.seq > 0);
        let Some((head, seal)) = self.head else {
            return match wrote {
                Some(wrote) => {
                    let reason = format!("its head is gone, and {} records were written", wrote.link.seq);
                    Err(bad_head(node, 1, reason))
                }
                None if self.is_headless => {
                    Err(bad_head(node, 1, format!("org {org} has records or segments, and no head")))
                }
                None => Ok(None),
            };
        };
        let chain = Chain { org, node: Some(node) };
        if !is_sealed(sealer, HEAD, &chain, (&head.link, head.pos), &seal) {
            let reason = "the seal of its head does not match, or is of another integrity key".to_owned();
            return Err(bad_head(node, head.link.seq, reason));
        }
        check_last(org, node, &head, self.last_ending.as_deref(), self.anchored)?;
        if let Some(wrote) = wrote {
            let seq = wrote.link.seq;
            let is_dropped = self.anchored.is_some_and(|anchored| anchored >= signed(seq));
            let is_there = self.own_ending.as_deref() == Some(ending_of(&wrote.link.hash).as_str());
            if head.link.seq < seq {
                let reason = format!("its head says {}, and this node wrote up to {seq}", head.link.seq);
                return Err(bad_head(node, head.link.seq.saturating_add(1), reason));
            }
            if !is_dropped && !is_there {
                return Err(bad_head(
                    node,
                    seq,
                    format!("record {seq}, which this node wrote, is not there"),
                ));
            }
        }
        Ok(Some(head))
    }
}
