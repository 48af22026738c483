//! Backups: by the API and by the operator at the machine, under load, and what comes back.

use std::path::Path;

use serde_json::{Value, json};

use crate::black_box::NO_NAMES;
use crate::support::binary::{Server, init, run};
use crate::support::{Client, Stage, World};

mod chains;
mod ends;
mod load;
mod socket;

/// A key pair that everybody knows, and so one for tests alone.
pub(crate) const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const IDENTITY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

/// The recipient, for a stage.
pub(crate) fn recipient() -> portcullis_store::BackupRecipient {
    portcullis_store::BackupRecipient::parse(RECIPIENT).unwrap()
}

/// A server that seals backups.
fn sealing(dir: &Path) -> Server {
    Server::start(dir, &[&NO_NAMES[..], &["--backup-recipient", RECIPIENT]].concat())
}

fn client(server: &Server, token: &str) -> Client {
    Client::new(server.address).with_token(token)
}

/// Makes a new data directory with the master key of the one of these tests.
fn fresh(dir: &Path, name: &str) {
    std::fs::create_dir(dir.join(name)).unwrap();
    std::fs::copy(dir.join("portcullis-data/master.key"), dir.join(name).join("master.key")).unwrap();
}

/// Restores into a new directory, and checks that all of it is whole.
fn restored(dir: &Path, name: &str, files: &[&str]) {
    fresh(dir, name);
    run(dir, &[&["restore", "--data-dir", name], files].concat()).exits(0);
    run(dir, &["fsck", "--data-dir", name]).exits(0);
    run(dir, &["ledger", "verify", "--data-dir", name]).exits(0);
}

/// The orgs that a server lists.
async fn orgs(client: &Client) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/admin/org?limit=100{after}")).await.is(200);
        let names = page.json["data"].as_array().unwrap().iter();
        all.extend(names.map(|org| org["org"].as_str().unwrap().to_owned()));
        match (page.json["has_more"].as_bool(), all.last()) {
            (Some(true), Some(last)) => after = format!("&starting_after={last}"),
            _ => return all,
        }
    }
}

#[tokio::test]
async fn a_stolen_platform_token_gets_nothing_where_no_recipient_is_configured() {
    let world = Stage { sled: true, ..Stage::default() }.start().await;
    let acme = world.tenant("acme", "main").await;
    let before = world.before().await;
    let refused = world.platform.post("/admin/backup", &json!(null)).await.is(403);
    assert_eq!(refused.json["code"], "backup_not_configured", "{}", refused.text);
    for other in [&acme.org, &acme.workspace, &acme.run] {
        let refused = other.post("/admin/backup", &json!(null)).await.is(403);
        assert_eq!(refused.json["code"], "role_not_allowed", "{}", refused.text);
    }
    world.assert_untouched(&before).await;
    // The neighbour: with a recipient the same request is answered, with what the token's thief cannot read.
    let stage = Stage { sled: true, backup_recipient: Some(recipient()), ..Stage::default() };
    let world = stage.start().await;
    let acme = world.tenant("acme", "main").await;
    let made = world.platform.post("/admin/backup", &json!(null)).await.is(200);
    assert!(made.text.starts_with("age-encryption.org/v1\n"));
    assert!(!made.text.contains("acme") && !made.text.contains("connector"));
    let refused = acme.org.post("/admin/backup", &json!(null)).await.is(403);
    assert_eq!(refused.json["code"], "role_not_allowed", "{}", refused.text);
    assert!(!world.data_dir().join("backup.unfinished").exists(), "nothing is left");
}

#[tokio::test]
async fn a_store_that_is_in_memory_has_no_backup() {
    let world = Stage { backup_recipient: Some(recipient()), ..Stage::default() }.start().await;
    // The ledger and the runs are in files, and the records as of one moment: it is made all the same.
    world.platform.post("/admin/backup", &json!(null)).await.is(200);
}

#[tokio::test]
async fn a_backup_over_the_api_is_recorded_and_comes_back_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let server = sealing(dir.path());
    let platform = client(&server, &token);
    platform.post("/admin/org", &json!({ "org": "acme" })).await.is(201);
    let (status, bytes) = platform.fetch("POST", "/admin/backup").await;
    assert_eq!(status, 200);
    std::fs::write(dir.path().join("a.age"), &bytes).unwrap();
    let log = platform.get("/admin/audit?limit=1").await.is(200);
    assert_eq!(log.json["data"][0]["action"], "createBackup", "{}", log.text);
    platform.post("/admin/org", &json!({ "org": "later" })).await.is(201);
    server.kill();
    std::fs::write(dir.path().join("key.txt"), format!("# a comment\n{IDENTITY}\n")).unwrap();
    fresh(dir.path(), "back");
    let ran = run(dir.path(), &["restore", "--data-dir", "back", "a.age"]).exits(1);
    assert!(ran.err.contains("--identity"), "{}", ran.err);
    run(dir.path(), &["restore", "--data-dir", "back", "--identity", "key.txt", "a.age"]).exits(0);
    run(dir.path(), &["fsck", "--data-dir", "back"]).exits(0);
    let server = Server::start(dir.path(), &[&NO_NAMES[..], &["--data-dir", "back"]].concat());
    let platform = client(&server, &token);
    assert_eq!(orgs(&platform).await, ["acme"]);
    // The backup has the record of itself.
    let log = platform.get("/admin/audit?limit=1").await.is(200);
    assert_eq!(log.json["data"][0]["action"], "createBackup", "{}", log.text);
}

#[test]
fn a_recipient_that_is_none_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let wrong = ["serve", "--check", "--backup-recipient", "ssh-ed25519 AAAA"];
    let ran = run(dir.path(), &wrong).exits(64);
    assert!(ran.err.contains("backup.recipient") && ran.err.contains("age1"), "{}", ran.err);
    run(dir.path(), &["serve", "--check", "--backup-recipient", RECIPIENT]).exits(0);
}

#[tokio::test]
async fn storage_is_told_by_kind() {
    let world: World = Stage { sled: true, ..Stage::default() }.start().await;
    let acme = world.tenant("acme", "main").await;
    let told = world.platform.get("/admin/storage").await.is(200).json;
    let kinds = told["kinds"].as_array().unwrap();
    let of = |kind: &str| kinds.iter().find(|one| one["kind"] == kind).unwrap_or(&Value::Null).clone();
    assert!(
        of("store")["bytes"].as_u64().unwrap() > 0 && of("store")["records"].as_u64().unwrap() > 0,
        "{told}"
    );
    for kind in ["ledger", "runs", "compiled", "modules"] {
        assert!(of(kind)["bytes"].is_u64(), "{kind}: {told}");
    }
    assert_eq!(told["compact_pays"], false);
    assert!(told["reclaimable_bytes"].is_u64());
    let refused = acme.org.get("/admin/storage").await.is(403);
    assert_eq!(refused.json["code"], "role_not_allowed");
}
