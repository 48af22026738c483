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
