//! Follows the changes of other processes that use the same store.
//!
//! The feed of changes is polled; its changes go through the same function as this process's own
//! commits. Those commits are in the feed as well, and have no effect the second time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use portcullis_core::id::OrgId;
use portcullis_store::{AutomationRecord, Document as _, Key, StoreError};
use tokio::time::MissedTickBehavior;

use super::{apply, apply_all};
use crate::resources::Resources;
use crate::workers::Lane;

/// How often the feed is read. A change by another process ends calls within this and the time of one read.
const POLL: Duration = Duration::from_millis(200);

/// Changes read at a time.
const CHANGES_AT_ONCE: usize = 500;

/// Follows the feed from now on, until the engine is dropped.
///
/// # Errors
/// Those of the store: the position of the feed is then unknown.
pub(crate) async fn start(resources: &Arc<Resources>) -> Result<(), StoreError> {
    let since = resources.records.store().stats().await?.seq;
    resources.events.bindings.followed(since);
    let following = Box::pin(run(Arc::downgrade(resources), since));
    // Why it can be moved: what changed may be a large definition, by which running calls are judged.
    tokio::spawn(resources.workers.movable(Lane::Control, following));
    Ok(())
}

async fn run(resources: Weak<Resources>, mut since: u64) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(resources) = resources.upgrade() else { return };
        match read(&resources, since).await {
            Ok(seen) => since = seen,
            Err(error) => tracing::error!(%error, since, "the feed of changes cannot be read"),
        }
    }
}

/// Applies the changes after a commit; returns the last commit seen.
async fn read(resources: &Resources, mut since: u64) -> Result<u64, StoreError> {
    loop {
        match resources.records.changes(since, CHANGES_AT_ONCE).await {
            Ok(changes) => {
                let Some(last) = changes.last() else { return Ok(since) };
                since = last.seq;
                apply(resources, &changes).await;
                resources.events.bindings.followed(since);
            }
            Err(StoreError::ChangesTruncated { .. }) => {
                // Why the sequence first: what is written while everything is checked again is read after it.
                since = resources.records.store().stats().await?.seq;
                tracing::warn!(since, "changes of other processes were missed: everything is read again");
                apply_all(resources).await;
                resources.events.bindings.followed(since);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Tells the index of bindings what other processes wrote until now of an org's automations. Why not left to the feed's
/// own turn: an event that comes in between would be recorded as one that fires nothing.
///
/// # Errors
/// Those of the store.
pub(crate) async fn catch_up_bindings(resources: &Resources, org: &OrgId) -> Result<(), StoreError> {
    if !resources.records.store().is_shared() {
        return Ok(());
    }
    let bindings = &resources.events.bindings;
    let mut since = bindings.followed_until();
    loop {
        match resources.records.changes(since, CHANGES_AT_ONCE).await {
            Ok(changes) => {
                let Some(last) = changes.last() else { return Ok(()) };
                since = last.seq;
                for change in &changes {
                    if let Some((AutomationRecord::KIND, [of, id])) =
                        Key::parse(&change.key).as_ref().map(|(kind, parts)| (*kind, parts.as_slice()))
                        && *of == org.as_str()
                    {
                        bindings.changed(of, id);
                    }
                }
            }
            Err(StoreError::ChangesTruncated { .. }) => {
                bindings.forget_all();
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}
