//! Which events a workspace has seen. An event is fired by one delivery at a time, and its record says what came of it.
//!
//! A delivery that finds another one at work waits for it. One that finds that the process of another one is gone takes
//! the event up where that left it: what has a run is not called again. Records are kept for 24 hours, and the oldest
//! go first when a workspace has too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_core::fault::Code;
use portcullis_core::hex;
use portcullis_core::id::{OrgId, WorkspaceId};
use portcullis_core::sync::lock;
use portcullis_store::{
    EventLease, EventOrder, EventRecord, FiredAutomation, StoreError, WorkspaceRecord, Writes,
};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::{self, now_ms};
use crate::error::Error;
use crate::resources::Resources;
use crate::tenants::Tenant;

/// How long an event is remembered, milliseconds: 24 hours, as callers are told.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;
/// How often a delivery looks whether another process has ended its own.
const LOOK: Duration = Duration::from_millis(100);
/// Records that are forgotten at a time; below the store's limit of a batch.
const PRUNED_AT_ONCE: usize = 50;
/// Records counted at a time: the store's longest list.
const COUNTED_AT_ONCE: usize = 1000;

/// The events of this process.
#[derive(Debug)]
pub(super) struct Seen {
    /// This process, in leases.
    holder: String,
    /// What is being fired here; a receiver ends with the delivery.
    running: Arc<Mutex<HashMap<String, watch::Receiver<()>>>>,
    /// How many records workspaces have, as far as that was counted.
    counts: Mutex<HashMap<String, usize>>,
}

impl Seen {
    pub(super) fn new(holder: String) -> Self {
        Self { holder, running: Arc::default(), counts: Mutex::default() }
    }
}

/// The place of the one delivery of an event that is at work in this process; left when dropped.
#[derive(Debug)]
struct Place {
    running: Arc<Mutex<HashMap<String, watch::Receiver<()>>>>,
    key: String,
    _ends: watch::Sender<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.key);
    }
}

/// What is known of an event that comes.
pub(super) enum Known {
    /// It is to be fired by this delivery.
    Open(Claim),
    /// It was fired.
    Done(EventRecord),
}

/// The right to fire an event.
pub(super) struct Claim {
    _place: Place,
    org: OrgId,
    workspace: WorkspaceId,
    /// The commit that made the workspace: one that is made later knows nothing of this event.
    workspace_commit: u64,
    hash: String,
    event_id: String,
    came_ms: u64,
    created_at: String,
    /// What the store has, and the commit that wrote it.
    before: Option<(EventRecord, u64)>,
    resumed: bool,
}

fn is_old(order: &str) -> bool {
    // Why an unreadable time is old: nobody wrote it.
    EventOrder::parse(order).is_none_or(|(ms, _)| ms.saturating_add(REMEMBERED_MS) < now_ms())
}

/// Finds out what is to be done with an event, after waiting for a delivery that is at work.
///
/// # Errors
/// `idempotency_in_flight`, `store_unavailable`.
pub(super) async fn open(resources: &Resources, tenant: &Tenant, event_id: &str) -> Result<Known, Error> {
    let seen = &resources.events.seen;
    let hash = hex::encode(digest(&SHA256, event_id.as_bytes()).as_ref());
    let parts = [tenant.org.as_str(), tenant.workspace.as_str(), &hash];
    let deadline = Instant::now() + Duration::from_millis(resources.limits.event_wait_ms);
    loop {
        let place = seen.enter(&parts.join("/"), deadline).await.ok_or_else(|| in_flight(resources))?;
        let before = resources.records.get::<EventRecord>(&parts).await?;
        let current = before.as_ref().map(|(record, _)| record).filter(|record| !is_old(&record.order));
        let resumed = match current {
            None => false,
            Some(record) => match &record.lease {
                None => return Ok(Known::Done(record.clone())),
                Some(lease) if seen.is_held(lease, resources) => {
                    drop(place);
                    if Instant::now() >= deadline {
                        return Err(in_flight(resources));
                    }
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                Some(_) => true,
            },
        };
        return Ok(Known::Open(Claim {
            _place: place,
            org: tenant.org.clone(),
            workspace: tenant.workspace.clone(),
            workspace_commit: tenant.commit,
            event_id: event_id.to_owned(),
            came_ms: now_ms(),
            created_at: clock::now(),
            hash,
            before,
            resumed,
        }));
    }
}

fn in_flight(resources: &Resources) -> Error {
    let ms = resources.limits.event_wait_ms;
    let detail = format!(
        "this event is being fired by an earlier request, which did not end within {ms} ms \
         (limits.event_wait_ms); send it again later"
    );
    Error::new(Code::IdempotencyInFlight, detail).at("/event_id")
}

impl Seen {
    /// The place of an event's delivery, once nobody else has it; `None` if that does not come in time.
    async fn enter(&self, key: &str, deadline: Instant) -> Option<Place> {
        loop {
            let mut other = {
                let mut running = lock(&self.running);
                match running.get(key) {
                    Some(other) => other.clone(),
                    None => {
                        let (ends, ended) = watch::channel(());
                        running.insert(key.to_owned(), ended);
                        let running = Arc::clone(&self.running);
                        return Some(Place { running, key: key.to_owned(), _ends: ends });
                    }
                }
            };
            // Why the error: the sender is dropped with the place, and nothing is ever sent.
            tokio::time::timeout_at(deadline, other.changed()).await.ok()?.err()?;
        }
    }

    /// Whether another process may be at work under this lease.
    fn is_held(&self, lease: &EventLease, resources: &Resources) -> bool {
        // Why not one's own: whoever has the place of an event is the only one here.
        lease.holder != self.holder
            && resources.records.store().is_shared()
            && !clock::has_passed(&lease.until)
    }

    pub(super) fn forget(&self, org: &OrgId, workspace: &WorkspaceId) {
        lock(&self.counts).remove(&name(org, workspace));
    }
}

fn name(org: &OrgId, workspace: &WorkspaceId) -> String {
    format!("{org}/{workspace}")
}

impl Claim {
    /// What an earlier delivery was about to fire when it was cut off.
    pub(super) fn resumed(&self) -> Option<&[FiredAutomation]> {
        self.before.as_ref().filter(|_| self.resumed).map(|(record, _)| record.fired.as_slice())
    }

    /// Records what is about to be fired.
    ///
    /// # Errors
    /// `idempotency_in_flight` if another process was faster, `store_unavailable`.
    pub(super) async fn begin(
        &mut self,
        resources: &Resources,
        fired: Vec<FiredAutomation>,
    ) -> Result<(), Error> {
        let lease = self.lease(resources);
        match self.write(resources, Some(lease), fired).await {
            Err(StoreError::Conflict { .. }) => Err(in_flight(resources)),
            other => Ok(other?),
        }
    }

    fn lease(&self, resources: &Resources) -> EventLease {
        let lasts = Duration::from_millis(resources.limits.job_lease_ms);
        EventLease { holder: resources.events.seen.holder.clone(), until: clock::after(lasts) }
    }

    /// Waits for the calls of an event that was begun, and tells other processes meanwhile that it is at work.
    pub(super) async fn while_held<T>(
        &mut self,
        resources: &Resources,
        fired: &[FiredAutomation],
        calls: impl Future<Output = T>,
    ) -> T {
        // Why: of a store that one process has alone, nobody waits for a lease.
        if !resources.records.store().is_shared() {
            return calls.await;
        }
        let period = Duration::from_millis((resources.limits.job_lease_ms / 3).max(1));
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut calls = std::pin::pin!(calls);
        loop {
            tokio::select! {
                biased;
                ended = &mut calls => return ended,
                _ = ticks.tick() => {}
            }
            let renewing = self.write(resources, Some(self.lease(resources)), fired.to_vec());
            let mut renewing = std::pin::pin!(renewing);
            // Why together: the calls go on while the store answers, and the answer is not given up.
            let (ended, renewed) = tokio::select! {
                biased;
                renewed = &mut renewing => (None, renewed),
                ended = &mut calls => (Some(ended), renewing.as_mut().await),
            };
            if let Err(error) = &renewed {
                tracing::error!(%error, "the lease of an event cannot be renewed");
            }
            match (ended, renewed) {
                (Some(ended), _) => return ended,
                // Why its calls go on: some were made, and what the other process does is decided by what was sent.
                (None, Err(StoreError::Conflict { .. })) => return calls.await,
                (None, _) => {}
            }
        }
    }

    /// When the event came first, RFC 3339.
    pub(super) fn came_at(&self) -> &str {
        let before = self.before.as_ref().filter(|_| self.resumed);
        before.map_or(&self.created_at, |(record, _)| &record.created_at)
    }

    /// Records what came of it. What is not over is taken up by the next delivery, in whichever process. The answer is
    /// given in any case, because the calls were made.
    pub(super) async fn end(mut self, resources: &Resources, fired: Vec<FiredAutomation>, is_over: bool) {
        // Why a lease that has ended: nobody is at work.
        let open =
            EventLease { holder: resources.events.seen.holder.clone(), until: clock::after(Duration::ZERO) };
        match self.write(resources, (!is_over).then_some(open), fired).await {
            Ok(()) => {}
            // Its workspace was deleted, or it was forgotten because there were too many.
            Err(StoreError::Conflict { .. }) => return,
            Err(error) => {
                tracing::error!(%error, "what came of an event could not be kept");
                return;
            }
        }
        if let Err(error) = prune(resources, &self.org, &self.workspace).await {
            tracing::error!(%error, "old events could not be forgotten");
        }
    }

    async fn write(
        &mut self,
        resources: &Resources,
        lease: Option<EventLease>,
        fired: Vec<FiredAutomation>,
    ) -> Result<(), StoreError> {
        let old = self.before.as_ref().map(|(record, _)| record);
        let current = old.filter(|record| !is_old(&record.order));
        let record = EventRecord {
            event_id: self.event_id.clone(),
            created_at: current.map_or_else(|| self.created_at.clone(), |record| record.created_at.clone()),
            order: current
                .map_or_else(|| EventOrder::part(self.came_ms, &self.hash), |record| record.order.clone()),
            lease,
            fired,
        };
        let (org, workspace) = (self.org.as_str(), self.workspace.as_str());
        let parts = [org, workspace, &self.hash];
        let mut writes =
            Writes::new().require_revision::<WorkspaceRecord>(&[org, workspace], self.workspace_commit);
        writes = match &self.before {
            Some((old, commit)) => {
                let writes = writes.replace(&parts, &record, *commit);
                if old.order == record.order {
                    writes
                } else {
                    writes.delete::<EventOrder>(&[org, workspace, &old.order])
                }
            }
            None => writes.create(&parts, &record),
        };
        if current.is_none() {
            writes = writes.put(&[org, workspace, &record.order], &EventOrder {});
        }
        let commit = resources.commit(writes).await?;
        let replaced = self.before.replace((record, commit));
        if replaced.is_none()
            && let Some(count) =
                lock(&resources.events.seen.counts).get_mut(&name(&self.org, &self.workspace))
        {
            *count = count.saturating_add(1);
        }
        Ok(())
    }
}

/// Forgets some events of a workspace that are too old, or too many. Returns whether there may be more of them.
///
/// # Errors
/// Those of the store.
pub(super) async fn prune(
    resources: &Resources,
    org: &OrgId,
    workspace: &WorkspaceId,
) -> Result<bool, StoreError> {
    let parts = [org.as_str(), workspace.as_str()];
    let oldest = resources.records.list::<EventOrder>(&parts, None, PRUNED_AT_ONCE).await?;
    let most = usize::try_from(resources.limits.event_ids).unwrap_or(usize::MAX);
    if oldest.is_empty() {
        return Ok(false);
    }
    let mut excess = count(resources, org, workspace).await?.saturating_sub(most);
    if excess > 0 {
        // Why again: other processes forget events, too, and none may be forgotten that still fits.
        resources.events.seen.forget(org, workspace);
        excess = count(resources, org, workspace).await?.saturating_sub(most);
    }
    let old = oldest.iter().enumerate().filter(|(at, (order, _, _))| *at < excess || is_old(order));
    let old: Vec<&str> = old.map(|(_, (order, _, _))| order.as_str()).collect();
    if old.is_empty() {
        return Ok(false);
    }
    let mut writes = Writes::new();
    for order in &old {
        writes = writes.delete::<EventOrder>(&[org.as_str(), workspace.as_str(), order]);
        if let Some((_, hash)) = EventOrder::parse(order) {
            writes = writes.delete::<EventRecord>(&[org.as_str(), workspace.as_str(), hash]);
        }
    }
    resources.commit(writes).await?;
    if let Some(count) = lock(&resources.events.seen.counts).get_mut(&name(org, workspace)) {
        *count = count.saturating_sub(old.len());
    }
    Ok(old.len() == PRUNED_AT_ONCE)
}

/// How many events a workspace has. Counted once, and then kept up: what other processes add and forget is not noticed,
/// so it is counted again before any is forgotten for it, and with several processes a workspace may have a few times
/// as many until their records are too old.
async fn count(resources: &Resources, org: &OrgId, workspace: &WorkspaceId) -> Result<usize, StoreError> {
    let known = lock(&resources.events.seen.counts).get(&name(org, workspace)).copied();
    if let Some(known) = known {
        return Ok(known);
    }
    let (mut counted, mut after) = (0_usize, None::<String>);
    loop {
        let parts = [org.as_str(), workspace.as_str()];
        let page = resources.records.list::<EventOrder>(&parts, after.as_deref(), COUNTED_AT_ONCE).await?;
        counted = counted.saturating_add(page.len());
        let Some((last, _, _)) = page.last().filter(|_| page.len() == COUNTED_AT_ONCE) else { break };
        after = Some(last.clone());
    }
    lock(&resources.events.seen.counts).insert(name(org, workspace), counted);
    Ok(counted)
}
