//! Forgets keys whose time is over, and those of a workspace that is deleted.

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::{IdempotencyOrder, IdempotencyPart, IdempotencyRecord, StoreError, Writes};

use crate::clock::now_ms;
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;

/// Keys read at a time.
const PAGE: usize = 100;

/// Forgets the keys whose time is over. One that cannot be forgotten is logged, and keeps no other from it.
///
/// # Errors
/// Those of the store if they cannot be listed.
pub(crate) async fn sweep(engine: &Engine) -> Result<(), Error> {
    let (resources, now) = (&engine.resources, now_ms());
    let mut after: Option<Vec<String>> = None;
    loop {
        let mut page = resources.records.keys::<IdempotencyOrder>(&[], after.as_deref(), PAGE).await?;
        for parts in &page {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let [order, org, workspace, name] = parts.as_slice() else { continue };
            if order.parse::<u64>().is_ok_and(|at_ms| at_ms > now) {
                return Ok(());
            }
            if let Err(error) = forget(resources, order, [*org, *workspace, *name]).await {
                tracing::error!(%error, org, workspace, "an idempotency key could not be forgotten");
            }
        }
        let is_full = page.len() == PAGE;
        let Some(last) = page.pop().filter(|_| is_full) else { return Ok(()) };
        after = Some(last);
    }
}

/// Forgets a key, and that it had its turn at this time.
async fn forget(resources: &Resources, order: &str, key: [&str; 3]) -> Result<(), StoreError> {
    let [org, workspace, name] = key;
    let mut writes = Writes::new().delete::<IdempotencyOrder>(&[order, org, workspace, name]);
    let found = resources.records.get::<IdempotencyRecord>(&key).await?;
    // Why compared: the key may have been used anew since then.
    if let Some((record, revision)) = found.filter(|(record, _)| record.order == order) {
        writes =
            writes.require_revision::<IdempotencyRecord>(&key, revision).delete::<IdempotencyRecord>(&key);
        for number in 0..record.parts {
            let number = format!("{number:05}");
            writes = writes.delete::<IdempotencyPart>(&[org, workspace, name, number.as_str()]);
        }
    }
    resources.commit(writes).await.map(drop)
}

/// Forgets the keys of a workspace. Their order is forgotten in its time.
///
/// # Errors
/// Those of the store; calling it again continues.
pub(crate) async fn clear_workspace(
    resources: &Resources,
    org: &OrgId,
    workspace: &WorkspaceId,
) -> Result<(), Error> {
    let parts = [org.as_str(), workspace.as_str()];
    resources.delete_below::<IdempotencyRecord>(&parts).await?;
    Ok(resources.delete_below::<IdempotencyPart>(&parts).await?)
}
