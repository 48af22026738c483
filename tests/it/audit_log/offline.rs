//! The commands that work on the data directory: tokens that they make are recorded, and the chains are checked.

use std::path::Path;

use portcullis_store::{AuditQuery, AuditRecord, Batch, Records, open_store, read_audit};
use serde_json::{Value, json};

use crate::support::Client;
use crate::support::binary::{Server, init, restore_anew, run};

async fn recorded(dir: &Path) -> Vec<AuditRecord> {
    let records = Records::new(open_store(&dir.join("portcullis-data/store")).unwrap());
    let query = AuditQuery { limit: 100, ..AuditQuery::default() };
    read_audit(&records, &query).await.unwrap().entries
}

/// Reports of the audit log, as the command prints them.
fn reports(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line.get("audit").is_some()).collect()
}

#[tokio::test]
async fn a_token_that_is_made_offline_is_recorded_as_made_offline() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    run(dir.path(), &["token", "create", "--role", "platform"]).exits(0);
    let entries = recorded(dir.path()).await;
    assert_eq!(entries.len(), 2, "the first token, and this one: {entries:?}");
    for entry in &entries {
        assert_eq!((entry.event.actor.role.as_str(), &entry.event.actor.token_id), ("offline", &None));
        assert_eq!(entry.event.action, "createToken");
        assert!(entry.event.target.starts_with("token/tok_"), "{entry:?}");
        assert!(entry.event.before.is_none() && entry.event.after.is_some(), "{entry:?}");
    }
    let lines = run(dir.path(), &["ledger", "verify", "--json"]).exits(0).json_lines();
    let found = reports(&lines);
    assert_eq!(found.len(), 1, "{lines:?}");
    assert_eq!((&found[0]["intact"], &found[0]["audit"]["records"]), (&json!(true), &json!(2)));
}

#[tokio::test]
async fn the_chains_are_checked_offline_and_a_changed_record_breaks_one() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let server = Server::start(dir.path(), &[]);
    let platform = Client::new(server.address).with_token(token);
    for org in ["acme", "globex"] {
        platform.post("/admin/org", &json!({ "org": org })).await.is(201);
    }
    // Beside a server the store cannot be looked into; the command says so, and checks the rest.
    let beside = run(dir.path(), &["ledger", "verify"]).exits(0);
    assert!(beside.err.contains("the audit log was not checked"), "{}", beside.err);
    server.kill();
    let ran = run(dir.path(), &["ledger", "verify"]).exits(0);
    for chain in
        ["audit of acme: intact, 1 records", "audit of the platform: intact", "audit of globex: intact"]
    {
        assert!(ran.out.contains(chain), "{}", ran.out);
    }
    let ran = run(dir.path(), &["ledger", "verify", "--org", "acme"]).exits(0);
    assert!(ran.out.contains("audit of acme") && !ran.out.contains("globex"), "{}", ran.out);
    run(dir.path(), &["ledger", "verify", "--org", "initech"]).exits(1);
    forge(dir.path()).await;
    let ran = run(dir.path(), &["ledger", "verify"]).exits(1);
    assert!(ran.out.contains("audit of acme: BROKEN: seq 1"), "{}", ran.out);
    assert!(ran.out.contains("audit of globex: intact"), "{}", ran.out);
}

/// Changes the record of the org `acme`.
async fn forge(dir: &Path) {
    let store = open_store(&dir.join("portcullis-data/store")).unwrap();
    let (key, found) = store.list("audit/acme/", None, 1).await.unwrap().pop().unwrap();
    let text = String::from_utf8(found.value).unwrap();
    let forged = text.replacen("createOrg", "deleteOrg", 1);
    assert_ne!(text, forged);
    store.commit(Batch::new().put(key, forged.into_bytes())).await.unwrap();
}

#[tokio::test]
async fn a_backup_has_the_log_and_a_restore_brings_it_back() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    run(dir.path(), &["backup", "a.bak"]).exits(0);
    let before = recorded(dir.path()).await;
    run(dir.path(), &["token", "create"]).exits(0);
    assert_eq!(recorded(dir.path()).await.len(), before.len() + 1);
    restore_anew(dir.path(), "aside", &["a.bak"]).exits(0);
    assert_eq!(recorded(dir.path()).await, before);
    run(dir.path(), &["ledger", "verify"]).exits(0);
}
