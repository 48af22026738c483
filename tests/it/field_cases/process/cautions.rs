//! What is risky or mistyped around the process, told at the start and by `serve --check`.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Arriving, Serving, set_mode};
use crate::black_box::NO_NAMES;
use crate::support::binary::{Ran, command, init, run};

const CHECK: [&str; 4] = ["serve", "--check", "--listen", "127.0.0.1:0"];

/// What `serve --check` warns of; it stays a success.
#[track_caller]
fn warnings(mut command: Command) -> String {
    let ran = Ran::of(command.output().unwrap()).exits(0);
    assert_eq!(ran.out, "the configuration is valid\n");
    assert!(ran.err.lines().all(|line| line.starts_with("portcullis: warning: ")), "{}", ran.err);
    ran.err
}

#[track_caller]
fn warns(command: Command, parts: &[&str]) {
    let told = warnings(command);
    for part in parts {
        assert!(told.contains(part), "{part} in {told:?}");
    }
}

fn check(dir: &Path, more: &[&str]) -> Command {
    command(dir, &[&CHECK, more].concat())
}

#[test]
fn h19_a_master_key_that_others_can_read_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    assert_eq!(warnings(check(dir.path(), &[])), "", "a fresh directory is in order");
    let key = dir.path().join("portcullis-data/master.key");
    for mode in [0o644, 0o640, 0o604, 0o620] {
        set_mode(&key, mode);
        warns(check(dir.path(), &[]), &["master.key", &format!("{mode:o}"), "chmod 600"]);
    }
    // By a link, it is the file that counts.
    let elsewhere = dir.path().join("elsewhere.key");
    std::fs::copy(&key, &elsewhere).unwrap();
    symlink(&elsewhere, dir.path().join("link.key")).unwrap();
    set_mode(&elsewhere, 0o644);
    set_mode(&key, 0o600);
    warns(check(dir.path(), &["--master-key-file", "link.key"]), &["link.key", "644"]);
    set_mode(&elsewhere, 0o400);
    assert_eq!(warnings(check(dir.path(), &["--master-key-file", "link.key"])), "");
}

#[tokio::test]
async fn h19_the_warning_is_in_the_log_of_the_start() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let key = dir.path().join("portcullis-data/master.key");
    set_mode(&key, 0o644);
    let mut server = Serving::start(dir.path(), &NO_NAMES, Stdio::piped());
    let log = Arriving::from(server.child.stderr.take().unwrap());
    log.shows("chmod 600").await;
    let text = log.text();
    let line = text.lines().find(|line| line.contains("chmod 600")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["level"], "WARN", "{line}");
}

#[test]
fn h19_whoever_may_exchange_the_key_or_the_configuration_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let data = dir.path().join("portcullis-data");
    set_mode(&data, 0o777);
    warns(check(dir.path(), &[]), &["portcullis-data", "777", "chmod 700"]);
    set_mode(&data, 0o755);
    warns(check(dir.path(), &[]), &["portcullis-data", "755"]);
    set_mode(&data, 0o700);
    // A key in a folder in which others may put another in its place.
    let shared = dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::rename(data.join("master.key"), shared.join("k")).unwrap();
    set_mode(&shared, 0o777);
    warns(check(dir.path(), &["--master-key-file", "shared/k"]), &["shared", "777"]);
    set_mode(&shared, 0o755);
    let with_key = ["--master-key-file", "shared/k"];
    assert_eq!(warnings(check(dir.path(), &with_key)), "");
    std::fs::write(dir.path().join("p.toml"), "log = \"info\"\n").unwrap();
    set_mode(&dir.path().join("p.toml"), 0o666);
    warns(check(dir.path(), &[&with_key[..], &["--config", "p.toml"]].concat()), &["p.toml", "666"]);
    set_mode(&dir.path().join("p.toml"), 0o644);
    assert_eq!(warnings(check(dir.path(), &[&with_key[..], &["--config", "p.toml"]].concat())), "");
}

#[test]
fn h19_a_key_in_the_environment_is_warned_of_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let key = std::fs::read_to_string(dir.path().join("portcullis-data/master.key")).unwrap();
    let mut command = check(dir.path(), &[]);
    command.env("PORTCULLIS_MASTER_KEY", key.trim());
    let told = warnings(command);
    assert!(told.contains("PORTCULLIS_MASTER_KEY") && !told.contains(key.trim()), "{told}");
}

#[test]
fn h19_a_check_finds_a_taken_port_and_a_mistyped_variable() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    warns(command(dir.path(), &["serve", "--check", "--listen", &listen]), &["listen", &listen, "in use"]);
    drop(taken);
    assert_eq!(warnings(command(dir.path(), &["serve", "--check", "--listen", &listen])), "");
    let mut command = check(dir.path(), &[]);
    command.env("PORTCULLIS_LISTNE", "1").env("PORTCULLIS_NO_SUCH_THING", "1").env("PORTCULLIS_LOG", "warn");
    let told = warnings(command);
    assert!(told.contains("PORTCULLIS_LISTNE") && told.contains("did you mean PORTCULLIS_LISTEN"), "{told}");
    assert!(told.contains("PORTCULLIS_NO_SUCH_THING") && !told.contains("PORTCULLIS_LOG "), "{told}");
}

#[test]
fn h19_the_help_of_a_command_shows_what_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let help = |command: &[&str]| run(dir.path(), &[command, &["--help"]].concat()).exits(0).out;
    let backup = help(&["backup"]);
    for flag in ["--listen", "--limit", "--public-url", "--bootstrap-token-file", "--egress", "--log"] {
        for (command, text) in
            [("backup", &backup), ("restore", &help(&["restore"])), ("token", &help(&["token", "create"]))]
        {
            assert!(!text.contains(flag), "{command}: {flag}: {text}");
        }
    }
    assert!(backup.contains("--data-dir") && backup.contains("--config"), "{backup}");
    assert!(help(&["restore"]).contains("--master-key-file"));
    let init = help(&["init"]);
    assert!(init.contains("--bootstrap-token-file") && !init.contains("--listen"), "{init}");
    assert!(help(&["serve"]).contains("--listen"));
}
