//! Whether the database can be used, as far as the last attempts showed; while it cannot, it is tried in the background.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use portcullis_store::StoreError;
use tokio::sync::Notify;

use crate::error::unavailable;
use crate::pause::Pauses;
use crate::records::Shared;

/// What is known of the database.
pub(crate) struct Health {
    well: AtomicBool,
    /// Tells the task in the background that it has something to do.
    wake: Notify,
}

impl Default for Health {
    fn default() -> Self {
        Self { well: AtomicBool::new(true), wake: Notify::new() }
    }
}

impl Health {
    pub(crate) fn is_well(&self) -> bool {
        self.well.load(Ordering::Acquire)
    }

    pub(crate) fn note_well(&self) {
        if !self.well.swap(true, Ordering::AcqRel) {
            tracing::warn!("the database can be used again");
        }
    }

    pub(crate) fn note_failed(&self) {
        if self.well.swap(false, Ordering::AcqRel) {
            tracing::error!("the database cannot be used");
            self.wake.notify_one();
        }
    }

    /// Ends the task in the background, which then finds the store gone.
    pub(crate) fn end(&self) {
        self.wake.notify_one();
    }
}

/// Tries the database until it can be used again, each time that it could not. Ends with the store.
pub(crate) async fn watch(health: Arc<Health>, shared: Weak<Shared>) {
    loop {
        // Why not with the store held: its connections would outlive it.
        health.wake.notified().await;
        let mut pauses = Pauses::default();
        while !health.is_well() {
            let Some(store) = shared.upgrade() else { return };
            if probe(&store).await.is_ok() {
                health.note_well();
            }
            drop(store);
            pauses.wait().await;
        }
        if shared.strong_count() == 0 {
            return;
        }
    }
}

/// Whether the database takes writes.
async fn probe(shared: &Shared) -> Result<(), StoreError> {
    let client = shared.pool.client().await?;
    let question = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'";
    let row = client.query_one(question, &[]).await.map_err(|error| unavailable(&error))?;
    match row.try_get::<_, bool>(0).map_err(|error| unavailable(&error))? {
        false => Ok(()),
        true => Err(StoreError::Unavailable("the database is read-only".to_owned())),
    }
}
