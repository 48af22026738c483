//! Runs in PostgreSQL: a row for each, linked to the row before of the same workspace and node.
//!
//! All runs of a node that wait are written by one statement. Each row has a hash over its place, the row before and its
//! record, under the integrity key if there is one, so that a row that was changed or moved is refused by name. One that
//! was taken out is missed in the list of its workspace if its neighbours in the chain are on the same page, and by a look
//! at everything in any case, with two exceptions: the rows of a chain that were all taken out together with its head, and
//! its oldest rows if its anchor was moved behind them. Used as `dyn Runs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use portcullis_core::id::{NodeId, OrgId, RunId, WorkspaceId};
use portcullis_store::{
    BoxFuture, OpenError, RunCut, RunPage, RunQuery, RunRecord, Runs, RunsLeft, RunsProgress, RunsReport,
    StoreError,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::writer::{Wanted, Writer};
use crate::error::unavailable;
use crate::ledger::writer_number;
use crate::pool::PostgresPool;
use crate::position::Positions;
use crate::seal::Sealer;

mod continuity;
mod listing;
mod removal;
mod row;
mod verify;
mod writer;

/// Records that may wait to be written before callers wait to be queued: a second of a busy node.
const QUEUE_RECORDS: usize = 4096;

/// How long a call may wait for its record.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a database that did not answer is asked again.
const PROBE: Duration = Duration::from_secs(1);

/// The runs of one database.
pub struct PostgresRuns {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Wanted>,
    probe: JoinHandle<()>,
}

struct Shared {
    pool: PostgresPool,
    node: NodeId,
    sealer: Sealer,
    well: AtomicBool,
}

impl PostgresRuns {
    /// The runs in this database, for the node of this name; `key` seals the rows.
    ///
    /// # Errors
    /// [`OpenError`] if the database cannot be used.
    pub async fn open(pool: PostgresPool, node: NodeId, key: Option<&[u8; 32]>) -> Result<Self, OpenError> {
        let pool = pool.for_history();
        let positions = Positions::new(writer_number(&pool).await?);
        let shared = Arc::new(Shared { pool, node, sealer: Sealer::new(key), well: AtomicBool::new(true) });
        let (queue, wanted) = mpsc::channel(QUEUE_RECORDS);
        tokio::spawn(Writer::new(Arc::clone(&shared), positions).run(wanted));
        let probe = tokio::spawn(probe(Arc::downgrade(&shared)));
        Ok(Self { shared, queue, probe })
    }
}

/// Looks whether a database that failed is back: with no calls let in, no record would ever show it.
async fn probe(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(PROBE).await;
        let Some(shared) = shared.upgrade() else { return };
        if !shared.well.load(Ordering::Relaxed) {
            let answers = match shared.pool.writer().await {
                Ok(client) => client.simple_query("SELECT 1").await.is_ok(),
                Err(_) => false,
            };
            shared.well.store(answers, Ordering::Relaxed);
        }
    }
}

impl Runs for PostgresRuns {
    fn append<'a>(&'a self, record: &'a RunRecord) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let text = record.checked_json()?;
            let (done, written) = oneshot::channel();
            let wanted = Wanted::new(record, text, done);
            let gone = || StoreError::Unavailable("the writer of runs has ended".to_owned());
            let appended = async {
                self.queue.send(wanted).await.map_err(|_| gone())?;
                written.await.map_err(|_| gone())?
            };
            let late = || StoreError::Unavailable("the run was not written in time".to_owned());
            tokio::time::timeout(APPEND_TIMEOUT, appended).await.map_err(|_| late())?
        })
    }

    fn get<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
        run: &'a RunId,
    ) -> BoxFuture<'a, Result<Option<RunRecord>, StoreError>> {
        Box::pin(listing::get(&self.shared, org, workspace, run))
    }

    fn query<'a>(&'a self, query: &'a RunQuery) -> BoxFuture<'a, Result<Option<RunPage>, StoreError>> {
        Box::pin(listing::page(&self.shared, query))
    }

    fn remove<'a>(
        &'a self,
        org: &'a OrgId,
        workspace: &'a WorkspaceId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(removal::remove(&self.shared, org, workspace))
    }

    fn retain<'a>(&'a self, org: &'a OrgId, cut: &'a RunCut) -> BoxFuture<'a, Result<RunsLeft, StoreError>> {
        Box::pin(removal::retain(&self.shared, org, cut))
    }

    fn verify<'a>(&'a self, each: RunsProgress<'a>) -> BoxFuture<'a, Result<RunsReport, StoreError>> {
        Box::pin(verify::verify(&self.shared, verify::PAGE_ROWS, each))
    }

    fn bytes<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, StoreError>> {
        Box::pin(async move {
            let client = self.shared.pool.client().await?;
            removal::measure(&client, org).await
        })
    }

    fn is_well(&self) -> bool {
        self.shared.well.load(Ordering::Relaxed)
    }
}

impl Drop for PostgresRuns {
    fn drop(&mut self) {
        self.probe.abort();
    }
}

/// A column of a row.
fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a tokio_postgres::Row,
    name: &str,
) -> Result<T, StoreError> {
    row.try_get(name).map_err(|error| unavailable(&error))
}

#[cfg(test)]
mod tests;
