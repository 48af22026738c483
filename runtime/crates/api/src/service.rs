//! What the server of a process holds besides the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use portcullis_engine::Engine;

/// The API of one engine.
pub struct Api {
    /// The use cases.
    pub engine: Arc<Engine>,
    requests: AtomicU64,
    draining: AtomicBool,
}

impl Api {
    /// The API of this engine.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine, requests: AtomicU64::new(0), draining: AtomicBool::new(false) })
    }

    /// Number of requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the process was asked to stop: `/readyz` fails, and every answer closes its connection.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Gives callers notice to use another process.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}
