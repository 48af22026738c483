//! Which files the cache of compiled components accepts, and which it refuses.

use std::sync::Arc;

use portcullis_core::limits::Limits;

use super::*;

/// The text of an empty component.
const TINY: &str = "(component)";

fn sandbox() -> Sandbox {
    Sandbox::new(Arc::new(Limits { concurrent_calls: 1, ..Limits::default() })).unwrap()
}

#[test]
fn what_was_written_is_read_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CompiledCache::new(dir.path().join("compiled"), &[7; 32]);
    let identity = Identity::of(&sandbox(), TINY.as_bytes());
    assert_eq!(cache.read(&identity), None);
    cache.write(&identity, b"machine code").unwrap();
    assert_eq!(cache.read(&identity).as_deref(), Some(b"machine code".as_slice()));
    let path = cache.path(&identity);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert_eq!(cache.read(&identity), None, "byte {at}");
    }
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert_eq!(cache.read(&identity), None, "cut at {length}");
    }
    fs::write(&path, [good.as_slice(), b"!"].concat()).unwrap();
    assert_eq!(cache.read(&identity), None, "longer");
    fs::write(&path, &good).unwrap();
    assert!(cache.read(&identity).is_some());
}

#[test]
fn code_of_another_key_or_of_another_component_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox();
    let ours = CompiledCache::new(dir.path().to_owned(), &[7; 32]);
    let theirs = CompiledCache::new(dir.path().to_owned(), &[8; 32]);
    let (one, other) = (Identity::of(&sandbox, b"one"), Identity::of(&sandbox, b"other"));
    theirs.write(&one, b"code").unwrap();
    assert_eq!(ours.read(&one), None);
    ours.write(&one, b"code").unwrap();
    assert!(ours.read(&one).is_some());
    fs::rename(ours.path(&one), ours.path(&other)).unwrap();
    assert_eq!(ours.read(&other), None, "right key, code of another component");
}

#[test]
fn what_is_no_file_is_not_read_and_a_link_is_not_written_through() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let cache = CompiledCache::new(dir.path().join("compiled"), &[7; 32]);
    let identity = Identity::of(&sandbox(), TINY.as_bytes());
    cache.write(&identity, b"code").unwrap();
    let path = cache.path(&identity);
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    assert_eq!(cache.read(&identity), None);
    let precious = dir.path().join("precious");
    fs::write(&precious, b"precious").unwrap();
    let unfinished = cache.dir.join(format!("{}.{}.new", identity.0, std::process::id()));
    symlink(&precious, &unfinished).unwrap();
    cache.write(&identity, b"code").unwrap();
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    assert_eq!(cache.read(&identity).as_deref(), Some(b"code".as_slice()));
}

#[test]
fn a_file_is_its_owners_alone_and_old_ones_go() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let cache = CompiledCache::new(dir.path().to_owned(), &[7; 32]);
    let names = (0..FILES_MAX + 3).map(|n| Identity(format!("{n:03}")));
    for identity in names {
        cache.write(&identity, b"code").unwrap();
        assert_eq!(fs::metadata(cache.path(&identity)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, FILES_MAX);
    assert!(cache.read(&Identity(format!("{:03}", FILES_MAX + 2))).is_some(), "the newest stays");
}
