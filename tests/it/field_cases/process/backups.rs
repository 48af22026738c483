//! Backups, and commands that are given a directory that is none.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::{Serving, listing, mode};
use crate::black_box::NO_NAMES;
use crate::support::binary::{Ran, command_behind, init, move_aside, run};

#[test]
fn h8_a_backup_of_a_directory_that_init_never_saw_is_refused_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("mine")).unwrap();
    fs::write(dir.path().join("mine/notes"), "x").unwrap();
    fs::create_dir_all(dir.path().join("other/store")).unwrap();
    let before = listing(dir.path());
    for data in ["mine", "other", "portcullis-dta"] {
        let ran = run(dir.path(), &["backup", "--data-dir", data, "a.bak"]).exits(64);
        assert!(ran.err.contains(data) && ran.err.contains("never initialised"), "{}", ran.err);
        assert_eq!(ran.out, "");
        assert_eq!(listing(dir.path()), before, "{data}");
    }
    // The neighbour.
    init(dir.path());
    let ran = run(dir.path(), &["backup", "a.bak"]).exits(0);
    assert!(ran.out.starts_with("backed up ") && !ran.out.contains(" 0 records"), "{}", ran.out);
}

#[test]
fn h8_no_command_but_init_makes_files_in_a_directory_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    run(dir.path(), &["backup", "a.bak"]).exits(0);
    let key = dir.path().join("portcullis-data/master.key");
    let key = key.to_str().unwrap();
    fs::create_dir(dir.path().join("mine")).unwrap();
    fs::write(dir.path().join("mine/notes"), "x").unwrap();
    fs::create_dir_all(dir.path().join("other/store/of-mine")).unwrap();
    let before = listing(dir.path());
    for data in ["mine", "other", "missing"] {
        let commands: [&[&str]; 6] = [
            &["backup", "b.bak"],
            &["restore", "a.bak", "--master-key-file", key],
            &["serve", "--listen", "127.0.0.1:0", "--master-key-file", key],
            &["serve", "--check", "--master-key-file", key],
            &["ledger", "verify"],
            &["doctor"],
        ];
        for command in commands {
            let ran = run(dir.path(), &[command, &["--data-dir", data]].concat());
            let told = format!("{}{}", ran.out, ran.err);
            assert!(command == ["doctor"] || ran.code != Some(0), "{command:?} {data}: {ran:?}");
            assert!(told.contains(data), "{command:?} names the directory: {told}");
            assert_eq!(listing(dir.path()), before, "{command:?} {data}");
        }
    }
}

/// The neighbour of the refusals above: disaster recovery, into a directory that holds the key alone.
#[tokio::test]
async fn h8_a_restore_into_an_empty_directory_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let token = init(dir.path());
    run(dir.path(), &["backup", "a.bak"]).exits(0);
    for (data, key) in [("fresh", "fresh/master.key"), ("bare", "elsewhere.key")] {
        fs::create_dir(dir.path().join(data)).unwrap();
        fs::copy(dir.path().join("portcullis-data/master.key"), dir.path().join(key)).unwrap();
        let arguments = ["restore", "--data-dir", data, "--master-key-file", key, "a.bak"];
        run(dir.path(), &arguments).exits(0);
        let more = ["--data-dir", data, "--master-key-file", key];
        let server = Serving::start(dir.path(), &[&NO_NAMES[..], &more].concat(), Stdio::null());
        server.client(&token).get("/admin/org").await.is(200);
    }
}

#[test]
fn h8_a_restore_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    run(dir.path(), &["backup", "a.bak"]).exits(0);
    let mut cut = fs::read(dir.path().join("a.bak")).unwrap();
    cut.truncate(cut.len() - 1);
    fs::write(dir.path().join("cut.bak"), cut).unwrap();
    fs::create_dir(dir.path().join("other-key")).unwrap();
    let other = run(dir.path(), &["init", "--data-dir", "other-key/data"]).exits(0);
    assert!(other.out.contains("pc_platform_"));
    let wrong = ["--master-key-file", "other-key/data/master.key"];
    let names = |dir: &Path| listing(&dir.join("portcullis-data"));
    move_aside(dir.path(), "aside");
    run(dir.path(), &["restore", "no-such.bak"]).exits(1);
    let before = names(dir.path());
    for arguments in [&["restore", "cut.bak"][..], &[&["restore", "a.bak"][..], &wrong].concat()] {
        run(dir.path(), arguments).exits(1);
        let left: Vec<_> = names(dir.path()).into_iter().filter(|path| !before.contains(path)).collect();
        assert!(left.iter().all(|path| path.ends_with("/lock")), "{left:?}");
    }
    run(dir.path(), &["restore", "a.bak"]).exits(0);
}

/// A backup under a umask that hides nothing.
fn backup_openly(dir: &Path, file: &str) -> Ran {
    let mut command = command_behind("umask 0; exec", dir, &["backup", file]);
    Ran::of(command.output().unwrap())
}

#[test]
fn h9_a_backup_is_private_and_leaves_the_files_of_others_alone() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    fs::create_dir(dir.path().join("out")).unwrap();
    let out = |name: &str| dir.path().join("out").join(name);
    // Somebody's file, and links that somebody planted, where a temporary file might go.
    for name in ["a.part", "a.bak.part", "a.bak.tmp"] {
        fs::write(out(name), "mine").unwrap();
    }
    fs::write(out("victim"), "mine").unwrap();
    std::os::unix::fs::symlink(out("victim"), out("b.part")).unwrap();
    let before = listing(&dir.path().join("out"));
    backup_openly(dir.path(), "out/a.bak").exits(0);
    backup_openly(dir.path(), "out/b.bak").exits(0);
    for name in ["a.part", "a.bak.part", "a.bak.tmp", "victim"] {
        assert_eq!(fs::read_to_string(out(name)).unwrap(), "mine", "{name}");
    }
    assert!(out("b.part").is_symlink());
    for name in ["a.bak", "b.bak"] {
        assert_eq!(mode(&out(name)), 0o600, "{name}");
    }
    let made: Vec<_> = listing(&dir.path().join("out")).into_iter().filter(|p| !before.contains(p)).collect();
    assert_eq!(made.len(), 2, "{made:?}");
}

#[test]
fn h9_a_backup_never_goes_over_what_exists() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    fs::write(dir.path().join("a.bak"), "mine").unwrap();
    std::os::unix::fs::symlink(dir.path().join("nowhere"), dir.path().join("b.bak")).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let before = listing(dir.path()).len();
    for target in ["a.bak", "b.bak", "folder"] {
        let ran = run(dir.path(), &["backup", target]).exits(1);
        assert!(ran.err.contains(target) && ran.err.contains("exists"), "{}", ran.err);
    }
    let ran = run(dir.path(), &["backup", "no-such-folder/a.bak"]).exits(1);
    assert!(ran.err.contains("no-such-folder"), "{}", ran.err);
    assert_eq!(fs::read_to_string(dir.path().join("a.bak")).unwrap(), "mine");
    assert!(!dir.path().join("nowhere").exists());
    let left: Vec<_> = listing(dir.path()).into_iter().collect();
    assert!(left.len() <= before + 1, "nothing but the lock: {left:?}");
}
