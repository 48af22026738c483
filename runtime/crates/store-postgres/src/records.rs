//! The records in PostgreSQL: the engine that several nodes share.
//!
//! Commits of all nodes are one after the other, in the order of their sequences, and become visible in that order:
//! each holds the lock of the head until it has ended. So a reader who goes on after the last sequence that it saw
//! misses none, and nothing has to be read twice. Each node puts the batches that wait into one transaction, so that
//! the one lock does not limit how many there can be. Called through `dyn Store`.

use std::io::{Read, Write};
use std::sync::Arc;

use portcullis_store::for_backends::records::check_key;
use portcullis_store::{Batch, BoxFuture, Change, SnapshotReport, Store, StoreError, StoreStats, Versioned};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use crate::error::OpenPostgresError;
use crate::health::Health;
use crate::pool::{PostgresOptions, PostgresPool};
use crate::seal::Sealer;
use crate::wrapped_keys::ROWS_KEY;

use self::history::History;
use self::writer::Waiting;

mod archive;
mod feed;
mod group;
mod hints;
mod history;
mod judge;
mod reading;
mod verify;
mod writer;

pub use verify::RecordsReport;

/// Batches waiting for the writer; further ones wait in their own tasks.
const QUEUED_MAX: usize = 1024;

/// The records of one database.
pub struct PostgresStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Waiting>,
    hints: watch::Receiver<u64>,
    /// For who follows the feed.
    woken: Mutex<watch::Receiver<u64>>,
}

/// What all tasks of a store use.
pub(crate) struct Shared {
    pub(crate) pool: PostgresPool,
    pub(crate) sealer: Sealer,
    pub(crate) health: Arc<Health>,
    pub(crate) history: History,
}

impl PostgresStore {
    /// Opens the records of a database that was migrated.
    ///
    /// `integrity_key` is for the seals over all rows: the same on every node, and never in the database. Without one
    /// they find damage only. A database that was begun with one does not open without it.
    ///
    /// # Errors
    /// [`OpenPostgresError`], with what has to be done.
    pub async fn open(
        options: &PostgresOptions,
        integrity_key: Option<&[u8; 32]>,
    ) -> Result<Self, OpenPostgresError> {
        let pool = PostgresPool::open(options).await?;
        Self::over(pool, options, integrity_key).await
    }

    /// The same, over connections that are there.
    pub(crate) async fn over(
        pool: PostgresPool,
        options: &PostgresOptions,
        integrity_key: Option<&[u8; 32]>,
    ) -> Result<Self, OpenPostgresError> {
        let sealer = Sealer::new(integrity_key);
        reading::begin(&*pool.first().await?, &sealer).await?;
        let health = Arc::new(Health::default());
        let shared =
            Arc::new(Shared { pool, sealer, health: Arc::clone(&health), history: History::default() });
        let (queue, waiting) = mpsc::channel(QUEUED_MAX);
        let (hint, hints) = watch::channel(0);
        tokio::spawn(writer::run(Arc::clone(&shared), waiting, hint.clone(), options.notify));
        tokio::spawn(crate::health::watch(health, Arc::downgrade(&shared)));
        if options.notify {
            tokio::spawn(hints::listen(options.clone(), hint));
        }
        let woken = Mutex::new(hints.clone());
        Ok(Self { shared, queue, hints, woken })
    }

    /// A value that changes soon after any node committed. A hint only: it may not come.
    #[must_use]
    pub fn hints(&self) -> watch::Receiver<u64> {
        self.hints.clone()
    }

    /// Reads everything and compares it with the head and the log of changes. Reads the whole store.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; what is damaged is in the report.
    pub async fn verify(&self) -> Result<RecordsReport, StoreError> {
        self.shared.noting(verify::verify(&self.shared).await)
    }

    async fn ask(&self, batch: Batch) -> Result<u64, StoreError> {
        let stopped = || StoreError::Unavailable("the writer of the store has stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        self.queue.send(Waiting { batch, reply }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        // Why not now alone: the writer may have the last batches still. It looks again after each wake.
        self.shared.health.end();
    }
}

impl Shared {
    /// The same for the writer, of which reads say nothing.
    fn noting_commits<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Err(StoreError::Unavailable(_)) => self.health.note_commits_failed(),
            _ => self.health.note_commits_well(),
        }
        self.noting(result)
    }

    /// Notes whether the storage could be used.
    pub(crate) fn noting<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Err(StoreError::Unavailable(_)) => self.health.note_failed(),
            _ => self.health.note_well(),
        }
        result
    }
}

impl Store for PostgresStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        Box::pin(async move {
            check_key(key)?;
            self.shared.noting(reading::get(&self.shared, key).await)
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(String, Versioned)>, StoreError>> {
        Box::pin(async move { self.shared.noting(reading::list(&self.shared, prefix, after, limit).await) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            batch.check()?;
            self.ask(batch).await
        })
    }

    fn changes(&self, since: u64, limit: usize) -> BoxFuture<'_, Result<Vec<Change>, StoreError>> {
        Box::pin(async move { self.shared.noting(feed::changes(&self.shared, since, limit).await) })
    }

    fn snapshot(&self, to: Box<dyn Write + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(archive::snapshot(Arc::clone(&self.shared), to))
    }

    fn restore(&self, from: Box<dyn Read + Send>) -> BoxFuture<'_, Result<SnapshotReport, StoreError>> {
        Box::pin(archive::restore(Arc::clone(&self.shared), from))
    }

    fn woken(&self) -> Option<BoxFuture<'_, ()>> {
        Some(Box::pin(async {
            if self.woken.lock().await.changed().await.is_err() {
                // Nothing gives hints any more.
                std::future::pending::<()>().await;
            }
        }))
    }

    fn own_key(&self) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        Box::pin(async {
            let key = self.shared.pool.wrapped_key(ROWS_KEY).await;
            self.shared.noting(key.map_err(|error| StoreError::Unavailable(error.to_string())))
        })
    }

    fn exchange_own_key<'a>(
        &'a self,
        before: &'a str,
        after: &'a str,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let done = self.shared.pool.rewrap_key(ROWS_KEY, before, after).await;
            self.shared.noting(done.map_err(|error| StoreError::Unavailable(error.to_string())))
        })
    }

    fn stats(&self) -> BoxFuture<'_, Result<StoreStats, StoreError>> {
        Box::pin(async move { self.shared.noting(reading::stats(&self.shared).await) })
    }

    fn is_well(&self) -> bool {
        self.shared.health.is_well()
    }

    fn is_shared(&self) -> bool {
        true
    }
}
