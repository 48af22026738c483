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
    /// Whether the last group of batches was answered. Why apart: reads on other connections succeed while the writer's
    /// own one is dead, and say nothing of it.
    commits_well: AtomicBool,
    /// Tells the task in the background that it has something to do.
    wake: Notify,
}

impl Default for Health {
    fn default() -> Self {
        let [well, commits_well] = [AtomicBool::new(true), AtomicBool::new(true)];
        Self { well, commits_well, wake: Notify::new() }
    }
}

impl Health {
    pub(crate) fn is_well(&self) -> bool {
        self.well.load(Ordering::Acquire) && self.commits_well.load(Ordering::Acquire)
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

    pub(crate) fn note_commits_well(&self) {
        if !self.commits_well.swap(true, Ordering::AcqRel) {
            tracing::warn!("the database takes commits again");
        }
    }

    pub(crate) fn note_commits_failed(&self) {
        if self.commits_well.swap(false, Ordering::AcqRel) {
            tracing::error!("the database takes no commits");
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
                health.note_commits_well();
            }
            drop(store);
            pauses.wait().await;
        }
        if shared.strong_count() == 0 {
            return;
        }
    }
}

/// Whether the database takes writes, on a connection of those that the writer uses.
async fn probe(shared: &Shared) -> Result<(), StoreError> {
    let client = shared.pool.writer().await?;
    let question = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'";
    let row = client.query_one(question, &[]).await.map_err(|error| unavailable(&error))?;
    match row.try_get::<_, bool>(0).map_err(|error| unavailable(&error))? {
        false => Ok(()),
        true => Err(StoreError::Unavailable("the database is read-only".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_succeed_do_not_hide_that_no_commit_is_answered() {
        let health = Health::default();
        assert!(health.is_well());
        health.note_commits_failed();
        health.note_well();
        assert!(!health.is_well());
        health.note_commits_well();
        assert!(health.is_well());
        health.note_failed();
        health.note_commits_well();
        assert!(!health.is_well(), "nor the other way round");
        health.note_well();
        assert!(health.is_well());
    }
}
