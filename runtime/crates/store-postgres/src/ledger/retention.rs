//! Drops old segments, whole and from the oldest of each chain on. The database cuts, and refuses any other place, and
//! what is younger than the owner of its schema allows: that stays, whatever the terms of an org are.

use deadpool_postgres::Object;
use portcullis_core::id::OrgId;
use portcullis_store::for_backends::Link;
use portcullis_store::for_backends::ledger::Chain;
use portcullis_store::{LedgerCut, LedgerError, LedgerLeft, PruneReport};

use super::chain::{ANCHOR, link, seal};
use super::walking::node_of;
use super::{Shared, failed, unsigned};

/// A closed segment.
struct Segment {
    /// As the tables name it.
    node: String,
    number: i64,
    end: Link,
    pos: i64,
    bytes: i64,
    newest_at: String,
    /// Whether the database took its last record long enough ago to let it go.
    may_go: bool,
}

/// Closed segments, in the order in which they may go. Of one whose last record is not there, the cut says what is wrong.
const SEGMENTS: &str = "\
    SELECT s.node, s.number, s.seq, s.hash, s.pos, s.bytes, s.newest_at, coalesce(( \
        SELECT coalesce(r.written_at, to_timestamp((r.pos >> 11) / 1000000.0)) < ledger_cut_before() \
        FROM ledger_records r WHERE r.org = s.org AND r.pos = s.pos), true) \
    FROM ledger_segments s WHERE s.org = $1 ORDER BY s.pos";

async fn segments(client: &Object, org: &OrgId) -> Result<Vec<Segment>, LedgerError> {
    let rows = client.query(SEGMENTS, &[&org.as_str()]).await.map_err(|error| failed(&error))?;
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let read = || {
            let hash: Vec<u8> = row.try_get(3)?;
            Ok(Segment {
                node: row.try_get(0)?,
                number: row.try_get(1)?,
                end: link(row.try_get(2)?, &hash),
                pos: row.try_get(4)?,
                bytes: row.try_get(5)?,
                newest_at: row.try_get(6)?,
                may_go: row.try_get(7)?,
            })
        };
        let segment = read().map_err(|error: tokio_postgres::Error| failed(&error))?;
        node_of(&segment.node)
            .map_err(|error| LedgerError::Unavailable(format!("a segment of org {org}: {error}")))?;
        all.push(segment);
    }
    Ok(all)
}

/// Cuts a chain after this segment.
async fn cut(shared: &Shared, client: &Object, org: &OrgId, segment: &Segment) -> Result<(), LedgerError> {
    let node = node_of(&segment.node)
        .map_err(|error| LedgerError::Unavailable(format!("a segment of org {org}: {error}")))?;
    let chain = Chain { org, node: node.as_ref() };
    let seal = seal(&shared.sealer, ANCHOR, &chain, &segment.end, segment.pos).to_vec();
    let sql = "SELECT ledger_cut($1, $2, $3, $4)";
    let cut = client.query_one(sql, &[&org.as_str(), &segment.node, &segment.number, &seal]).await;
    cut.map(drop).map_err(|error| failed(&error))
}

const BYTES: &str = "\
    SELECT (coalesce((SELECT sum(bytes) FROM ledger_segments WHERE org = $1), 0) \
        + coalesce((SELECT sum(bytes) FROM ledger_heads WHERE org = $1), 0))::bigint";

async fn measure(client: &Object, org: &OrgId) -> Result<u64, LedgerError> {
    let row = client.query_one(BYTES, &[&org.as_str()]).await.map_err(|error| failed(&error))?;
    Ok(unsigned(row.try_get(0).map_err(|error| failed(&error))?))
}

/// Bytes of an org's records.
pub(super) async fn bytes(shared: &Shared, org: &OrgId) -> Result<u64, LedgerError> {
    measure(&shared.client().await?, org).await
}

/// Drops what is old. A chain whose node is gone is closed by whoever does this, so that it ends, too.
pub(super) async fn retain(
    shared: &Shared,
    org: &OrgId,
    wanted: &LedgerCut,
) -> Result<LedgerLeft, LedgerError> {
    let client = shared.client().await?;
    if let Some(before) = &wanted.close_before {
        let old = "SELECT ledger_close(org, node, seq) FROM ledger_heads WHERE org = $1 AND bytes > 0 \
                   AND oldest_at < $2";
        client.execute(old, &[&org.as_str(), before]).await.map_err(|error| failed(&error))?;
    }
    let mut bytes = measure(&client, org).await?;
    let mut segments_dropped = 0_usize;
    let mut stayed: Vec<String> = Vec::new();
    for segment in segments(&client, org).await? {
        let Some(before) = wanted.before_for(bytes) else { break };
        // What is behind one that stays stays, too: a chain is cut from its beginning on.
        let is_due = segment.may_go && segment.newest_at.as_str() < before;
        if !is_due || stayed.contains(&segment.node) {
            stayed.push(segment.node);
            continue;
        }
        cut(shared, &client, org, &segment).await?;
        bytes = bytes.saturating_sub(unsigned(segment.bytes));
        segments_dropped = segments_dropped.saturating_add(1);
    }
    Ok(LedgerLeft { segments_dropped, bytes })
}

/// Drops the oldest segments of each chain but `keep`.
pub(super) async fn prune(shared: &Shared, org: &OrgId, keep: usize) -> Result<PruneReport, LedgerError> {
    let client = shared.client().await?;
    let all = segments(&client, org).await?;
    let sql = "SELECT node, bytes > 0 FROM ledger_heads WHERE org = $1";
    let rows = client.query(sql, &[&org.as_str()]).await.map_err(|error| failed(&error))?;
    let mut report = PruneReport::default();
    for row in rows {
        let read = (|| Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?)))();
        let (node, is_written): (String, bool) = read.map_err(|error| failed(&error))?;
        let own: Vec<&Segment> = all.iter().filter(|segment| segment.node == node).collect();
        let dropped = own.len().saturating_add(usize::from(is_written)).saturating_sub(keep.max(1));
        for segment in own.into_iter().take(dropped).take_while(|segment| segment.may_go) {
            cut(shared, &client, org, segment).await?;
            report.segments_dropped = report.segments_dropped.saturating_add(1);
        }
    }
    let anchored = "SELECT coalesce(max(seq), 0) FROM ledger_anchors WHERE org = $1";
    let row = client.query_one(anchored, &[&org.as_str()]).await.map_err(|error| failed(&error))?;
    report.dropped_to_seq = unsigned(row.try_get(0).map_err(|error| failed(&error))?);
    Ok(report)
}
