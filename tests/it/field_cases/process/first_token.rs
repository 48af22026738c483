//! The first platform token, which is shown once: it cannot be lost for ever.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::{Serving, full_pipe, listing};
use crate::black_box::NO_NAMES;
use crate::support::binary::{Ran, command, init, run};

/// A platform token for an operator who has none: of `init`, if that can be run again, or made offline.
fn token_again(dir: &Path) -> String {
    let again = run(dir, &["init"]);
    let ran = if again.code == Some(0) { again } else { run(dir, &["token", "create"]).exits(0) };
    let mut lines = ran.out.lines().filter(|line| line.starts_with("pc_platform_"));
    lines.next().expect("no token").to_owned()
}

async fn works(dir: &Path, token: &str) {
    let server = Serving::start(dir, &NO_NAMES, Stdio::null());
    server.client(token).get("/admin/org").await.is(200);
}

#[tokio::test]
async fn h13_an_init_killed_before_its_token_was_read_is_no_dead_end() {
    let dir = tempfile::tempdir().unwrap();
    // It is killed while it waits for a reader of its first line.
    let (_reader, writer) = full_pipe();
    let mut child = command(dir.path(), &["init"]).stdout(writer).stderr(Stdio::null()).spawn().unwrap();
    let mut before = listing(dir.path());
    loop {
        std::thread::sleep(Duration::from_millis(400));
        let now = listing(dir.path());
        if now == before && now.iter().any(|path| path.contains("/store")) {
            break;
        }
        before = now;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    works(dir.path(), &token_again(dir.path())).await;
}

#[tokio::test]
async fn h13_a_token_that_could_not_be_shown_is_an_error_and_init_can_be_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran = command(dir.path(), &["init"]).stdout(full).output().unwrap();
    let ran = Ran::of(ran).exits(1);
    assert!(ran.err.contains("could not be shown") && ran.err.contains("again"), "{}", ran.err);
    run(dir.path(), &["serve", "--check"]).exits(64);
    works(dir.path(), &init(dir.path())).await;
}

#[tokio::test]
async fn h13_a_lost_token_is_made_again_offline_by_who_has_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let first = init(dir.path());
    let ran = run(dir.path(), &["token", "create", "--label", "after the loss"]).exits(0);
    let token = ran.out.trim().to_owned();
    assert!(token.starts_with("pc_platform_") && token != first, "{ran:?}");
    assert!(!ran.err.contains(&token));
    let server = Serving::start(dir.path(), &NO_NAMES, Stdio::null());
    let listed = server.client(&token).get("/admin/token").await.is(200);
    assert!(listed.text.contains("after the loss"), "{}", listed.text);
    server.client(&first).get("/admin/org").await.is(200);
    let ran = run(dir.path(), &["token", "create"]).exits(1);
    assert!(ran.err.contains("is in use") && !ran.out.contains("pc_"), "{ran:?}");
    server.kill();
    let other = tempfile::tempdir().unwrap();
    init(other.path());
    let key = other.path().join("portcullis-data/master.key");
    let ran = run(dir.path(), &["token", "create", "--master-key-file", key.to_str().unwrap()]).exits(1);
    assert!(ran.err.contains("key") && !ran.out.contains("pc_"), "{ran:?}");
    let ran = run(dir.path(), &["token", "create", "--data-dir", "nothing"]).exits(64);
    assert!(ran.err.contains("never initialised") && !dir.path().join("nothing").exists(), "{ran:?}");
}

#[test]
fn h13_what_init_suggests_next_names_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(dir.path(), &["init", "--data-dir", "my data", "--master-key-file", "k"]).exits(0);
    let next = ran.out.lines().find_map(|line| line.strip_prefix("next: portcullis ")).unwrap().to_owned();
    let line = format!("exec \"$0\" {next} --check --listen 127.0.0.1:0");
    let binary = crate::support::binary::path();
    let mut checked = std::process::Command::new("/bin/sh");
    checked.args(["-c", &line]).arg(binary).current_dir(dir.path()).env_clear();
    let ran = Ran::of(checked.output().unwrap()).exits(0);
    assert_eq!(ran.out, "the configuration is valid\n");
    // The neighbour: where the defaults are used, they are not repeated.
    let ran = run(dir.path(), &["init"]).exits(0);
    assert!(ran.out.lines().any(|line| line == "next: portcullis serve"), "{}", ran.out);
}
