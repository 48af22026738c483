//! Jobs of one workspace that several nodes lease at the same time.

use std::sync::Arc;
use std::time::Instant;

use portcullis_store::{JobState, Jobs as _, RecordJobs, Store};
use portcullis_store_conformance::cluster::Cluster;
use portcullis_store_conformance::jobs::{FAR, Scene, end, name};

use crate::scene::{migrated, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_is_leased_by_one_node_while_three_take_them() {
    const JOBS: u64 = 150;
    let Some(cluster) = Cluster::shared() else { return };
    let url = migrated(cluster).await;
    let store: Arc<dyn Store> = Arc::new(open(&url).await);
    let scene = Scene::new(store, |store| Arc::new(RecordJobs::new(store))).await;
    for number in 0..JOBS {
        scene.enqueue("main", number, number).await;
    }
    for nodes in [1, 3] {
        let begun = Instant::now();
        let mut taking = Vec::new();
        for _ in 0..nodes {
            let store: Arc<dyn Store> = Arc::new(open(&url).await);
            let jobs = RecordJobs::new(store);
            taking.push(tokio::spawn(async move {
                let (org, workspace) = (name("main", 1).org, name("main", 1).workspace);
                let mut taken = Vec::new();
                // The first node alone leaves half of them to the three.
                while nodes > 1 || (taken.len() as u64) < JOBS / 2 {
                    let Some(leased) = jobs.lease(&org, &workspace, FAR).await.unwrap() else {
                        // Others may have taken all that it looked at.
                        if jobs.due_workspaces(JOBS, None, 1).await.unwrap().is_empty() {
                            break;
                        }
                        continue;
                    };
                    jobs.finish(&leased.lease, &end(JobState::Ended, FAR)).await.unwrap();
                    taken.push(leased.lease.job.run_id);
                }
                taken
            }));
        }
        let mut taken = Vec::new();
        for one in taking {
            taken.extend(one.await.unwrap());
        }
        let seconds = begun.elapsed().as_secs_f64();
        let count = taken.len();
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), count, "none was leased twice");
        println!("{nodes} nodes: {:.0} jobs leased and ended a second", count as f64 / seconds);
    }
    let left = scene.jobs.count(&name("main", 1).org, &name("main", 1).workspace).await.unwrap();
    assert_eq!(left.get(&JobState::Queued), None, "all were taken");
}
