//! Databases and stores of the tests.

use std::sync::Arc;

use portcullis_store::{Batch, Store};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_postgres::{PostgresOptions, PostgresStore, migrate};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

/// The integrity key of the tests.
pub(crate) const KEY: [u8; 32] = [42; 32];

pub(crate) fn options(url: &str) -> PostgresOptions {
    PostgresOptions { connections_max: 8, ..PostgresOptions::new(url) }
}

/// A store on a database that is migrated.
pub(crate) async fn open(url: &str) -> PostgresStore {
    PostgresStore::open(&options(url), Some(&KEY)).await.unwrap()
}

/// The address of a new database with the schema.
pub(crate) async fn migrated(cluster: &Cluster) -> String {
    let url = cluster.database();
    migrate(&options(&url), None).await.unwrap();
    url
}

/// A store on a new database.
pub(crate) async fn fresh(cluster: &Cluster) -> PostgresStore {
    open(&migrated(cluster).await).await
}

/// The same for suites, whose stores are made without waiting.
pub(crate) fn fresh_now(cluster: &Cluster) -> Arc<PostgresStore> {
    Arc::new(block_in_place(|| Handle::current().block_on(fresh(cluster))))
}

/// The database in an address.
pub(crate) fn name(url: &str) -> &str {
    url.trim_start_matches("postgres:///").split('?').next().unwrap()
}

pub(crate) fn put(key: &str, value: &str) -> Batch {
    Batch::new().put(key, value.as_bytes().to_vec())
}

pub(crate) async fn value(store: &dyn Store, key: &str) -> Option<String> {
    let found = store.get(key).await.unwrap()?;
    Some(String::from_utf8(found.value).unwrap())
}

/// A new database and a store on it.
pub(crate) async fn fresh_url(cluster: &Cluster) -> (String, PostgresStore) {
    let url = migrated(cluster).await;
    let store = open(&url).await;
    (url, store)
}
