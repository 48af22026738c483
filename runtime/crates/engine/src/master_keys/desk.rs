//! What an engine has of the ring: its own name, and whether it has the key that wraps.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// See the module's documentation.
pub(crate) struct KeyDesk {
    /// Another one after each start.
    node: String,
    /// Whether this process has the key that wraps, as far as it looked.
    has_current: AtomicBool,
    changed: Notify,
}

impl KeyDesk {
    /// Of the process with this name in leases.
    pub(crate) fn new(node: String) -> Self {
        Self { node, has_current: AtomicBool::new(true), changed: Notify::new() }
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Whether what other nodes wrap can be opened here.
    pub(crate) fn has_current(&self) -> bool {
        self.has_current.load(Ordering::Relaxed)
    }

    pub(super) fn note_current(&self, is_held: bool) {
        self.has_current.store(is_held, Ordering::Relaxed);
    }

    /// Has the worker look now.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.changed.notified().await;
    }
}
