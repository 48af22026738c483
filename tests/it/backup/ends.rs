//! Backups whose command, or whose server, is killed in the middle.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_store::{FileRuns, RunRecord, Runs as _};
use serde_json::value::to_raw_value;

use crate::black_box::NO_NAMES;
use crate::support::binary::{Server, command, init, run};

/// Runs of so many bytes that a backup of them takes a while.
async fn large(dir: &Path) {
    let runs = FileRuns::open(&dir.join("portcullis-data/runs")).unwrap();
    let body = to_raw_value(&serde_json::json!({ "message": "m".repeat(60_000) })).unwrap();
    for n in 0..1500_u64 {
        let record = RunRecord {
            run_id: RunId::parse(&format!("run_0193{n:08x}7abc8def0123456789ab")).unwrap(),
            org: OrgId::parse("acme").unwrap(),
            workspace: WorkspaceId::parse("main").unwrap(),
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            body: body.clone(),
        };
        runs.append(&record).await.unwrap();
    }
}

fn started(dir: &Path, file: &str) -> Child {
    command(dir, &["backup", file]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until a backup writes.
fn under_way(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let is_large = || {
        let entries = std::fs::read_dir(dir).unwrap().filter_map(Result::ok);
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".portcullis-unfinished"))
            .any(|entry| entry.metadata().is_ok_and(|found| found.len() > 1_000_000))
    };
    while !is_large() {
        assert!(Instant::now() < deadline, "the backup has not begun");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn no_half_file_has_the_name_whoever_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    large(dir.path()).await;
    let server = Server::start(dir.path(), &NO_NAMES);
    let mut asking = started(dir.path(), "a.bak");
    under_way(dir.path());
    asking.kill().unwrap();
    asking.wait().unwrap();
    assert!(!dir.path().join("a.bak").exists());
    // The server goes on, and has its place for the next one as soon as it has noticed.
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let ran = run(dir.path(), &["backup", "b.bak"]);
        if ran.code == Some(0) {
            break;
        }
        assert!(ran.err.contains("in_use") && Instant::now() < deadline, "{}", ran.err);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!dir.path().join("portcullis-data/backup.unfinished").exists());
    for entry in std::fs::read_dir(dir.path()).unwrap().filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(".portcullis-unfinished") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let asking = started(dir.path(), "c.bak");
    under_way(dir.path());
    server.kill();
    let ended = asking.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(!dir.path().join("c.bak").exists());
    // What the killed server left goes away, and the stopped directory is whole.
    run(dir.path(), &["fsck"]).exits(0);
    run(dir.path(), &["backup", "d.bak"]).exits(0);
    assert!(!dir.path().join("portcullis-data/backup.unfinished").exists());
}

#[tokio::test]
async fn two_at_once_are_one() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    large(dir.path()).await;
    let server = Server::start(dir.path(), &NO_NAMES);
    let mut first = started(dir.path(), "a.bak");
    under_way(dir.path());
    let ran = run(dir.path(), &["backup", "b.bak"]).exits(1);
    assert!(ran.err.contains("in_use"), "{}", ran.err);
    assert!(first.wait().unwrap().success());
    run(dir.path(), &["backup", "b.bak"]).exits(0);
    drop(server);
}
