//! From an empty database to a verified ledger, and everything that refuses to start.

use std::fs;

use portcullis_store_conformance::cluster::Cluster;
use serde_json::Value;

use super::installation::{Installation, database, init};
use crate::field_cases::damage::product::{call, input, prepare, refused_call};
use crate::support::binary::run;

#[tokio::test]
async fn a_connector_is_made_called_and_its_ledger_verified_and_all_of_it_outlives_kill_9() {
    let Some(cluster) = Cluster::shared() else { return };
    let installed = Installation::new(cluster);
    let node = installed.node("one");
    let tokens = prepare(&node, &installed.platform).await;
    let run_id = refused_call(&node, &tokens, 0).await;
    assert_eq!(node.get("", "/readyz").await.is(200).json()["store"], true, "{}", node.log());
    node.kill();
    let node = installed.node("two");
    let found = node.get(&tokens.orgs[0].run, &format!("/run/acme/main/{run_id}")).await.is(200);
    assert_eq!(found.json()["code"], "host_not_in_org");
    let verify = node.get(&tokens.orgs[0].org, "/org/acme/outbound/verify").await.is(200);
    assert_eq!(verify.json()["intact"], true, "{}", verify.text);
    // Beside the node, as everything is read there.
    let told = installed.run(&["ledger", "verify"]).exits(0);
    assert!(told.out.contains("acme: intact, 1 records"), "{}", told.out);
    assert!(told.out.contains("audit of the platform: intact"), "{}", told.out);
    let lines = installed.run(&["ledger", "verify", "--org", "acme", "--json"]).exits(0).json_lines();
    assert!(lines.iter().all(|line| line["intact"] == true), "{lines:?}");
    installed.run(&["ledger", "verify", "--org", "globex"]).exits(1);
    let db = database(&installed.url);
    cluster.sql(
        db,
        "UPDATE portcullis.ledger_records SET line = replace(line, 'host_not_in_org', 'host_not_in_0rg')",
    );
    let told = installed.run(&["ledger", "verify"]).exits(1);
    assert!(told.out.contains("acme: BROKEN"), "{}", told.out);
}

#[test]
fn two_inits_are_one_and_the_second_changes_nothing() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = cluster.database();
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["migrate", "--store", &url]).exits(0);
    let at_once: Vec<_> = ["a", "b"]
        .map(|name| {
            let (dir, url) = (dir.path().join(name), url.clone());
            fs::create_dir(&dir).unwrap();
            std::thread::spawn(move || (run(&dir, &["init", "--store", &url]), dir))
        })
        .into_iter()
        .map(|init| init.join().unwrap())
        .collect();
    let (done, refused): (Vec<_>, Vec<_>) = at_once.iter().partition(|(ran, _)| ran.code == Some(0));
    assert_eq!((done.len(), refused.len()), (1, 1), "{at_once:?}");
    assert_eq!(refused[0].0.code, Some(64), "{at_once:?}");
    assert!(refused[0].0.err.contains("is initialised already"), "{at_once:?}");
    assert!(
        !refused[0].1.join("portcullis-data/master.key").exists(),
        "a key that opens nothing is not left"
    );
    let key = done[0].1.join("portcullis-data/master.key");
    let check = ["serve", "--check", "--store", &url, "--master-key-file", key.to_str().unwrap()];
    assert_eq!(run(dir.path(), &check).exits(0).out, "the configuration is valid\n");
    let ran = run(dir.path(), &["init", "--store", &url]).exits(64);
    assert!(ran.err.contains("is initialised already") && ran.out.is_empty(), "{ran:?}");
}

#[test]
fn a_node_refuses_a_database_that_is_not_its_own_and_says_what_to_do() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = cluster.database();
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("other.key");
    let other = tempfile::tempdir().unwrap();
    run(other.path(), &["init"]).exits(0);
    fs::copy(other.path().join("portcullis-data/master.key"), &key).unwrap();
    let serve =
        ["serve", "--listen", "127.0.0.1:0", "--store", &url, "--master-key-file", key.to_str().unwrap()];
    let ran = run(dir.path(), &serve).exits(1);
    assert!(ran.err.contains("run `portcullis migrate`"), "{}", ran.err);
    let ran = run(dir.path(), &["init", "--store", &url]).exits(1);
    assert!(ran.err.contains("run `portcullis migrate`") && ran.out.is_empty(), "{ran:?}");
    run(dir.path(), &["migrate", "--store", &url]).exits(0);
    let again = run(dir.path(), &["migrate", "--store", &url]).exits(0);
    assert!(again.out.contains("already"), "{}", again.out);
    let ran = run(dir.path(), &serve).exits(64);
    assert!(ran.err.contains("was never initialised; run portcullis init"), "{}", ran.err);
    init(dir.path(), &url);
    let ran = run(dir.path(), &serve).exits(1);
    assert!(ran.err.contains("key"), "{}", ran.err);
    let text = fs::read_to_string(&key).unwrap();
    assert!(!ran.err.contains(text.trim()), "the key is not printed");
    let check = |more: &[&str]| {
        run(
            dir.path(),
            &[&["serve", "--check", "--store", &url, "--master-key-file", "master.key"], more].concat(),
        )
    };
    check(&[]).exits(0);
    let db = database(&url);
    cluster.sql(db, "INSERT INTO portcullis.schema_version (version) VALUES (999)");
    let ran = check(&[]).exits(1);
    assert!(ran.err.contains("schema 999") && ran.err.contains("later version"), "{}", ran.err);
    let ran = run(dir.path(), &["migrate", "--store", &url]).exits(1);
    assert!(ran.err.contains("schema 999"), "{}", ran.err);
    cluster.sql(db, "DELETE FROM portcullis.schema_version WHERE version = 999");
    check(&[]).exits(0);
    let newest = "(SELECT max(version) FROM portcullis.schema_version)";
    cluster.sql(db, &format!("DELETE FROM portcullis.schema_version WHERE version = {newest}"));
    let ran = check(&[]).exits(1);
    assert!(ran.err.contains("run `portcullis migrate`"), "{}", ran.err);
}

#[test]
fn a_password_in_the_address_and_an_unverified_server_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    for (store, part) in [
        ("postgres://u:hunter2@db.example/main?sslmode=verify-full", "store_password_file"),
        ("postgres://u@db.example/main?sslmode=verify-full&password=hunter2", "store_password_file"),
        ("postgres://u@db.example/main?sslmode=require", "verify-full"),
        ("postgres://u@db.example/main", "verify-full"),
    ] {
        for command in [&["serve", "--check"][..], &["init"], &["migrate"], &["token", "create"], &["doctor"]]
        {
            let ran = run(dir.path(), &[command, &["--store", store]].concat());
            let told = format!("{}{}", ran.out, ran.err);
            assert!(matches!(ran.code, Some(1 | 64)), "{command:?}: {ran:?}");
            assert!(told.contains(part) && !told.contains("hunter2"), "{command:?}: {told}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn commands_on_the_files_of_a_directory_are_refused_and_name_what_does_it() {
    let Some(cluster) = Cluster::shared() else { return };
    let installed = Installation::new(cluster);
    let dir = installed.dir.path();
    let ran = run(dir, &["backup", "--store", &installed.url, "f"]).exits(64);
    assert!(ran.err.contains("pg_dump"), "{}", ran.err);
    let ran = run(dir, &["restore", "--store", &installed.url, "f"]).exits(64);
    assert!(ran.err.contains("pg_restore"), "{}", ran.err);
    assert!(!dir.join("f").exists());
    let made = installed.run(&["token", "create"]).exits(0);
    assert!(made.out.starts_with("pc_platform_"), "{}", made.out);
    let told = installed.run(&["doctor", "--json"]);
    let database = told.json_lines().into_iter().find(|line| line["check"] == "database").unwrap();
    assert_eq!(database["health"], "ok", "{database}");
}

#[tokio::test]
async fn a_node_with_store_migrate_brings_the_schema_up_and_the_token_of_a_command_is_valid_beside_it() {
    let Some(cluster) = Cluster::shared() else { return };
    let url = cluster.database();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.toml"), format!("store = \"{url}\"\nstore_migrate = true\n")).unwrap();
    // `init` has no flag for it: the file says so.
    run(dir.path(), &["init", "--config", "c.toml", "--master-key-file", "master.key"]).exits(0);
    // The schema as it was before its last step.
    cluster.sql(
        database(&url),
        "DROP TABLE portcullis.ledger_retention; DROP FUNCTION portcullis.ledger_cut_before; \
         ALTER TABLE portcullis.ledger_records DROP COLUMN written_at; \
         DELETE FROM portcullis.schema_version WHERE version = 7",
    );
    let installed = Installation { dir, url, platform: String::new() };
    let refused = installed.try_node("one", &[]).map(|node| node.id()).unwrap_err();
    assert!(refused.contains("run `portcullis migrate`"), "{refused}");
    let node = installed.try_node("one", &["--store-migrate"]).unwrap();
    let made = installed.run(&["token", "create"]).exits(0);
    let listed = node.get(made.out.trim(), "/admin/token").await.is(200);
    assert_eq!(listed.json()["data"].as_array().map(Vec::len), Some(2), "{}", listed.text);
    let none = node.ask("", "POST", &call("acme"), &input()).await;
    assert_eq!(
        (none.status, none.json()["code"].clone()),
        (401, Value::from("unauthorized")),
        "{}",
        none.text
    );
}
