//! Documents that are larger than one value of an engine: split into parts, which are stored under the
//! hash of the whole.
//!
//! A part never changes and is written in the same commit as the document that refers to it. Parts are
//! not deleted with a document, because another one may refer to the same: a sweep looks for those that nothing refers
//! to any more.

use std::collections::BTreeMap;

use portcullis_core::{hex, offload};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::backend::{Batch, Precondition, Store, Versioned};
use crate::error::StoreError;

/// Largest value that is written undivided, and largest part: below the engines' 64 KiB with room for what
/// they add.
const PART_BYTES: usize = 60 * 1024;

/// The reference stored in place of a large document.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reference {
    /// SHA-256 of the whole, hexadecimal. No document begins with this member's name.
    #[serde(rename = "$blob")]
    blob: String,
    parts: usize,
}

/// The beginning of every reference.
const MARK: &[u8] = b"{\"$blob\":";

/// Adds a document to a batch, in parts if it is large.
pub(super) fn put(batch: Batch, key: String, value: Vec<u8>) -> Batch {
    if value.len() <= PART_BYTES {
        return batch.put(key, value);
    }
    let blob = hex::encode(&Sha256::digest(&value));
    let mut batch = batch;
    let mut parts = 0;
    for part in value.chunks(PART_BYTES) {
        batch = batch.put(part_key(&blob, parts), part.to_vec());
        parts += 1;
    }
    let reference = serde_json::to_vec(&Reference { blob, parts }).unwrap_or_default();
    batch.put(key, reference)
}

fn part_key(blob: &str, part: usize) -> String {
    format!("blob/{blob}/{part:05}")
}

impl Reference {
    /// Reads a reference; `None` for a document that is stored undivided.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        value.starts_with(MARK).then(|| serde_json::from_slice(value).ok()).flatten()
    }

    /// Joins the parts and checks the whole.
    pub(super) async fn join(&self, store: &dyn Store, key: &str) -> Result<Vec<u8>, StoreError> {
        let unreadable = |reason: &str| StoreError::Unreadable {
            key: key.to_owned(),
            kind: "blob",
            reason: reason.to_owned(),
        };
        let mut whole = Vec::new();
        for part in 0..self.parts {
            let found = store.get(&part_key(&self.blob, part)).await?;
            whole.extend_from_slice(&found.ok_or_else(|| unreadable("a part is missing"))?.value);
        }
        offload::over(whole.len()).await;
        if hex::encode(&Sha256::digest(&whole)) == self.blob {
            Ok(whole)
        } else {
            Err(unreadable("its parts do not match their hash"))
        }
    }
}

/// What is wrong with the parts of a document that is stored in parts; nothing for any other.
pub(crate) async fn check(store: &dyn Store, key: &str, value: &[u8]) -> Result<Option<String>, StoreError> {
    let Some(reference) = Reference::read(value) else { return Ok(None) };
    match reference.join(store, key).await {
        Ok(_) => Ok(None),
        Err(StoreError::Unreadable { reason, .. }) => Ok(Some(reason)),
        Err(error) => Err(error),
    }
}

/// Keys that a sweep reads at a time, and parts that it deletes in one commit.
const SWEPT_AT_ONCE: usize = 200;

/// Prefix of all parts.
const ALL_PARTS: &str = "blob/";

/// Deletes the parts that no document refers to; returns how many. Looks at every record, if there are parts at all.
///
/// # Errors
/// Those of the store; some may be deleted then, and calling it again completes it.
pub async fn sweep_blobs(store: &dyn Store) -> Result<u64, StoreError> {
    // By their hash: keys, each with the commit that wrote it.
    let mut parts: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    each_page(store, ALL_PARTS, |key, found| {
        if let Some(hash) = key.strip_prefix(ALL_PARTS).and_then(|rest| rest.split('/').next()) {
            parts.entry(hash.to_owned()).or_default().push((key.to_owned(), found.revision));
        }
    })
    .await?;
    if parts.is_empty() {
        return Ok(0);
    }
    each_page(store, "", |_, found| {
        if let Some(reference) = Reference::read(&found.value) {
            parts.remove(&reference.blob);
        }
    })
    .await?;
    let mut dropped = 0_u64;
    for keys in parts.values().flat_map(|keys| keys.chunks(SWEPT_AT_ONCE / 2)) {
        // Why under this condition: who writes a document writes all its parts, so one that came meanwhile has newer parts.
        let batch = keys.iter().fold(Batch::new(), |batch, (key, revision)| {
            batch.require(key.clone(), Precondition::Revision(*revision)).delete(key.clone())
        });
        match store.commit(batch).await {
            Ok(_) => dropped = dropped.saturating_add(keys.len() as u64),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(dropped)
}

async fn each_page(
    store: &dyn Store,
    prefix: &str,
    mut each: impl FnMut(&str, &Versioned),
) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let page = store.list(prefix, after.as_deref(), SWEPT_AT_ONCE).await?;
        page.iter().for_each(|(key, found)| each(key, found));
        let Some((last, _)) = page.last().filter(|_| page.len() == SWEPT_AT_ONCE) else { return Ok(()) };
        after = Some(last.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[tokio::test]
    async fn a_large_document_comes_back_whole_and_a_small_one_stands_for_itself() {
        let store = MemoryStore::new();
        let large: Vec<u8> = (0..PART_BYTES * 3 + 7).map(|n| b'a' + u8::try_from(n % 26).unwrap()).collect();
        let batch = put(Batch::new(), "t/large".to_owned(), large.clone());
        store.commit(put(batch, "t/small".to_owned(), b"{}".to_vec())).await.unwrap();
        assert_eq!(Reference::read(&store.get("t/small").await.unwrap().unwrap().value), None);
        let reference = Reference::read(&store.get("t/large").await.unwrap().unwrap().value).unwrap();
        assert_eq!(reference.parts, 4);
        assert_eq!(reference.join(&store, "t/large").await.unwrap(), large);
    }

    #[tokio::test]
    async fn a_part_that_is_missing_or_changed_is_noticed() {
        let store = MemoryStore::new();
        let large = vec![b'x'; PART_BYTES + 1];
        store.commit(put(Batch::new(), "t/large".to_owned(), large)).await.unwrap();
        let reference = Reference::read(&store.get("t/large").await.unwrap().unwrap().value).unwrap();
        let last = part_key(&reference.blob, 1);
        store.commit(Batch::new().put(last.clone(), b"y".to_vec())).await.unwrap();
        assert!(reference.join(&store, "t/large").await.is_err());
        store.commit(Batch::new().delete(last)).await.unwrap();
        assert!(reference.join(&store, "t/large").await.is_err());
    }

    #[tokio::test]
    async fn parts_go_when_nothing_refers_to_them_any_more() {
        let store = MemoryStore::new();
        let large = |fill: u8| vec![fill; PART_BYTES * 2 + 1];
        assert_eq!(sweep_blobs(&store).await.unwrap(), 0);
        for (key, fill) in [("t/one", b'1'), ("t/two", b'2'), ("t/same", b'2')] {
            store.commit(put(Batch::new(), key.to_owned(), large(fill))).await.unwrap();
        }
        assert_eq!(sweep_blobs(&store).await.unwrap(), 0, "all are referred to");
        let batch = Batch::new().delete("t/one").put("t/two", b"{}".to_vec());
        store.commit(batch).await.unwrap();
        assert_eq!(sweep_blobs(&store).await.unwrap(), 3, "those of one; another refers to those of two");
        let reference = Reference::read(&store.get("t/same").await.unwrap().unwrap().value).unwrap();
        assert_eq!(reference.join(&store, "t/same").await.unwrap(), large(b'2'));
        store.commit(Batch::new().delete("t/same")).await.unwrap();
        assert_eq!(sweep_blobs(&store).await.unwrap(), 3);
        assert_eq!(store.list(ALL_PARTS, None, 10).await.unwrap().len(), 0);
    }
}
