//! Login requests: what their templates may name, and what is taken from their answers.

use super::*;
use crate::token_plan::{Capture, StepBody};

fn exchange(steps: Value, more: Value) -> Value {
    let mut document = with(json!({
        "auth_type": "token_exchange", "auth": { "steps": steps },
        "auth_schema": { "fields": [{ "name": "user", "secret": false }, { "name": "password" },
            { "name": "key", "type": "pem" }] },
    }));
    merge(&mut document, more);
    document
}

fn step(request: Value, capture: Value) -> Value {
    let mut own = json!({ "url": "https://a.salesforce.com/login" });
    merge(&mut own, request);
    json!({ "request": own, "capture": capture })
}

fn token() -> Value {
    json!({ "access_token": "/token" })
}

fn one(request: Value) -> Value {
    exchange(json!([step(request, token())]), json!({}))
}

#[test]
fn an_answers_value_can_be_named_from_the_next_step_on() {
    let uses = |name: &str| json!({ "headers": { "X-Session": format!("{{{{cred.{name}}}}}") } });
    let two = |first: Value, second: Value| exchange(json!([first, second]), json!({}));
    let session = json!({ "session": "header:X-Session" });
    expect([
        (two(step(json!({}), session.clone()), step(uses("session"), token())), &[][..]),
        (
            two(step(uses("session"), token()), step(json!({}), session.clone())),
            &[("/auth/steps/0/request/headers/X-Session", "template_unknown_variable")],
        ),
        (
            exchange(json!([step(uses("access_token"), token())]), json!({})),
            &[("/auth/steps/0/request/headers/X-Session", "template_unknown_variable")],
        ),
        (
            exchange(json!([step(json!({}), session.clone())]), json!({})),
            &[("/auth/steps", "auth_incomplete")],
        ),
        (
            exchange(
                json!([step(json!({}), session)]),
                json!({ "auth": { "value": "{{cred.session}}", "in": "cookie", "name": "sid" } }),
            ),
            &[],
        ),
    ]);
}

#[test]
fn captures_have_names_and_places() {
    let capture = |name: &str, place: &str| {
        let mut all = token();
        all[name] = json!(place);
        exchange(json!([step(json!({}), all)]), json!({}))
    };
    for place in ["/a/b", "header:X-Session", "cookie:sid", "/a:b"] {
        expect([(capture("session", place), &[][..])]);
    }
    let plan = connector(&capture("session", "header:X-Session")).auth.token.clone().unwrap();
    assert!(
        plan.obtain[0].capture.contains(&("session".to_owned(), Capture::Header("x-session".to_owned())))
    );
    for place in ["token", "", "body:/x", "header:a b", "cookie:", "header:"] {
        expect([(capture("session", place), &[("/auth/steps/0/capture/session", "pointer_invalid")][..])]);
    }
    expect([
        (capture("a.b", "/a"), &[("/auth/steps/0/capture/a.b", "wrong_form")][..]),
        (capture("1", "/a"), &[("/auth/steps/0/capture/1", "wrong_form")]),
        (capture("password", "/a"), &[("/auth/steps/0/capture/password", "duplicate_capture")]),
        (capture("user", "/a"), &[("/auth/steps/0/capture/user", "duplicate_capture")]),
        (
            exchange(json!([step(json!({}), token()), step(json!({}), token())]), json!({})),
            &[("/auth/steps/1/capture/access_token", "duplicate_capture")],
        ),
    ]);
}

#[test]
fn a_body_is_parted_into_what_is_written_and_what_is_secret() {
    let body = json!({ "user": "{{cred.user}}", "kind": "login", "in": { "password": "{{cred.password}}",
        "n": 1 } });
    let plan = connector(&one(json!({ "body": body }))).auth.token.clone().unwrap();
    let StepBody::Json(fixed) = &plan.obtain[0].body else { panic!("json") };
    assert_eq!(*fixed, json!({ "kind": "login", "in": { "n": 1 } }));
    let places: Vec<_> = plan.obtain[0].injection.body.iter().map(|(path, _)| path.join(".")).collect();
    assert_eq!(places, ["user", "in.password"]);
}

#[test]
fn templates_stand_where_they_are_rendered() {
    let at = "/auth/steps/0/request";
    let refused = |request: Value, member: &str, code: &'static str| {
        let pointer = format!("{at}/{member}");
        expect([(one(request), &[(pointer.as_str(), code)][..])]);
    };
    expect([
        (one(json!({ "body": { "a": [1, "b"] } })), &[][..]),
        (one(json!({ "body": { "a": "{{cred.password}}" }, "body_type": "form" })), &[]),
        (one(json!({ "method": "GET" })), &[]),
        (
            one(json!({ "headers": { "Accept": "text/plain", "Authorization": "Basic {{cred.password}}" } })),
            &[],
        ),
    ]);
    refused(json!({ "body": { "a": ["{{cred.password}}"] } }), "body/a", "template_invalid");
    refused(json!({ "body": { "a": [{ "b": "{{cred.password}}" }] } }), "body/a", "template_invalid");
    refused(json!({ "body": "{{cred.password}}" }), "body", "wrong_type");
    refused(json!({ "body": { "a": "{{input.Email}}" } }), "body/a", "template_unknown_variable");
    refused(json!({ "body": { "a": { "b": 1 } }, "body_type": "form" }), "body/a", "wrong_type");
    refused(json!({ "body": {}, "body_type": "xml" }), "body_type", "not_in_list");
    refused(json!({ "body_type": "form" }), "body_type", "body_unused");
    refused(json!({ "method": "GET", "body": {} }), "body", "method_without_body");
    refused(json!({ "headers": { "Cookie": "a={{cred.password}}" } }), "headers/Cookie", "header_forbidden");
    refused(json!({ "headers": { "X-A": "1", "x-a": "2" } }), "headers/x-a", "auth_duplicate");
    refused(json!({ "headers": { "X-A": "a\nb" } }), "headers/X-A", "template_invalid");
    let steps = json!([step(json!({}), token())]);
    let mut late = exchange(steps, json!({}));
    late["auth"]["steps"][0]["expires_in_path"] = json!("ttl");
    expect([(late, &[("/auth/steps/0/expires_in_path", "pointer_invalid")][..])]);
}

#[test]
fn a_jwt_is_made_wherever_a_step_names_it_and_only_then() {
    let signed =
        |request: Value, auth: Value| exchange(json!([step(request, token())]), json!({ "auth": auth }));
    let jwt = json!({ "alg": "RS256", "key_field": "key" });
    let in_body = json!({ "body": { "assertion": "{{jwt.token}}" } });
    let in_header = json!({ "headers": { "Authorization": "Bearer {{jwt.token}}" } });
    for request in [in_body.clone(), in_header] {
        let plan = connector(&signed(request, jwt.clone())).auth.token.clone().unwrap();
        assert!(plan.obtain[0].injection.jwt.is_some());
    }
    expect([
        (signed(in_body, json!({})), &[("/auth/alg", "auth_incomplete")][..]),
        (signed(json!({}), jwt), &[("/auth/alg", "auth_unused"), ("/auth/key_field", "auth_unused")]),
    ]);
}
