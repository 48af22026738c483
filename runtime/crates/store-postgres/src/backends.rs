//! The backends of a node, opened together over one pool of connections.

use std::sync::Arc;

use portcullis_store::{Jobs, Outbox, RecordJobs, RecordOutbox, Store};

use crate::error::OpenPostgresError;
use crate::pool::{PostgresOptions, PostgresPool};
use crate::records::PostgresStore;

/// What a node keeps in PostgreSQL.
#[derive(Clone)]
pub struct PostgresBackends {
    /// The records, also for what only they can do.
    pub records: Arc<PostgresStore>,
    /// Over the records, as everywhere.
    pub jobs: Arc<dyn Jobs>,
    pub outbox: Arc<dyn Outbox>,
    /// The connections that the others share.
    pub pool: PostgresPool,
}

impl PostgresBackends {
    /// Opens a database that was migrated; see [`PostgresStore::open`] for the key.
    ///
    /// # Errors
    /// [`OpenPostgresError`], with what has to be done.
    pub async fn open(
        options: &PostgresOptions,
        integrity_key: Option<&[u8; 32]>,
    ) -> Result<Self, OpenPostgresError> {
        Self::over(PostgresPool::open(options).await?, options, integrity_key).await
    }

    /// The same, over connections that are there.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub async fn over(
        pool: PostgresPool,
        options: &PostgresOptions,
        integrity_key: Option<&[u8; 32]>,
    ) -> Result<Self, OpenPostgresError> {
        let records = Arc::new(PostgresStore::over(pool.clone(), options, integrity_key).await?);
        let store: Arc<dyn Store> = Arc::clone(&records) as Arc<dyn Store>;
        Ok(Self {
            jobs: Arc::new(RecordJobs::new(Arc::clone(&store))),
            outbox: Arc::new(RecordOutbox::new(store)),
            records,
            pool,
        })
    }
}
