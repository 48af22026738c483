//! Bytes that are no module of this version: each is refused with its own code and with what mends it, and whatever
//! the bytes are, the process goes on.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::guests;
use super::harness::{act, codes, exchange_module, installed, quick, upload};
use crate::support::{Answer, World};

/// What a module of the profile `pure` may import.
const ALLOWED: &[&str] = &[
    "portcullis:connector/log@0.1.0",
    "portcullis:connector/outbound-http@0.1.0",
    "portcullis:connector/types@0.1.0",
];
/// How the call of a module that is only damaged may end, besides with an output.
const ENDS: &[&str] = &[
    "guest_trapped",
    "guest_timeout",
    "guest_failed",
    "guest_output_invalid",
    "request_too_large",
    "response_too_large",
];

/// A module whose code is not of the types that it says: its constant is a long one.
fn mistyped() -> Vec<u8> {
    let mut bytes = guests::good();
    // The whole body of the handler: no locals, i32.const 16, end.
    let body = [0x04, 0x00, 0x41, 0x10, 0x0b];
    let at = bytes.windows(body.len()).position(|window| window == body).unwrap();
    bytes[at + 2] = 0x42;
    bytes
}

#[track_caller]
fn assert_told(what: &str, refused: &Answer) {
    assert_eq!(refused.status, 422, "{what}: {}", refused.text);
    assert_eq!(refused.json["code"], "module_refused", "{what}: {}", refused.text);
    let problems = refused.json["report"]["problems"].as_array().unwrap();
    assert!(!problems.is_empty(), "{what}: {}", refused.text);
    for problem in problems {
        for member in ["code", "message", "mend"] {
            assert!(!problem[member].as_str().unwrap().is_empty(), "{what}: {problem}");
        }
    }
    assert!(refused.json["report"]["digest"].as_str().unwrap().starts_with("sha256:"), "{what}");
}

#[tokio::test]
async fn bytes_with_something_wrong_are_refused_with_a_code_of_their_own() {
    let world = World::start().await;
    let half = guests::good()[..guests::good().len() / 2].to_vec();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("nothing", Vec::new(), &["not_a_component"]),
        ("a text", b"hello".to_vec(), &["not_a_component"]),
        ("zeroes", vec![0; 4096], &["not_a_component"]),
        ("the preamble of neither", b"\0asm\x07\0\x09\0".to_vec(), &["not_a_component"]),
        ("a core module", guests::core_module(), &["not_a_component"]),
        ("half of one", half, &["not_a_component"]),
        ("a component of nothing", guests::empty_component(), &["no_handler"]),
        ("another version", guests::other_version(), &["world_version"]),
        ("a memory of 4 GiB", guests::memory_of(65_536), &["memory_too_large"]),
        ("a page more than may be", guests::memory_of(1025), &["memory_too_large"]),
        ("a table of all elements", guests::table_of(u64::from(u32::MAX)), &["table_too_large"]),
        ("an element more than may be", guests::table_of(20_001), &["table_too_large"]),
        ("a table of 2^40", guests::table_of(1 << 40), &["table_too_large", "compile_failed"]),
        ("code of other types", mistyped(), &["compile_failed"]),
    ];
    for (what, bytes, expected) in cases {
        let refused = upload(&world.platform, &bytes).await;
        assert_told(what, &refused);
        let found = codes(&refused);
        assert!(found.iter().all(|code| expected.contains(code)), "{what}: {}", refused.text);
    }
    let listed = world.platform.get("/admin/module").await.is(200);
    assert_eq!(listed.json["data"].as_array().map(Vec::len), Some(0), "nothing is kept");
    upload(&world.platform, &guests::good()).await.is(201);
}

#[tokio::test]
async fn a_memory_of_a_kind_that_is_switched_off_is_refused_by_its_kind() {
    let world = World::start().await;
    for (shared, kind) in [(true, "shared memory"), (false, "64-bit memory")] {
        let refused = upload(&world.platform, &guests::unsupported_memory(shared)).await;
        let refused = refused.problem(Code::ModuleRefused);
        assert!(codes(&refused).contains(&"compile_failed"), "{}", refused.text);
        assert!(refused.text.contains(kind), "{}", refused.text);
    }
}

#[tokio::test]
async fn an_import_that_a_module_may_not_have_is_refused_by_its_name() {
    let world = World::start().await;
    for import in guests::FORBIDDEN {
        let refused = upload(&world.platform, &guests::importing(import)).await;
        assert_told(import, &refused);
        assert_eq!(codes(&refused), ["import_forbidden"], "{import}: {}", refused.text);
        let report = &refused.json["report"];
        assert!(report["problems"][0]["message"].as_str().unwrap().contains(import), "{}", refused.text);
        let has_std = import.starts_with("wasi:") && !import.starts_with("wasi:http");
        assert_eq!(report["profile"], if has_std { json!("std") } else { Value::Null }, "{import}");
        assert!(report["imports"].as_array().unwrap().iter().any(|one| one == import), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_core_module_is_told_the_command_that_packs_it() {
    let world = World::start().await;
    let refused = upload(&world.platform, &guests::core_module()).await.problem(Code::ModuleRefused);
    assert_eq!(refused.json["report"]["problems"][0]["mend"], "portcullis module pack FILE");
    let detail = refused.json["detail"].as_str().unwrap();
    assert!(detail.contains("not_a_component") && detail.contains("portcullis module pack"), "{detail}");
}

/// How many damaged modules are tried.
fn mutations() -> usize {
    std::env::var("PORTCULLIS_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

#[track_caller]
fn assert_refused_or_harmless(what: &str, answer: &Answer) {
    assert!(matches!(answer.status, 200 | 201 | 422), "{what}: {} {}", answer.status, answer.text);
    if answer.status == 422 {
        return assert_told(what, answer);
    }
    let imports = answer.json["report"]["imports"].as_array().unwrap();
    let foreign: Vec<_> = imports.iter().filter(|one| !ALLOWED.contains(&one.as_str().unwrap())).collect();
    assert!(foreign.is_empty(), "{what} was taken with {foreign:?}");
}

#[tokio::test]
async fn a_module_that_is_cut_off_anywhere_is_refused() {
    let world = World::start().await;
    let good = guests::good();
    for (piece, bytes) in guests::truncated(&good, mutations() * 2 / 3).enumerate() {
        let what = format!("piece {piece}, {} bytes", bytes.len());
        let answer = upload(&world.platform, &bytes).await;
        assert_refused_or_harmless(&what, &answer);
    }
    upload(&world.platform, &good).await.is(201);
}

#[tokio::test]
async fn a_module_with_one_bit_changed_is_refused_or_its_calls_end_in_some_regular_way() {
    let mut stage = quick();
    stage.limits.modules = 10_000;
    let good = guests::good();
    let (world, acme) = installed(stage, &good, &serde_json::json!({})).await;
    let mut called = 0;
    for (time, bytes) in guests::flipped(&good, mutations()).enumerate() {
        let what = format!("flip {time}");
        let answer = upload(&world.platform, &bytes).await;
        assert_refused_or_harmless(&what, &answer);
        if answer.status == 422 {
            continue;
        }
        exchange_module(&world.platform, &bytes).await.is(200);
        let answer = act(&acme, serde_json::json!({ "do": "anything" })).await;
        called += 1;
        let code = answer.json["code"].as_str();
        let is_regular = answer.status == 200 || code.is_some_and(|code| ENDS.contains(&code));
        assert!(is_regular, "{what}: {} {}", answer.status, answer.text);
    }
    exchange_module(&world.platform, &good).await.is(200);
    act(&acme, serde_json::json!({ "do": "anything" })).await.is(200);
    world.platform.get("/readyz").await.is(200);
    assert!(called < mutations(), "some are refused");
}
