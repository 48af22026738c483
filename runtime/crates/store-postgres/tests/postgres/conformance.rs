//! The suites that every backend passes.

use std::sync::Arc;

use portcullis_store::{Jobs, RecordJobs, Store};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_conformance::{jobs, model, outbox, store};

use crate::scene::{fresh_now, migrated, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_conforms() {
    let Some(cluster) = Cluster::shared() else { return };
    store::check_all(|| fresh_now(cluster)).await;
}

#[test]
fn postgres_agrees_with_memory() {
    let Some(cluster) = Cluster::shared() else { return };
    model::agrees_with_memory(16, async || migrated(cluster).await, async |url: &String| open(url).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_in_postgres_conform() {
    let Some(cluster) = Cluster::shared() else { return };
    let over = |store| Arc::new(RecordJobs::new(store)) as Arc<dyn Jobs>;
    jobs::check_all(|| fresh_now(cluster) as Arc<dyn Store>, over).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outboxes_in_postgres_conform() {
    let Some(cluster) = Cluster::shared() else { return };
    outbox::check_all(|| fresh_now(cluster) as Arc<dyn Store>).await;
}
