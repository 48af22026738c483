//! Backups while others write, compared with what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use super::{client, orgs, restored};
use crate::black_box::NO_NAMES;
use crate::support::SALESFORCE;
use crate::support::binary::{Server, init, run};
use crate::support::figures::count;

/// Orgs that are made one after the other, by each of so many writers.
const WRITERS: usize = 3;

/// Backups of one installation. Why not all of one: it grows under the load, and each takes longer than the one before.
const BACKUPS_OF_ONE: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_backup_under_load_is_what_one_moment_had() {
    let backups = count("PORTCULLIS_BACKUPS", 3);
    for done in (0..backups).step_by(BACKUPS_OF_ONE) {
        backups_of_one_installation(BACKUPS_OF_ONE.min(backups - done)).await;
    }
}

async fn backups_of_one_installation(backups: usize) {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let server = Server::start(dir.path(), &NO_NAMES);
    let platform = client(&server, &token);
    platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    platform.post("/admin/org", &json!({ "org": "acme" })).await.is(201);
    platform.post("/admin/org/acme/workspace", &json!({ "workspace": "main" })).await.is(201);
    let made = |role: &str| json!({ "role": role, "org": "acme", "workspace": "main" });
    let run_token = platform.post("/admin/token", &made("run")).await.is(201).json["token"].clone();
    let calling = platform.with_token(run_token.as_str().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged: Vec<Arc<AtomicU64>> = (0..WRITERS).map(|_| Arc::default()).collect();
    let mut writing = Vec::new();
    for (writer, done) in acknowledged.iter().enumerate() {
        let (platform, stop, done) = (platform.clone(), stop.clone(), done.clone());
        writing.push(tokio::spawn(async move {
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                platform.post("/admin/org", &json!({ "org": format!("w{writer}-{n:05}") })).await.is(201);
                done.store(n + 1, Ordering::SeqCst);
            }
        }));
    }
    // Accepted runs and calls that end at once: they leave runs, ledger records and jobs.
    writing.push(tokio::spawn({
        let (stop, calling) = (stop.clone(), calling.clone());
        async move {
            let input = json!({ "input": { "Email": "ada@example.com" } });
            while !stop.load(Ordering::SeqCst) {
                let path = "/run/acme/main/connector/salesforce/create-contact";
                calling.post(path, &input).await;
            }
        }
    }));
    for n in 0..backups {
        let before: Vec<u64> = acknowledged.iter().map(|done| done.load(Ordering::SeqCst)).collect();
        let file = format!("{n}.bak");
        let (at, name) = (dir.path().to_owned(), file.clone());
        let ran = tokio::task::spawn_blocking(move || run(&at, &["backup", &name])).await.unwrap();
        assert!(ran.exits(0).out.starts_with("backed up "));
        let after: Vec<u64> = acknowledged.iter().map(|done| done.load(Ordering::SeqCst)).collect();
        let (at, back) = (dir.path().to_owned(), format!("back{n}"));
        let name = back.clone();
        tokio::task::spawn_blocking(move || restored(&at, &name, &[&file])).await.unwrap();
        let again = Server::start(dir.path(), &[&NO_NAMES[..], &["--data-dir", &back]].concat());
        let listed = orgs(&client(&again, &token)).await;
        for writer in 0..WRITERS {
            let prefix = format!("w{writer}-");
            let own: Vec<&String> = listed.iter().filter(|org| org.starts_with(&prefix)).collect();
            let wanted: Vec<String> = (0..own.len()).map(|n| format!("{prefix}{n:05}")).collect();
            assert!(
                own.iter().copied().eq(wanted.iter()),
                "as they were acknowledged, without a gap: {own:?}"
            );
            let count = own.len() as u64;
            // One more may have been made and not answered yet.
            assert!((before[writer]..=after[writer] + 1).contains(&count), "{before:?} {count} {after:?}");
        }
        // Every run that is listed can be read, with its attempts in a ledger that verifies.
        let calling = client(&again, run_token.as_str().unwrap());
        let page = calling.get("/run/acme/main?limit=100").await.is(200);
        for run in page.json["data"].as_array().unwrap() {
            calling.get(&format!("/run/acme/main/{}", run["run_id"].as_str().unwrap())).await.is(200);
        }
        again.kill();
        std::fs::remove_dir_all(dir.path().join(&back)).unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    for one in writing {
        one.await.unwrap();
    }
}
