//! `portcullis fsck` as a command; what it finds is tried in `field_cases/damage/corruption.rs` as well.

use serde_json::Value;

use crate::black_box::NO_NAMES;
use crate::support::binary::{Server, init, run};

#[test]
fn a_whole_directory_is_told_as_whole_and_a_damaged_one_by_file_place_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    Server::start(dir.path(), &NO_NAMES).kill();
    let ran = run(dir.path(), &["fsck"]).exits(0);
    assert!(ran.out.starts_with("no damage: "), "{}", ran.out);
    let json: Value = serde_json::from_str(&run(dir.path(), &["fsck", "--json"]).exits(0).out).unwrap();
    assert_eq!(json["whole"], true);
    assert!(
        json["report"]["records"].as_u64().unwrap() > 0
            && json["report"]["audit_records"].as_u64().unwrap() > 0
    );
    assert_eq!(json["report"]["findings"].as_array().unwrap().len(), 0);
    let watermark = dir.path().join("portcullis-data/store/watermark");
    let kept = std::fs::read(&watermark).unwrap();
    std::fs::remove_file(&watermark).unwrap();
    let ran = run(dir.path(), &["fsck"]).exits(1);
    assert!(ran.out.contains("DAMAGED store/watermark: ") && ran.out.contains("missing"), "{}", ran.out);
    let json: Value = serde_json::from_str(&run(dir.path(), &["fsck", "--json"]).exits(1).out).unwrap();
    assert_eq!(json["whole"], false);
    assert_eq!(json["report"]["findings"][0]["file"], "store/watermark");
    std::fs::write(&watermark, kept).unwrap();
    run(dir.path(), &["fsck"]).exits(0);
    // Looking did no harm.
    Server::start(dir.path(), &NO_NAMES).kill();
    let ran = run(dir.path(), &["fsck", "--data-dir", "none"]).exits(64);
    assert!(ran.err.contains("never initialised"), "{}", ran.err);
}

#[test]
fn a_directory_whose_store_is_gone_is_damaged_and_not_new() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    Server::start(dir.path(), &NO_NAMES).kill();
    std::fs::remove_dir_all(dir.path().join("portcullis-data/store")).unwrap();
    let ran = run(dir.path(), &["fsck"]).exits(1);
    assert!(ran.out.contains("DAMAGED store"), "{}", ran.out);
}
