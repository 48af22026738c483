//! Every way in which a file can be other than it was: an error that names it, and never other runs.

use super::*;

/// A change of one workspace's files.
type Change<'a> = (&'a str, &'a dyn Fn(&Path, &BTreeMap<PathBuf, Vec<u8>>));

/// Asserts that a full list is an error naming a run file, and that no run is served as another.
async fn assert_named(dir: &Path, what: &str, all: &[RunId]) {
    let runs = FileRuns::open_with_segments(dir, 1000).unwrap();
    let (org, main) = ids("acme", "main");
    let error =
        runs.query(&oldest_first((org.clone(), main.clone()), None, 1000)).await.expect_err(what).to_string();
    assert!(error.contains("acme/main") && error.contains("put the file back"), "{what}: {error}");
    for id in all {
        if let Ok(found) = runs.get(&org, &main, id).await {
            let found = found.unwrap_or_else(|| panic!("{what}: {id} is said not to be there"));
            assert_eq!((&found.run_id, found.body.get()), (id, r#"{"status":"succeeded","n":1}"#), "{what}");
        }
    }
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copied(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn h4_changed_cut_missing_swapped_and_foreign_files_are_named() {
    let root = TempDir::new().unwrap();
    let live = root.path().join("live");
    filled(&live, 0..11).await;
    let old = files(&live);
    let all: Vec<RunId> = filled(&live, 11..40).await.into_iter().chain((0..11).map(run)).collect();
    let side = FileRuns::open_with_segments(&live, 1000).unwrap();
    for n in 0..40 {
        let other = RunRecord { org: ids("other", "main").0, ..record("main", &run(n)) };
        side.append(&other).await.unwrap();
        side.append(&record("side", &run(n))).await.unwrap();
    }
    drop(side);
    let nth = |files: &BTreeMap<PathBuf, Vec<u8>>, n: usize| files.keys().nth(n).unwrap().clone();
    let last = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().next_back().unwrap().clone();
    let cut = |path: &Path, by: usize| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - by]).unwrap();
    };
    let put = |from: &Path, to: &Path| assert_ne!(std::fs::copy(from, to).unwrap(), 0);
    let cases: [Change<'_>; 14] = [
        ("the last cut by 40 bytes", &|_, files| cut(&last(files), 40)),
        ("the first cut by 40 bytes", &|_, files| cut(&nth(files, 0), 40)),
        ("one record cut off whole", &|_, files| {
            let path = nth(files, 1);
            let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
            let end = text.trim_end().rfind('\n').unwrap() + 1;
            std::fs::write(path, &text[..end]).unwrap();
        }),
        ("the last record cut off whole", &|_, files| {
            let path = last(files);
            let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
            let end = text.trim_end().rfind('\n').unwrap() + 1;
            std::fs::write(path, &text[..end]).unwrap();
        }),
        ("the first deleted", &|_, files| std::fs::remove_file(nth(files, 0)).unwrap()),
        ("one in the middle deleted", &|_, files| std::fs::remove_file(nth(files, 2)).unwrap()),
        ("the last deleted", &|_, files| std::fs::remove_file(last(files)).unwrap()),
        ("emptied", &|_, files| std::fs::write(nth(files, 2), "").unwrap()),
        ("the last emptied", &|_, files| std::fs::write(last(files), "").unwrap()),
        ("two swapped", &|_, files| {
            std::fs::write(nth(files, 1), &files[&nth(files, 2)]).unwrap();
            std::fs::write(nth(files, 2), &files[&nth(files, 1)]).unwrap();
        }),
        ("another org's in its place", &|dir, files| {
            put(&dir.join("other/main/0000000001.ndjson"), &nth(files, 0));
        }),
        ("another workspace's in its place", &|dir, files| {
            put(&dir.join("acme/side/0000000002.ndjson"), &nth(files, 1));
        }),
        ("an old copy of one", &|_, _| {
            let (path, content) = old.last_key_value().unwrap();
            let name = path.file_name().unwrap();
            let path = root.path().join("damaged/acme/main").join(name);
            assert_ne!(std::fs::read(&path).unwrap(), *content, "it went on since");
            std::fs::write(path, content).unwrap();
        }),
        ("the directory deleted", &|dir, _| std::fs::remove_dir_all(dir.join("acme/main")).unwrap()),
    ];
    for (what, change) in cases {
        let damaged = root.path().join("damaged");
        drop(std::fs::remove_dir_all(&damaged));
        copied(&live, &damaged);
        change(&damaged, &files(&damaged));
        assert_named(&damaged, what, &all).await;
    }
}

#[tokio::test]
async fn h4_a_byte_changed_anywhere_is_named() {
    let dir = TempDir::new().unwrap();
    let all = filled(dir.path(), 0..15).await;
    for (path, good) in files(dir.path()) {
        for at in (0..good.len()).step_by(23).chain([good.len() - 1]) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            assert_named(dir.path(), &format!("{} at {at}", path.display()), &all).await;
        }
        std::fs::write(&path, &good).unwrap();
    }
    let runs = FileRuns::open(dir.path()).unwrap();
    assert_eq!(listed(&runs, "main", None, 99).await, all);
}

#[tokio::test]
async fn after_damage_new_runs_are_kept_and_found_and_the_old_ones_come_back_with_their_file() {
    for number in [1, 3] {
        let dir = TempDir::new().unwrap();
        let mut all = filled(dir.path(), 0..12).await;
        let last = files(dir.path()).len();
        let path = dir.path().join(format!("acme/main/{:010}.ndjson", if number == 1 { 1 } else { last }));
        let good = std::fs::read(&path).unwrap();
        let mut bytes = good.clone();
        bytes[200] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
        let (org, main) = ids("acme", "main");
        let next = run(99);
        runs.append(&record("main", &next)).await.unwrap();
        assert!(runs.get(&org, &main, &next).await.unwrap().is_some());
        assert!(runs.query(&oldest_first((org.clone(), main.clone()), None, 99)).await.is_err());
        std::fs::write(&path, &good).unwrap();
        all.push(next);
        assert_eq!(listed(&runs, "main", None, 99).await, all);
    }
}

#[tokio::test]
async fn a_head_that_is_damaged_missing_or_of_another_workspace_harms_nothing() {
    let dir = TempDir::new().unwrap();
    let mut all = filled(dir.path(), 0..12).await;
    let head = dir.path().join(".heads/acme/main");
    let good = std::fs::read(&head).unwrap();
    let side = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    side.append(&record("side", &run(1))).await.unwrap();
    drop(side);
    let others = std::fs::read(dir.path().join(".heads/acme/side")).unwrap();
    for bad in [Some(b"x".repeat(6000)), Some(Vec::new()), Some(others), None, Some(good[..50].to_vec())] {
        match &bad {
            Some(bytes) => std::fs::write(&head, bytes).unwrap(),
            None => std::fs::remove_file(&head).unwrap(),
        }
        let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
        assert_eq!(listed(&runs, "main", None, 99).await, all);
        let next = run(100 + all.len() as u64);
        runs.append(&record("main", &next)).await.unwrap();
        all.push(next);
        assert_eq!(listed(&runs, "main", None, 99).await, all);
    }
}

#[tokio::test]
async fn a_directory_that_was_moved_away_stops_writing_until_it_is_back() {
    let dir = TempDir::new().unwrap();
    let runs = FileRuns::open(dir.path()).unwrap();
    runs.append(&record("main", &run(1))).await.unwrap();
    let (there, aside) = (dir.path().join("acme/main"), dir.path().join("aside"));
    std::fs::rename(&there, &aside).unwrap();
    runs.append(&record("main", &run(2))).await.unwrap();
    let wait = async |well: bool| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while runs.is_well() != well {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    wait(false).await;
    let error = runs.append(&record("main", &run(3))).await.unwrap_err().to_string();
    assert!(error.contains("the directory is missing"), "{error}");
    std::fs::rename(&aside, &there).unwrap();
    wait(true).await;
    runs.append(&record("main", &run(4))).await.unwrap();
    assert_eq!(listed(&runs, "main", None, 9).await, [run(1), run(2), run(4)]);
}
