//! What webhooks need besides the records. One of it in each process; what must hold over processes is in records.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_core::id::OrgId;
use portcullis_core::limits::Limits;
use portcullis_core::sync::lock;
use portcullis_store::{Change, Document as _, EventBroadcast, WebhookTurn};
use tokio::sync::Notify;

use super::refusals::Refusals;

/// Endpoints of one scope that are delivered to at once.
const OF_ONE_SCOPE: usize = 2;
/// Endpoints that failed and are remembered.
const RESTING_MAX: usize = 10_000;
/// The longest rest of an endpoint that fails.
const REST_MAX_MS: u64 = 60_000;

/// See the module's documentation.
pub(crate) struct WebhookDesk {
    /// Names this process in leases.
    pub(super) holder: String,
    /// There may be something to do.
    pub(super) wake: Notify,
    pub(super) refusals: Refusals,
    /// Orgs in which a run ended.
    dirty: Mutex<HashSet<OrgId>>,
    /// Endpoints that are delivered to: scope and instance.
    busy: Mutex<HashSet<(String, String)>>,
    /// Failures in a row of endpoints.
    failing: Mutex<HashMap<String, u32>>,
}

/// An endpoint that this process delivers to; free again when dropped.
pub(super) struct Busy {
    desk: Arc<WebhookDesk>,
    key: (String, String),
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.desk.busy).remove(&self.key);
        self.desk.wake.notify_one();
    }
}

impl WebhookDesk {
    pub(crate) fn new(holder: String) -> Self {
        Self {
            holder,
            wake: Notify::new(),
            refusals: Refusals::default(),
            dirty: Mutex::default(),
            busy: Mutex::default(),
            failing: Mutex::default(),
        }
    }

    /// Wakes the worker if a commit wrote something for it.
    pub(crate) fn changed(&self, changes: &[Change]) {
        let is_for_it = |change: &Change| {
            let kind = change.key.split('/').next().unwrap_or_default();
            !change.deleted && (kind == WebhookTurn::KIND || kind == EventBroadcast::KIND)
        };
        if changes.iter().any(is_for_it) {
            self.wake.notify_one();
        }
    }

    /// A call was refused by a check.
    pub(crate) fn note_refusal(&self, org: &OrgId, connector: &str, code: portcullis_core::fault::Code) {
        if self.refusals.note(org, connector, code) {
            self.wake.notify_one();
        }
    }

    /// A run of this org ended, whose end is in its outbox.
    pub(super) fn note_run(&self, org: &OrgId) {
        lock(&self.dirty).insert(org.clone());
    }

    /// The orgs in which a run ended since it was last asked.
    pub(super) fn take_dirty(&self) -> Vec<OrgId> {
        lock(&self.dirty).drain().collect()
    }

    /// Takes an endpoint, unless it or too many of its scope are taken.
    pub(super) fn take(self: &Arc<Self>, scope: &str, instance: &str) -> Option<Busy> {
        let key = (scope.to_owned(), instance.to_owned());
        let mut busy = lock(&self.busy);
        let own = busy.iter().filter(|(of, _)| of == scope).count();
        if own >= OF_ONE_SCOPE || !busy.insert(key.clone()) {
            return None;
        }
        drop(busy);
        Some(Busy { desk: Arc::clone(self), key })
    }

    /// Notes how a delivery ended; returns how long its endpoint is left alone.
    pub(super) fn rest_after(&self, instance: &str, is_taken: bool, limits: &Limits) -> Duration {
        let mut failing = lock(&self.failing);
        if is_taken {
            failing.remove(instance);
            return Duration::ZERO;
        }
        if failing.len() >= RESTING_MAX {
            failing.clear();
        }
        let times = failing.entry(instance.to_owned()).or_default();
        *times = times.saturating_add(1);
        let factor = 1_u64 << (*times - 1).min(16);
        let base_ms = limits.webhook_retry_base_ms.min(1000);
        Duration::from_millis(base_ms.saturating_mul(factor).min(REST_MAX_MS))
    }
}
