//! What half of an installation leads to, and what is removed at a start.

use std::fs;

use super::*;
use crate::config::{ConfigArgs, DataDirArgs};

fn config(dir: &Path) -> Config {
    let data = DataDirArgs { data_dir: Some(dir.display().to_string()), ..DataDirArgs::default() };
    Config::load(&ConfigArgs { data, ..ConfigArgs::default() }).unwrap()
}

/// Makes a file, and the folders above it.
fn file(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Files with their content, and what is told of a directory that has them.
type Half = (&'static [(&'static str, &'static str)], &'static [&'static str]);

#[test]
fn half_of_an_installation_is_refused_by_init_and_leads_to_the_command_that_goes_on() {
    const MOVING: &str = r#"{ "from": "postgres://owner@db.example/portcullis" }"#;
    let cases: [Half; 9] = [
        (
            &[("moving.json", MOVING), ("store.moving/watermark", ""), ("ledger/.lock", "")],
            &["moving.json", "portcullis migrate --from 'postgres://owner@db.example/portcullis' --to sled:"],
        ),
        (&[("moving.json", "{")], &["portcullis migrate --from 'postgres://…' --to sled:"]),
        // As an earlier version left it.
        (&[("moving.json", MOVING), ("store.unfinished/watermark", "")], &["portcullis migrate"]),
        (&[("restore.unfinished/store/watermark", "")], &["run it again: portcullis restore --data-dir"]),
        (
            &[("restore.unfinished/store/watermark", ""), ("runs/acme/main/0000000001.ndjson", "")],
            &["runs is in its place already", "move the directory aside", "portcullis restore"],
        ),
        (&[("ledger/acme/head.json", "{}")], &["(ledger)", "put its store back", "portcullis restore"]),
        (&[("runs/.heads/acme/main", "")], &["(runs)", "put its store back"]),
        (&[("modules/x.wasm", "")], &["(modules)", "put its store back"]),
        (&[("ledger-exports/acme.ndjson", "")], &["(ledger-exports)", "put its store back"]),
    ];
    for (files, parts) in cases {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            file(dir.path(), name, text);
        }
        let refused = DataDir::for_init(&config(dir.path())).unwrap_err();
        let told = never_initialised(dir.path());
        assert_eq!((refused.code, &refused.reason), (BAD_CONFIG, &told.reason));
        for part in parts {
            assert!(told.reason.contains(part), "{files:?}: {}", told.reason);
        }
        assert!(!told.reason.contains("portcullis init"), "{}", told.reason);
        assert!(files.iter().all(|(name, _)| dir.path().join(name).exists()), "nothing was removed");
        assert!(!dir.path().join("store").exists());
    }
}

#[test]
fn what_an_init_that_was_cut_off_left_and_empty_folders_lead_to_init() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), "master.key", "");
    file(dir.path(), "lock", "1 init");
    file(dir.path(), "store.unfinished/watermark", "");
    for empty in ["ledger", "runs", "modules"] {
        fs::create_dir(dir.path().join(empty)).unwrap();
    }
    assert_eq!(half_filled(dir.path()), None);
    assert!(never_initialised(dir.path()).reason.contains("run: portcullis init --data-dir"));
    assert!(never_initialised(&dir.path().join("none")).reason.contains("portcullis init"));
}

#[test]
fn a_restore_goes_over_no_move_that_was_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), "moving.json", "{}");
    let refused = DataDir::for_restore(&config(dir.path())).unwrap_err();
    assert!(refused.reason.contains("(moving.json), and a restore goes over nothing"), "{}", refused.reason);
}

#[test]
fn what_killed_commands_left_is_removed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(remove_left(dir.path()), []);
    for left in ["backup.unfinished/log/0000000001.ndjson", "store.compacting/sled/db"] {
        file(dir.path(), left, "");
    }
    for stays in ["store/watermark", "store.moving/watermark", "restore.unfinished/store/watermark"] {
        file(dir.path(), stays, "");
    }
    assert_eq!(remove_left(dir.path()), [Ok("backup.unfinished"), Ok("store.compacting")]);
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["restore.unfinished", "store", "store.moving"]);
    assert_eq!(remove_left(dir.path()), []);
    // What is no folder is told, and stays.
    file(dir.path(), "store.compacting", "");
    let told = remove_left(dir.path());
    assert!(matches!(told.as_slice(), [Err(told)] if told.contains("store.compacting")), "{told:?}");
}
