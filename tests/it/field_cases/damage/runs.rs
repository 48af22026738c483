//! Records of runs: what is read is what was written, or an error that names the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_core::id::{OrgId, RunId, WorkspaceId};
use portcullis_store::{FileRuns, RunCursor, RunFilter, RunOrder, RunQuery, RunRecord, RunScope, Runs as _};
use serde_json::value::to_raw_value;

use crate::support::until;

use super::product::{Product, Tokens, copied, data, files, populated};

/// The files with runs of a workspace.
fn run_files(dir: &Path, org: &str) -> Vec<PathBuf> {
    let folder = data(dir).join("runs").join(org).join("main");
    files(&folder).into_iter().map(|file| folder.join(file)).collect()
}

/// Asserts that the list of acme's runs is an error naming a run file, and no run is served as other than it was.
async fn assert_named(dir: &Path, what: &str, tokens: &Tokens, ids: &[Vec<String>; 2]) {
    let product = Product::start(dir, &[]);
    let token = &tokens.orgs[0].run;
    let listed = product.get(token, "/run/acme/main?limit=100").await;
    assert_eq!(listed.status, 503, "{what}: {}", listed.text);
    assert!(listed.text.contains("runs/acme/main"), "{what}: {}", listed.text);
    until(&format!("{what}: the log names it, too"), async || product.log().contains("runs/acme/main")).await;
    for (own, id) in ids[0].iter().map(|id| (true, id)).chain(ids[1].iter().map(|id| (false, id))) {
        let found = product.get(token, &format!("/run/acme/main/{id}")).await;
        let expected: &[u16] = if own { &[200, 503] } else { &[404, 503] };
        assert!(expected.contains(&found.status), "{what}: {id} {}", found.text);
        assert!(found.status != 200 || found.json()["run_id"] == id.as_str(), "{what}: {}", found.text);
    }
    let other = product.get(&tokens.orgs[1].run, "/run/other/main?limit=100").await.is(200);
    assert_eq!(
        other.json()["data"].as_array().unwrap().len(),
        ids[1].len(),
        "{what}: others are not concerned"
    );
    product.stop();
}

#[tokio::test]
async fn h4_run_files_that_are_changed_cut_missing_or_another_orgs_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, ids) = populated(dir.path(), 3).await;
    let sound = dir.path().join("sound");
    copied(&data(dir.path()), &sound);
    let (mine, theirs) = (run_files(dir.path(), "acme"), run_files(dir.path(), "other"));
    assert_eq!((mine.len(), theirs.len()), (1, 1));
    let change = |what: &'static str| {
        copied(&sound, &data(dir.path()));
        let bytes = fs::read(&mine[0]).unwrap();
        let changed = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            fs::write(&mine[0], bytes).unwrap();
        };
        let digit = || {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let changed = text.replacen("\"revision\":1", "\"revision\":2", 1);
            assert_ne!(changed, text);
            fs::write(&mine[0], changed).unwrap();
        };
        match what {
            "a digit changed to another" => digit(),
            "a byte changed in the middle" => changed(bytes.len() / 2),
            "the last byte changed" => changed(bytes.len() - 1),
            "cut by 40 bytes" => fs::write(&mine[0], &bytes[..bytes.len() - 40]).unwrap(),
            "cut to nothing" => fs::write(&mine[0], "").unwrap(),
            "deleted" => fs::remove_file(&mine[0]).unwrap(),
            "its directory deleted" => fs::remove_dir_all(mine[0].parent().unwrap()).unwrap(),
            "another org's in its place" => assert_ne!(fs::copy(&theirs[0], &mine[0]).unwrap(), 0),
            _ => unreachable!(),
        }
    };
    for what in [
        "a digit changed to another",
        "a byte changed in the middle",
        "the last byte changed",
        "cut by 40 bytes",
        "cut to nothing",
        "deleted",
        "its directory deleted",
        "another org's in its place",
    ] {
        change(what);
        assert_named(dir.path(), what, &tokens, &ids).await;
    }
    copied(&sound, &data(dir.path()));
    let product = Product::start(dir.path(), &[]);
    let listed = product.get(&tokens.orgs[0].run, "/run/acme/main?limit=100&order=asc").await.is(200);
    let listed =
        listed.json()["data"].as_array().unwrap().iter().map(|r| r["run_id"].clone()).collect::<Vec<_>>();
    assert_eq!(listed, ids[0], "the neighbour: untouched files are read");
}

#[tokio::test]
async fn h4_a_new_run_is_kept_beside_a_damaged_file() {
    let dir = tempfile::tempdir().unwrap();
    let (tokens, ids) = populated(dir.path(), 2).await;
    let file = run_files(dir.path(), "acme").remove(0);
    let sound = fs::read(&file).unwrap();
    fs::write(&file, &sound[..sound.len() - 40]).unwrap();
    let product = Product::start(dir.path(), &[]);
    let next = super::product::refused_call(&product, &tokens, 0).await;
    let found = product.get(&tokens.orgs[0].run, &format!("/run/acme/main/{next}")).await.is(200);
    assert_eq!(found.json()["run_id"], next.as_str());
    product.get(&tokens.orgs[0].run, "/run/acme/main").await.is(503);
    product.stop();
    fs::write(&file, &sound).unwrap();
    let product = Product::start(dir.path(), &[]);
    let listed = product.get(&tokens.orgs[0].run, "/run/acme/main?order=asc").await.is(200);
    let listed =
        listed.json()["data"].as_array().unwrap().iter().map(|r| r["run_id"].clone()).collect::<Vec<_>>();
    assert_eq!(listed, [ids[0].clone(), vec![next]].concat(), "the file was put back");
}

/// A run of `acme/main` that starts at this time.
fn started_at(ms: u64) -> RunRecord {
    RunRecord {
        run_id: RunId::parse(&format!("run_{ms:012x}7abc8def0123456789ab")).unwrap(),
        org: OrgId::parse("acme").unwrap(),
        workspace: WorkspaceId::parse("main").unwrap(),
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        body: to_raw_value(&serde_json::json!({ "status": "succeeded" })).unwrap(),
    }
}

#[tokio::test]
async fn h6_runs_are_found_after_the_clock_was_three_hours_fast() {
    const HOUR: u64 = 60 * 60 * 1000;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(since.as_millis()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    // What the clock says now is three hours fast: the first file is begun now, and the runs after the correction
    // start three hours earlier. Then it is set back by a day, and forward by two.
    let starts =
        [now, now - 3 * HOUR, now - 3 * HOUR + 1, now - 27 * HOUR, now + 21 * HOUR, now - 3 * HOUR + 2];
    let (org, main) = (OrgId::parse("acme").unwrap(), WorkspaceId::parse("main").unwrap());
    let ids: Vec<RunId> = starts.iter().map(|start| started_at(*start).run_id).collect();
    for round in 0..2 {
        let runs = FileRuns::open(dir.path()).unwrap();
        if round == 0 {
            for start in starts {
                runs.append(&started_at(start)).await.unwrap();
            }
        }
        for (at, id) in ids.iter().enumerate() {
            assert!(runs.get(&org, &main, id).await.unwrap().is_some(), "run {at} is not found");
            let query = RunQuery {
                scope: RunScope::Workspace(org.clone(), main.clone()),
                filter: RunFilter::default(),
                order: RunOrder::OldestFirst,
                after: Some(RunCursor::Run(id.clone())),
                limit: 10,
            };
            let after = runs.query(&query).await.unwrap().expect("it is a cursor");
            let after: Vec<_> = after.records.into_iter().map(|run| run.run_id).collect();
            assert_eq!(after, ids[at + 1..], "after run {at}");
        }
        assert!(runs.get(&org, &main, &started_at(now - HOUR).run_id).await.unwrap().is_none());
    }
}
