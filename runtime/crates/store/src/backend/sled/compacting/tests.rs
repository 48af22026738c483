//! A compaction gives space back, and leaves the old store or the new one whenever it ends.

use std::path::Path;

use super::*;
use crate::{Batch, Versioned};

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn fill(dir: &Path) {
    let store = SledStore::open(dir).unwrap();
    for round in 0..30_u8 {
        for n in 0..40_u32 {
            let value: Vec<u8> = (0..4000_u32).map(|i| (i * 7 + n) as u8 ^ round).collect();
            store.commit(Batch::new().put(format!("k/{n:03}"), value)).await.unwrap();
        }
    }
}

async fn all(dir: &Path) -> (u64, Vec<(String, Versioned)>) {
    let store = SledStore::open(dir).unwrap();
    (store.stats().await.unwrap().seq, store.list("", None, 1000).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_comes_back_and_every_end_leaves_one_whole_store() {
    let root = tempfile::tempdir().unwrap();
    let (dir, fresh) = (root.path().join("data/store"), root.path().join("data/store.compacting"));
    std::fs::create_dir_all(&dir).unwrap();
    fill(&dir).await;
    let before = all(&dir).await;
    let mut steps = Vec::new();
    let done = compact_store(&dir, &fresh, None, &mut |step| {
        // What a process that is killed here leaves behind.
        copy_tree(&root.path().join("data"), &root.path().join(format!("killed {step:?}")));
        steps.push(step);
    })
    .await
    .unwrap();
    use CompactStep::{Copied, Copying, Exchanged, Removed};
    assert_eq!(steps, [Copying, Copied, Exchanged, Removed]);
    assert_eq!(done.records, 40);
    assert!(done.bytes_after < done.bytes_before, "{done:?}");
    assert!(!fresh.exists());
    assert_eq!(all(&dir).await, before);
    for step in steps {
        let data = root.path().join(format!("killed {step:?}"));
        assert_eq!(all(&data.join("store")).await, before, "{step:?}");
        let again = compact_store(&data.join("store"), &data.join("store.compacting"), None, &mut |_| {})
            .await
            .unwrap();
        assert_eq!(again.records, 40, "{step:?}");
        assert_eq!(all(&data.join("store")).await, before, "{step:?}, and once more");
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1, "{step:?}: nothing is left beside it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_is_left_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let (dir, fresh) = (root.path().join("store"), root.path().join("store.compacting"));
    fill(&dir).await;
    std::fs::remove_file(dir.join("watermark")).unwrap();
    let listing = |dir: &Path| bytes(&dir.join("sled")).unwrap();
    let before = listing(&dir);
    let refused = compact_store(&dir, &fresh, None, &mut |step| panic!("{step:?}")).await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })));
    assert!(!fresh.exists() && listing(&dir) >= before);
}
