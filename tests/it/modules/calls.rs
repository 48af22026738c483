//! Calls of a module that misbehaves: each ends with its own code, and nobody else notices.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::harness::{KEY, act, assert_others_are_served, hostile, installed, quick};
use crate::support::{Answer, Tenant, World};

async fn world() -> (World, Tenant) {
    let mut stage = quick();
    stage.limits.guest_output_bytes = 64 * 1024;
    stage.limits.request_bytes = 1024 * 1024;
    installed(stage, hostile(), &json!({})).await
}

/// Calls each; returns what is told of those that did not end with the code.
async fn wrong_ends(acme: &Tenant, cases: Vec<(Value, Code)>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (input, code) in cases {
        let answer = act(acme, input.clone()).await;
        let is_right = answer.json["code"] == code.as_str()
            && answer.status == code.status()
            && answer.json["run"]["code"] == code.as_str()
            && answer.json["run"]["status"] == "failed";
        if !is_right {
            wrong.push(format!("{input} is not {code}: {}", answer.text));
        }
    }
    wrong
}

#[tokio::test]
async fn a_module_that_goes_on_too_long_or_traps_ends_its_own_call_alone() {
    let (world, acme) = world().await;
    let before = world.before().await;
    let wrong = wrong_ends(
        &acme,
        vec![
            (json!({ "do": "loop" }), Code::GuestTimeout),
            (json!({ "do": "bulk_loop" }), Code::GuestTimeout),
            (json!({ "do": "recursion" }), Code::GuestTrapped),
            (json!({ "do": "trap" }), Code::GuestTrapped),
        ],
    )
    .await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    world.assert_nothing_looked_up(&before).await;
    // Why apart: it writes a line, and what is kept of a line is compared with the connection's secrets.
    let wrong = wrong_ends(&acme, vec![(json!({ "do": "panic" }), Code::GuestTrapped)]).await;
    assert!(wrong.is_empty() && world.upstream.received().is_empty(), "{wrong:#?}");
    assert_others_are_served(&world).await;
    act(&acme, json!({ "do": "echo" })).await.is(200);
}

#[tokio::test]
async fn a_module_that_takes_all_memory_traps_at_its_limit() {
    let (world, acme) = world().await;
    let wrong = wrong_ends(&acme, vec![(json!({ "do": "memory_bomb" }), Code::GuestTrapped)]).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    let grown = act(&acme, json!({ "do": "grow" })).await.is(200);
    let pages = grown.json["output"]["pages"].as_u64().unwrap();
    assert!((1..=512).contains(&pages), "{pages} pages of 64 KiB, the limit is 32 MiB");
    assert!(grown.json["usage"]["memory_peak_bytes"].as_u64().unwrap() <= 32 * 1024 * 1024, "{}", grown.text);
    assert_others_are_served(&world).await;
}

#[tokio::test]
async fn a_definition_lowers_the_limits_of_its_module() {
    let own = json!({ "runtime": { "limits": { "memory_bytes": 8 * 1024 * 1024, "cpu_ms": 50 } } });
    let (_world, acme) = installed(quick(), hostile(), &own).await;
    let grown = act(&acme, json!({ "do": "grow" })).await.is(200);
    assert!(grown.json["output"]["pages"].as_u64().unwrap() <= 128, "{}", grown.text);
    // Sixteen MiB at once do not fit.
    act(&acme, json!({ "do": "loop" })).await.problem(Code::GuestTimeout);
    let refused = act(&acme, json!({ "do": "bulk_loop" })).await;
    assert_eq!(refused.json["code"], Code::GuestTrapped.as_str(), "{}", refused.text);
}

#[tokio::test]
async fn the_last_words_of_a_module_that_panics_are_told() {
    let (_world, acme) = world().await;
    let answer = act(&acme, json!({ "do": "panic" })).await.problem(Code::GuestTrapped);
    let detail = answer.json["detail"].as_str().unwrap();
    assert!(detail.contains("its last words: about to panic"), "{detail}");
    let lines = answer.json["run"]["log"]["lines"].as_array().unwrap();
    assert_eq!(lines[0]["message"], "about to panic", "{}", answer.text);
    assert_eq!(lines[0]["level"], "error");
}

#[tokio::test]
async fn a_module_whose_answer_is_not_the_document_it_owes_fails_its_run() {
    let (world, acme) = world().await;
    let texts = ["", "[]", "{", "null", r#"{"upstream":{}}"#, r#"{"output":1"#, "\u{0}"];
    let cases = texts.map(|text| (json!({ "do": "document", "text": text }), Code::GuestOutputInvalid));
    let wrong = wrong_ends(&acme, cases.to_vec()).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    let good = act(&acme, json!({ "do": "document", "text": r#"{"output":{"n":1}}"# })).await.is(200);
    assert_eq!(good.json["output"], json!({ "n": 1 }));
    let broken = act(&acme, json!({ "do": "invalid_utf8" })).await;
    let code = broken.json["code"].as_str().unwrap();
    assert!(matches!(code, "guest_trapped" | "guest_output_invalid"), "{}", broken.text);
    assert_others_are_served(&world).await;
}

#[tokio::test]
async fn an_output_is_held_to_the_limit() {
    let (_world, acme) = world().await;
    let fits = act(&acme, json!({ "do": "output", "bytes": 65_000 })).await.is(200);
    assert_eq!(fits.json["output"].as_str().map(str::len), Some(65_000));
    // The last is refused before the host copies it.
    for bytes in [65_536, 1_000_000, 8_000_000] {
        act(&acme, json!({ "do": "output", "bytes": bytes })).await.problem(Code::ResponseTooLarge);
    }
}

#[tokio::test]
async fn a_module_s_own_failure_is_told_as_its_own_whatever_it_calls_it() {
    let (_world, acme) = world().await;
    let answer = act(&acme, json!({ "do": "fail", "code": "made_up", "message": "no\nway\u{1b}" })).await;
    let answer = answer.problem(Code::GuestFailed);
    assert_eq!(answer.json["detail"], "made_up: no way ", "control characters are taken out");
    assert_eq!(answer.json["run"]["error"]["code"], "made_up", "{}", answer.text);
    assert_eq!(answer.json["run"]["error"]["message"], "no way ");
    let long = "x".repeat(100_000);
    let answer = act(&acme, json!({ "do": "fail", "code": &long, "message": &long })).await;
    let answer = answer.problem(Code::GuestFailed);
    assert!(answer.json["detail"].as_str().unwrap().len() <= 64 + 2 + 1024, "it is cut");

    // A module cannot speak for the host or the gate.
    for code in ["credential_missing", "host_not_in_org", "internal", "guest_timeout", "input_invalid"] {
        let answer = act(&acme, json!({ "do": "pretend", "code": code })).await.problem(Code::GuestFailed);
        assert_eq!(answer.json["detail"], format!("{code}: this is the host speaking"));
        assert_eq!(answer.json["run"]["class"], "auth");
        assert_eq!(answer.json["run"]["status"], "failed");
    }
}

#[tokio::test]
async fn a_call_finds_nothing_of_another() {
    let (world, acme) = world().await;
    for _ in 0..3 {
        let answer = act(&acme, json!({ "do": "canary" })).await.is(200);
        assert_eq!(answer.json["output"], json!({ "zero": true }));
    }
    // Nor of one that ended badly in between.
    act(&acme, json!({ "do": "trap" })).await.problem(Code::GuestTrapped);
    let answer = act(&acme, json!({ "do": "canary" })).await.is(200);
    assert_eq!(answer.json["output"], json!({ "zero": true }));
    assert_others_are_served(&world).await;
}

#[tokio::test]
async fn a_module_is_told_its_action_and_input_and_no_secret() {
    let (world, acme) = world().await;
    let before = world.before().await;
    let answer: Answer = act(&acme, json!({ "do": "echo" })).await.is(200);
    let output = &answer.json["output"];
    assert_eq!(output["operation"], "act");
    assert_eq!(output["plan"], "{}");
    assert_eq!(output["config"], "{}");
    assert_eq!(output["input"], r#"{"do":"echo"}"#);
    assert_eq!(output["run_id"], answer.json["run_id"]);
    assert!(output["now_ms"].as_u64().unwrap() > 1_767_225_600_000, "{output}");
    assert!(!answer.text.contains(KEY), "{}", answer.text);
    assert!(answer.json["usage"]["fuel"].as_u64().unwrap() > 0, "{}", answer.text);
    world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn an_input_that_is_none_of_the_action_s_never_reaches_the_module() {
    let (_world, acme) = world().await;
    let answer = act(&acme, json!({ "do": "echo", "other": 1 })).await.problem(Code::InputInvalid);
    assert_eq!(answer.violations(), [("/input/other", "unknown_input")]);
}
