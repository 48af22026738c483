//! Forgets keys whose time is over, and those of a workspace that is deleted.

use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_store::{IdempotencyOrder, IdempotencyPart, IdempotencyRecord, Writes};

use super::now_ms;
use crate::engine::Engine;
use crate::error::Error;
use crate::resources::Resources;

/// Keys forgotten in one go; the rest has its turn in the next.
const AT_ONCE: usize = 200;

/// Forgets some of the keys whose time is over.
///
/// # Errors
/// Those of the store; what is left is forgotten the next time.
pub(crate) async fn sweep(engine: &Engine) -> Result<(), Error> {
    let resources = &engine.resources;
    for (rest, _, _) in resources.records.list::<IdempotencyOrder>(&[], None, AT_ONCE).await? {
        let parts: Vec<&str> = rest.split('/').collect();
        let [order, org, workspace, name] = parts.as_slice() else { continue };
        if order.parse::<u64>().is_ok_and(|at_ms| at_ms > now_ms()) {
            return Ok(());
        }
        let key = [*org, *workspace, *name];
        let mut writes = Writes::new().delete::<IdempotencyOrder>(&[order, org, workspace, name]);
        let found = resources.records.get::<IdempotencyRecord>(&key).await?;
        // Why compared: the key may have been used anew since then.
        if let Some((record, revision)) = found.filter(|(record, _)| record.order == *order) {
            writes = writes
                .require_revision::<IdempotencyRecord>(&key, revision)
                .delete::<IdempotencyRecord>(&key);
            for number in 0..record.parts {
                let number = format!("{number:05}");
                writes = writes.delete::<IdempotencyPart>(&[*org, *workspace, *name, number.as_str()]);
            }
        }
        resources.commit(writes).await?;
    }
    Ok(())
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
