//! What a component's bytes say, and which of its imports a profile has.

use super::*;

fn codes(bytes: &[u8], limits: &Limits) -> Vec<String> {
    inspect(bytes, ProfileDef::Pure, limits).problems.into_iter().map(|problem| problem.code).collect()
}

#[test]
fn what_is_no_component_says_what_it_is() {
    let limits = Limits::default();
    let core = inspect(b"\0asm\x01\0\0\0", ProfileDef::Pure, &limits);
    assert_eq!(core.problems[0].code, "not_a_component");
    assert_eq!(core.problems[0].mend, "portcullis module pack FILE");
    for bytes in [&b""[..], b"\0", b"\0asm", b"PK\x03\x04", b"{}", b"\0asm\x0d\0\x01\0\x07\xff"] {
        assert_eq!(codes(bytes, &limits), ["not_a_component"], "{bytes:?}");
    }
    let small = Limits { module_bytes: 3, ..limits };
    assert_eq!(codes(b"\0asm", &small), ["too_large"]);
}

#[test]
fn an_empty_component_has_no_handler() {
    let empty = inspect(b"\0asm\x0d\0\x01\0", ProfileDef::Pure, &Limits::default());
    assert_eq!(empty.problems.len(), 1, "{:?}", empty.problems);
    assert_eq!(empty.problems[0].code, "no_handler");
    assert_eq!(empty.profile, Some(ProfileDef::Pure));
    assert!(is_digest(&empty.digest) && empty.digest == digest_of(b"\0asm\x0d\0\x01\0"));
}

#[test]
fn a_digest_has_one_spelling() {
    let digest = digest_of(b"");
    assert_eq!(digest, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let upper = digest.to_uppercase();
    for other in ["", "sha256:", "sha256:00", &upper, &digest[..70], digest.trim_start_matches("sha256:")] {
        assert!(!is_digest(other), "{other}");
    }
}

#[test]
fn an_import_is_judged_by_name_and_version() {
    let tools = BTreeSet::from(["componentize-py 0.25.1".to_owned()]);
    let judged_in = |profile: ProfileDef, name: &str| {
        let mut problems = Vec::new();
        profile::judge_imports(&BTreeSet::from([name.to_owned()]), &tools, profile, &mut problems);
        problems.pop().map(|problem| (problem.code, problem.mend))
    };
    let judged = |name: &str| judged_in(ProfileDef::Pure, name);
    for own in PURE {
        assert_eq!(judged(own), None);
    }
    assert_eq!(judged("portcullis:connector/outbound-http@0.2.0").unwrap().0, "world_version");
    assert_eq!(judged("portcullis:connector/vault@0.1.0").unwrap().0, "import_forbidden");
    let (code, mend) = judged("wasi:filesystem/types@0.2.9").unwrap();
    assert_eq!(code, "import_forbidden");
    assert!(mend.contains("--stub-wasi"), "{mend}");
    assert_eq!(judged_in(ProfileDef::Std, "wasi:filesystem/types@0.2.9"), None);
    assert_eq!(judged_in(ProfileDef::Std, "wasi:http/types@0.2.9").unwrap().0, "import_forbidden");
}
