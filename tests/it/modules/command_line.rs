//! `portcullis module`: the same report without a server, core modules packed, modules signed.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::guests;
use super::harness::{hostile_core, upload};
use crate::support::{World, binary};

#[test]
fn check_tells_the_report_and_exits_by_it() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, code, problem) in [
        ("good.wasm", guests::good(), 0, None),
        ("core.wasm", guests::core_module(), 1, Some("not_a_component")),
        ("empty.wasm", Vec::new(), 1, Some("not_a_component")),
        ("wasi.wasm", guests::importing("wasi:cli/environment@0.2.6"), 1, Some("import_forbidden")),
        ("other.wasm", guests::other_version(), 1, Some("world_version")),
        ("memory.wasm", guests::memory_of(65_536), 1, Some("memory_too_large")),
    ] {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        let ran = binary::run(dir.path(), &["module", "check", name, "--json"]).exits(code);
        let report: Value = serde_json::from_str(&ran.out).expect(&ran.out);
        let first = report["problems"][0]["code"].as_str();
        assert_eq!(first, problem, "{name}: {report}");
        assert!(report["digest"].as_str().unwrap().starts_with("sha256:"), "{name}: {report}");
        // For people: the same code, and what mends it.
        let told = binary::run(dir.path(), &["module", "check", name]).exits(code);
        match problem {
            Some(problem) => assert!(told.err.contains(problem) && told.err.contains("mend: "), "{told:?}"),
            None => assert!(told.out.contains("profile  pure"), "{told:?}"),
        }
    }
    binary::run(dir.path(), &["module", "check", "missing.wasm"]).exits(1);
}

#[tokio::test]
async fn the_report_of_check_is_that_of_an_upload() {
    let world = World::start().await;
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("core.wasm", guests::core_module()),
        ("wasi.wasm", guests::importing("wasi:sockets/tcp@0.2.6")),
        ("table.wasm", guests::table_of(20_001)),
        ("good.wasm", guests::good()),
    ] {
        std::fs::write(dir.path().join(name), &bytes).unwrap();
        let ran = binary::run(dir.path(), &["module", "check", name, "--json"]);
        let mut offline: Value = serde_json::from_str(&ran.out).expect(&ran.out);
        let answer = upload(&world.platform, &bytes).await;
        let mut online = answer.json["report"].clone();
        // Only an upload compiles.
        for report in [&mut offline, &mut online] {
            report["compile_ms"] = json!(null);
            report["native_bytes"] = json!(null);
        }
        assert_eq!(offline, online, "{name}");
    }
}

#[tokio::test]
async fn pack_makes_a_component_of_a_core_module_that_is_admitted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(hostile_core(), dir.path().join("hostile.wasm")).unwrap();
    binary::run(dir.path(), &["module", "check", "hostile.wasm"]).exits(1);
    let packed = binary::run(dir.path(), &["module", "pack", "hostile.wasm", "-o", "out.wasm"]).exits(0);
    assert!(packed.out.contains("out.wasm"), "{packed:?}");
    let checked = binary::run(dir.path(), &["module", "check", "out.wasm", "--json"]).exits(0);
    let report: Value = serde_json::from_str(&checked.out).expect(&checked.out);
    assert_eq!((&report["profile"], &report["problems"]), (&json!("pure"), &json!([])));
    // Without a name it stands beside its source.
    binary::run(dir.path(), &["module", "pack", "hostile.wasm"]).exits(0);
    let out = std::fs::read(dir.path().join("out.wasm")).unwrap();
    assert_eq!(std::fs::read(dir.path().join("hostile.component.wasm")).unwrap(), out);
    let world = World::start().await;
    let taken = upload(&world.platform, &out).await.is(201);
    assert_eq!(taken.json["digest"], report["digest"]);
}

#[test]
fn pack_says_what_it_cannot_pack() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("text.wasm"), b"hello").unwrap();
    // A module that exports nothing.
    std::fs::write(dir.path().join("bare.wasm"), b"\0asm\x01\0\0\0").unwrap();
    std::fs::write(dir.path().join("done.wasm"), guests::good()).unwrap();
    for name in ["text.wasm", "bare.wasm", "done.wasm", "missing.wasm"] {
        let ran = binary::run(dir.path(), &["module", "pack", name, "-o", "out.wasm"]).exits(1);
        assert!(ran.err.contains(name), "{ran:?}");
        assert!(!dir.path().join("out.wasm").exists(), "{name}");
    }
}

#[test]
fn sign_makes_a_key_that_only_its_owner_reads_and_prints_what_a_server_needs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("good.wasm"), guests::good()).unwrap();
    let ran = binary::run(dir.path(), &["module", "sign", "--key", "a.key", "good.wasm"]).exits(0);
    for name in ["digest ", "signature ", "public key "] {
        assert!(ran.out.lines().any(|line| line.starts_with(name)), "{name}: {ran:?}");
    }
    let mode = std::fs::metadata(dir.path().join("a.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    std::fs::write(dir.path().join("no.key"), b"no key").unwrap();
    for arguments in [["no.key", "good.wasm"], ["a.key", "missing.wasm"]] {
        binary::run(dir.path(), &["module", "sign", "--key", arguments[0], arguments[1]]).exits(1);
    }
    assert_eq!(std::fs::read(dir.path().join("no.key")).unwrap(), b"no key", "a file in its place is kept");
}
