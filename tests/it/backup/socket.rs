//! The control socket: who may use it, and what a command gets by it.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::process::Command;

use serde_json::json;

use super::{client, orgs, restored};
use crate::black_box::NO_NAMES;
use crate::support::binary::{Server, command, init, run};

#[tokio::test]
async fn the_operator_gets_a_backup_beside_a_server_without_a_recipient_and_it_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    let server = Server::start(dir.path(), &NO_NAMES);
    let platform = client(&server, &token);
    platform.post("/admin/org", &json!({ "org": "acme" })).await.is(201);
    let socket = dir.path().join("portcullis-data/control.sock");
    let found = socket.symlink_metadata().unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    run(dir.path(), &["backup", "a.bak"]).exits(0);
    assert_eq!(dir.path().join("a.bak").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let log = platform.get("/admin/audit?limit=1").await.is(200);
    assert_eq!(log.json["data"][0]["action"], "createBackup", "{}", log.text);
    assert_eq!(log.json["data"][0]["actor"], json!({ "role": "offline" }), "{}", log.text);
    // What a process leaves that was killed does not stop the next one, nor a backup of the stopped directory.
    server.kill();
    assert!(socket.exists());
    run(dir.path(), &["backup", "stopped.bak"]).exits(0);
    let server = Server::start(dir.path(), &NO_NAMES);
    run(dir.path(), &["backup", "b.bak"]).exits(0);
    server.kill();
    restored(dir.path(), "back", &["b.bak"]);
    let server = Server::start(dir.path(), &[&NO_NAMES[..], &["--data-dir", "back"]].concat());
    assert_eq!(orgs(&client(&server, &token)).await, ["acme"]);
}

#[allow(clippy::print_stderr, reason = "what was not run is said on standard error")]
#[test]
fn another_user_is_refused_at_the_socket() {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root {
        eprintln!("NOT RUN: another_user_is_refused_at_the_socket needs root, to be another user");
        assert!(std::env::var_os("PORTCULLIS_REQUIRE_ROOT").is_none(), "root is required");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let server = Server::start(dir.path(), &NO_NAMES);
    // Also where the folders let everybody in.
    for open in [dir.path().to_owned(), dir.path().join("portcullis-data")] {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let out = tempfile::tempdir().unwrap();
    std::fs::set_permissions(out.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let file = out.path().join("a.bak");
    let data = dir.path().join("portcullis-data");
    let mut asking =
        command(dir.path(), &["backup", "--data-dir", data.to_str().unwrap(), file.to_str().unwrap()]);
    std::os::unix::process::CommandExt::uid(&mut asking, 65_534);
    let ran = asking.output().unwrap();
    assert_ne!(ran.status.code(), Some(0));
    assert!(!file.exists(), "{}", String::from_utf8_lossy(&ran.stderr));
    drop(server);
}
