//! What commits changed: the engine's feed, and the changes of one's own commit without waiting for the feed.
//!
//! It reports which keys were written and not what that means: a follower reads [`crate::Key::parse`] and compares
//! the kind with [`crate::Document::KIND`]. Called by the engine.

use super::{Records, Writes};
use crate::backend::Change;
use crate::error::StoreError;
use crate::host_clock::HostInstant;

impl Records {
    /// As [`Records::commit`], and returns what the commit changed in the form of the feed: for a process that acts on
    /// its own commits at once. Unlike the feed it also contains deletions of missing records.
    ///
    /// # Errors
    /// As for [`Records::commit`].
    pub async fn commit_changes(&self, writes: Writes) -> Result<(u64, Vec<Change>), StoreError> {
        let batch = writes.batch?;
        let mut changes: Vec<Change> = batch
            .writes
            .iter()
            .map(|(key, value)| Change { seq: 0, key: key.clone(), deleted: value.is_none() })
            .collect();
        let seq = self.commit_batch(batch).await?;
        for change in &mut changes {
            change.seq = seq;
        }
        Ok((seq, changes))
    }

    /// Changes of the commits after `since`, oldest first: whole commits, until `limit` is reached, so there may
    /// be a few more. An empty commit returns the sequence to begin from.
    ///
    /// # Errors
    /// [`StoreError::ChangesTruncated`] if the feed does not reach back that far: anything may have changed.
    /// And those of the engine.
    pub async fn changes(&self, since: u64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.store.changes(since, limit).await
    }

    /// The last commit whose changes are known here from the feed; `None` where [`Records::get_shared`] returns the newest
    /// document in any case. Of documents that belong together, one with a later commit may be newer than the others.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.followed.position()
    }

    /// Says what the feed told: these documents are read again. For whoever follows the feed.
    pub fn changed(&self, changes: &[Change]) {
        self.followed.changed(changes);
    }

    /// Says that the feed did not reach back: every document is read again. `position` is the last commit of the store.
    pub fn changed_all(&self, position: u64) {
        self.followed.changed_all(position);
        // Why also: a commit may have been lost, and another one may have its revision.
        self.cache.forget_all();
    }

    /// Says until when documents that were read may be used, unless the feed or a commit of this process names them: as
    /// long as the feed need not have been read again. Without this, nothing is used that may be old.
    pub fn use_until(&self, at: HostInstant) {
        self.followed.use_until(at);
    }

    /// Drops the cached documents of these storage keys, as changes name them. It only frees memory:
    /// a cached document is never returned after it was changed, dropped or not.
    pub fn forget<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) {
        self.cache.forget(keys);
    }

    /// Drops all cached documents.
    pub fn forget_all(&self) {
        self.cache.forget_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_core::id::OrgId;

    use super::*;
    use crate::{Document as _, Key, MemoryStore, OrgRecord, WorkspaceRecord};

    fn org(name: &str) -> OrgRecord {
        OrgRecord { org: OrgId::parse(name).unwrap(), display_name: None, created_at: String::new() }
    }

    #[tokio::test]
    async fn a_commit_tells_what_the_feed_tells() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let start = records.commit(Writes::new()).await.unwrap();
        let large = OrgRecord { display_name: Some("x".repeat(150_000)), ..org("large") };
        let writes = Writes::new().create(&["acme"], &org("acme")).create(&["large"], &large);
        let (first, mut told) = records.commit_changes(writes).await.unwrap();
        let writes = Writes::new()
            .require_present::<OrgRecord>(&["large"])
            .delete::<OrgRecord>(&["acme"])
            .put(&["large"], &org("large"));
        let (second, more) = records.commit_changes(writes).await.unwrap();
        told.extend(more);
        assert!(start < first && first < second);
        assert_eq!(records.changes(start, 100).await.unwrap(), told);
        assert_eq!(records.changes(first, 100).await.unwrap().len(), 2);
        assert_eq!(records.commit_changes(Writes::new()).await.unwrap(), (second, vec![]));
        let refused = records.commit_changes(Writes::new().create(&["large"], &large)).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    }

    #[tokio::test]
    async fn a_change_names_the_document_it_is_about() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let writes = Writes::new().put(&["acme"], &org("acme")).delete::<WorkspaceRecord>(&["acme", "main"]);
        let (_, changes) = records.commit_changes(writes).await.unwrap();
        let meant: Vec<_> = changes.iter().map(|change| (Key::parse(&change.key), change.deleted)).collect();
        assert_eq!(
            meant,
            [
                (Some((OrgRecord::KIND, vec!["acme"])), false),
                (Some((WorkspaceRecord::KIND, vec!["acme", "main"])), true),
            ]
        );
    }
}
