//! `portcullis compact`: space comes back, and whenever the process is killed there is one whole store.

use std::process::Stdio;
use std::time::Duration;

use portcullis_store::{Batch, open_store};

use crate::black_box::NO_NAMES;
use crate::support::binary::{Server, command, init, run};
use crate::support::figures::{Random, count};

/// Records that are replaced over and over.
async fn grown(dir: &std::path::Path) {
    let store = open_store(&dir.join("portcullis-data/store")).unwrap();
    for round in 0..40_u64 {
        for n in 0..30_u64 {
            let value: Vec<u8> = (0..8000_u64).map(|i| (i * 31 + n * 7 + round) as u8).collect();
            store.commit(Batch::new().put(format!("thing/{n:03}"), value)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn space_comes_back_and_nothing_else_changes() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    grown(dir.path()).await;
    let told: serde_json::Value =
        serde_json::from_str(&run(dir.path(), &["compact", "--json"]).exits(0).out).unwrap();
    let bytes = |name: &str| told[name].as_u64().unwrap();
    assert!(bytes("bytes_after") < bytes("bytes_before"), "{told}");
    let ran = run(dir.path(), &["compact"]).exits(0);
    assert!(ran.out.contains("bytes are free again"), "{}", ran.out);
    assert!(!dir.path().join("portcullis-data/store.compacting").exists());
    run(dir.path(), &["fsck"]).exits(0);
    let server = Server::start(dir.path(), &NO_NAMES);
    crate::support::Client::new(server.address).with_token(token).get("/admin/org").await.is(200);
    let ran = run(dir.path(), &["compact"]).exits(1);
    assert!(ran.err.contains("is in use"), "{}", ran.err);
}

#[tokio::test]
async fn whenever_it_is_killed_there_is_one_whole_store() {
    let kills = count("PORTCULLIS_COMPACT_KILLS", 8);
    let mut random = Random(count("PORTCULLIS_SEED", 7) as u64);
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    grown(dir.path()).await;
    let expected = run(dir.path(), &["fsck", "--json"]).exits(0).out;
    for nth in 0..kills {
        let mut compacting =
            command(dir.path(), &["compact"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.below(1500) as u64));
        compacting.kill().unwrap();
        compacting.wait().unwrap();
        assert!(dir.path().join("portcullis-data/store/watermark").exists(), "kill {nth}: there is a store");
        assert_eq!(run(dir.path(), &["fsck", "--json"]).exits(0).out, expected, "kill {nth}");
    }
    run(dir.path(), &["compact"]).exits(0);
    assert_eq!(run(dir.path(), &["fsck", "--json"]).exits(0).out, expected);
}

#[tokio::test]
async fn what_killed_commands_left_goes_with_the_next_start_and_not_before_the_store_has_opened() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let data = dir.path().join("portcullis-data");
    let left = [data.join("backup.unfinished"), data.join("store.compacting")];
    for left in &left {
        std::fs::create_dir_all(left.join("log")).unwrap();
        std::fs::write(left.join("log/0000000001.ndjson"), "what was deleted since").unwrap();
    }
    let (watermark, aside) = (data.join("store/watermark"), data.join("store/watermark.aside"));
    std::fs::rename(&watermark, &aside).unwrap();
    run(dir.path(), &crate::support::binary::SERVE).exits(1);
    assert!(left.iter().all(|left| left.exists()), "a store that does not open may need the copy");
    std::fs::rename(&aside, &watermark).unwrap();
    let server = Server::start(dir.path(), &NO_NAMES);
    assert!(left.iter().all(|left| !left.exists()));
    server.kill();
    run(dir.path(), &["fsck"]).exits(0);
}
