//! What is too old or too many: pending deliveries are given up, oldest first, and kept ones are dropped.

use portcullis_core::id::OrgId;
use portcullis_store::{
    KeptDelivery, LIST_ENTRIES_MAX, PendingDelivery, RefusalsTold, RunsTold, StoreError, WebhookDue, Webhooks,
};

use super::worker::{give_up, is_too_old};
use crate::clock::{DAY_MS, now_ms};
use crate::engine::Engine;
use crate::resources::Resources;

/// Scopes read at a time.
const SCOPES_AT_ONCE: usize = 50;
/// Deliveries read at a time.
const READ_AT_ONCE: usize = 100;
/// Deliveries of one scope that are given up in one sweep; the next one goes on.
const GIVEN_UP_MAX: usize = 5_000;

/// Looks at all endpoints.
pub(super) async fn sweep(engine: &Engine) -> Result<(), StoreError> {
    let resources = &engine.resources;
    let mut after: Option<String> = None;
    loop {
        let page = resources.records.list::<Webhooks>(&[], after.as_deref(), SCOPES_AT_ONCE).await?;
        for (scope, hooks, _) in &page {
            let instances: Vec<&str> = hooks.endpoints.iter().map(|one| one.instance.as_str()).collect();
            bound(resources, scope, &instances).await?;
            for instance in instances {
                expire(resources, scope, instance).await?;
                drop_kept(resources, scope, instance).await?;
            }
        }
        let Some((last, ..)) = page.last().filter(|_| page.len() == SCOPES_AT_ONCE) else { return Ok(()) };
        after = Some(last.clone());
    }
}

/// How many pending deliveries a scope has.
async fn count(resources: &Resources, scope: &str) -> Result<u64, StoreError> {
    let (mut count, mut after) = (0_u64, None::<Vec<String>>);
    loop {
        let page = resources.records.keys::<WebhookDue>(&[scope], after.as_deref(), LIST_ENTRIES_MAX).await?;
        count = count.saturating_add(page.len() as u64);
        if page.len() < LIST_ENTRIES_MAX {
            return Ok(count);
        }
        after = page.last().cloned();
    }
}

/// Gives up the oldest pending deliveries of a scope that has too many.
async fn bound(resources: &Resources, scope: &str, instances: &[&str]) -> Result<(), StoreError> {
    let excess = count(resources, scope).await?.saturating_sub(resources.limits.webhook_pending);
    let mut excess = usize::try_from(excess).unwrap_or(GIVEN_UP_MAX).min(GIVEN_UP_MAX);
    while excess > 0 {
        let mut oldest = Vec::new();
        for instance in instances {
            let page =
                resources.records.list::<PendingDelivery>(&[scope, instance], None, READ_AT_ONCE).await?;
            oldest.extend(page.into_iter().map(|(id, pending, commit)| (id, *instance, pending, commit)));
        }
        // Why by the id: it begins with its time.
        oldest.sort_by(|a, b| a.0.cmp(&b.0));
        oldest.truncate(excess.min(READ_AT_ONCE));
        if oldest.is_empty() {
            return Ok(());
        }
        excess = excess.saturating_sub(oldest.len());
        for (id, instance, pending, commit) in oldest {
            give_up(resources, &[scope, instance, &id], pending, commit, "too_many").await?;
        }
    }
    Ok(())
}

/// Gives up what was pending for too long: of an endpoint that is switched off nothing is tried.
async fn expire(resources: &Resources, scope: &str, instance: &str) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    for _ in 0..GIVEN_UP_MAX / READ_AT_ONCE {
        let page = resources
            .records
            .list::<PendingDelivery>(&[scope, instance], after.as_deref(), READ_AT_ONCE)
            .await?;
        let has_more = page.len() == READ_AT_ONCE;
        let (now, mut was_old) = (now_ms(), false);
        after = page.last().map(|(id, ..)| id.clone());
        for (id, pending, commit) in page {
            if is_too_old(resources, &pending, now) {
                was_old = true;
                give_up(resources, &[scope, instance, &id], pending, commit, "expired").await?;
            }
        }
        if !has_more || !was_old {
            return Ok(());
        }
    }
    Ok(())
}

/// Drops kept deliveries that are too old or too many, oldest first.
async fn drop_kept(resources: &Resources, scope: &str, instance: &str) -> Result<(), StoreError> {
    let limits = &resources.limits;
    let before_ms = now_ms().saturating_sub(limits.webhook_kept_days.saturating_mul(DAY_MS));
    let (mut total, mut after) = (0_u64, None::<Vec<String>>);
    let parts = [scope, instance];
    loop {
        let page = resources.records.keys::<KeptDelivery>(&parts, after.as_deref(), LIST_ENTRIES_MAX).await?;
        total = total.saturating_add(page.len() as u64);
        if page.len() < LIST_ENTRIES_MAX {
            break;
        }
        after = page.last().cloned();
    }
    let mut excess = total.saturating_sub(limits.webhook_kept);
    loop {
        let page = resources.records.list::<KeptDelivery>(&parts, None, READ_AT_ONCE).await?;
        let mut keys = Vec::new();
        for (id, kept, _) in &page {
            if excess == 0 && kept.ended_ms >= before_ms {
                break;
            }
            excess = excess.saturating_sub(1);
            keys.push(vec![scope.to_owned(), instance.to_owned(), id.clone()]);
        }
        resources.delete_each::<KeptDelivery>(&keys).await?;
        if keys.len() < READ_AT_ONCE {
            return Ok(());
        }
    }
}

/// Erases what was for an endpoint that is gone.
pub(super) async fn erase(resources: &Resources, parts: &[&str]) -> Result<(), StoreError> {
    resources.delete_below::<PendingDelivery>(parts).await?;
    resources.delete_below::<WebhookDue>(parts).await?;
    resources.delete_below::<KeptDelivery>(parts).await
}

/// Forgets the webhooks of an org, which is deleted, and what was to be delivered to them.
///
/// # Errors
/// Those of the store.
pub(crate) async fn forget_org(resources: &Resources, org: &OrgId) -> Result<(), StoreError> {
    let parts = [org.as_str()];
    resources
        .commit(portcullis_store::Writes::new().delete::<Webhooks>(&parts).delete::<RunsTold>(&parts))
        .await?;
    resources.delete_below::<RefusalsTold>(&parts).await?;
    erase(resources, &parts).await
}
