//! Follows the changes of other processes that use the same store.
//!
//! The feed of changes is polled; its changes go through the same function as this process's own
//! commits. Those commits are in the feed as well, and have no effect the second time. A store may say that there is
//! something to read; nothing depends on it. How old is what is known is kept in `nodes/freshness.rs`, and every running
//! call ends when that is too old.

use std::sync::{Arc, Weak};
use std::time::Duration;

use portcullis_core::fault::Code;
use portcullis_core::id::OrgId;
use portcullis_store::{AutomationRecord, Change, Document as _, HostInstant, Key, Store, StoreError};
use tokio::time::{MissedTickBehavior, sleep, timeout};

use super::{apply, apply_all};
use crate::nodes::Freshness;
use crate::resources::Resources;
use crate::workers::Lane;

/// How often the feed is read. A change by another process ends calls within this and the time of one read.
const POLL: Duration = Duration::from_millis(250);
/// Pause after a hint that there are changes: what is committed together is read together.
const HINT_PAUSE: Duration = Duration::from_millis(20);
/// Longest read. Why: one that hangs is given up and tried again before the node has to stop calling.
const READ_MAX: Duration = Duration::from_secs(2);
/// Failed reads in a row between two lines of the log: about ten seconds.
const TOLD_EVERY: u32 = 40;

/// Changes read at a time.
const CHANGES_AT_ONCE: usize = 500;

/// Follows the feed from now on, until the engine is dropped.
///
/// # Errors
/// Those of the store: the position of the feed is then unknown.
pub(crate) async fn start(resources: &Arc<Resources>) -> Result<(), StoreError> {
    let began = HostInstant::now();
    let since = resources.records.store().stats().await?.seq;
    resources.records.changed_all(since);
    note_known(resources, began);
    resources.events.bindings.followed(since);
    let following = Box::pin(run(Arc::downgrade(resources), Arc::clone(resources.records.store()), since));
    // Why it can be moved: what changed may be a large definition, by which running calls are judged.
    tokio::spawn(resources.workers.movable(Lane::Control, following));
    tokio::spawn(end_when_lost(Arc::downgrade(resources), Arc::clone(&resources.freshness)));
    Ok(())
}

async fn run(resources: Weak<Resources>, store: Arc<dyn Store>, mut since: u64) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = 0_u32;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = hint(&*store) => {}
        }
        let Some(resources) = resources.upgrade() else { return };
        match read(&resources, since).await {
            Ok(seen) => (since, failed) = (seen, 0),
            Err(error) => {
                // Why not each time: a store that is away for an hour would fill the log.
                if failed.is_multiple_of(TOLD_EVERY) {
                    tracing::error!(%error, since, failed, "the feed of changes cannot be read");
                }
                failed = failed.saturating_add(1);
            }
        }
    }
}

/// Resolves a moment after the store said that there are changes; never if it says nothing.
async fn hint(store: &dyn Store) {
    match store.woken() {
        Some(woken) => woken.await,
        None => std::future::pending().await,
    }
    sleep(HINT_PAUSE).await;
}

/// Ends every call whenever the changes of others are not known any more: which of them are still allowed cannot be
/// judged. Why a task of its own: the read that fails may be one that does not come to its end.
async fn end_when_lost(resources: Weak<Resources>, freshness: Arc<Freshness>) {
    loop {
        freshness.lost().await;
        let Some(own) = resources.upgrade() else { return };
        let running = own.active_calls.select(|_| true);
        let (node, calls, age_ms) = (&own.node, running.len(), freshness.age().as_millis());
        tracing::error!(%node, calls, age_ms, "the changes of other nodes cannot be read: no call is made until they can");
        for number in running {
            own.active_calls.end(number, Code::StoreUnavailable);
        }
        drop(own);
        tokio::select! {
            () = freshness.regained() => {}
            () = gone(&resources) => return,
        }
        tracing::info!("the changes of other nodes are read again: calls are made again");
    }
}

/// Resolves once the engine is gone.
async fn gone(resources: &Weak<Resources>) {
    while resources.strong_count() > 0 {
        sleep(POLL).await;
    }
}

/// Notes that all that was committed before this is known here.
fn note_known(resources: &Resources, at: HostInstant) {
    resources.freshness.known_until(at);
    let most = Duration::from_millis(resources.limits.changes_unread_ms);
    resources.records.use_until(at.plus(most));
}

/// The changes after a commit.
async fn changes(resources: &Resources, since: u64) -> Result<Vec<Change>, StoreError> {
    let reading = resources.records.changes(since, CHANGES_AT_ONCE);
    timeout(READ_MAX, reading).await.unwrap_or_else(|_| Err(too_slow()))
}

fn too_slow() -> StoreError {
    StoreError::Unavailable("the feed of changes did not answer in time".to_owned())
}

/// Applies the changes after a commit; returns the last commit seen.
async fn read(resources: &Resources, mut since: u64) -> Result<u64, StoreError> {
    loop {
        // Why before it is read: what is committed from here on may be missing in what comes.
        let began = HostInstant::now();
        match changes(resources, since).await {
            Ok(changes) => {
                if let Some(last) = changes.last() {
                    since = last.seq;
                    // Why first: calls are judged by what is read from here on.
                    resources.records.changed(&changes);
                    apply(resources, &changes).await;
                    resources.events.bindings.followed(since);
                }
                if changes.len() < CHANGES_AT_ONCE {
                    note_known(resources, began);
                    return Ok(since);
                }
            }
            Err(StoreError::ChangesTruncated { .. }) => {
                // Why the sequence first: what is written while everything is checked again is read after it.
                let stats = timeout(READ_MAX, resources.records.store().stats()).await;
                since = stats.unwrap_or_else(|_| Err(too_slow()))?.seq;
                tracing::warn!(since, "changes of other processes were missed: everything is read again");
                resources.records.changed_all(since);
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
                resources.records.changed(&changes);
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
                resources.records.changed_all(since);
                bindings.forget_all();
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}
