//! One process uses a data directory, whatever the command.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use super::{SOON, Serving, ends_within, walk};
use crate::black_box::NO_NAMES;
use crate::support::binary::{Ran, SERVE, command, init, move_aside, restore_anew, run};

/// Says that a command was refused because of the process that uses the directory.
#[track_caller]
fn in_use(ran: Ran, by: &str, process: u32) {
    let ran = ran.exits(1);
    for part in ["is in use", by, &process.to_string()] {
        assert!(ran.err.contains(part), "{part} in {}", ran.err);
    }
}

#[tokio::test]
async fn h1_a_restore_beside_a_server_is_refused_and_acknowledged_writes_stay() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    run(dir.path(), &["backup", "before.bak"]).exits(0);
    let server = Serving::start(dir.path(), &NO_NAMES, Stdio::null());
    let ran = run(dir.path(), &["restore", "before.bak"]);
    server.client(&token).post("/admin/org", &json!({ "org": "acme" })).await.is(201);
    in_use(ran, "portcullis serve", server.child.id());
    server.kill();
    let server = Serving::start(dir.path(), &NO_NAMES, Stdio::null());
    server.client(&token).get("/admin/org/acme").await.is(200);
    server.kill();
    // After kill -9 it is refused as well, because there is data; the neighbour: into a new directory.
    let ran = run(dir.path(), &["restore", "before.bak"]).exits(1);
    assert!(ran.err.contains("a restore goes over nothing"), "{}", ran.err);
    restore_anew(dir.path(), "aside", &["before.bak"]).exits(0);
    let server = Serving::start(dir.path(), &NO_NAMES, Stdio::null());
    server.client(&token).get("/admin/org/acme").await.is(404);
}

#[test]
fn h1_a_directory_in_use_is_known_by_every_spelling_and_without_its_lock_files() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    run(dir.path(), &["backup", "a.bak"]).exits(0);
    let data = dir.path().join("portcullis-data");
    std::os::unix::fs::symlink(&data, dir.path().join("link")).unwrap();
    let server = Serving::start(dir.path(), &NO_NAMES, Stdio::null());
    let process = server.child.id();
    let spellings =
        ["portcullis-data", "./portcullis-data/../portcullis-data/", "link", data.to_str().unwrap()];
    for spelling in spellings {
        in_use(run(dir.path(), &["restore", "--data-dir", spelling, "a.bak"]), "serve", process);
        in_use(run(dir.path(), &["compact", "--data-dir", spelling]), "serve", process);
        in_use(run(dir.path(), &["fsck", "--data-dir", spelling]), "serve", process);
    }
    in_use(run(dir.path(), &[&SERVE[..], &["--data-dir", "link"]].concat()), "serve", process);
    let ran = run(dir.path(), &["init", "--data-dir", "link"]).exits(64);
    assert!(ran.err.contains("is initialised already"), "{}", ran.err);
    walk(&data, &mut |path| {
        if path.file_name().is_some_and(|name| name == "lock" || name == ".lock") {
            std::fs::remove_file(path).unwrap();
        }
    });
    for arguments in [vec!["restore", "a.bak"], vec!["compact"], SERVE.to_vec()] {
        let ran = run(dir.path(), &arguments).exits(1);
        assert!(ran.err.contains("is in use"), "{arguments:?}: {}", ran.err);
    }
    server.kill();
    Serving::start(dir.path(), &NO_NAMES, Stdio::null()).kill();
}

#[test]
fn h1_a_running_restore_keeps_others_out() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    run(dir.path(), &["backup", "a.bak"]).exits(0);
    let backup = std::fs::read(dir.path().join("a.bak")).unwrap();
    move_aside(dir.path(), "aside");
    // The backup comes through a pipe, so that the restore waits for its second half.
    let mut restore = command(dir.path(), &["restore", "/dev/stdin"]);
    let mut restore =
        restore.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut pipe = restore.stdin.take().unwrap();
    let (first, second) = backup.split_at(backup.len() / 2);
    pipe.write_all(first).unwrap();
    let deadline = std::time::Instant::now() + SOON;
    while !dir.path().join("portcullis-data/restore.unfinished").exists() {
        assert!(std::time::Instant::now() < deadline, "the restore has not begun");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    in_use(run(dir.path(), &["init"]), "portcullis restore", restore.id());
    in_use(run(dir.path(), &["restore", "a.bak"]), "portcullis restore", restore.id());
    in_use(run(dir.path(), &SERVE), "portcullis restore", restore.id());
    pipe.write_all(second).unwrap();
    drop(pipe);
    assert!(ends_within(&mut restore, SOON).success());
    run(dir.path(), &["backup", "b.bak"]).exits(0);
}

/// Those that only read, and so may run beside a server.
#[test]
fn h1_commands_that_only_read_run_beside_a_server() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let server = Serving::start(dir.path(), &NO_NAMES, Stdio::null());
    run(dir.path(), &["ledger", "verify"]).exits(0);
    run(dir.path(), &["serve", "--check", "--listen", "127.0.0.1:0"]).exits(0);
    let ran = run(dir.path(), &["doctor"]);
    assert!(ran.out.contains("key id") && !ran.err.contains("in use"), "{ran:?}");
    server.kill();
}

/// The tokens that two commands print, of which at most one came to make the directory.
fn tokens(outputs: &[std::process::Output]) -> usize {
    let printed = outputs.iter().filter(|output| output.status.success());
    printed.filter(|output| String::from_utf8_lossy(&output.stdout).contains("pc_platform_")).count()
}

#[test]
fn h1_of_two_inits_at_once_one_makes_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let start = |_| {
        let mut init = command(dir.path(), &["init"]);
        init.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both: Vec<_> = (0..2).map(start).collect();
    let outputs: Vec<_> = both.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert_eq!(tokens(&outputs), 1, "{outputs:?}");
    assert!(is_served(dir.path()));
}

fn is_served(dir: &Path) -> bool {
    let ran = run(dir, &["serve", "--check", "--listen", "127.0.0.1:0"]);
    ran.code == Some(0)
}
