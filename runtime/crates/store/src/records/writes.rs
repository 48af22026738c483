//! A batch of typed writes, as [`super::Records`] commits it.

use super::{Document, Key, blob};
use crate::backend::{Batch, Precondition};
use crate::error::StoreError;

/// A batch of typed writes. An error while building is kept and returned by the commit.
#[must_use = "writes do nothing until they are committed"]
pub struct Writes {
    pub(super) batch: Result<Batch, StoreError>,
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

    /// Deletes a document; a missing one is no error.
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

    /// A copy, so that the same can be committed again under other conditions; `None` of writes that could not be built.
    #[must_use]
    pub fn copy(&self) -> Option<Self> {
        let batch = self.batch.as_ref().ok()?;
        Some(Self { batch: Ok(batch.clone()) })
    }

    /// What is written so far: storage keys, and the bytes that each gets; `None` for a deletion. A document that is
    /// stored in parts shows its reference, which names its hash.
    pub fn written(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let writes = self.batch.iter().flat_map(|batch| &batch.writes);
        writes.map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// The conditions on a storage key so far.
    pub fn conditions<'a>(&'a self, key: &'a str) -> impl Iterator<Item = Precondition> + 'a {
        let conditions = self.batch.iter().flat_map(|batch| &batch.preconditions);
        conditions.filter(move |(own, _)| own == key).map(|(_, condition)| *condition)
    }

    /// Adds a condition on a storage key.
    pub fn require(self, key: &str, condition: Precondition) -> Self {
        Self { batch: self.batch.map(|batch| batch.require(key, condition)) }
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
