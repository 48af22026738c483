//! Files of the first format, which earlier versions wrote.

use super::*;

/// A file as the first format had it.
fn write(dir: &Path, begun_ms: u64, records: &[RunRecord], tail: &str) -> PathBuf {
    let folder = dir.join("acme/main");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{begun_ms:016}.ndjson"));
    let lines: String = records.iter().map(|r| format!("{}\n", r.to_json())).collect();
    std::fs::write(&path, lines + tail).unwrap();
    path
}

fn records(numbers: impl Iterator<Item = u64>) -> Vec<RunRecord> {
    numbers.map(|n| record("main", &run(n))).collect()
}

#[tokio::test]
async fn h6_runs_of_the_first_format_are_found_though_the_clock_was_wrong_and_new_ones_follow_them() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let dir = TempDir::new().unwrap();
    // The clock was a day fast when the first file was begun.
    write(dir.path(), 1_795_343_400_000 + DAY, &records([DAY, 0, 1].into_iter()), "");
    write(dir.path(), 1_795_343_400_001 + DAY, &records(2..4), "{\"run_id\":\"run_to");
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    let mut all: Vec<RunId> = [DAY, 0, 1, 2, 3].map(run).to_vec();
    for _ in 0..2 {
        assert_eq!(listed(&runs, "main", None, 99).await, all);
        let (org, main) = ids("acme", "main");
        for (at, id) in all.iter().enumerate() {
            assert!(runs.get(&org, &main, id).await.unwrap().is_some());
            assert_eq!(listed(&runs, "main", Some(id), 2).await, all[at + 1..all.len().min(at + 3)]);
        }
        for _ in 4..20 {
            let next = run(4 + all.len() as u64);
            runs.append(&record("main", &next)).await.unwrap();
            all.push(next);
        }
    }
}

#[tokio::test]
async fn h4_files_of_the_first_format_are_checked_as_far_as_can_be_and_sealed_by_the_first_new_one() {
    let dir = TempDir::new().unwrap();
    let path = write(dir.path(), 1_795_343_400_000, &records(0..5), "");
    let good = std::fs::read_to_string(&path).unwrap();
    let (org, main) = ids("acme", "main");
    let error = async |runs: &FileRuns| {
        runs.query(&oldest_first((org.clone(), main.clone()), None, 9)).await.unwrap_err().to_string()
    };
    for bad in [
        good.replace("acme", "evil"),
        good.replace("\"main\"", "\"mein\""),
        good.replacen("{\"run_id\"", "{\"run_ix\"", 1),
    ] {
        std::fs::write(&path, bad).unwrap();
        let runs = FileRuns::open(dir.path()).unwrap();
        assert!(error(&runs).await.contains("0001795343400000.ndjson"));
        assert!(
            runs.get(&org, &main, &run(99)).await.is_err(),
            "what is not found may be in what is damaged"
        );
    }
    std::fs::write(&path, &good).unwrap();
    let runs = FileRuns::open(dir.path()).unwrap();
    runs.append(&record("main", &run(9))).await.unwrap();
    assert_eq!(listed(&runs, "main", None, 9).await.len(), 6);
    drop(runs);
    for bad in [Some(good.replacen("\"n\":1", "\"n\":2", 1)), Some(good[..good.len() / 2].to_owned()), None] {
        match bad {
            Some(bad) => std::fs::write(&path, bad).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let runs = FileRuns::open(dir.path()).unwrap();
        assert!(error(&runs).await.contains("0001795343400000.ndjson"));
        assert!(runs.get(&org, &main, &run(9)).await.is_ok() || !path.exists());
    }
}
