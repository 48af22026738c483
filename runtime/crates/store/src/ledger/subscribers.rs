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

/// Who follows the ledgers.
#[derive(Default)]
pub struct Subscribers(Mutex<HashMap<OrgId, broadcast::Sender<Arc<LedgerLine>>>>);

impl Subscribers {
    /// A new subscriber of an org.
    pub fn subscribe(&self, org: &OrgId) -> broadcast::Receiver<Arc<LedgerLine>> {
        let mut subscribers = lock(&self.0);
        subscribers.retain(|_, sender| sender.receiver_count() > 0);
        subscribers.entry(org.clone()).or_insert_with(|| broadcast::channel(SUBSCRIBER_LINES).0).subscribe()
    }

    /// The orgs that have subscribers.
    #[must_use]
    pub fn orgs(&self) -> Vec<OrgId> {
        let subscribers = lock(&self.0);
        let followed = subscribers.iter().filter(|(_, sender)| sender.receiver_count() > 0);
        followed.map(|(org, _)| org.clone()).collect()
    }

    /// Sends a line to the org's subscribers; the line is only made if there are any.
    pub fn publish(&self, org: &OrgId, line: impl FnOnce() -> Arc<LedgerLine>) {
        if let Some(sender) = lock(&self.0).get(org) {
            // It is fine if the last one has just gone.
            drop(sender.send(line()));
        }
    }
}
