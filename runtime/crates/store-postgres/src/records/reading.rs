//! Reads records and checks the seal of each.

use deadpool_postgres::Object;
use portcullis_store::{LIST_ENTRIES_MAX, StoreError, StoreStats, Versioned};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row};

use crate::error::{OpenPostgresError, damaged, is_disconnected, unavailable};
use crate::head::{HEAD_COLUMNS, Head, column};
use crate::seal::{Seal, Sealer, is_same};

use super::Shared;

/// Tries of a read whose connection breaks: one for each connection that a restarted server left behind would be too
/// many, and the pool drops those that it knows to be closed.
const READ_TRIES: usize = 3;

/// A record that was read and is what was written.
pub(super) struct Record {
    pub(super) key: String,
    pub(super) found: Versioned,
    pub(super) seal: Seal,
}

impl Record {
    /// Reads key, value, revision and seal.
    pub(super) fn read(row: &Row, sealer: &Sealer) -> Result<Self, StoreError> {
        let key: String = column(row, 0)?;
        let value: &[u8] = column(row, 1)?;
        let revision: i64 = column(row, 2)?;
        let seal: &[u8] = column(row, 3)?;
        let wrong = || damaged(format!("record {key} is not what was written"));
        let revision = u64::try_from(revision).map_err(|_| wrong())?;
        let computed = sealer.record(&key, revision, value);
        if !is_same(&computed, seal) {
            return Err(wrong());
        }
        let found = Versioned { value: value.to_vec(), revision };
        Ok(Self { key, found, seal: computed })
    }
}

/// Makes the head of an empty store, or looks whether the one there is of this key.
pub(super) async fn begin(client: &Client, sealer: &Sealer) -> Result<(), OpenPostgresError> {
    let query = format!("SELECT {HEAD_COLUMNS} FROM store_head h");
    if let Some(row) = client.query_opt(&query, &[]).await? {
        Head::read(&row, sealer)?;
        return Ok(());
    }
    let there = "SELECT EXISTS (SELECT FROM records) OR EXISTS (SELECT FROM change_log)";
    if client.query_one(there, &[]).await?.try_get(0)? {
        return Err(damaged("the head of the records is gone").into());
    }
    let new = Head::default().store(sealer)?;
    let insert = "INSERT INTO store_head (seq, floor, records, digest, nonce, seal)
                  VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    client.execute(insert, &[&new.seq, &new.floor, &new.records, &new.digest, &new.nonce, &new.seal]).await?;
    // Another node may have been first, with another key.
    Head::read(&client.query_one(&query, &[]).await?, sealer)?;
    Ok(())
}

/// The rows of a query; asked again on another connection if one turns out to be broken.
pub(super) async fn rows(
    shared: &Shared,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, StoreError> {
    shared.history.intact()?;
    let mut tries = 0;
    loop {
        tries += 1;
        let client = shared.pool.client().await?;
        match rows_on(&client, query, parameters).await {
            Ok(rows) => return Ok(rows),
            Err(error) if is_disconnected(&error) && tries < READ_TRIES => drop(Object::take(client)),
            Err(error) => return Err(unavailable(&error)),
        }
    }
}

async fn rows_on(
    client: &Object,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    let statement = client.prepare_cached(query).await?;
    client.query(&statement, parameters).await
}

pub(super) async fn get(shared: &Shared, key: &str) -> Result<Option<Versioned>, StoreError> {
    let query = "SELECT key, value, revision, seal FROM records WHERE key = $1";
    let rows = rows(shared, query, &[&key]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let found = Record::read(row, &shared.sealer)?.found;
    shared.history.note_seen(found.revision);
    Ok(Some(found))
}

pub(super) async fn list(
    shared: &Shared,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Versioned)>, StoreError> {
    if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Vec::new());
    }
    // Behind all keys with the prefix: they have no control characters.
    let end = format!("{prefix}\u{7f}");
    // No key has a NUL, and the database takes none: what is before it orders the same.
    let after = after.map_or("", |after| after.split('\0').next().unwrap_or_default());
    let limit = i64::try_from(limit.min(LIST_ENTRIES_MAX)).unwrap_or(0);
    let query = "SELECT key, value, revision, seal FROM records
                 WHERE key >= $1 AND key < $2 AND key > $3 ORDER BY key LIMIT $4";
    let rows = rows(shared, query, &[&prefix, &end, &after, &limit]).await?;
    let record = |row| {
        let Record { key, found, .. } = Record::read(row, &shared.sealer)?;
        shared.history.note_seen(found.revision);
        Ok((key, found))
    };
    rows.iter().map(record).collect()
}

pub(super) async fn stats(shared: &Shared) -> Result<StoreStats, StoreError> {
    let query = format!(
        "SELECT {HEAD_COLUMNS}, pg_total_relation_size('records') + pg_total_relation_size('change_log')
         FROM store_head h"
    );
    let seen = shared.history.seen();
    let rows = rows(shared, &query, &[]).await?;
    let row = rows.first().ok_or_else(|| damaged("the head of the records is gone"))?;
    let head = Head::read(row, &shared.sealer)?;
    shared.history.see(head.seq, seen)?;
    let disk_bytes = u64::try_from(column::<i64>(row, 6)?).unwrap_or(0);
    Ok(StoreStats { engine: "postgres", seq: head.seq, records: head.records, disk_bytes })
}
