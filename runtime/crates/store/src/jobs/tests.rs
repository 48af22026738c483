//! What every backend of jobs must do.

use std::sync::Arc;

use super::*;
use crate::{MemoryStore, SledStore};

mod conformance;
mod endings;
mod lines;

#[tokio::test]
async fn jobs_in_memory_conform() {
    conformance::check_all(|| Arc::new(MemoryStore::new()), |store| Arc::new(RecordJobs::new(store))).await;
}

#[tokio::test]
async fn jobs_in_sled_conform() {
    let dir = tempfile::tempdir().unwrap();
    let fresh = || {
        let own = tempfile::tempdir_in(dir.path()).unwrap().keep();
        Arc::new(SledStore::open(&own).unwrap()) as Arc<dyn crate::Store>
    };
    conformance::check_all(fresh, |store| Arc::new(RecordJobs::new(store))).await;
}

#[tokio::test]
async fn an_accepted_job_is_there_after_the_store_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let scene = {
        let store: Arc<dyn crate::Store> = Arc::new(SledStore::open(dir.path()).unwrap());
        let scene = conformance::Scene::new(store, |store| Arc::new(RecordJobs::new(store))).await;
        scene.enqueue("main", 1, 10).await;
        let leased = scene.lease("main", 50).await.unwrap();
        scene.jobs.note_sent(&leased.lease).await.unwrap();
        scene.names()
    };
    let jobs = RecordJobs::new(Arc::new(SledStore::open(dir.path()).unwrap()));
    let name = conformance::name("main", 1);
    let found = jobs.get(&name).await.unwrap().unwrap();
    assert_eq!((found.state, found.sent, found.tries), (JobState::Running, true, 1));
    assert_eq!(jobs.input(&name).await.unwrap().unwrap(), b"input");
    assert_eq!(jobs.due_workspaces(51, None, 10).await.unwrap(), scene[..1]);
    let (org, main) = &scene[0];
    assert!(jobs.lease(org, main, 100).await.unwrap().unwrap().interrupted);
}
