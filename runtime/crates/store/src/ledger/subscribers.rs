//! The subscribers of an org's ledger in this process. Called by the backends, under the lock that orders the
//! org's records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use portcullis_core::id::OrgId;
use tokio::sync::broadcast;

use super::line::LedgerLine;
use portcullis_core::sync::lock;

/// How many lines a subscriber may fall behind before it misses some.
const SUBSCRIBER_LINES: usize = 1024;

#[derive(Default)]
pub(super) struct Subscribers(Mutex<HashMap<OrgId, broadcast::Sender<Arc<LedgerLine>>>>);

impl Subscribers {
    pub(super) fn subscribe(&self, org: &OrgId) -> broadcast::Receiver<Arc<LedgerLine>> {
        let mut subscribers = lock(&self.0);
        subscribers.retain(|_, sender| sender.receiver_count() > 0);
        subscribers.entry(org.clone()).or_insert_with(|| broadcast::channel(SUBSCRIBER_LINES).0).subscribe()
    }

    /// Sends a line to the org's subscribers; the line is only made if there are any.
    pub(super) fn publish(&self, org: &OrgId, line: impl FnOnce() -> Arc<LedgerLine>) {
        if let Some(sender) = lock(&self.0).get(org) {
            // It is fine if the last one has just gone.
            drop(sender.send(line()));
        }
    }
}
