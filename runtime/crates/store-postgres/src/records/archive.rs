//! Snapshots: the whole store as of one commit, while others are made; and the way back into an empty store.
//!
//! The stream is written and read on a thread that may block; the database is read and written meanwhile.

use std::io::{Read, Write};
use std::sync::Arc;

use deadpool_postgres::Object;
use portcullis_store::for_backends::records::{ArchiveWriter, read_archive};
use portcullis_store::{SnapshotReport, StoreError, Versioned};
use tokio::sync::mpsc;
use tokio_postgres::error::SqlState;

use crate::error::{damaged, unavailable};
use crate::head::{HEAD_COLUMNS, Head, number};

use super::Shared;
use super::reading::Record;

/// Records that are read or written with one statement.
const PAGE_RECORDS: usize = 200;

/// Pages on their way between the database and the stream.
const PAGES_AHEAD: usize = 2;

type Page = Vec<(String, Versioned)>;

fn ended() -> StoreError {
    StoreError::Unavailable("the thread of the snapshot ended early".to_owned())
}

pub(super) async fn snapshot(
    shared: Arc<Shared>,
    mut to: Box<dyn Write + Send>,
) -> Result<SnapshotReport, StoreError> {
    let client = shared.pool.client().await?;
    let head = begin_reading(&shared, &client).await?;
    let (pages, mut written) = mpsc::channel::<Page>(PAGES_AHEAD);
    let (done, is_whole) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::task::spawn_blocking(move || {
        let mut archive = ArchiveWriter::begin(&mut *to, head.seq)?;
        while let Some(page) = written.blocking_recv() {
            for (key, found) in page {
                archive.record(&key, found.revision, &found.value)?;
            }
        }
        // Why asked: a stream with its end is one that can be restored.
        is_whole.blocking_recv().map_err(|_| ended())?;
        archive.finish()
    });
    let read = read_all(&shared, &client, &head, &pages).await;
    // Its transaction ends with it.
    drop(Object::take(client));
    drop(pages);
    match read {
        Ok(()) => {
            let _ = done.send(());
            writing.await.map_err(|_| ended())?
        }
        Err(error) => {
            drop(done);
            // The stream's own failure, if it is what ended the reading.
            match writing.await {
                Ok(Err(StoreError::Unavailable(reason))) if matches!(error, StoreError::Unavailable(_)) => {
                    Err(StoreError::Unavailable(reason))
                }
                _ => Err(error),
            }
        }
    }
}

/// Begins to read the state of one moment; no limit of time holds, because somebody slow may take what is read.
pub(super) async fn begin_reading(shared: &Shared, client: &Object) -> Result<Head, StoreError> {
    let seen = shared.history.seen();
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '60s';
                 SET LOCAL idle_in_transaction_session_timeout = 0";
    client.batch_execute(begin).await.map_err(|error| unavailable(&error))?;
    let row = client.query_opt(&format!("SELECT {HEAD_COLUMNS} FROM store_head h"), &[]).await;
    let row = row.map_err(|error| unavailable(&error))?;
    let head = Head::read(&row.ok_or_else(|| damaged("the head of the records is gone"))?, &shared.sealer)?;
    shared.history.see(head.seq, seen)?;
    Ok(head)
}

/// Reads all records in order, and refuses a store whose records are not those that its head says.
async fn read_all(
    shared: &Shared,
    client: &Object,
    head: &Head,
    pages: &mpsc::Sender<Page>,
) -> Result<(), StoreError> {
    let mut found = Head::default();
    let mut after = String::new();
    loop {
        let records = page_after(client, &after).await?;
        let records = records.iter().map(|row| Record::read(row, &shared.sealer));
        let mut page = Page::new();
        for record in records {
            let record = record?;
            found.add(&shared.sealer, &record.seal);
            page.push((record.key, record.found));
        }
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        pages.send(page).await.map_err(|_| ended())?;
    }
    if found.has_records_of(head) {
        Ok(())
    } else {
        Err(damaged("records are missing, were added, or are older ones than were written"))
    }
}

/// The next rows of records after a key.
pub(super) async fn page_after(client: &Object, after: &str) -> Result<Vec<tokio_postgres::Row>, StoreError> {
    let limit = i64::try_from(PAGE_RECORDS).unwrap_or(i64::MAX);
    let query = "SELECT key, value, revision, seal FROM records WHERE key > $1 ORDER BY key LIMIT $2";
    let statement = client.prepare_cached(query).await.map_err(|error| unavailable(&error))?;
    client.query(&statement, &[&after, &limit]).await.map_err(|error| unavailable(&error))
}

pub(super) async fn restore(
    shared: Arc<Shared>,
    mut from: Box<dyn Read + Send>,
) -> Result<SnapshotReport, StoreError> {
    let client = shared.pool.writer().await?;
    let result: Result<SnapshotReport, StoreError> = async {
        lock_empty(&shared, &client).await?;
        let (pages, mut read) = mpsc::channel::<Page>(PAGES_AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            let mut page = Page::new();
            let report = read_archive(&mut *from, &mut |key, value| {
                page.push((key, value));
                if page.len() >= PAGE_RECORDS {
                    pages.blocking_send(std::mem::take(&mut page)).map_err(|_| ended())?;
                }
                Ok(())
            })?;
            pages.blocking_send(page).map_err(|_| ended())?;
            Ok::<_, StoreError>(report)
        });
        let mut head = Head::default();
        let mut written = Ok(());
        while let Some(page) = read.recv().await {
            written = write_page(&shared, &client, &mut head, &page).await;
            if written.is_err() {
                break;
            }
        }
        drop(read);
        let report = reading.await.map_err(|_| ended())?;
        written?;
        let report = report?;
        finish(&shared, &client, head, report).await?;
        Ok(report)
    }
    .await;
    if result.is_err() {
        // What was written goes with its transaction.
        drop(Object::take(client));
    }
    shared.noting(result)
}

async fn lock_empty(shared: &Shared, client: &Object) -> Result<(), StoreError> {
    let begin =
        "BEGIN; SET LOCAL statement_timeout = '60s'; SET LOCAL idle_in_transaction_session_timeout = 0";
    client.batch_execute(begin).await.map_err(|error| unavailable(&error))?;
    let query = format!("SELECT {HEAD_COLUMNS} FROM store_head h FOR UPDATE");
    let row = client.query_opt(&query, &[]).await.map_err(|error| unavailable(&error))?;
    let head = Head::read(&row.ok_or_else(|| damaged("the head of the records is gone"))?, &shared.sealer)?;
    if head.seq != 0 || head.floor != 0 { Err(StoreError::NotEmpty) } else { Ok(()) }
}

async fn write_page(
    shared: &Shared,
    client: &Object,
    head: &mut Head,
    page: &Page,
) -> Result<(), StoreError> {
    let (mut keys, mut values) = (Vec::<&str>::new(), Vec::<&[u8]>::new());
    let (mut revisions, mut seals) = (Vec::new(), Vec::new());
    for (key, found) in page {
        let seal = shared.sealer.record(key, found.revision, &found.value);
        head.add(&shared.sealer, &seal);
        keys.push(key);
        values.push(&found.value);
        revisions.push(number(found.revision));
        seals.push(seal.to_vec());
    }
    let insert = "INSERT INTO records (key, value, revision, seal)
                  SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bytea[])";
    match client.execute(insert, &[&keys, &values, &revisions, &seals]).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            Err(StoreError::BadSnapshot("a key occurs twice"))
        }
        Err(error) => Err(unavailable(&error)),
    }
}

async fn finish(
    shared: &Shared,
    client: &Object,
    read: Head,
    report: SnapshotReport,
) -> Result<(), StoreError> {
    let stored = read.at(report.seq).store(&shared.sealer)?;
    let advance =
        "UPDATE store_head SET seq = $1, floor = $2, records = $3, digest = $4, nonce = $5, seal = $6";
    client
        .execute(
            advance,
            &[&stored.seq, &stored.floor, &stored.records, &stored.digest, &stored.nonce, &stored.seal],
        )
        .await
        .map_err(|error| unavailable(&error))?;
    client.batch_execute("COMMIT").await.map_err(|error| unavailable(&error))
}
