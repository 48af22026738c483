//! Examples of a module's actions: they run in the sandbox, with recorded answers, when the definition is saved.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::harness::{URL, accepting, admitted, definition, hostile};
use crate::support::World;

/// Where the first example of the module's action stands.
const AT: &str = "/actions/0/examples/0";

/// An example that comes out: one request, and what the module makes of its answer.
fn right() -> Value {
    json!({
        "name": "sends and tells",
        "input": { "do": "send", "url": URL, "method": "POST", "body": r#"{"a":1}"#, "credential": "default",
                   "headers": [["content-type", "application/json"]] },
        "exchanges": [{
            "expect_request": { "method": "POST", "url": URL, "body": { "a": 1 },
                                "headers": { "Content-Type": "application/json" } },
            "response": { "status": 200, "body": { "id": "7" } },
        }],
        "expect_output": { "status": 200, "redacted": false, "body": r#"{"id":"7"}"# },
    })
}

/// The same with one value set, and where that is told.
fn wrong() -> Vec<(&'static str, Value, String)> {
    let with = |pointer: &str, value: Value| {
        let mut example = right();
        *example.pointer_mut(pointer).unwrap() = value;
        example
    };
    let exchange = right()["exchanges"][0].clone();
    let request = format!("{AT}/exchanges/0/expect_request");
    let elsewhere = "https://api.salesforce.com/v1/things/2";
    vec![
        ("another URL", with("/exchanges/0/expect_request/url", json!(elsewhere)), request.clone()),
        ("another method", with("/exchanges/0/expect_request/method", json!("GET")), request.clone()),
        ("another body", with("/exchanges/0/expect_request/body", json!({ "a": 2 })), request.clone()),
        (
            "another header",
            with("/exchanges/0/expect_request/headers", json!({ "x-own": "1" })),
            request.clone(),
        ),
        (
            "another answer",
            with("/exchanges/0/response/body", json!({ "id": "8" })),
            format!("{AT}/expect_output"),
        ),
        ("another output", with("/expect_output", json!({ "status": 201 })), format!("{AT}/expect_output")),
        ("no exchange for the request", with("/exchanges", json!([])), request.clone()),
        (
            "an exchange that never is",
            with("/exchanges", json!([exchange, exchange])),
            format!("{AT}/exchanges/1/expect_request"),
        ),
        (
            "a request that the definition does not list",
            with("/input/url", json!("https://api.salesforce.com/v1/secrets/1")),
            request,
        ),
        (
            "an input that is none",
            with("/input", json!({ "do": "echo", "nothing": 1 })),
            format!("{AT}/input/nothing"),
        ),
        (
            "an end in a trap",
            with("/input", json!({ "do": "trap" })),
            format!("{AT}/exchanges/0/expect_request"),
        ),
    ]
}

fn with_examples(digest: &str, examples: Value) -> Value {
    let mut definition = definition(digest);
    definition["actions"][0]["examples"] = examples;
    definition
}

#[tokio::test]
async fn an_example_that_comes_out_is_saved_and_nothing_leaves_for_it() {
    let world = World::start().await;
    let digest = admitted(&world, hostile()).await;
    let good = with_examples(&digest, json!([right()]));
    let before = world.before().await;
    let report = world.platform.post("/admin/connector/validate", &good).await.is(200);
    assert_eq!(
        (&report.json["valid"], &report.json["errors"]),
        (&json!(true), &json!([])),
        "{}",
        report.text
    );
    assert!(!report.text.contains("module_not_checked"), "{}", report.text);
    world.assert_untouched(&before).await;
    let saved = accepting(&world.platform, "POST", "/admin/connector", &good).await.is(201);
    assert!(!saved.json["warnings"].to_string().contains("module_not_checked"), "{}", saved.text);
    world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn an_example_that_differs_is_refused_at_its_place_and_validate_says_the_same() {
    let world = World::start().await;
    let digest = admitted(&world, hostile()).await;
    let before = world.before().await;
    let mut differing = Vec::new();
    for (what, example, pointer) in wrong() {
        let bad = with_examples(&digest, json!([example]));
        let refused = world.platform.post("/admin/connector", &bad).await;
        let report = world.platform.post("/admin/connector/validate", &bad).await.is(200);
        let found: Vec<&str> = refused.violations().iter().map(|(pointer, _)| *pointer).collect();
        let is_right = refused.status == 422
            && refused.json["code"] == Code::ValidationFailed.as_str()
            && found == [pointer.as_str()]
            && report.json["valid"] == false
            && report.violations() == refused.violations();
        if !is_right {
            differing.push(format!("{what}: {} and {}", refused.text, report.text));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
    world.assert_untouched(&before).await;
}

#[tokio::test]
async fn every_example_that_differs_is_told() {
    let world = World::start().await;
    let digest = admitted(&world, hostile()).await;
    let mut other = right();
    other["expect_output"] = json!({ "status": 500 });
    let bad = with_examples(&digest, json!([right(), other, right(), other]));
    let refused = world.platform.post("/admin/connector", &bad).await.problem(Code::ValidationFailed);
    let pointers: Vec<&str> = refused.violations().iter().map(|(pointer, _)| *pointer).collect();
    assert_eq!(pointers, ["/actions/0/examples/1/expect_output", "/actions/0/examples/3/expect_output"]);
}

#[tokio::test]
async fn an_example_of_a_failure_is_the_module_s_own() {
    let world = World::start().await;
    let digest = admitted(&world, hostile()).await;
    let example = |message: &str| {
        json!([{
            "name": "fails",
            "input": { "do": "fail", "code": "made_up", "message": "no" },
            "expect_error": { "class": "permanent", "code": "made_up", "message": message },
        }])
    };
    let bad = with_examples(&digest, example("yes"));
    let refused = world.platform.post("/admin/connector", &bad).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/actions/0/examples/0/expect_error", "example_differs")]);
    let good = with_examples(&digest, example("no"));
    accepting(&world.platform, "POST", "/admin/connector", &good).await.is(201);
}

#[tokio::test]
async fn an_example_that_never_ends_is_told_and_the_next_definition_is_saved() {
    let mut stage = super::harness::quick();
    stage.limits.module_cpu_ms = 200;
    let world = stage.start().await;
    let digest = admitted(&world, hostile()).await;
    let loops = json!([{ "name": "loops", "input": { "do": "loop" }, "expect_output": null }]);
    let refused = world.platform.post("/admin/connector", &with_examples(&digest, loops)).await;
    let refused = refused.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [(AT, "example_differs")]);
    let good = with_examples(&digest, json!([right()]));
    accepting(&world.platform, "POST", "/admin/connector", &good).await.is(201);
}
