//! Typed records over an engine: JSON documents under `<kind>/<part>/<part>` keys.
//!
//! It adds shape and key rules, no meaning: the code that builds a [`Writes`] decides which documents
//! belong together. Called by the engine and by the vault.

use std::sync::Arc;

use portcullis_core::offload;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Batch, Store, Versioned};
use crate::error::StoreError;

use self::cache::Cache;
use self::followed::Followed;

mod blob;
mod bulk;
mod cache;
mod feed;
mod followed;
mod key;
mod writes;

pub(crate) use blob::check as check_blob;
pub use blob::sweep_blobs;
pub use key::Key;
pub use writes::Writes;

/// A JSON document with its kind of key in the store.
pub trait Document: Serialize + DeserializeOwned + Send + Sync {
    /// First part of its keys; lower case, never changed once records exist.
    const KIND: &'static str;
}

/// One entry of a list: the key after the prefix, the document, and the commit that wrote it.
///
/// The first is the last key part if the prefix contained all the others; it is the value for `after`.
pub type Listed<T> = (String, T, u64);

/// Typed access to a store. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn Store>,
    cache: Arc<Cache>,
    followed: Arc<Followed>,
}

impl Records {
    /// Records in that store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, cache: Arc::default(), followed: Arc::default() }
    }

    /// The engine below, for snapshots, changes and statistics.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// A document and the commit that wrote it.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`], [`StoreError::Unreadable`], and those of the engine.
    pub async fn get<T: Document>(&self, parts: &[&str]) -> Result<Option<(T, u64)>, StoreError> {
        let key = Key::of::<T>(parts)?;
        match self.store.get(&key).await? {
            None => Ok(None),
            Some(found) => Ok(Some((self.parse(&key, &found).await?, found.revision))),
        }
    }

    /// As [`Records::get`], for documents that are read repeatedly: parsed once while they do not change, and read
    /// once if the engine counts versions or the feed is followed ([`Records::use_until`]).
    ///
    /// # Errors
    /// As for [`Records::get`].
    pub async fn get_shared<T: Document + 'static>(
        &self,
        parts: &[&str],
    ) -> Result<Option<(Arc<T>, u64)>, StoreError> {
        let key = Key::of::<T>(parts)?;
        // Why before reading: a write in between changes the version.
        let version = self.version(&key);
        if let Some(kept) = version.and_then(|version| self.cache.get(&key, version)) {
            return Ok(kept);
        }
        let Some(read) = self.store.get(&key).await? else {
            // Why not by the feed: what another process has just made is there.
            if let counted @ Some(_) = self.store.version(&key).and(version) {
                self.cache.keep::<T>(key, counted, None);
            }
            return Ok(None);
        };
        let document = match (self.cache.of_revision(&key, read.revision), version) {
            // The cached document is the same; there is nothing to store.
            (Some(document), None) => return Ok(Some((document, read.revision))),
            (Some(document), Some(_)) => document,
            (None, _) => Arc::new(self.parse(&key, &read).await?),
        };
        let found = Some((document, read.revision));
        self.cache.keep(key, version, found.clone());
        Ok(found)
    }

    /// A document that [`Records::get_shared`] would return without reading; always `None` for an engine
    /// that counts no versions and whose feed is not followed.
    #[must_use]
    pub fn kept<T: Document + 'static>(&self, parts: &[&str]) -> Option<Arc<T>> {
        let key = Key::of::<T>(parts).ok()?;
        let (document, _) = self.cache.get(&key, self.version(&key)?)??;
        Some(document)
    }

    fn version(&self, key: &str) -> Option<u64> {
        self.store.version(key).or_else(|| self.followed.version(key))
    }

    async fn parse<T: Document>(&self, key: &str, found: &Versioned) -> Result<T, StoreError> {
        let joined;
        let whole = match blob::Reference::read(&found.value) {
            None => &found.value,
            Some(reference) => {
                joined = reference.join(self.store.as_ref(), key).await?;
                &joined
            }
        };
        offload::over(whole.len()).await;
        parse(key, whole)
    }

    /// The documents below `parts_prefix` in key order, starting after the key rest `after`, at most
    /// `limit` and never more than [`crate::LIST_ENTRIES_MAX`].
    ///
    /// # Errors
    /// As for [`Records::get`].
    pub async fn list<T: Document>(
        &self,
        parts_prefix: &[&str],
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed<T>>, StoreError> {
        let prefix = Key::prefix::<T>(parts_prefix)?;
        let after = after.map(|after| format!("{prefix}{after}"));
        let found = self.store.list(&prefix, after.as_deref(), limit).await?;
        offload::over(found.iter().map(|(_, found)| found.value.len()).sum()).await;
        let mut documents = Vec::with_capacity(found.len());
        for (key, found) in found {
            let document = self.parse(&key, &found).await?;
            let rest = key.strip_prefix(&prefix).unwrap_or(&key).to_owned();
            documents.push((rest, document, found.revision));
        }
        Ok(documents)
    }

    /// Whether there is any document below `parts_prefix`.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`] and those of the engine.
    pub async fn has_any<T: Document>(&self, parts_prefix: &[&str]) -> Result<bool, StoreError> {
        let prefix = Key::prefix::<T>(parts_prefix)?;
        Ok(!self.store.list(&prefix, None, 1).await?.is_empty())
    }

    /// Applies the writes, all or nothing, and returns the commit's sequence once it is durable.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a condition does not hold, the first error of
    /// building the writes, and those of the engine.
    pub async fn commit(&self, writes: Writes) -> Result<u64, StoreError> {
        self.commit_batch(writes.batch?).await
    }

    async fn commit_batch(&self, batch: Batch) -> Result<u64, StoreError> {
        let _writing = self.store.is_shared().then(|| self.followed.committing(&batch));
        self.store.commit(batch).await
    }
}

fn parse<T: Document>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Unreadable {
        key: key.to_owned(),
        kind: T::KIND,
        // Category and position only: serde's text quotes the value it did not expect.
        reason: format!("{:?} error at column {}", error.classify(), error.column()),
    })
}

#[cfg(test)]
mod tests;
