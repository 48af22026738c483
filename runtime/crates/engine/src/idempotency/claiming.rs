//! The records of claims: made, taken up, given up and given back.

use std::time::Duration;

use portcullis_core::id::RunId;
use portcullis_store::{IdempotencyOrder, IdempotencyRecord, StoreError, WorkspaceRecord, Writes};

use super::Claimed;
use crate::call::Commitment;
use crate::clock::{self, HOUR_MS, now_ms};
use crate::engine::Engine;
use crate::error::Error;
use crate::tenants::Tenant;

/// What a request may take beside its call.
const MARGIN: Duration = Duration::from_secs(60);

/// Stores the claim of a first request.
pub(super) async fn first(
    engine: &Engine,
    tenant: &Tenant,
    name: &str,
    request: &str,
    old: Option<u64>,
    commitment: &Commitment,
) -> Result<Claimed, StoreError> {
    let limits = &engine.resources.limits;
    let forget_ms = now_ms().saturating_add(limits.idempotency_hours.saturating_mul(HOUR_MS));
    let run_id = RunId::parse(&clock::fresh_text("run"))
        .map_err(|error| StoreError::Unavailable(format!("a run has no id: {error}")))?;
    let record = IdempotencyRecord {
        request: request.to_owned(),
        run_id,
        order: format!("{forget_ms:014}"),
        holder: Some(engine.idempotency.holder.clone()),
        until: served_until(engine),
        parts: 0,
        bytes: 0,
    };
    let (org, workspace) = (tenant.org.as_str(), tenant.workspace.as_str());
    let parts = [org, workspace, name];
    let writes = Writes::new().require_revision::<WorkspaceRecord>(&[org, workspace], tenant.commit);
    let writes = match old {
        Some(revision) => writes.replace(&parts, &record, revision),
        None => writes.create(&parts, &record),
    };
    let writes = writes.put(&[record.order.as_str(), org, workspace, name], &IdempotencyOrder {});
    let revision = engine.resources.commit(writes).await?;
    Ok(Claimed::new(engine, tenant, name, (record, revision), commitment))
}

/// When a request that is served from now on has ended.
fn served_until(engine: &Engine) -> String {
    let limits = &engine.resources.limits;
    clock::after(Duration::from_millis(limits.call_ms.saturating_add(limits.queue_ms)).saturating_add(MARGIN))
}

/// Stores the claim of a request that was cut off and is served again.
pub(super) async fn take_up(
    engine: &Engine,
    tenant: &Tenant,
    name: &str,
    (record, revision): (IdempotencyRecord, u64),
    commitment: &Commitment,
) -> Result<Claimed, StoreError> {
    let holder = Some(engine.idempotency.holder.clone());
    let record = IdempotencyRecord { holder, until: served_until(engine), ..record };
    let (org, workspace) = (tenant.org.as_str(), tenant.workspace.as_str());
    let writes = Writes::new().require_revision::<WorkspaceRecord>(&[org, workspace], tenant.commit).replace(
        &[org, workspace, name],
        &record,
        revision,
    );
    let revision = engine.resources.commit(writes).await?;
    Ok(Claimed::new(engine, tenant, name, (record, revision), commitment))
}

/// Notes that nobody serves a request any more.
pub(super) async fn give_up(claimed: &Claimed) -> Result<(), Error> {
    let parts = [claimed.org.as_str(), claimed.workspace.as_str(), claimed.name.as_str()];
    let record =
        IdempotencyRecord { holder: None, until: clock::after(Duration::ZERO), ..claimed.record.clone() };
    match claimed.resources.commit(Writes::new().replace(&parts, &record, claimed.revision)).await {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a claim that made nothing.
pub(super) async fn give_back(claimed: &Claimed) -> Result<(), Error> {
    let (org, workspace, name) = (claimed.org.as_str(), claimed.workspace.as_str(), claimed.name.as_str());
    let parts = [org, workspace, name];
    let writes = Writes::new()
        .require_revision::<IdempotencyRecord>(&parts, claimed.revision)
        .delete::<IdempotencyRecord>(&parts)
        .delete::<IdempotencyOrder>(&[claimed.record.order.as_str(), org, workspace, name]);
    match claimed.resources.commit(writes).await {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
