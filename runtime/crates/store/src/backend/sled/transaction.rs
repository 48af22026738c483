//! One batch as one sled transaction: preconditions, rows, change feed and meta row together.
//!
//! Nothing here syncs; the writer thread does, for a group of batches at once.

use sled::transaction::{ConflictableTransactionError, TransactionError, TransactionalTree};

use crate::backend::{Batch, CHANGES_RETAINED_COMMITS};
use crate::error::StoreError;

use super::layout::{
    CHUNK_BYTES, Head, META, Meta, change_key, chunk_key, encode_changes, live_bytes, record_key,
};
use super::reading::storage;

type InTransaction<T> = Result<T, ConflictableTransactionError<StoreError>>;

/// The result of applying a batch.
pub(super) enum Applied {
    /// The store is at this sequence; it is not on disk yet. With the bytes by which its records grew.
    Done(u64, i64),
    /// Nothing was written; the store is intact.
    Refused(StoreError),
    /// sled failed; its state is unknown.
    Failed(StoreError),
}

/// Applies a batch that [`Batch::check`] accepted.
pub(super) fn apply(db: &sled::Db, batch: &Batch) -> Applied {
    match db.transaction(|tree| apply_in(tree, batch)) {
        Ok((seq, grown)) => Applied::Done(seq, grown),
        Err(TransactionError::Abort(error @ StoreError::Conflict { .. })) => Applied::Refused(error),
        Err(TransactionError::Abort(error)) => Applied::Failed(error),
        Err(TransactionError::Storage(error)) => Applied::Failed(storage(error)),
    }
}

fn apply_in(tree: &TransactionalTree, batch: &Batch) -> InTransaction<(u64, i64)> {
    let mut meta = Meta::decode(tree.get(META)?.as_deref()).map_err(abort)?;
    for (key, precondition) in &batch.preconditions {
        let revision = head(tree, key)?.map(|head| head.revision);
        if !precondition.holds(revision) {
            return Err(abort(StoreError::Conflict { key: key.clone() }));
        }
    }
    if batch.writes_nothing() {
        return Ok((meta.seq, 0));
    }
    meta.seq = meta.seq.saturating_add(1);
    let mut changes = Vec::with_capacity(batch.writes.len());
    for (key, value) in batch.written(meta.seq) {
        let existed = remove(tree, &key, &mut meta)?;
        if let Some(value) = value {
            insert(tree, &key, value, meta.seq, &mut meta)?;
        }
        if existed || value.is_some() {
            changes.push((key, value.is_none()));
        }
    }
    feed(tree, &changes, &mut meta)?;
    tree.insert(META, meta.encode())?;
    Ok((meta.seq, meta.grown))
}

/// Writes a record's rows; the key must have none.
pub(super) fn insert(
    tree: &TransactionalTree,
    key: &str,
    value: &[u8],
    revision: u64,
    meta: &mut Meta,
) -> InTransaction<()> {
    let head = Head::new(key, revision, value);
    tree.insert(record_key(key), head.encode())?;
    for (chunk, index) in value.chunks(CHUNK_BYTES).skip(1).zip(1_u32..) {
        tree.insert(chunk_key(key, revision, index), chunk)?;
    }
    meta.toggle(&head.checksum);
    meta.records = meta.records.saturating_add(1);
    meta.grown = meta.grown.saturating_add_unsigned(live_bytes(key, value.len()));
    Ok(())
}

/// Removes a record's rows; returns whether there were any.
fn remove(tree: &TransactionalTree, key: &str, meta: &mut Meta) -> InTransaction<bool> {
    let Some(old) = head(tree, key)? else {
        return Ok(false);
    };
    tree.remove(record_key(key))?;
    for index in 1..=old.further_chunks() {
        tree.remove(chunk_key(key, old.revision, index))?;
    }
    meta.toggle(&old.checksum);
    meta.records = meta.records.saturating_sub(1);
    meta.grown = meta.grown.saturating_sub_unsigned(live_bytes(key, old.value_bytes));
    Ok(true)
}

/// Adds a commit to the change feed and drops the one that is too old for it.
fn feed(tree: &TransactionalTree, changes: &[(String, bool)], meta: &mut Meta) -> InTransaction<()> {
    for (piece, index) in encode_changes(changes).into_iter().zip(0_u32..) {
        tree.insert(change_key(meta.seq, index), piece)?;
    }
    let floor = meta.seq.saturating_sub(CHANGES_RETAINED_COMMITS);
    if floor > meta.floor {
        meta.floor = floor;
        let mut index = 0_u32;
        while tree.remove(change_key(floor, index))?.is_some() {
            index = index.saturating_add(1);
        }
    }
    Ok(())
}

fn head(tree: &TransactionalTree, key: &str) -> InTransaction<Option<Head>> {
    match tree.get(record_key(key))? {
        None => Ok(None),
        Some(row) => match Head::decode(&row) {
            Some(head) => Ok(Some(head)),
            None => Err(abort(StoreError::damaged(format!("record {key} is damaged")))),
        },
    }
}

fn abort(error: StoreError) -> ConflictableTransactionError<StoreError> {
    ConflictableTransactionError::Abort(error)
}
