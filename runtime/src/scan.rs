//! Going through every record of a kind, and deleting them, in bounded batches.
//!
//! A deletion that is cut off leaves some records behind; whoever deletes calls it again, and
//! whoever creates under the same name calls it first.

use portcullis_store::{Document, Listed, Records, StoreError, Writes};

/// Records read or deleted at a time; below the store's own limits for lists and batches.
const PAGE: usize = 100;

/// Everything below `prefix` that `wanted` accepts, in key order. The text is the key's rest.
///
/// # Errors
/// The store's own.
pub async fn filter<T: Document>(
    records: &Records,
    prefix: &[&str],
    wanted: impl Fn(&str, &T) -> bool,
) -> Result<Vec<Listed<T>>, StoreError> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = records.list::<T>(prefix, after.as_deref(), PAGE).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|(rest, _, _)| rest.clone());
        found.extend(page.into_iter().filter(|(rest, document, _)| wanted(rest, document)));
        if !full {
            return Ok(found);
        }
    }
}

/// Deletes the records of a kind with these keys, each given as its parts.
///
/// # Errors
/// The store's own; some may be gone already.
pub async fn delete<T: Document>(records: &Records, keys: &[Vec<String>]) -> Result<(), StoreError> {
    for chunk in keys.chunks(PAGE) {
        let writes = chunk.iter().fold(Writes::new(), |writes, parts| {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            writes.delete::<T>(&parts)
        });
        records.commit(writes).await?;
    }
    Ok(())
}

/// Deletes everything below `prefix`.
///
/// # Errors
/// The store's own; some may be gone already.
pub async fn delete_below<T: Document>(records: &Records, prefix: &[&str]) -> Result<(), StoreError> {
    let found = filter::<T>(records, prefix, |_, _| true).await?;
    let keys: Vec<Vec<String>> = found
        .iter()
        .map(|(rest, _, _)| {
            prefix.iter().map(|p| (*p).to_owned()).chain(rest.split('/').map(str::to_owned)).collect()
        })
        .collect();
    delete::<T>(records, &keys).await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_core::id::OrgId;
    use portcullis_store::{MemoryStore, OrgRecord};

    use super::*;

    #[tokio::test]
    async fn more_than_a_batch_is_found_and_deleted() {
        let records = Records::new(Arc::new(MemoryStore::new()));
        let count = PAGE * 3 + 1;
        for n in 0..count {
            let org = OrgId::parse(&format!("org{n}")).unwrap();
            let record = OrgRecord { org, display_name: None, created_at: String::new() };
            records.commit(Writes::new().create(&[record.org.as_str()], &record)).await.unwrap();
        }
        assert_eq!(filter::<OrgRecord>(&records, &[], |_, _| true).await.unwrap().len(), count);
        let some = filter::<OrgRecord>(&records, &[], |rest, _| rest.ends_with('7')).await.unwrap();
        assert!(some.len() > 20 && some.len() < count);
        delete_below::<OrgRecord>(&records, &[]).await.unwrap();
        assert!(!records.has_any::<OrgRecord>(&[]).await.unwrap());
    }
}
