//! Reads or deletes every document of a kind in bounded batches.
//!
//! A deletion that is interrupted leaves some documents behind: calling it again completes it, and code that creates
//! something under the same name calls it first.

use super::{Document, Key, Listed, Records, Writes};
use crate::error::StoreError;

/// Documents read or deleted at a time; below the store's limits for lists and batches.
const PAGE: usize = 100;

impl Records {
    /// Every document below `prefix` that `wanted` accepts, in key order. The text is the key after the prefix.
    ///
    /// # Errors
    /// As for [`Records::list`].
    pub async fn filter<T: Document>(
        &self,
        prefix: &[&str],
        wanted: impl Fn(&str, &T) -> bool,
    ) -> Result<Vec<Listed<T>>, StoreError> {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.list::<T>(prefix, after.as_deref(), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|(rest, _, _)| rest.clone());
            found.extend(page.into_iter().filter(|(rest, document, _)| wanted(rest, document)));
            if !full {
                return Ok(found);
            }
        }
    }

    /// Deletes the documents of a kind with these keys, each given as its parts; missing ones are no error.
    ///
    /// # Errors
    /// As for [`Records::commit`]; some may be deleted already.
    pub async fn delete_each<T: Document>(&self, keys: &[Vec<String>]) -> Result<(), StoreError> {
        for chunk in keys.chunks(PAGE) {
            let writes = chunk.iter().fold(Writes::new(), |writes, parts| {
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                writes.delete::<T>(&parts)
            });
            self.commit(writes).await?;
        }
        Ok(())
    }

    /// Keys of documents below `prefix` and after `after`, in order, as their parts after the prefix: for those who need
    /// nothing of the documents, and can do with one that cannot be read.
    ///
    /// # Errors
    /// As for [`Records::list`], without those of reading a document.
    pub async fn keys<T: Document>(
        &self,
        prefix: &[&str],
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Vec<Vec<String>>, StoreError> {
        let prefix = Key::prefix::<T>(prefix)?;
        let after = after.map(|rest| format!("{prefix}{}", rest.join("/")));
        let found = self.store.list(&prefix, after.as_deref(), limit).await?;
        let rest =
            |key: &String| key.strip_prefix(&prefix).unwrap_or(key).split('/').map(str::to_owned).collect();
        Ok(found.iter().map(|(key, _)| rest(key)).collect())
    }

    /// Deletes everything of a kind below `prefix`, a page at a time: there may be more than memory has room for.
    ///
    /// # Errors
    /// As for [`Records::keys`] and [`Records::commit`]; some may be deleted already.
    pub async fn delete_below<T: Document>(&self, prefix: &[&str]) -> Result<(), StoreError> {
        let above = |rest: &Vec<String>| {
            prefix.iter().map(|part| (*part).to_owned()).chain(rest.iter().cloned()).collect()
        };
        let mut after: Option<Vec<String>> = None;
        loop {
            let mut page = self.keys::<T>(prefix, after.as_deref(), PAGE).await?;
            let keys: Vec<Vec<String>> = page.iter().map(above).collect();
            self.delete_each::<T>(&keys).await?;
            let Some(last) = page.pop().filter(|_| keys.len() == PAGE) else { return Ok(()) };
            after = Some(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_core::id::{OrgId, WorkspaceId};

    use super::*;
    use crate::{MemoryStore, OrgRecord, WorkspaceRecord};

    #[tokio::test]
    async fn more_than_a_batch_is_found_and_deleted() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let count = PAGE * 3 + 1;
        for n in 0..count {
            let org = OrgId::parse(&format!("org{n}")).unwrap();
            let record = OrgRecord { org, display_name: None, created_at: String::new() };
            records.commit(Writes::new().create(&[record.org.as_str()], &record)).await.unwrap();
        }
        assert_eq!(records.filter::<OrgRecord>(&[], |_, _| true).await.unwrap().len(), count);
        let some = records.filter::<OrgRecord>(&[], |rest, _| rest.ends_with('7')).await.unwrap();
        assert!(some.len() > 20 && some.len() < count);
        let first = records.keys::<OrgRecord>(&[], None, 2).await.unwrap();
        assert_eq!(first, [["org0"], ["org1"]]);
        let next = records.keys::<OrgRecord>(&[], Some(&first[1]), 1).await.unwrap();
        assert_eq!(next, [["org10"]]);
        records.delete_below::<OrgRecord>(&[]).await.unwrap();
        assert!(!records.has_any::<OrgRecord>(&[]).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_deleted_is_what_was_named_and_nothing_beside_it() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        for (org, name) in [("acme", "a"), ("acme", "b"), ("acme2", "a")] {
            let record = WorkspaceRecord {
                org: OrgId::parse(org).unwrap(),
                workspace: WorkspaceId::parse(name).unwrap(),
                display_name: None,
                created_at: String::new(),
            };
            records.commit(Writes::new().create(&[org, name], &record)).await.unwrap();
        }
        let left = async || -> Vec<String> {
            let all = records.filter::<WorkspaceRecord>(&[], |_, _| true).await.unwrap();
            all.into_iter().map(|(rest, _, _)| rest).collect()
        };
        let keys = [vec!["acme".to_owned(), "b".to_owned()], vec!["acme".to_owned(), "absent".to_owned()]];
        records.delete_each::<WorkspaceRecord>(&keys).await.unwrap();
        assert_eq!(left().await, ["acme/a", "acme2/a"]);
        records.delete_below::<WorkspaceRecord>(&["acme"]).await.unwrap();
        assert_eq!(left().await, ["acme2/a"]);
        records.delete_each::<WorkspaceRecord>(&[]).await.unwrap();
        records.delete_below::<WorkspaceRecord>(&["acme"]).await.unwrap();
    }
}
