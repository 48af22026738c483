//! Typed records over an engine: JSON documents under `<kind>/<part>/<part>` keys.
//!
//! It adds shape and key rules, no meaning: which documents belong together is decided by whoever
//! builds a [`Writes`]. Called by the runtime and by the vault.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::{Batch, Precondition, Store, Versioned};
use crate::error::StoreError;

use self::cache::Cache;

mod blob;
mod cache;

/// Longest key part in bytes: a SHA-256 in hex with room to spare.
const PART_BYTES_MAX: usize = 80;

/// A JSON document with a place of its own in the store.
pub trait Document: Serialize + DeserializeOwned + Send + Sync {
    /// First part of its keys; lower case, never changed once records exist.
    const KIND: &'static str;
}

/// Makes storage keys.
#[derive(Debug, Clone, Copy)]
pub struct Key;

impl Key {
    /// The key of a document: `<kind>/<part>/<part>`.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`] unless there is at least one part and every part is
    /// `[A-Za-z0-9][A-Za-z0-9._-]*` of at most 80 bytes: no part can then contain a separator.
    pub fn of<T: Document>(parts: &[&str]) -> Result<String, StoreError> {
        if parts.is_empty() {
            return Err(StoreError::InvalidKey { key: T::KIND.to_owned() });
        }
        Self::joined::<T>(parts, "")
    }

    /// The prefix of all documents below these parts: `<kind>/<part>/`. It ends with the separator,
    /// so that `acme` does not match `acme2`.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`] as for [`Key::of`]; no parts at all is fine.
    pub fn prefix<T: Document>(parts: &[&str]) -> Result<String, StoreError> {
        Self::joined::<T>(parts, "/")
    }

    fn joined<T: Document>(parts: &[&str], end: &str) -> Result<String, StoreError> {
        let bytes: usize = parts.iter().map(|part| part.len() + 1).sum();
        let mut key = String::with_capacity(T::KIND.len() + bytes + end.len());
        key.push_str(T::KIND);
        for part in parts {
            if !is_part(part) {
                return Err(StoreError::InvalidKey { key: part.chars().take(80).collect() });
            }
            key.push('/');
            key.push_str(part);
        }
        key.push_str(end);
        Ok(key)
    }
}

fn is_part(part: &str) -> bool {
    part.len() <= PART_BYTES_MAX
        && part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// One entry of a list: the key after the prefix, the document, and the commit that wrote it.
///
/// The first is the last key part when the prefix named all the others, and what `after` takes.
pub type Listed<T> = (String, T, u64);

/// Typed access to a store. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn Store>,
    cache: Arc<Cache>,
}

impl Records {
    /// Records in that store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, cache: Arc::default() }
    }

    /// The engine below, for snapshots, changes and statistics.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// A document and the commit that wrote it.
    ///
    /// # Errors
    /// [`StoreError::InvalidKey`], [`StoreError::Unreadable`], and the engine's own.
    pub async fn get<T: Document>(&self, parts: &[&str]) -> Result<Option<(T, u64)>, StoreError> {
        let key = Key::of::<T>(parts)?;
        match self.store.get(&key).await? {
            None => Ok(None),
            Some(found) => Ok(Some((self.parse(&key, &found).await?, found.revision))),
        }
    }

    /// As [`Records::get`], for what is read over and over: parsed once while it does not change.
    ///
    /// # Errors
    /// As for [`Records::get`].
    pub async fn get_shared<T: Document + 'static>(
        &self,
        parts: &[&str],
    ) -> Result<Option<(Arc<T>, u64)>, StoreError> {
        let key = Key::of::<T>(parts)?;
        // Why before the reading: what is written in between has another version.
        let version = self.store.version(&key);
        if let Some(kept) = version.and_then(|version| self.cache.get(&key, version)) {
            return Ok(kept);
        }
        let found = self.get::<T>(parts).await?.map(|(document, revision)| (Arc::new(document), revision));
        if let Some(version) = version {
            self.cache.keep(key, version, found.clone());
        }
        Ok(found)
    }

    /// A document that [`Records::get_shared`] would give without reading anything.
    #[must_use]
    pub fn kept<T: Document + 'static>(&self, parts: &[&str]) -> Option<Arc<T>> {
        let key = Key::of::<T>(parts).ok()?;
        let (document, _) = self.cache.get(&key, self.store.version(&key)?)??;
        Some(document)
    }

    async fn parse<T: Document>(&self, key: &str, found: &Versioned) -> Result<T, StoreError> {
        match blob::Reference::read(&found.value) {
            None => parse(key, &found.value),
            Some(reference) => parse(key, &reference.join(self.store.as_ref(), key).await?),
        }
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
    /// [`StoreError::InvalidKey`] and the engine's own.
    pub async fn has_any<T: Document>(&self, parts_prefix: &[&str]) -> Result<bool, StoreError> {
        let prefix = Key::prefix::<T>(parts_prefix)?;
        Ok(!self.store.list(&prefix, None, 1).await?.is_empty())
    }

    /// Applies the writes, all or nothing, and returns the commit's sequence once it is durable.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a condition does not hold, whatever error building the writes
    /// met first, and the engine's own.
    pub async fn commit(&self, writes: Writes) -> Result<u64, StoreError> {
        self.store.commit(writes.batch?).await
    }
}

fn parse<T: Document>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|error| StoreError::Unreadable {
        key: key.to_owned(),
        kind: T::KIND,
        // Category and place only: serde's own text quotes the value it did not expect.
        reason: format!("{:?} error at column {}", error.classify(), error.column()),
    })
}

/// A batch of typed writes. An error while building is kept and returned by the commit.
#[must_use = "writes do nothing until they are committed"]
pub struct Writes {
    batch: Result<Batch, StoreError>,
}

impl Default for Writes {
    fn default() -> Self {
        Self::new()
    }
}

impl Writes {
    /// No writes.
    pub fn new() -> Self {
        Self { batch: Ok(Batch::new()) }
    }

    /// Writes a document that must not exist yet.
    pub fn create<T: Document>(self, parts: &[&str], document: &T) -> Self {
        self.write(parts, document, Some(Precondition::Absent))
    }

    /// Writes a document, whether it exists or not.
    pub fn put<T: Document>(self, parts: &[&str], document: &T) -> Self {
        self.write(parts, document, None)
    }

    /// Writes a document over the one that the commit `revision` wrote.
    pub fn replace<T: Document>(self, parts: &[&str], document: &T, revision: u64) -> Self {
        self.write(parts, document, Some(Precondition::Revision(revision)))
    }

    /// Deletes a document; absent is fine.
    pub fn delete<T: Document>(self, parts: &[&str]) -> Self {
        self.step::<T>(parts, |batch, key| Ok(batch.delete(key)))
    }

    /// Adds the condition that a document does not exist.
    pub fn require_absent<T: Document>(self, parts: &[&str]) -> Self {
        self.step::<T>(parts, |batch, key| Ok(batch.require(key, Precondition::Absent)))
    }

    /// Adds the condition that a document exists.
    pub fn require_present<T: Document>(self, parts: &[&str]) -> Self {
        self.step::<T>(parts, |batch, key| Ok(batch.require(key, Precondition::Present)))
    }

    /// Adds the condition that a document is still the one that the commit `revision` wrote.
    pub fn require_revision<T: Document>(self, parts: &[&str], revision: u64) -> Self {
        self.step::<T>(parts, |batch, key| Ok(batch.require(key, Precondition::Revision(revision))))
    }

    fn write<T: Document>(self, parts: &[&str], document: &T, precondition: Option<Precondition>) -> Self {
        self.step::<T>(parts, |batch, key| {
            let value = serde_json::to_vec(document).map_err(|error| StoreError::Unreadable {
                key: key.clone(),
                kind: T::KIND,
                reason: format!("{:?} error", error.classify()),
            })?;
            let batch = match precondition {
                Some(precondition) => batch.require(key.clone(), precondition),
                None => batch,
            };
            Ok(blob::put(batch, key, value))
        })
    }

    fn step<T: Document>(
        self,
        parts: &[&str],
        step: impl FnOnce(Batch, String) -> Result<Batch, StoreError>,
    ) -> Self {
        Self { batch: self.batch.and_then(|batch| step(batch, Key::of::<T>(parts)?)) }
    }
}

#[cfg(test)]
mod tests;
