//! Lists from files: indexes that are missing, damaged or foreign, files that were cut, and looks that end early.

use super::*;
use crate::runs::tests::{all_pages, generated};
use crate::runs::{RunCut, RunFilter, RunOrder, RunQuery, RunsLeft};

fn failed(order: RunOrder) -> RunQuery {
    let filter = RunFilter { status: Some("failed".to_owned()), ..RunFilter::default() };
    query(RunScope::All, filter, order)
}

fn query(scope: RunScope, filter: RunFilter, order: RunOrder) -> RunQuery {
    RunQuery { scope, filter, order, after: None, limit: 20 }
}

/// Generated runs with these numbers, in files of this length.
async fn fill(dir: &Path, numbers: std::ops::Range<u64>, segment_bytes: u64) -> Vec<RunId> {
    let runs = FileRuns::open_with_segments(dir, segment_bytes).unwrap();
    let (org, main) = ids("acme", "main");
    let mut all = Vec::new();
    for n in numbers {
        let record = generated(&org, &main, n);
        runs.append(&record).await.unwrap();
        all.push(record.run_id);
    }
    all
}

fn every_fifth(all: &[RunId], order: RunOrder) -> Vec<RunId> {
    let mut found: Vec<_> = all.iter().step_by(5).cloned().collect();
    if order == RunOrder::NewestFirst {
        found.reverse();
    }
    found
}

fn indexes(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join(".index/acme/main")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn each_closed_file_has_an_index_and_one_that_is_damaged_missing_or_foreign_is_made_again() {
    let dir = TempDir::new().unwrap();
    let all = fill(dir.path(), 0..300, 20_000).await;
    let listed = async || {
        let runs = FileRuns::open_with_segments(dir.path(), 20_000).unwrap();
        for order in [RunOrder::NewestFirst, RunOrder::OldestFirst] {
            assert_eq!(all_pages(&runs, &failed(order)).await, every_fifth(&all, order), "{order:?}");
        }
    };
    listed().await;
    let made = indexes(dir.path());
    assert_eq!(made.len(), files(dir.path()).len() - 1, "one for each file but the last");
    let sound: Vec<_> = made.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let again = || {
        let now: Vec<_> = indexes(dir.path()).iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert!(now == sound, "they are as they were");
    };
    for (path, bytes) in made.iter().zip(&sound) {
        let mut bytes = bytes.clone();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    listed().await;
    again();
    std::fs::write(&made[0], &sound[1]).unwrap();
    std::fs::write(&made[1], &sound[1][..100]).unwrap();
    std::fs::remove_file(&made[2]).unwrap();
    listed().await;
    again();
    std::fs::remove_dir_all(dir.path().join(".index")).unwrap();
    listed().await;
    again();
}

#[tokio::test]
async fn lists_of_an_open_a_closed_and_a_torn_file_are_the_same() {
    let dir = TempDir::new().unwrap();
    // More than one block to a file.
    let mut all = fill(dir.path(), 0..400, 200_000).await;
    let last = files(dir.path()).pop_last().unwrap().0;
    for torn in ["", "{\"seq\":401,\"run\":{\"run_id\":\"run_to", "{"] {
        let mut file = std::fs::File::options().append(true).open(&last).unwrap();
        file.write_all(torn.as_bytes()).unwrap();
        let runs = FileRuns::open_with_segments(dir.path(), 200_000).unwrap();
        for order in [RunOrder::NewestFirst, RunOrder::OldestFirst] {
            assert_eq!(all_pages(&runs, &failed(order)).await, every_fifth(&all, order), "{torn:?}");
        }
        let (org, main) = ids("acme", "main");
        for _ in 0..5 {
            let record = generated(&org, &main, all.len() as u64);
            runs.append(&record).await.unwrap();
            all.push(record.run_id);
        }
        for order in [RunOrder::NewestFirst, RunOrder::OldestFirst] {
            assert_eq!(all_pages(&runs, &failed(order)).await, every_fifth(&all, order), "{torn:?}, opened");
        }
    }
}

#[tokio::test]
async fn a_long_file_that_is_not_open_and_torn_is_listed_to_its_end() {
    let dir = TempDir::new().unwrap();
    // More than is read for one page.
    let all = fill(dir.path(), 0..2800, SEGMENT_BYTES).await;
    let last = files(dir.path()).pop_last().unwrap().0;
    let mut file = std::fs::File::options().append(true).open(&last).unwrap();
    file.write_all(b"{\"seq\":2801,\"run\":{").unwrap();
    let runs = FileRuns::open(dir.path()).unwrap();
    let (org, main) = ids("acme", "main");
    for scope in [RunScope::All, RunScope::Workspace(org.clone(), main)] {
        let wanted = query(scope, RunFilter::default(), RunOrder::OldestFirst);
        let wanted = RunQuery { limit: 700, ..wanted };
        assert_eq!(all_pages(&runs, &wanted).await, all);
    }
    let old = RunCut { before_us: Some(u64::MAX), ..RunCut::default() };
    assert_eq!(runs.retain(&org, &old).await.unwrap().dropped, 1);
}

#[tokio::test]
async fn a_changed_byte_is_named_though_the_index_is_sound_and_no_changed_run_is_shown() {
    let dir = TempDir::new().unwrap();
    let all = fill(dir.path(), 0..60, 20_000).await;
    let runs = FileRuns::open_with_segments(dir.path(), 20_000).unwrap();
    all_pages(&runs, &failed(RunOrder::NewestFirst)).await;
    drop(runs);
    let (org, main) = ids("acme", "main");
    let whole = query(RunScope::Workspace(org, main), RunFilter::default(), RunOrder::NewestFirst);
    let whole = RunQuery { limit: 100, ..whole };
    for (path, good) in files(dir.path()) {
        for at in (0..good.len()).step_by(997).chain([good.len() - 1]) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            let runs = FileRuns::open_with_segments(dir.path(), 20_000).unwrap();
            let error = runs.query(&whole).await.unwrap_err().to_string();
            assert!(error.contains("acme/main"), "{} at {at}: {error}", path.display());
        }
        std::fs::write(&path, &good).unwrap();
    }
    let runs = FileRuns::open_with_segments(dir.path(), 20_000).unwrap();
    assert_eq!(all_pages(&runs, &whole).await, all.into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_look_for_what_is_nowhere_ends_early_and_goes_on_to_the_end() {
    let dir = TempDir::new().unwrap();
    let all = fill(dir.path(), 0..5500, SEGMENT_BYTES).await;
    let runs = FileRuns::open(dir.path()).unwrap();
    let (org, main) = ids("acme", "main");
    // Each is in every file, and no run has both.
    let filter = RunFilter {
        action_id: Some("act-1".to_owned()),
        automation_id: Some("auto_0".to_owned()),
        ..RunFilter::default()
    };
    for scope in [RunScope::Workspace(org, main), RunScope::All] {
        for order in [RunOrder::NewestFirst, RunOrder::OldestFirst] {
            let wanted = query(scope.clone(), filter.clone(), order);
            let page = runs.query(&wanted).await.unwrap().unwrap();
            assert!(page.records.is_empty() && page.next.is_some(), "{scope:?} {order:?}");
            assert!(all_pages(&runs, &wanted).await.is_empty());
        }
        // What is in one run alone is found all the same.
        let event = RunFilter { event_id: Some("event 17".to_owned()), ..RunFilter::default() };
        let found = all_pages(&runs, &query(scope, event, RunOrder::OldestFirst)).await;
        assert_eq!(found, all[34..36]);
    }
}

#[tokio::test]
async fn lists_go_on_from_the_cut_after_old_files_were_dropped() {
    let dir = TempDir::new().unwrap();
    let all = fill(dir.path(), 0..100, 10_000).await;
    let runs = FileRuns::open_with_segments(dir.path(), 10_000).unwrap();
    let (org, main) = ids("acme", "main");
    let everything = query(RunScope::All, RunFilter::default(), RunOrder::OldestFirst);
    assert_eq!(all_pages(&runs, &everything).await, all);
    let dropped = runs.prune(&org, &main, 3).await.unwrap();
    assert!(dropped > 3);
    let left = all_pages(&runs, &everything).await;
    assert!(!left.is_empty() && all.ends_with(&left) && left.len() < all.len());
    assert!(indexes(dir.path()).len() <= 3, "no index is left without its file");
}

#[tokio::test]
async fn old_files_go_by_age_and_by_bytes_and_the_rest_is_as_it_was() {
    let dir = TempDir::new().unwrap();
    let all = fill(dir.path(), 0..100, 10_000).await;
    let (org, _) = ids("acme", "main");
    let runs = FileRuns::open_with_segments(dir.path(), 10_000).unwrap();
    let side = ids("acme", "side");
    for n in 40..60 {
        runs.append(&generated(&side.0, &side.1, 1000 + n)).await.unwrap();
    }
    let everything = query(RunScope::All, RunFilter::default(), RunOrder::OldestFirst);
    let before = all_pages(&runs, &everything).await;
    assert_eq!(before.len(), 120);
    let at = |n: u64| Some(1_767_225_600_000_000 + n * 1_000_000);
    let left = runs.retain(&org, &RunCut::default()).await.unwrap();
    assert_eq!(left.dropped, 0, "there is no term");
    let (nobody, all_old) = (ids("nobody", "main").0, RunCut { before_us: at(5000), ..RunCut::default() });
    assert_eq!(runs.retain(&nobody, &all_old).await.unwrap(), RunsLeft::default());
    let by_age = runs.retain(&org, &RunCut { before_us: at(50), ..RunCut::default() }).await.unwrap();
    assert!(by_age.dropped > 0 && by_age.bytes < left.bytes, "{by_age:?}");
    let kept = all_pages(&runs, &everything).await;
    assert!(before.ends_with(&kept) && kept.contains(&all[50]) && !kept.contains(&all[0]));
    let by_bytes = RunCut { bytes: Some(by_age.bytes / 2), ..RunCut::default() };
    let by_bytes = runs.retain(&org, &by_bytes).await.unwrap();
    assert!(by_bytes.dropped > 0 && by_bytes.bytes <= by_age.bytes / 2, "{by_bytes:?}");
    // All of it, the files that are written to included; and a process after this one finds what is left.
    runs.retain(&org, &all_old).await.unwrap();
    assert!(all_pages(&runs, &everything).await.is_empty());
    drop(runs);
    let runs = FileRuns::open_with_segments(dir.path(), 10_000).unwrap();
    assert!(all_pages(&runs, &everything).await.is_empty());
    let next = generated(&side.0, &side.1, 2000);
    runs.append(&next).await.unwrap();
    assert_eq!(all_pages(&runs, &everything).await, [next.run_id]);
}

#[tokio::test]
async fn a_file_that_is_written_to_is_closed_once_it_has_an_old_run() {
    let dir = TempDir::new().unwrap();
    let runs = FileRuns::open(dir.path()).unwrap();
    let (org, main) = ids("acme", "main");
    for n in 0..10 {
        runs.append(&generated(&org, &main, n)).await.unwrap();
    }
    let at = |n: u64| Some(1_767_225_600_000_000 + n * 1_000_000);
    for (close_before_us, count) in [(at(0), 1), (at(1), 2), (at(1), 2)] {
        runs.retain(&org, &RunCut { close_before_us, ..RunCut::default() }).await.unwrap();
        assert_eq!(files(dir.path()).len(), count, "{close_before_us:?}");
    }
}

/// By hand: `PORTCULLIS_RUNS=1000000 cargo test --release -p portcullis-store --lib a_store_of_many_runs -- --nocapture`
/// prints how long it takes to open and to answer each kind of question. In the suite it has few runs.
#[tokio::test]
#[allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "its numbers are for the person who asked for them by the variable"
)]
async fn a_store_of_many_runs_answers_every_question() {
    let count = std::env::var("PORTCULLIS_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(500_u64);
    let dir = TempDir::new().unwrap();
    let filling = FileRuns::open(dir.path()).unwrap();
    let (org, main) = ids("acme", "main");
    for n in 0..count {
        filling.append(&generated(&org, &main, n)).await.unwrap();
    }
    drop(filling);
    let took = |what: &str, from: std::time::Instant| println!("{count} runs, {what}: {:?}", from.elapsed());
    let from = std::time::Instant::now();
    let runs = FileRuns::open(dir.path()).unwrap();
    took("open", from);
    let text = |text: &str| Some(text.to_owned());
    let filters = [
        ("no filter", RunFilter::default()),
        ("status", RunFilter { status: text("failed"), ..RunFilter::default() }),
        ("class", RunFilter { class: text("auth"), ..RunFilter::default() }),
        ("code", RunFilter { code: text("host_not_in_org"), ..RunFilter::default() }),
        ("connector", RunFilter { connector_id: text("crm-1"), ..RunFilter::default() }),
        ("action", RunFilter { action_id: text("act-3"), ..RunFilter::default() }),
        ("automation", RunFilter { automation_id: text("auto_3"), ..RunFilter::default() }),
        ("event", RunFilter { event_id: text("event 17"), ..RunFilter::default() }),
        ("nothing", RunFilter { code: text("nowhere"), ..RunFilter::default() }),
        ("until", RunFilter { until_us: Some(1_767_225_700_000_000), ..RunFilter::default() }),
    ];
    for scope in [RunScope::Workspace(org.clone(), main), RunScope::Org(org), RunScope::All] {
        for (name, filter) in &filters {
            for order in [RunOrder::NewestFirst, RunOrder::OldestFirst] {
                let from = std::time::Instant::now();
                let page = runs.query(&query(scope.clone(), filter.clone(), order)).await.unwrap().unwrap();
                took(&format!("{name} {order:?}: {} runs", page.records.len()), from);
                assert!(!page.records.is_empty() || page.next.is_some() || *name == "nothing", "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_run_that_is_not_there_is_not_looked_for_in_closed_files() {
    let dir = TempDir::new().unwrap();
    let all = filled(dir.path(), 0..50).await;
    let (org, main) = ids("acme", "main");
    let twin = |id: &RunId| RunId::parse(&id.as_str().replace("0123456789ab", "0123456789ff")).unwrap();
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    for id in &all {
        assert!(runs.get(&org, &main, id).await.unwrap().is_some());
        assert!(runs.get(&org, &main, &twin(id)).await.unwrap().is_none());
    }
    // What is read of a file now is damage.
    let spoiled = files(dir.path()).into_keys().nth(2).unwrap();
    let mut bytes = std::fs::read(&spoiled).unwrap();
    let at = bytes.len() - 20;
    bytes[at] ^= 1;
    std::fs::write(&spoiled, bytes).unwrap();
    let lost: Vec<&RunId> = {
        let mut lost = Vec::new();
        for id in &all {
            assert!(runs.get(&org, &main, &twin(id)).await.unwrap().is_none());
            lost.extend(runs.get(&org, &main, id).await.is_err().then_some(id));
        }
        lost
    };
    assert!((1..10).contains(&lost.len()), "{lost:?}");
    std::fs::remove_dir_all(dir.path().join(".index")).unwrap();
    assert!(runs.get(&org, &main, &twin(lost[0])).await.is_err(), "without an index the file is read");
}

#[tokio::test]
async fn an_id_that_no_run_can_have_is_looked_for_nowhere() {
    let dir = TempDir::new().unwrap();
    filled(dir.path(), 0..20).await;
    let (org, main) = ids("acme", "main");
    let runs = FileRuns::open_with_segments(dir.path(), 1000).unwrap();
    for (path, _) in files(dir.path()) {
        std::fs::write(path, "damaged\n").unwrap();
    }
    for id in ["run_x", "run_0000000000ff", "run_0000000000ff4abc8def0123456789ab"] {
        assert!(runs.get(&org, &main, &RunId::parse(id).unwrap()).await.unwrap().is_none(), "{id}");
    }
    assert!(runs.get(&org, &main, &run(3)).await.is_err(), "one that may be there");
}
