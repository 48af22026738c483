//! Backups that take only what is new, on the command line.

use serde_json::json;

use super::{client, fresh, orgs, restored};
use crate::black_box::NO_NAMES;
use crate::support::binary::{SERVE, Server, init, run};

#[tokio::test]
async fn a_chain_comes_back_in_its_order_and_in_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let server = Server::start(dir.path(), &NO_NAMES);
    let platform = client(&server, &token);
    let mut since: Option<String> = None;
    for n in 0..3 {
        platform.post("/admin/org", &json!({ "org": format!("org{n}") })).await.is(201);
        let file = format!("{n}.bak");
        let mut arguments = vec!["backup", &file];
        if let Some(since) = &since {
            arguments.extend(["--since", since]);
        }
        run(dir.path(), &arguments).exits(0);
        since = Some(file);
    }
    server.kill();
    // One more of the stopped directory continues what the server made.
    run(dir.path(), &["backup", "3.bak", "--since", "2.bak"]).exits(0);
    restored(dir.path(), "back", &["0.bak", "1.bak", "2.bak", "3.bak"]);
    let server = Server::start(dir.path(), &[&NO_NAMES[..], &["--data-dir", "back"]].concat());
    assert_eq!(orgs(&client(&server, &token)).await, ["org0", "org1", "org2"]);
    server.kill();
    for (n, (files, part)) in [
        (vec!["1.bak"], "must come before it"),
        (vec!["0.bak", "2.bak"], "2.bak: it continues"),
        (vec!["1.bak", "0.bak"], "1.bak: it continues"),
        (vec!["0.bak", "0.bak"], "full backup"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("wrong{n}");
        fresh(dir.path(), &name);
        let ran = run(dir.path(), &[&["restore", "--data-dir", &name], &files[..]].concat()).exits(1);
        assert!(ran.err.contains(part), "{files:?}: {}", ran.err);
        assert!(!dir.path().join(&name).join("store").exists());
        assert!(!dir.path().join(&name).join("restore.unfinished").exists());
    }
}

#[test]
fn a_restore_goes_over_nothing() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    run(dir.path(), &["backup", "a.bak"]).exits(0);
    let ran = run(dir.path(), &["restore", "a.bak"]).exits(1);
    assert!(ran.err.contains("a restore goes over nothing") && ran.err.contains("store"), "{}", ran.err);
    // A directory whose store is gone has the ledger still, which is proof of what happened.
    for part in ["ledger", "runs", "modules"] {
        fresh(dir.path(), part);
        std::fs::create_dir_all(dir.path().join(part).join(part).join("acme")).unwrap();
        let ran = run(dir.path(), &["restore", "--data-dir", part, "a.bak"]).exits(1);
        assert!(ran.err.contains(&format!("({part})")), "{}", ran.err);
    }
    fresh(dir.path(), "new");
    // What a restore that was killed left is no data.
    std::fs::create_dir_all(dir.path().join("new/restore.unfinished/store")).unwrap();
    run(dir.path(), &["restore", "--data-dir", "new", "a.bak"]).exits(0);
}

#[test]
fn a_restore_that_was_cut_off_is_not_initialised_over() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    run(dir.path(), &["backup", "a.bak"]).exits(0);
    fresh(dir.path(), "new");
    let left = dir.path().join("new/restore.unfinished/store");
    std::fs::create_dir_all(&left).unwrap();
    for arguments in [vec!["init", "--data-dir", "new"], [&SERVE[..], &["--data-dir", "new"]].concat()] {
        let ran = run(dir.path(), &arguments).exits(64);
        assert!(ran.err.contains("run it again: portcullis restore --data-dir new"), "{}", ran.err);
    }
    assert!(left.exists() && !dir.path().join("new/store").exists());
    run(dir.path(), &["restore", "--data-dir", "new", "a.bak"]).exits(0);
    run(dir.path(), &["fsck", "--data-dir", "new"]).exits(0);
    // Killed while it gave the parts their places: the store, which comes last, is missing.
    std::fs::create_dir_all(&left).unwrap();
    std::fs::remove_dir_all(dir.path().join("new/store")).unwrap();
    std::fs::create_dir_all(dir.path().join("new/runs/acme")).unwrap();
    for arguments in [vec!["init", "--data-dir", "new"], [&SERVE[..], &["--data-dir", "new"]].concat()] {
        let ran = run(dir.path(), &arguments).exits(64);
        assert!(ran.err.contains("move the directory aside"), "{}", ran.err);
    }
    assert!(!dir.path().join("new/store").exists());
}
