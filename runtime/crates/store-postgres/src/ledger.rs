//! The outbound ledger in PostgreSQL: for each org, a chain of records for each node that writes.
//!
//! Nodes do not wait for each other, because each extends its own chains. All calls of a node that wait are written by
//! one statement and one commit, which is on the server's disk before any of them goes on. The serving role cannot change
//! or delete records: it appends, and drops whole old segments, by functions of the schema alone. Used as `dyn Ledger`.
//!
//! A record that was changed, moved, put back or taken out is found by its chain and the chain's head. Who rewrites a whole
//! chain together with its head is found if the nodes have an integrity key, of which head and anchor have a seal; who
//! puts all of an org's rows back to an earlier moment, by any node that wrote since and still runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis_core::id::{NodeId, OrgId};
use portcullis_core::ledger::LedgerEvent;
use portcullis_core::sync::lock;
use portcullis_store::for_backends::ledger::{SEGMENT_BYTES, Subscribers, serialise};
use portcullis_store::{
    BadRecord, BoxFuture, Ledger, LedgerCut, LedgerError, LedgerLeft, LedgerLine, LedgerPage, LedgerQuery,
    LedgerSink, OpenError, PruneReport, StoreError, VerifyReport,
};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use self::writer::{Wanted, Writer};
use crate::error::{describe, unavailable};
use crate::pool::PostgresPool;
use crate::position::Positions;
use crate::seal::Sealer;

mod chain;
mod importing;
mod reading;
mod retention;
mod tail;
mod verify;
mod walking;
mod writer;

/// Records that may wait to be written before callers wait to be queued: a second of a busy node.
const QUEUE_RECORDS: usize = 4096;

/// How long a call may wait for its record. The database's own timeouts are shorter; this is for a queue that stands.
const APPEND_TIMEOUT: Duration = Duration::from_secs(10);

/// The ledgers of one database.
pub struct PostgresLedger {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Wanted>,
    tail: JoinHandle<()>,
}

struct Shared {
    pool: PostgresPool,
    node: NodeId,
    sealer: Sealer,
    subscribers: Subscribers,
    /// When each followed org was subscribed to, and what other nodes' records were passed on since.
    followed: Mutex<HashMap<OrgId, tail::Followed>>,
    /// Orgs whose chains were found to be damaged.
    damaged: Mutex<HashMap<OrgId, BadRecord>>,
    well: AtomicBool,
}

impl PostgresLedger {
    /// The ledgers in this database, for the node of this name. Each node has a name of its own; two processes under one
    /// name write one chain after the other, which is slower and nothing worse. `key` seals heads and anchors.
    ///
    /// # Errors
    /// [`OpenError`] if the database cannot be used.
    pub async fn open(pool: PostgresPool, node: NodeId, key: Option<&[u8; 32]>) -> Result<Self, OpenError> {
        Self::open_with_segments(pool, node, key, SEGMENT_BYTES).await
    }

    /// The same with segments of another length.
    ///
    /// # Errors
    /// As for [`Self::open`].
    #[doc(hidden)]
    pub async fn open_with_segments(
        pool: PostgresPool,
        node: NodeId,
        key: Option<&[u8; 32]>,
        segment_bytes: u64,
    ) -> Result<Self, OpenError> {
        let pool = pool.for_history();
        let positions = Positions::new(writer_number(&pool).await?);
        keep_partitions(&pool).await;
        let shared = Arc::new(Shared {
            pool,
            node,
            sealer: Sealer::new(key),
            subscribers: Subscribers::default(),
            followed: Mutex::default(),
            damaged: Mutex::default(),
            well: AtomicBool::new(true),
        });
        let (queue, wanted) = mpsc::channel(QUEUE_RECORDS);
        let segment_bytes = i64::try_from(segment_bytes).unwrap_or(i64::MAX);
        // It ends when the queue is closed, with what was queued before written.
        tokio::spawn(Writer::new(Arc::clone(&shared), positions, segment_bytes).run(wanted));
        let tail = tokio::spawn(tail::run(Arc::downgrade(&shared)));
        Ok(Self { shared, queue, tail })
    }
}

/// A number that no other process has.
pub(crate) async fn writer_number(pool: &PostgresPool) -> Result<i64, StoreError> {
    let client = pool.client().await?;
    let row =
        client.query_one("SELECT nextval('writers')", &[]).await.map_err(|error| unavailable(&error))?;
    row.try_get(0).map_err(|error| unavailable(&error))
}

/// Makes the partitions of the next months, and drops old ones that are empty, where nobody has to wait for it.
async fn keep_partitions(pool: &PostgresPool) {
    let kept = async {
        let client = pool.client().await?;
        client.execute("SELECT ledger_partitions()", &[]).await.map_err(|error| unavailable(&error))
    };
    if let Err(error) = kept.await {
        // Why no error: records of a month without a partition have their place, too, and it is tried again.
        tracing::warn!(%error, "partitions of the ledgers were not kept up; it is tried again within an hour");
    }
}

/// An error of the driver.
fn failed(error: &tokio_postgres::Error) -> LedgerError {
    LedgerError::Unavailable(describe(error))
}

/// An error of the pool.
fn no_client(error: &StoreError) -> LedgerError {
    match error {
        StoreError::Unavailable(reason) => LedgerError::Unavailable(reason.clone()),
        other => LedgerError::Unavailable(other.to_string()),
    }
}

/// A stored number, which is never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A number as it is stored.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Shared {
    /// A connection for reading, and for what retention does.
    async fn client(&self) -> Result<deadpool_postgres::Object, LedgerError> {
        self.pool.client().await.map_err(|error| no_client(&error))
    }

    /// A connection for the writer, and for looking whether it could write.
    async fn writer(&self) -> Result<deadpool_postgres::Object, LedgerError> {
        self.pool.writer().await.map_err(|error| no_client(&error))
    }

    /// Notes damage that a reader met.
    fn noting<T>(&self, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if let Err(LedgerError::Damaged { org, bad }) = &result {
            self.note(org, Some(bad));
        }
        result
    }

    fn note(&self, org: &OrgId, bad: Option<&BadRecord>) {
        let mut damaged = lock(&self.damaged);
        match bad {
            Some(bad) => {
                if damaged.insert(org.clone(), bad.clone()).is_none() {
                    tracing::error!(%org, %bad, "the org's ledger is damaged; nothing is appended to it");
                }
            }
            None => {
                damaged.remove(org);
            }
        }
    }

    fn damage(&self, org: &OrgId) -> Option<LedgerError> {
        let bad = lock(&self.damaged).get(org).cloned()?;
        Some(LedgerError::Damaged { org: org.clone(), bad })
    }
}

impl Ledger for PostgresLedger {
    fn append<'a>(&'a self, event: &'a LedgerEvent) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(async move {
            let text = serialise(event)?;
            if let Some(damage) = self.shared.damage(&event.org) {
                return Err(damage);
            }
            let (done, written) = oneshot::channel();
            let wanted = Wanted { event: event.clone(), text, done };
            let gone = || LedgerError::Unavailable("the ledger's writer has ended".to_owned());
            let appended = async {
                self.queue.send(wanted).await.map_err(|_| gone())?;
                written.await.map_err(|_| gone())?
            };
            let late = || LedgerError::Unavailable("the record was not written in time".to_owned());
            tokio::time::timeout(APPEND_TIMEOUT, appended).await.map_err(|_| late())?
        })
    }

    fn read<'a>(
        &'a self,
        org: &'a OrgId,
        query: &'a LedgerQuery,
    ) -> BoxFuture<'a, Result<LedgerPage, LedgerError>> {
        Box::pin(async move { self.shared.noting(reading::read(&self.shared, org, query).await) })
    }

    fn subscribe(&self, org: &OrgId) -> broadcast::Receiver<Arc<LedgerLine>> {
        self.shared.follow(org);
        self.shared.subscribers.subscribe(org)
    }

    fn export<'a>(
        &'a self,
        org: &'a OrgId,
        query: &'a LedgerQuery,
        sink: LedgerSink,
    ) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(async move { self.shared.noting(reading::export(&self.shared, org, query, sink).await) })
    }

    fn verify<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<VerifyReport, LedgerError>> {
        Box::pin(async move {
            let report = verify::verify(&self.shared, org).await?;
            self.shared.note(org, report.bad.as_ref());
            Ok(report)
        })
    }

    fn prune<'a>(
        &'a self,
        org: &'a OrgId,
        keep_segments: usize,
    ) -> BoxFuture<'a, Result<PruneReport, LedgerError>> {
        Box::pin(retention::prune(&self.shared, org, keep_segments))
    }

    fn orgs<'a>(&'a self) -> BoxFuture<'a, Result<BTreeSet<OrgId>, LedgerError>> {
        Box::pin(async move {
            let client = self.shared.client().await?;
            let sql = "SELECT DISTINCT org FROM ledger_heads";
            let rows = client.query(sql, &[]).await.map_err(|error| failed(&error))?;
            Ok(rows.iter().filter_map(|row| OrgId::parse(row.try_get(0).ok()?).ok()).collect())
        })
    }

    fn retain<'a>(
        &'a self,
        org: &'a OrgId,
        cut: &'a LedgerCut,
    ) -> BoxFuture<'a, Result<LedgerLeft, LedgerError>> {
        Box::pin(retention::retain(&self.shared, org, cut))
    }

    fn bytes<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<u64, LedgerError>> {
        Box::pin(retention::bytes(&self.shared, org))
    }

    fn import<'a>(&'a self, org: &'a OrgId, lines: Vec<String>) -> BoxFuture<'a, Result<(), LedgerError>> {
        Box::pin(async move { importing::import(&self.shared, org, &lines).await })
    }

    fn is_well(&self) -> bool {
        self.shared.well.load(Ordering::Relaxed)
    }

    fn is_damaged(&self) -> bool {
        !lock(&self.shared.damaged).is_empty()
    }
}

impl Drop for PostgresLedger {
    fn drop(&mut self) {
        self.tail.abort();
    }
}

#[cfg(test)]
mod tests;
