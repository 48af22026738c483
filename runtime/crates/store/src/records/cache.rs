//! Documents that were read before, parsed once: what a call needs is the same for thousands of calls.
//!
//! A document is given again without reading only while its key's version is the one that was read before
//! it, so a commit that was acknowledged is seen by every later read. An engine without versions is read
//! each time, because the feed tells of another process's commit only after it was acknowledged; what is
//! read is then not parsed again while its revision is the same.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::Document;
use crate::lock;

/// Documents kept; a few hundred bytes each. When there are more all are forgotten, which is rare enough
/// to need no order of use.
const DOCUMENTS_MAX: usize = 65_536;

type Shared = Arc<dyn Any + Send + Sync>;

struct Kept {
    /// `None` when the engine counts none.
    version: Option<u64>,
    /// The document and its revision, or that there was none.
    found: Option<(Shared, u64)>,
}

#[derive(Default)]
pub(super) struct Cache(RwLock<HashMap<String, Kept>>);

impl Cache {
    /// What is kept under a key for this version; `None` when nothing is.
    pub(super) fn get<T: Document + 'static>(
        &self,
        key: &str,
        version: u64,
    ) -> Option<Option<(Arc<T>, u64)>> {
        let kept = lock::read(&self.0);
        let kept = kept.get(key).filter(|kept| kept.version == Some(version))?;
        match &kept.found {
            None => Some(None),
            Some((document, revision)) => Some(Some((Arc::clone(document).downcast::<T>().ok()?, *revision))),
        }
    }

    /// The document that a commit wrote, if it is kept. No two commits share a revision.
    pub(super) fn of_revision<T: Document + 'static>(&self, key: &str, revision: u64) -> Option<Arc<T>> {
        let kept = lock::read(&self.0);
        let (document, kept_revision) = kept.get(key)?.found.as_ref()?;
        (*kept_revision == revision).then(|| Arc::clone(document).downcast::<T>().ok()).flatten()
    }

    pub(super) fn keep<T: Document + 'static>(
        &self,
        key: String,
        version: Option<u64>,
        found: Option<(Arc<T>, u64)>,
    ) {
        let found = found.map(|(document, revision)| (document as Shared, revision));
        let mut kept = lock::write(&self.0);
        if kept.len() >= DOCUMENTS_MAX {
            kept.clear();
        }
        kept.insert(key, Kept { version, found });
    }

    pub(super) fn forget<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) {
        let mut kept = lock::write(&self.0);
        for key in keys {
            kept.remove(key.as_ref());
        }
    }

    pub(super) fn forget_all(&self) {
        lock::write(&self.0).clear();
    }
}
