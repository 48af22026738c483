//! Every file that the product makes is its owner's alone, whatever the umask.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::{Serving, mode, walk};
use crate::black_box::{NO_NAMES, connected};
use crate::support::binary::{Ran, SERVE, command_behind, move_aside};

fn openly(dir: &Path, arguments: &[&str]) -> Ran {
    Ran::of(command_behind("umask 0; exec", dir, arguments).output().unwrap()).exits(0)
}

#[tokio::test]
async fn h9_under_umask_0_nothing_in_a_used_data_directory_is_open_to_others() {
    let dir = tempfile::tempdir().unwrap();
    openly(dir.path(), &["init", "--bootstrap-token-file", "first.token"]);
    let token = fs::read_to_string(dir.path().join("first.token")).unwrap();
    let serve = [&SERVE[..], &NO_NAMES].concat();
    let server = Serving::of(command_behind("umask 0; exec", dir.path(), &serve), Stdio::null());
    let platform = server.client(token.trim());
    let caller = platform.with_token(connected(&platform).await);
    let input = serde_json::json!({ "input": { "Email": "ada@example.org" } });
    caller.post("/run/acme/main/connector/salesforce/create-contact", &input).await;
    server.kill();
    openly(dir.path(), &["backup", "a.bak"]);
    move_aside(dir.path(), "aside");
    openly(dir.path(), &["restore", "a.bak"]);
    let mut seen = Vec::new();
    walk(dir.path(), &mut |path| {
        assert_eq!(mode(path) & 0o077, 0, "{}: {:o}", path.display(), mode(path));
        seen.push(path.display().to_string());
    });
    for part in
        ["master.key", "first.token", "store/sled/db", "/ledger/acme/", "/runs/acme/main/", ".cwasm", "a.bak"]
    {
        assert!(seen.iter().any(|path| path.contains(part)), "{part} was looked at: {seen:#?}");
    }
}
