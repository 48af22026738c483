//! Tests of what sled alone does not ensure: durability, damage, a store that became older, and locks.

use std::path::Path;

use super::*;
use crate::{Precondition, REPAIR_RESTORE};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn fill(dir: &Path, from: u32, to: u32) -> Vec<(String, Versioned)> {
    let store = SledStore::open(dir).unwrap();
    for i in from..to {
        let value = format!("value {i} ").repeat(40).into_bytes();
        store.commit(Batch::new().put(format!("k/{i:03}"), value)).await.unwrap();
    }
    store.list("", None, 1000).await.unwrap()
}

fn refusal(result: Result<SledStore, StoreError>) -> String {
    match result {
        Ok(_) => panic!("the damaged store opened"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_every_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = Vec::new();
    for round in 0..20_u32 {
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!(store.list("", None, 1000).await.unwrap(), before);
        let batch = Batch::new()
            .put(format!("k/{round}"), vec![1; 5000])
            .put("same", vec![0; usize::try_from(round).unwrap()]);
        store.commit(batch).await.unwrap();
        before = store.list("", None, 1000).await.unwrap();
    }
    assert_eq!(before.len(), 21);
}

#[tokio::test]
async fn an_acknowledged_commit_is_on_disk_without_a_clean_close() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(&dir.path().join("live")).unwrap();
    for i in 0..50_u32 {
        store.commit(Batch::new().put(format!("k/{i}"), vec![3; 100])).await.unwrap();
        if i % 10 == 9 {
            // A copy of the files now is what a killed process would leave behind.
            let killed = dir.path().join(format!("killed{i}"));
            copy(&dir.path().join("live"), &killed);
            let copy = SledStore::open(&killed).unwrap();
            assert_eq!(copy.stats().await.unwrap().seq, u64::from(i) + 1);
            assert_eq!(copy.list("", None, 99).await.unwrap(), store.list("", None, 99).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_directory_opens_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    let second = SledStore::open(dir.path());
    assert!(matches!(second, Err(StoreError::AlreadyOpen { .. })));
    store.commit(Batch::new().put("k", vec![1])).await.unwrap();
    drop(store);
    SledStore::open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_store_that_went_back_in_time_names_the_repair() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    fill(&live, 0, 20).await;
    let old = dir.path().join("old");
    copy(&live, &old);
    fill(&live, 20, 25).await;

    let rolled = dir.path().join("rolled");
    copy(&old, &rolled);
    std::fs::copy(live.join("watermark"), rolled.join("watermark")).unwrap();
    let text = refusal(SledStore::open(&rolled));
    assert!(text.contains("went back in time") && text.contains(REPAIR_RESTORE), "{text}");

    let emptied = dir.path().join("emptied");
    std::fs::create_dir_all(&emptied).unwrap();
    std::fs::copy(live.join("watermark"), emptied.join("watermark")).unwrap();
    let text = refusal(SledStore::open(&emptied));
    assert!(text.contains("sled/conf is missing") && text.contains(REPAIR_RESTORE), "{text}");

    let unmarked = dir.path().join("unmarked");
    copy(&live, &unmarked);
    std::fs::remove_file(unmarked.join("watermark")).unwrap();
    assert!(refusal(SledStore::open(&unmarked)).contains("watermark file is missing"));

    // A crash between sled's sync and the watermark's leaves sled ahead: that opens.
    let ahead = dir.path().join("ahead");
    copy(&live, &ahead);
    std::fs::copy(old.join("watermark"), ahead.join("watermark")).unwrap();
    assert_eq!(SledStore::open(&ahead).unwrap().stats().await.unwrap().seq, 25);
}

/// Damages a row as a bad page would, bypassing the engine.
fn meddle(dir: &Path, change: impl Fn(&sled::Db)) {
    let db = sled::open(dir.join("sled")).unwrap();
    change(&db);
    db.flush().unwrap();
}

#[tokio::test]
async fn a_row_that_is_changed_missing_or_old_refuses_to_open() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    fill(&live, 0, 5).await;
    type Meddling<'a> = (&'a str, &'a dyn Fn(&sled::Db));
    let cases: [Meddling<'_>; 4] = [
        ("changed", &|db| {
            let mut row = db.get("d/k/002").unwrap().unwrap().to_vec();
            *row.last_mut().unwrap() ^= 1;
            db.insert("d/k/002", row).unwrap();
        }),
        ("missing", &|db| {
            db.remove("d/k/003").unwrap().unwrap();
        }),
        ("swapped", &|db| {
            let row = db.get("d/k/001").unwrap().unwrap();
            db.insert("d/k/002", row).unwrap();
        }),
        ("extra", &|db| {
            let row = layout::Head::new("k/999", 1, b"x").encode();
            db.insert("d/k/999", row).unwrap();
        }),
    ];
    for (name, change) in cases {
        let damaged = dir.path().join(name);
        copy(&live, &damaged);
        meddle(&damaged, change);
        let text = refusal(SledStore::open(&damaged));
        assert!(text.contains(REPAIR_RESTORE), "{name}: {text}");
    }
    meddle(&live, |_: &sled::Db| {});
    SledStore::open(&live).unwrap();
}

#[tokio::test]
async fn a_row_damaged_while_open_is_an_error_and_not_a_value() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 0, 3).await;
    let store = SledStore::open(dir.path()).unwrap();
    let mut row = store.shared.usable().unwrap().get("d/k/001").unwrap().unwrap().to_vec();
    *row.last_mut().unwrap() ^= 1;
    store.shared.usable().unwrap().insert("d/k/001", row).unwrap();
    assert!(matches!(store.get("k/001").await, Err(StoreError::Damaged { .. })));
    assert!(matches!(store.list("k/", None, 9).await, Err(StoreError::Damaged { .. })));
    assert!(store.get("k/002").await.unwrap().is_some());
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_refused_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    fill(&live, 0, 30).await;
    let expected = fill(&live, 30, 60).await;
    let files = ["sled/db", "watermark", "sled/conf"];
    let mut refused = 0;
    for name in files {
        let length = std::fs::metadata(live.join(name)).unwrap().len();
        let good = std::fs::read(live.join(name)).unwrap();
        // Offsets with non-zero bytes, spread over the file.
        let used: Vec<usize> = (0..good.len()).filter(|&at| good[at] != 0).collect();
        let step = (used.len() / 40).max(1);
        for at in used.into_iter().step_by(step) {
            let damaged = dir.path().join("damaged");
            drop(std::fs::remove_dir_all(&damaged));
            copy(&live, &damaged);
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(damaged.join(name), &bytes).unwrap();
            match SledStore::open(&damaged) {
                Ok(store) => {
                    let found = store.list("", None, 1000).await.unwrap();
                    assert_eq!(found, expected, "{name} at {at} of {length}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 10, "only {refused} flips were noticed");
}

#[tokio::test]
async fn no_row_is_large_enough_for_files_that_sled_never_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    for i in 0..200_u32 {
        let key = format!("{:0>240}", i % 40);
        store.commit(Batch::new().put(key, vec![u8::try_from(i).unwrap(); 65_536])).await.unwrap();
    }
    let blobs = std::fs::read_dir(dir.path().join("sled/blobs")).unwrap().count();
    assert_eq!(blobs, 0);
}

#[tokio::test]
async fn the_change_feed_forgets_its_oldest_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SledStore::open(dir.path()).unwrap());
    let commits = crate::CHANGES_RETAINED_COMMITS + 10;
    let mut tasks = Vec::new();
    for task in 0..commits {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            store.commit(Batch::new().put(format!("k/{}", task % 7), vec![1])).await.unwrap()
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let error = store.changes(9, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::ChangesTruncated { since: 9, floor: 10 }));
    assert_eq!(store.changes(10, 1).await.unwrap().first().unwrap().seq, 11);
    let rows = store.shared.usable().unwrap().scan_prefix(layout::CHANGES).count();
    assert_eq!(u64::try_from(rows).unwrap(), crate::CHANGES_RETAINED_COMMITS);
}

#[tokio::test]
async fn a_restore_cut_short_refuses_to_open() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    drop(SledStore::open(&live).unwrap());
    meddle(&live, |db| {
        db.insert("d/k", layout::Head::new("k", 1, b"x").encode()).unwrap();
    });
    assert!(refusal(SledStore::open(&live)).contains(REPAIR_RESTORE));
}

#[tokio::test]
async fn after_a_failed_write_nothing_more_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    store.commit(Batch::new().put("k", vec![1])).await.unwrap();
    store.shared.broken.store(true, Ordering::Release);
    let batch = Batch::new().put("k", vec![2]).require("k", Precondition::Present);
    assert!(matches!(store.commit(batch).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.get("k").await, Err(StoreError::Unavailable(_))));
    drop(store);
    let reopened = SledStore::open(dir.path()).unwrap();
    assert_eq!(reopened.get("k").await.unwrap().unwrap().value, [1]);
}
