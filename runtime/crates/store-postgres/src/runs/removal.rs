//! Takes runs out: those of a workspace that is deleted, and old ones of an org.

use std::collections::BTreeMap;

use deadpool_postgres::Object;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::{RunCut, RunsLeft, StoreError};
use tokio_postgres::Error;

use super::{Shared, column};
use crate::error::{is_retryable, unavailable};
use crate::position::first_at;

/// Rows that are deleted by one statement.
const ROWS: i64 = 1000;

/// How often a transaction that lost against another is tried again.
const TRIES: usize = 5;

/// Bytes of an org's runs.
pub(super) async fn measure(client: &Object, org: &OrgId) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM run_heads WHERE org = $1";
    let row = client.query_one(sql, &[&org.as_str()]).await.map_err(|error| unavailable(&error))?;
    Ok(u64::try_from(column::<i64>(&row, "bytes")?).unwrap_or_default())
}

/// Deletes the runs of a workspace with their heads, all at once.
pub(super) async fn remove(shared: &Shared, org: &OrgId, workspace: &WorkspaceId) -> Result<(), StoreError> {
    let mut client = shared.pool.client().await?;
    let mut tries = 0_usize;
    loop {
        tries = tries.saturating_add(1);
        match try_remove(&mut client, org, workspace).await {
            Err(error) if is_retryable(&error) && tries < TRIES => {}
            done => return done.map_err(|error| unavailable(&error)),
        }
    }
}

async fn try_remove(client: &mut Object, org: &OrgId, workspace: &WorkspaceId) -> Result<(), Error> {
    let (org, workspace) = (org.as_str(), workspace.as_str());
    let all = client.transaction().await?;
    all.execute("DELETE FROM run_heads WHERE org = $1 AND workspace = $2", &[&org, &workspace]).await?;
    let some = "DELETE FROM runs WHERE pos IN \
                (SELECT pos FROM runs WHERE org = $1 AND workspace = $2 ORDER BY pos LIMIT $3)";
    while all.execute(some, &[&org, &workspace, &ROWS]).await? > 0 {}
    all.commit().await
}

/// Drops old runs of an org, the oldest first.
pub(super) async fn retain(shared: &Shared, org: &OrgId, cut: &RunCut) -> Result<RunsLeft, StoreError> {
    let mut client = shared.pool.client().await?;
    let mut left = RunsLeft { dropped: 0, bytes: measure(&client, org).await? };
    let mut tries = 0_usize;
    loop {
        let Some(last) = last_to_drop(&client, org, cut, left.bytes).await? else { return Ok(left) };
        match drop_to(&mut client, org, last).await {
            Ok((dropped, bytes)) => {
                left.dropped = left.dropped.saturating_add(dropped);
                left.bytes = left.bytes.saturating_sub(bytes);
                tries = 0;
            }
            Err(error) if is_retryable(&error) && tries < TRIES => tries = tries.saturating_add(1),
            Err(error) => return Err(unavailable(&error)),
        }
    }
}

/// The last of the oldest rows that may go, of as many as are deleted at once.
async fn last_to_drop(
    client: &Object,
    org: &OrgId,
    cut: &RunCut,
    bytes: u64,
) -> Result<Option<i64>, StoreError> {
    let sql =
        "SELECT pos, octet_length(record)::bigint AS bytes FROM runs WHERE org = $1 ORDER BY pos LIMIT $2";
    let rows = client.query(sql, &[&org.as_str(), &ROWS]).await.map_err(|error| unavailable(&error))?;
    let (mut last, mut left) = (None, bytes);
    for row in rows {
        let (pos, bytes): (i64, i64) = (column(&row, "pos")?, column(&row, "bytes")?);
        let is_old = cut.before_us.is_some_and(|before| pos < first_at(before));
        if !is_old && cut.bytes.is_none_or(|most| left <= most) {
            break;
        }
        left = left.saturating_sub(u64::try_from(bytes).unwrap_or_default());
        last = Some(pos);
    }
    Ok(last)
}

/// Deletes an org's rows up to this one, and anchors their chains.
async fn drop_to(client: &mut Object, org: &OrgId, last: i64) -> Result<(u64, u64), Error> {
    let cutting = client.transaction().await?;
    let lock = "SELECT FROM run_heads WHERE org = $1 ORDER BY workspace, node FOR UPDATE";
    cutting.execute(lock, &[&org.as_str()]).await?;
    let delete = "DELETE FROM runs WHERE org = $1 AND pos <= $2 \
                  RETURNING workspace, node, seq, hash, octet_length(record)::bigint";
    let (mut anchors, mut dropped, mut all) = (BTreeMap::new(), 0_u64, 0_u64);
    for row in cutting.query(delete, &[&org.as_str(), &last]).await? {
        let (workspace, node): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (seq, hash, bytes): (i64, Vec<u8>, i64) = (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        let anchor = anchors.entry((workspace, node)).or_insert_with(|| (0_i64, Vec::new(), 0_i64));
        anchor.2 = anchor.2.saturating_add(bytes);
        if seq > anchor.0 {
            (anchor.0, anchor.1) = (seq, hash);
        }
        dropped = dropped.saturating_add(1);
        all = all.saturating_add(u64::try_from(bytes).unwrap_or_default());
    }
    let move_anchor = "UPDATE run_heads SET anchor_seq = $4, anchor_hash = $5, bytes = bytes - $6 \
                       WHERE org = $1 AND workspace = $2 AND node = $3";
    for ((workspace, node), (seq, hash, bytes)) in anchors {
        cutting.execute(move_anchor, &[&org.as_str(), &workspace, &node, &seq, &hash, &bytes]).await?;
    }
    cutting.commit().await?;
    Ok((dropped, all))
}
