//! Everything is moved from a data directory into a database and back, and is the same.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use portcullis_store_conformance::cluster::Cluster;
use serde_json::Value;

use super::installation::{Installation, database};
use crate::field_cases::damage::product::{Product, Tokens, populated, refused_call};
use crate::support::binary::{self, Ran, run};
use crate::support::figures::{Random, seed};

/// Calls of each org before a move.
const CALLS: usize = 60;

fn migrate(dir: &Path, from: &str, to: &str) -> Ran {
    run(dir, &["migrate", "--from", from, "--to", to, "--master-key-file", "portcullis-data/master.key"])
}

/// What a move tells of the content: numbers and digests.
fn content(ran: &Ran) -> Vec<&str> {
    let lines: Vec<&str> = ran.out.lines().filter(|line| !line.starts_with("moved from ")).collect();
    assert_eq!(lines.len(), 4, "{ran:?}");
    lines
}

/// A node on the database, with the key of the directory.
fn serve(dir: &Path, url: &str) -> Product {
    let key = dir.join("portcullis-data/master.key");
    let own = dir.join("node");
    std::fs::create_dir_all(&own).unwrap();
    Product::start(&own, &["--store", url, "--master-key-file", key.to_str().unwrap()])
}

async fn has_all(product: &Product, tokens: &Tokens, ids: &[Vec<String>; 2]) {
    for (nth, org) in ["acme", "other"].into_iter().enumerate() {
        for id in &ids[nth] {
            let found = product.get(&tokens.orgs[nth].run, &format!("/run/{org}/main/{id}")).await.is(200);
            assert_eq!(found.json()["run_id"], Value::from(id.clone()));
        }
        let verify = product.get(&tokens.orgs[nth].org, &format!("/org/{org}/outbound/verify")).await.is(200);
        assert_eq!(verify.json()["intact"], true, "{}", verify.text);
    }
}

#[tokio::test]
async fn into_a_database_and_back_is_the_same_by_every_digest() {
    let Some(cluster) = Cluster::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (tokens, mut ids) = populated(dir.path(), CALLS).await;
    let url = cluster.database();
    run(dir.path(), &["migrate", "--store", &url]).exits(0);
    let there = migrate(dir.path(), "sled:portcullis-data", &url).exits(0);
    let back = migrate(dir.path(), &url, "sled:back").exits(0);
    assert_eq!(content(&there), content(&back));
    // A node writes a chain of its own; the directory goes on from it.
    let node = serve(dir.path(), &url);
    has_all(&node, &tokens, &ids).await;
    for (nth, ids) in ids.iter_mut().enumerate() {
        ids.push(refused_call(&node, &tokens, nth).await);
    }
    let refused = migrate(dir.path(), &url, "sled:again").exits(1);
    assert!(refused.err.contains("nodes serve from this database"), "{}", refused.err);
    node.stop();
    migrate(dir.path(), &url, "sled:again").exits(0);
    std::fs::rename(dir.path().join("portcullis-data"), dir.path().join("old")).unwrap();
    std::fs::rename(dir.path().join("again"), dir.path().join("portcullis-data")).unwrap();
    std::fs::copy(dir.path().join("old/master.key"), dir.path().join("portcullis-data/master.key")).unwrap();
    let verified = run(dir.path(), &["ledger", "verify"]).exits(0);
    assert!(verified.out.contains(&format!("acme: intact, {} records", CALLS + 1)), "{}", verified.out);
    assert!(dir.path().join("portcullis-data/ledger-exports/acme.ndjson").exists());
    let product = Product::start(dir.path(), &[]);
    has_all(&product, &tokens, &ids).await;
    refused_call(&product, &tokens, 0).await;
}

#[tokio::test]
async fn a_move_that_is_killed_goes_on_and_nobody_serves_from_it_meanwhile() {
    let Some(cluster) = Cluster::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (tokens, ids) = populated(dir.path(), CALLS).await;
    let url = cluster.database();
    run(dir.path(), &["migrate", "--store", &url]).exits(0);
    let mut random = Random(seed());
    let arguments = ["migrate", "--from", "sled:portcullis-data", "--to", &url];
    let mut killed = 0;
    for _ in 0..20 {
        let mut child = binary::command(dir.path(), &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The first time at once, so that it is killed at least once however fast the machine is.
        let ms = if killed == 0 { 5 } else { random.below(400) as u64 };
        tokio::time::sleep(Duration::from_millis(ms)).await;
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
        let noted = cluster.sql(database(&url), "SELECT source FROM portcullis.moving");
        if !noted.is_empty() {
            let key = dir.path().join("portcullis-data/master.key");
            let check = ["serve", "--check", "--store", &url, "--master-key-file", key.to_str().unwrap()];
            let ran = run(dir.path(), &check);
            assert_ne!(ran.code, Some(0), "a part is not served from: {ran:?}");
        }
    }
    let ended = cluster.sql(database(&url), "SELECT count(*) FROM portcullis.moving") == "0"
        && cluster.sql(database(&url), "SELECT count(*) FROM portcullis.records") != "0";
    if !ended {
        migrate(dir.path(), "sled:portcullis-data", &url).exits(0);
    }
    assert!(killed > 0, "it was killed at least once");
    let node = serve(dir.path(), &url);
    has_all(&node, &tokens, &ids).await;
    let told = run(dir.path(), &["ledger", "verify"]).exits(0);
    assert!(
        told.out.contains(&format!("acme: intact, {CALLS} records")),
        "the source is as it was: {}",
        told.out
    );
}

#[tokio::test]
async fn runs_of_which_some_were_taken_out_are_not_moved_and_the_check_names_their_chain() {
    let Some(cluster) = Cluster::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (_, _) = populated(dir.path(), 4).await;
    let url = cluster.database();
    run(dir.path(), &["migrate", "--store", &url]).exits(0);
    migrate(dir.path(), "sled:portcullis-data", &url).exits(0);
    let key = "portcullis-data/master.key";
    let check = || run(dir.path(), &["fsck", "--store", &url, "--master-key-file", key]);
    check().exits(0);
    // What the owner of the database does: the newest run of a chain to which nobody adds any more goes.
    cluster.sql(
        database(&url),
        "DELETE FROM portcullis.runs r USING portcullis.run_heads h \
         WHERE r.pos = h.pos AND r.org = 'acme' AND h.org = 'acme' AND h.node = 'moved'",
    );
    let checked = check().exits(1);
    assert!(checked.out.contains("DAMAGED runs (the chain of node moved of acme/"), "{}", checked.out);
    assert!(checked.out.contains("runs at its end are missing"), "{}", checked.out);
    let refused = migrate(dir.path(), &url, "sled:back").exits(1);
    assert!(refused.err.contains("the runs of the source are damaged"), "{}", refused.err);
    assert!(!dir.path().join("back/store").exists(), "nothing serves from what was copied");
}

#[tokio::test]
async fn a_move_into_a_directory_that_is_killed_is_not_initialised_over() {
    let Some(cluster) = Cluster::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    populated(dir.path(), CALLS).await;
    let url = cluster.database();
    run(dir.path(), &["migrate", "--store", &url]).exits(0);
    migrate(dir.path(), "sled:portcullis-data", &url).exits(0);
    let key = ["--master-key-file", "portcullis-data/master.key"];
    let back = dir.path().join("back");
    let was_killed = (0..50).any(|_| {
        // One that ended before it was killed is made anew.
        let _ = std::fs::remove_dir_all(&back);
        let arguments = [&["migrate", "--from", &url, "--to", "sled:back"][..], &key].concat();
        let mut child = binary::command(dir.path(), &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !back.join("moving.json").exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        back.join("moving.json").exists() && !back.join("store").exists()
    });
    assert!(was_killed, "it was killed before its end");
    let init = [&["init", "--data-dir", "back"][..], &key].concat();
    let serve = [&binary::SERVE[..], &["--data-dir", "back"], &key].concat();
    for arguments in [init, serve] {
        let ran = run(dir.path(), &arguments).exits(64);
        assert!(ran.err.contains("portcullis migrate --from"), "{}", ran.err);
    }
    assert!(back.join("moving.json").exists() && !back.join("store").exists());
    migrate(dir.path(), &url, "sled:back").exits(0);
    run(dir.path(), &["fsck", "--data-dir", "back"]).exits(0);
    let names = std::fs::read_dir(&back).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.starts_with("store.") || name == "moving.json"));
}

#[tokio::test]
async fn what_is_in_use_or_not_empty_is_refused_and_stays_as_it_is() {
    let Some(cluster) = Cluster::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (_, _) = populated(dir.path(), 2).await;
    let installed = Installation::new(cluster);
    let refused = migrate(dir.path(), "sled:portcullis-data", &installed.url).exits(1);
    assert!(refused.err.contains("is not empty"), "{}", refused.err);
    let empty = cluster.database();
    let refused = migrate(dir.path(), "sled:portcullis-data", &empty).exits(1);
    assert!(refused.err.contains("run `portcullis migrate`"), "{}", refused.err);
    run(dir.path(), &["migrate", "--store", &empty]).exits(0);
    let product = Product::start(dir.path(), &[]);
    let refused = migrate(dir.path(), "sled:portcullis-data", &empty).exits(1);
    assert!(refused.err.contains("is in use by `portcullis serve`"), "{}", refused.err);
    product.stop();
    for (from, to) in [("sled:portcullis-data", "sled:x"), (&*empty, &*installed.url)] {
        migrate(dir.path(), from, to).exits(64);
    }
    // Another place's unfinished move is not gone on with.
    cluster.sql(database(&empty), "INSERT INTO portcullis.moving (source) VALUES ('sled:/elsewhere')");
    let refused = migrate(dir.path(), "sled:portcullis-data", &empty).exits(1);
    assert!(refused.err.contains("sled:/elsewhere"), "{}", refused.err);
    cluster.sql(database(&empty), "DELETE FROM portcullis.moving");
    migrate(dir.path(), "sled:portcullis-data", &empty).exits(0);
}
