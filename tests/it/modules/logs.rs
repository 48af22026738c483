//! What a module writes: bounded, harmless for whoever reads it, and kept with its run.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::guests;
use super::harness::{KEY, act, hostile, installed, quick};
use crate::support::{Answer, Tenant};

/// The log of a run as it is stored.
async fn stored(acme: &Tenant, answer: &Answer) -> Value {
    let id = answer.json["run_id"].as_str().unwrap();
    acme.run.get(&format!("/run/acme/main/{id}")).await.is(200).json
}

#[tokio::test]
async fn the_first_and_the_last_lines_are_kept_with_the_run_and_the_others_counted() {
    let (_world, acme) = installed(quick(), hostile(), &json!({})).await;
    let answer = act(&acme, json!({ "do": "log_flood", "lines": 1000, "bytes": 1000 })).await.is(200);
    let stored = stored(&acme, &answer).await;
    for run in [&answer.json, &stored] {
        let lines = run["log"]["lines"].as_array().unwrap();
        let bytes: usize = lines.iter().map(|line| line["message"].as_str().unwrap().len()).sum();
        assert!((4000..=8192).contains(&bytes), "{bytes} bytes in {} lines", lines.len());
        assert_eq!(run["log"]["omitted"], 1000 - lines.len());
        assert_eq!(run["usage"]["log_bytes"], 1_000_000);
        assert_eq!(lines[0]["level"], "info");
    }
    assert_eq!(stored["log"], answer.json["log"]);
}

#[tokio::test]
async fn a_flood_of_any_form_is_bounded() {
    let (_world, acme) = installed(quick(), hostile(), &json!({})).await;
    for (lines, bytes) in [(1, 1_000_000), (20_000, 0), (20_000, 1), (100, 4096)] {
        let answer = act(&acme, json!({ "do": "log_flood", "lines": lines, "bytes": bytes })).await.is(200);
        let kept = answer.json["log"]["lines"].as_array().unwrap();
        let written: u64 = lines * bytes;
        assert_eq!(
            answer.json["usage"]["log_bytes"].as_u64().unwrap_or_default(),
            written,
            "{lines}, {bytes}"
        );
        let omitted = answer.json["log"]["omitted"].as_u64().unwrap();
        assert_eq!(kept.len() as u64 + omitted, lines, "{lines} lines of {bytes} bytes");
        assert!(answer.text.len() < 600_000, "{} bytes for {lines} lines of {bytes}", answer.text.len());
    }
}

#[tokio::test]
async fn a_line_has_no_control_characters() {
    let (_world, acme) = installed(quick(), hostile(), &json!({})).await;
    let answer = act(&acme, json!({ "do": "log", "text": "a\r\n\u{1b}[31mb\u{0}é" })).await.is(200);
    let line = &stored(&acme, &answer).await["log"]["lines"][0];
    assert_eq!(line["message"], "a\\r\\n\\u{1b}[31mb\\u{0}é");
    assert_eq!(answer.json["log"]["omitted"], 0);
}

#[tokio::test]
async fn a_secret_of_the_connection_is_not_kept_in_a_line() {
    let (_world, acme) = installed(quick(), hostile(), &json!({})).await;
    // Why this way: a module has no secret of its own, but a caller may give it one, and so may an upstream.
    let answer = act(&acme, json!({ "do": "log", "text": format!("the key is {KEY}!") })).await.is(200);
    let stored = stored(&acme, &answer).await;
    let line = stored["log"]["lines"][0]["message"].as_str().unwrap();
    assert!(line.starts_with("the key is ") && !line.contains(KEY), "{line}");
    assert!(!answer.json["log"].to_string().contains(KEY), "{}", answer.text);
}

#[tokio::test]
async fn a_module_that_writes_nothing_has_no_log() {
    let (_world, acme) = installed(quick(), &guests::good(), &json!({})).await;
    let answer = act(&acme, json!({ "do": "x" })).await.is(200);
    let stored = stored(&acme, &answer).await;
    for run in [&answer.json, &stored] {
        assert_eq!(run.get("log"), None, "{run}");
        assert_eq!(run["usage"].get("log_bytes"), None, "{run}");
    }
    // Nor has the call of an ordinary action.
    let plain = acme.call("custom", "plain", json!({})).await.is(200);
    assert_eq!(plain.json.get("log"), None);
}

#[tokio::test]
async fn the_lines_of_a_call_that_was_ended_are_kept_as_well() {
    let (_world, acme) = installed(quick(), hostile(), &json!({})).await;
    let answer = act(&acme, json!({ "do": "panic" })).await.problem(Code::GuestTrapped);
    let id = answer.json["run"]["run_id"].as_str().unwrap();
    let run = acme.run.get(&format!("/run/acme/main/{id}")).await.is(200).json;
    assert_eq!(run["log"]["lines"][0]["message"], "about to panic", "{run}");
    assert!(run["usage"]["log_bytes"].as_u64().unwrap() > 0);
}
