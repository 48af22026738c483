//! A database of a test's own, migrated.

use portcullis_core::id::NodeId;
use portcullis_store_conformance::cluster::Cluster;

use crate::{PostgresLedger, PostgresOptions, PostgresPool, PostgresRuns, migrate};

/// The role that nodes have where a test tells owner and server apart.
pub(crate) const SERVER: &str = "portcullis_server";

pub(crate) struct Database<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: String,
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

impl<'a> Database<'a> {
    pub(crate) async fn new(cluster: &'a Cluster) -> Self {
        let url = cluster.database();
        let name = url.trim_start_matches("postgres:///").split('?').next().unwrap().to_owned();
        cluster.sql(
            "postgres",
            &format!(
                "DO $$ BEGIN CREATE ROLE {SERVER} LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; \
                 END $$"
            ),
        );
        migrate(&PostgresOptions::new(url), Some(SERVER)).await.unwrap();
        let database = Self { cluster, name };
        // Tests drop what they just wrote. The owner alone can allow that; see `ledger/tests/least_age.rs`.
        database.least_days(0);
        database
    }

    pub(crate) async fn pool_as(&self, role: &str) -> PostgresPool {
        PostgresPool::open(&PostgresOptions::new(self.cluster.url(&self.name, role))).await.unwrap()
    }

    pub(crate) async fn pool(&self) -> PostgresPool {
        self.pool_as(SERVER).await
    }

    pub(crate) async fn ledger(&self, name: &str, segment_bytes: u64) -> PostgresLedger {
        self.sealed_ledger(name, segment_bytes, None).await
    }

    pub(crate) async fn sealed_ledger(
        &self,
        name: &str,
        segment_bytes: u64,
        key: Option<&[u8; 32]>,
    ) -> PostgresLedger {
        let pool = self.pool().await;
        PostgresLedger::open_with_segments(pool, node(name), key, segment_bytes).await.unwrap()
    }

    pub(crate) async fn runs(&self, name: &str) -> PostgresRuns {
        PostgresRuns::open(self.pool().await, node(name), None).await.unwrap()
    }

    /// Sets, as the owner of the schema, how long records of ledgers are kept at least.
    pub(crate) fn least_days(&self, days: u32) {
        self.sql(&format!("UPDATE ledger_retention SET least_days = {days}"));
    }

    /// What an administrator does.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.cluster.sql(&self.name, &format!("SET search_path = portcullis; {sql}"))
    }

    /// What the server answers to somebody who has the serving role; the message if it refuses.
    pub(crate) async fn as_server(&self, sql: &str) -> Result<(), String> {
        let client = self.pool().await.client().await.unwrap();
        client.batch_execute(sql).await.map_err(|error| crate::error::describe(&error))
    }
}

/// Runs a future to its end inside another.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}
