//! Examples are proofs: each kind of difference has its own pointer.

use super::*;

fn document(action: Value) -> Value {
    let mut own = json!({ "headers": { "X-Version": "1" } });
    merge(&mut own, action);
    let mut document = with_action(own);
    document["test"] = json!({ "request": { "action_id": "t", "http_method": "GET",
        "url_template": "https://api.salesforce.com/me" } });
    document
}

/// A valid example, with a change.
fn example(change: Value) -> Value {
    let mut example = json!({
        "name": "A contact", "input": { "Email": "a@example.com" },
        "expect_request": {
            "method": "POST", "url": "https://api.salesforce.com/v1/contacts",
            "headers": { "x-version": "1", "Content-Type": "application/json" },
                "body": { "Email": "a@example.com" },
        },
        "response": { "status": 201, "body": { "id": "1" } },
        "expect_output": { "id": "1" },
    });
    merge(&mut example, change);
    document(json!({ "examples": [example] }))
}

#[track_caller]
fn differs(change: Value, member: &str, code: &str) {
    let pointer = format!("/actions/0/examples/0{member}");
    expect([(example(change), &[(pointer.as_str(), code)][..])]);
}

#[test]
fn each_difference_has_its_own_pointer() {
    warns(&example(json!({})), &[]);
    for (change, member) in [
        (json!({ "expect_request": { "method": "PUT" } }), "/expect_request/method"),
        (
            json!({ "expect_request": { "url": "https://api.salesforce.com/v1/contacts/" } }),
            "/expect_request/url",
        ),
        (
            json!({ "expect_request": { "headers": { "x-version": "2" } } }),
            "/expect_request/headers/x-version",
        ),
        (json!({ "expect_request": { "headers": { "X-None": "1" } } }), "/expect_request/headers/X-None"),
        (json!({ "expect_request": { "body": { "Email": "b" } } }), "/expect_request/body"),
        (json!({ "expect_request": { "body": null } }), "/expect_request/body"),
        (json!({ "expect_output": { "id": "2" } }), "/expect_output"),
        (json!({ "expect_output": null, "response": { "status": 500 } }), "/response"),
        (json!({ "expect_output": null, "expect_error": { "class": "auth" } }), "/expect_error"),
    ] {
        differs(change, member, "example_differs");
    }
    differs(json!({ "input": { "Emial": "a" } }), "/input/Emial", "unknown_input");
    differs(json!({ "input": { "Email": 5 } }), "/input/Email", "wrong_type");
    differs(json!({ "config": { "nope": "x" } }), "/config/nope", "unknown_reference");
    differs(json!({ "config": { "api_key": "x" } }), "/config/api_key", "unknown_reference");
    differs(json!({ "response": null }), "/response", "example_incomplete");
}

#[test]
fn an_expected_error_differs_member_by_member() {
    let failing = |change: Value| {
        let mut own = json!({
            "name": "limit", "input": {},
            "response": { "status": 429, "headers": { "Retry-After": "7" }, "body": { "code": "SLOW",
                "message": "wait" } },
            "expect_error": { "class": "rate_limit", "code": "SLOW", "message": "wait", "wait_ms": 7000 },
        });
        merge(&mut own, change);
        let rule = json!({ "when": { "status": [429] }, "class": "rate_limit", "code_path": "/code",
            "message_path": "/message" });
        document(json!({ "errors": [rule], "examples": [own] }))
    };
    warns(&failing(json!({})), &[]);
    for (change, member) in [
        (json!({ "class": "auth" }), "class"),
        (json!({ "code": "X" }), "code"),
        (json!({ "message": "X" }), "message"),
        (json!({ "wait_ms": 1 }), "wait_ms"),
    ] {
        let pointer = format!("/actions/0/examples/0/expect_error/{member}");
        expect([(failing(json!({ "expect_error": change })), &[(pointer.as_str(), "example_differs")][..])]);
    }
    expect([(
        failing(json!({ "expect_output": {} })),
        &[("/actions/0/examples/0/expect_error", "example_incomplete")][..],
    )]);
}

#[test]
fn an_example_that_cannot_be_rendered_says_so() {
    let action = json!({
        "url_template": "https://api.salesforce.com/{{input.id}}", "body_schema": [{ "name": "id" }],
        "examples": [{ "name": "no id", "input": {} }],
    });
    expect([(document(action), &[("/actions/0/examples/0/input", "example_not_rendered")][..])]);
}

#[test]
fn rules_that_no_example_meets_are_warned_of() {
    let rule = |status: u16| json!({ "when": { "status": [status] }, "class": "auth" });
    let met = json!({ "name": "met", "input": {}, "response": { "status": 401 },
        "expect_error": { "class": "auth" } });
    let mut proven = document(json!({ "errors": [rule(401), rule(418)], "examples": [met] }));
    proven["errors"] = json!([rule(403)]);
    warns(&proven, &[("/errors/0", "error_rule_unproven"), ("/actions/0/errors/1", "error_rule_unproven")]);
}

/// A success that matches a rule's condition does not cover the rule: the rule is never evaluated.
#[test]
fn a_success_proves_no_rule_but_one_that_makes_it_a_success() {
    let class = |class: &str, status: u16| {
        let rule = json!({ "when": { "predicate": { "path": "/a", "eq": 1 } }, "class": class });
        let example =
            json!({ "name": "e", "input": {}, "response": { "status": status, "body": { "a": 1 } } });
        document(json!({ "errors": [rule], "examples": [example] }))
    };
    warns(&class("auth", 200), &[("/actions/0/errors/0", "error_rule_unproven")]);
    warns(&class("ignored", 409), &[]);
}

#[test]
fn a_connector_with_examples_and_a_credential_should_have_a_test() {
    let mut untested = example(json!({}));
    untested.as_object_mut().unwrap().shift_remove("test");
    warns(&untested, &[("/test", "no_test")]);
    untested["auth_type"] = json!("none");
    warns(&untested, &[]);
}

#[test]
fn examples_of_the_test_and_of_discoveries_are_proofs_too() {
    let with_example = |output: Value| {
        let mut document = document(json!({}));
        document["test"]["request"]["examples"] = json!([{ "name": "me", "input": {},
            "response": { "status": 200, "body": { "id": 1 } }, "expect_output": output }]);
        document
    };
    expect([
        (with_example(json!({ "id": 1 })), &[][..]),
        (with_example(json!({ "id": 2 })), &[("/test/request/examples/0/expect_output", "example_differs")]),
    ]);
}

#[test]
fn a_paged_example_shows_its_first_request_and_its_items() {
    let paged = |output: Value| {
        document(json!({
            "http_method": "GET", "body_schema": [],
            "pagination": { "type": "page", "items": "/items", "param": "page", "limit_param": "n",
                "limit": 2 },
            "examples": [{
                "name": "list", "input": {},
                "expect_request": { "method": "GET",
                    "url": "https://api.salesforce.com/v1/contacts?n=2&page=1" },
                "response": { "status": 200, "body": { "items": [1, 2] } }, "expect_output": output,
            }],
        }))
    };
    expect([
        (paged(json!([1, 2])), &[][..]),
        (paged(json!({ "items": [1, 2] })), &[("/actions/0/examples/0/expect_output", "example_differs")]),
    ]);
}

/// An action that asks again, with an example of these exchanges.
fn asking(exchanges: Value, change: Value) -> Value {
    let mut example = json!({ "name": "A report", "input": { "Email": "a@example.com" }, "exchanges": exchanges,
        "expect_output": { "rows": [1] } });
    merge(&mut example, change);
    document(json!({
        "poll": { "url": { "path": "/links/self" }, "done": { "path": "/state", "eq": "ready" },
                  "failed": { "path": "/state", "eq": "failed" }, "result": { "url_path": "/links/file" } },
        "examples": [example],
    }))
}

/// The requests of one call: begun, asked twice, fetched.
fn exchanges() -> Vec<Value> {
    let asked = |url: &str, body: Value| {
        json!({ "expect_request": { "method": "GET", "url": url, "headers": { "x-version": "1" } },
                "response": { "status": 200, "body": body } })
    };
    vec![
        json!({ "expect_request": { "method": "POST", "url": "https://api.salesforce.com/v1/contacts",
                                    "body": { "Email": "a@example.com" } },
                "response": { "status": 202, "body": { "links": { "self": "/jobs/1" } } } }),
        asked("https://api.salesforce.com/jobs/1", json!({ "state": "busy" })),
        asked(
            "https://api.salesforce.com/jobs/1",
            json!({ "state": "ready", "links": { "file": "/files/1" } }),
        ),
        asked("https://api.salesforce.com/files/1", json!({ "rows": [1] })),
    ]
}

#[test]
fn an_example_shows_every_request_of_a_call_that_asks_again() {
    warns(&asking(json!(exchanges()), json!({})), &[]);
    // What the vendor says of failed work.
    let failed = json!([exchanges()[0], { "response": { "status": 200, "body": { "state": "failed" } } }]);
    let wrong =
        json!({ "expect_output": null, "expect_error": { "class": "permanent", "code": "poll_failed" } });
    warns(&asking(failed.clone(), wrong), &[]);
    let differs = |exchanges: Value, change: Value, member: &str, code: &str| {
        let pointer = format!("/actions/0/examples/0{member}");
        expect([(asking(exchanges, change), &[(pointer.as_str(), code)][..])]);
    };
    let changed = |index: usize, change: Value| {
        let mut all = exchanges();
        merge(&mut all[index], change);
        json!(all)
    };
    let different = "example_differs";
    differs(
        changed(1, json!({ "expect_request": { "url": "https://api.salesforce.com/jobs/2" } })),
        json!({}),
        "/exchanges/1/expect_request/url",
        different,
    );
    differs(
        changed(2, json!({ "expect_request": { "method": "POST" } })),
        json!({}),
        "/exchanges/2/expect_request/method",
        different,
    );
    differs(
        changed(1, json!({ "expect_request": { "body": {} } })),
        json!({}),
        "/exchanges/1/expect_request/body",
        different,
    );
    differs(
        changed(3, json!({ "response": { "body": { "rows": [2] } } })),
        json!({}),
        "/expect_output",
        different,
    );
    differs(
        changed(1, json!({ "response": { "body": { "state": "failed" } } })),
        json!({}),
        "/exchanges/1/response",
        different,
    );
    // Work that goes on, a call that has ended, no place to ask.
    differs(json!(exchanges()[..3]), json!({}), "/exchanges/2/response", different);
    let mut more = exchanges();
    more.push(more[3].clone());
    differs(json!(more), json!({}), "/exchanges/3/response", different);
    differs(
        changed(0, json!({ "response": { "body": { "links": null } } })),
        json!({}),
        "/exchanges/0/response",
        different,
    );
    differs(json!(exchanges()), json!({ "response": { "status": 200 } }), "/response", "example_incomplete");
    differs(failed, json!({}), "/exchanges/1/response", different);
    // Of an action that does not ask again.
    differs_plain();
}

fn differs_plain() {
    differs(json!({ "exchanges": [{ "response": { "status": 200 } }] }), "/exchanges", "module_unused");
}
