//! Documents that were read before, parsed once: thousands of calls need the same ones.
//!
//! A document is returned without reading only while its key's version is the one from before it was
//! read, so every later read sees an acknowledged commit. An engine without versions is read
//! each time, unless its feed is followed (`followed.rs`); what is read is then not parsed again while its
//! revision is the same.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::Document;
use portcullis_core::sync;

/// Documents kept; a few hundred bytes each. If there are more, all are dropped, which is rare enough
/// that no order of use is needed.
const DOCUMENTS_MAX: usize = 65_536;

type Shared = Arc<dyn Any + Send + Sync>;

struct Kept {
    /// `None` if the engine counts no versions.
    version: Option<u64>,
    /// The document and its revision, or that there was none.
    found: Option<(Shared, u64)>,
}

#[derive(Default)]
pub(super) struct Cache(RwLock<HashMap<String, Kept>>);

impl Cache {
    /// The cached document of a key for this version.
    pub(super) fn get<T: Document + 'static>(
        &self,
        key: &str,
        version: u64,
    ) -> Option<Option<(Arc<T>, u64)>> {
        let kept = sync::read(&self.0);
        let kept = kept.get(key).filter(|kept| kept.version == Some(version))?;
        match &kept.found {
            None => Some(None),
            Some((document, revision)) => Some(Some((Arc::clone(document).downcast::<T>().ok()?, *revision))),
        }
    }

    /// The document that a commit wrote, if it is cached. No two commits share a revision.
    pub(super) fn of_revision<T: Document + 'static>(&self, key: &str, revision: u64) -> Option<Arc<T>> {
        let kept = sync::read(&self.0);
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
        let mut kept = sync::write(&self.0);
        if kept.len() >= DOCUMENTS_MAX {
            kept.clear();
        }
        kept.insert(key, Kept { version, found });
    }

    pub(super) fn forget<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) {
        let mut kept = sync::write(&self.0);
        for key in keys {
            kept.remove(key.as_ref());
        }
    }

    pub(super) fn forget_all(&self) {
        sync::write(&self.0).clear();
    }
}
