//! S14: definitions whose cost is more than their size.

use serde_json::{Value, json};

use super::{definition, scene, validated};
use crate::support::binary;

fn pairs(count: usize, value: &str) -> Value {
    (0..count).map(|n| (format!("p{n}"), json!(value))).collect::<serde_json::Map<_, _>>().into()
}

fn reads(count: usize) -> Vec<Value> {
    vec![json!({ "http_method": "GET" }); count]
}

#[test]
fn s14_what_every_action_inherits_is_limited() {
    let dir = tempfile::tempdir().unwrap();
    let mut many_pairs = definition(reads(1500));
    many_pairs["default_query"] = pairs(40_000, "1");
    let mut long_pairs = definition(reads(1500));
    long_pairs["default_query"] = pairs(200, &"v".repeat(2000));
    let mut rules = definition(reads(1900));
    let predicate = json!({ "path": "/a", "in": (0..4000).collect::<Vec<u32>>() });
    rules["errors"] = json!(vec![json!({ "when": { "predicate": predicate }, "class": "quota" }); 32]);
    let mut several = definition(reads(1500));
    several["default_query"] = pairs(200, &"v".repeat(90));
    several["auth_methods"] =
        (0..8).map(|n| json!({ "id": format!("m{n}"), "auth_type": "none" })).collect::<Value>();
    let mut usual = definition(reads(1500));
    usual["default_query"] = pairs(10, "{{action.id}}");
    usual["errors"] = json!([{ "when": { "status": [429] }, "class": "rate_limit" }]);
    for (name, definition, says) in [
        ("many", &many_pairs, Some("limit is 256")),
        ("long", &long_pairs, Some("limits.inherited_bytes")),
        ("rules", &rules, Some("limits.inherited_bytes")),
        ("several", &several, Some("limits.inherited_bytes")),
        ("usual", &usual, None),
    ] {
        let file = format!("{name}.json");
        std::fs::write(dir.path().join(&file), definition.to_string()).unwrap();
        // Why the memory: what such a definition once took was 4 GiB and more.
        let command =
            binary::command_behind("ulimit -v 3000000; exec", dir.path(), &["lint", &file]).output();
        let ran = binary::Ran::of(command.unwrap());
        let ran = ran.exits(i32::from(says.is_some()));
        assert!(ran.out.contains(says.unwrap_or("ok")), "{name}: {:.500}", ran.out);
        assert!(ran.out.len() < 300_000, "{name}: {} bytes", ran.out.len());
    }
}

#[tokio::test]
async fn s14_many_members_rules_and_conditions_with_many_examples_are_bounded() {
    let (world, _acme) = scene().await;
    let body: Value = json!({ "list": (0..2000).map(|n| json!({ "a": n })).collect::<Vec<_>>() });
    let example = |n: usize| json!({ "name": format!("e{n}"), "input": {}, "response": { "status": 200, "body": body } });
    let examples = |count: usize| (0..count).map(example).collect::<Vec<_>>();
    let members = |count: usize| -> Value {
        (0..count).map(|n| (format!("m{n}"), json!("/list/*/b"))).collect::<serde_json::Map<_, _>>().into()
    };
    // Every member walks the whole list, and finds nothing.
    let wide = definition(vec![json!({ "response": { "map": members(20_000) }, "examples": examples(8) })]);
    let (codes, says) = validated(&world, &wide).await;
    assert_eq!(codes, [("too_many".to_owned(), "/actions/0/response/map".to_owned())], "{says:.300}");
    let deep = json!({ "response": { "map": members(500) }, "examples": examples(64) });
    let (codes, says) = validated(&world, &definition(vec![deep; 3])).await;
    assert_eq!(codes.len(), 1, "{codes:?}");
    assert_eq!(codes[0].0, "example_too_costly");
    assert!(says.contains("limits.definition_check_bytes"), "{says:.300}");

    // Each of its predicates walks the whole list.
    let condition = json!({ "any": vec![json!({ "path": "/list/*/a", "eq": -1 }); 60] });
    let rule = json!({ "when": { "predicate": { "not": condition } }, "class": "quota" });
    let failing = |n: usize| {
        json!({ "name": format!("e{n}"), "input": {}, "response": { "status": 500, "body": body },
                "expect_error": { "class": "quota" } })
    };
    let never = json!({ "when": { "predicate": condition }, "class": "quota" });
    let rules: Vec<Value> = vec![never; 31].into_iter().chain([rule]).collect();
    let action =
        |count: usize| json!({ "errors": rules, "examples": (0..count).map(failing).collect::<Vec<_>>() });
    let (codes, says) = validated(&world, &definition(vec![action(64); 2])).await;
    assert_eq!(codes[0].0, "example_too_costly", "{says:.300}");
    // What a real definition has is checked as ever.
    let (codes, says) = validated(&world, &definition(vec![action(2)])).await;
    assert_eq!(codes, [], "{says:.300}");
}

#[tokio::test]
async fn s14_the_cost_of_a_definition_does_not_grow_faster_than_its_size() {
    let (world, _acme) = scene().await;
    // URLs as long as they may be, held against many inputs.
    let url =
        format!("https://api.salesforce.com/v1?{}", (0..1300).map(|n| format!("p{n}&")).collect::<String>());
    let inputs: Vec<Value> = (0..200).map(|n| json!({ "name": format!("q{n}") })).collect();
    let wide =
        json!({ "http_method": "GET", "url_template": url.trim_end_matches('&'), "body_schema": inputs });
    assert_eq!(validated(&world, &definition(vec![wide; 200])).await.0, []);
    // A budget's key that names an input which only the last action has.
    let mut keyed = definition(reads(1500));
    keyed["actions"].as_array_mut().unwrap().push(json!({
        "action_id": "last", "http_method": "GET", "url_template": "https://api.salesforce.com/last",
        "body_schema": [{ "name": "last" }],
    }));
    let key = "{{input.last}}".repeat(14);
    keyed["rate_limit"] = json!(vec![json!({ "requests": 1, "key": key }); 8]);
    assert_eq!(validated(&world, &keyed).await.0, []);
    // Values that are merged into a body from two inputs.
    let object = |from: usize| -> Value {
        (from..from + 40_000).map(|n| (format!("m{n}"), json!(1))).collect::<serde_json::Map<_, _>>().into()
    };
    let input = |name: &str| json!({ "name": name, "type": "object", "path": "/same" });
    let merged = json!({ "body_schema": [input("a"), input("b")],
                         "examples": [{ "name": "e", "input": { "a": object(0), "b": object(50_000) } }] });
    assert_eq!(validated(&world, &definition(vec![merged])).await.0, []);
}
