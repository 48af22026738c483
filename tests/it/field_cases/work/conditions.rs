//! S3: conditions and patterns that are many, large, or held against long texts.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{conditions, definition, save, saved, scene, soon, validated};

const LARGE: &str = "(?:[a-z]{1,60}){1,30}b";

fn grouped(predicates: Vec<Value>) -> Value {
    let groups: Vec<Value> = predicates.chunks(60).map(|chunk| json!({ "any": chunk })).collect();
    let groups: Vec<Value> = groups.chunks(60).map(|chunk| json!({ "any": chunk })).collect();
    json!({ "any": groups })
}

#[tokio::test]
async fn s3_many_conditions_are_refused_when_they_are_saved() {
    let (_world, acme) = scene().await;
    let matches = |n: usize| json!({ "path": "/l/*", "matches": format!("{LARGE}{{{}}}", n % 7 + 1) });
    for predicates in [
        (0..1000).map(matches).collect::<Vec<_>>(),
        (0..12_000).map(|n| json!({ "path": "/a", "eq": n })).collect(),
        (0..60).map(|n| json!({ "path": "/l/*", "matches": format!("{LARGE}{n}") })).collect(),
    ] {
        let answer = save(&acme, &conditions(grouped(predicates))).await.problem(Code::ValidationFailed);
        assert!(answer.text.len() < 20_000);
        let (pointer, code) = answer.violations()[0];
        assert_eq!((pointer.starts_with("/entry_conditions"), code), (true, "condition_invalid"));
        let says = answer.messages();
        assert!(says.contains("limits.predicates") || says.contains("limits.pattern_bytes"), "{says}");
    }
    let usual = (0..200).map(|n| json!({ "path": "/kind", "matches": format!("lead{n}.*") })).collect();
    let automation = saved(&acme, &conditions(grouped(usual))).await;
    soon(acme.fire(&automation, json!({ "kind": "lead199x" }))).await.is(200);
}

#[tokio::test]
async fn s3_conditions_that_cost_too_much_on_a_source_are_refused_and_not_evaluated() {
    let (world, acme) = scene().await;
    let texts: Vec<String> = vec!["a".repeat(60_000); 3];
    let numbers: Vec<u32> = vec![1; 1_000_000];
    let list: Vec<Value> = (0..2000).map(|n| json!(n + 10)).collect();
    let every = (0..100).map(|n| json!({ "path": "/n/*", "eq": n + 2 })).collect();
    for (wanted, source) in [
        (json!({ "path": "/l/*", "matches": LARGE }), json!({ "l": texts })),
        (grouped(every), json!({ "n": numbers })),
        (json!({ "path": "/n/*", "in": list }), json!({ "n": vec![1; 100_000] })),
        (json!({ "path": "/l/*", "contains": "b" }), json!({ "l": vec!["a".repeat(7_000); 1000] })),
    ] {
        let cheap = wanted["contains"].is_string();
        let automation = saved(&acme, &conditions(wanted)).await;
        let answer = soon(acme.fire(&automation, source)).await;
        if cheap {
            // Seven million bytes are looked at once.
            assert_eq!(answer.is(200).json["status"], "skipped");
            continue;
        }
        let answer = answer.problem(Code::InputInvalid);
        assert_eq!(answer.violations(), [("/source", "condition_too_costly")]);
        assert!(answer.messages().contains("limits.matching_steps"), "{}", answer.messages());
    }
    assert!(world.upstream.received().is_empty());
    let automation = saved(&acme, &conditions(json!({ "path": "/l/*", "matches": LARGE }))).await;
    soon(acme.fire(&automation, json!({ "l": ["x", "aab"] }))).await.is(200);
    assert_eq!(world.upstream.received().len(), 1);
}

#[tokio::test]
async fn s3_patterns_of_a_definition_are_compiled_once_and_bounded_together() {
    let (world, acme) = scene().await;
    let inputs = |pattern: &dyn Fn(usize) -> String, count: usize| -> Vec<Value> {
        let input = |n: usize| json!({ "name": format!("i{n}"), "pattern": pattern(n) });
        (0..count).map(input).collect()
    };
    let actions = |pattern: &dyn Fn(usize) -> String| -> Vec<Value> {
        let all = inputs(pattern, 20_000);
        all.chunks(100).map(|chunk| json!({ "body_schema": chunk })).collect()
    };
    for (pattern, limit) in [
        (&(|n| format!("x{n}")) as &dyn Fn(usize) -> String, "limits.patterns"),
        (&(|n| format!("{LARGE}{n}")), "limits.pattern_bytes"),
    ] {
        let (codes, says) = validated(&world, &definition(actions(pattern))).await;
        assert!(codes.len() <= 51 && codes.iter().any(|(code, _)| code == "pattern_invalid"), "{codes:?}");
        assert!(says.contains(limit), "{says:.500}");
    }
    // The same pattern in 20,000 places is one.
    assert_eq!(validated(&world, &definition(actions(&|_| LARGE.to_owned()))).await.0, []);
    let one = definition(vec![json!({ "body_schema": inputs(&|_| LARGE.to_owned(), 3) })]);
    world.platform.post("/admin/connector", &one).await.is(201);
    acme.workspace.put(&acme.setting("tried"), &json!({ "enabled": true })).await;
    let long = "a".repeat(60_000);
    let answer = soon(acme.call("tried", "a0", json!({ "i0": long, "i1": long, "i2": "aab" }))).await;
    let answer = answer.problem(Code::InputInvalid);
    assert_eq!(answer.violations()[0], ("/input/i0", "pattern_too_costly"));
    soon(acme.call("tried", "a0", json!({ "i0": "aab" }))).await.is(200);
}
