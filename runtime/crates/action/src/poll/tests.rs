//! From an unfinished answer to the request that asks again.

use serde_json::{Value, json};

use super::*;

fn plan(written: Value) -> PollPlan {
    let mut base = json!({ "place": { "in": "header", "name": "location" } });
    base.as_object_mut().unwrap().extend(written.as_object().unwrap().clone());
    serde_json::from_value(base).unwrap()
}

fn answer(status: u16, headers: Value, body: Value) -> MappedResponse {
    let headers = headers.as_object().unwrap().clone();
    MappedResponse { status, headers, body }
}

const URL: &str = "https://api.example.com/v1/exports";

fn step(plan: &PollPlan, answer: &MappedResponse) -> Result<Step, PollError> {
    Poll::new(plan).unwrap().step(URL, answer)
}

fn ask(url: &str, result: bool) -> Result<Step, PollError> {
    Ok(Step::Ask(Asked { url: url.to_owned(), result }))
}

#[test]
fn without_done_the_status_decides() {
    let plan = plan(json!({}));
    let accepted = answer(202, json!({ "location": "/v1/jobs/7" }), Value::Null);
    assert_eq!(step(&plan, &accepted), ask("https://api.example.com/v1/jobs/7", false));
    let finished = answer(200, json!({ "location": "/v1/jobs/7" }), json!({ "rows": [] }));
    assert_eq!(step(&plan, &finished), Ok(Step::Done));
}

#[test]
fn with_done_and_failed_the_body_decides_whatever_the_status() {
    let plan = plan(json!({ "place": { "in": "body", "name": "/links/self" },
        "done": { "path": "/state", "eq": "ready" }, "failed": { "path": "/state", "eq": "error" },
        "result_url": "/links/file" }));
    let body = |state: &str| json!({ "state": state, "links": { "self": "jobs/7?x=1", "file": "/files/9" } });
    for status in [200, 201, 202] {
        let running = answer(status, json!({}), body("running"));
        assert_eq!(step(&plan, &running), ask("https://api.example.com/v1/jobs/7?x=1", false));
        assert_eq!(
            step(&plan, &answer(status, json!({}), body("ready"))),
            ask("https://api.example.com/files/9", true)
        );
        assert_eq!(step(&plan, &answer(status, json!({}), body("error"))), Ok(Step::Failed));
    }
    let no_file = answer(200, json!({}), json!({ "state": "ready" }));
    assert_eq!(step(&plan, &no_file), Err(PollError::NoResult("/links/file".to_owned())));
}

#[test]
fn the_place_is_needed_once_and_may_change() {
    let first = plan(json!({}));
    let nowhere = answer(202, json!({}), Value::Null);
    assert_eq!(step(&first, &nowhere).unwrap_err().code(), "poll_no_place");
    let asked = "https://api.example.com/v1/jobs/7";
    let again = plan(json!({ "asked": { "url": asked } }));
    assert_eq!(Poll::new(&again).unwrap().step(asked, &nowhere), ask(asked, false));
    let moved = answer(202, json!({ "location": "8" }), Value::Null);
    assert_eq!(
        Poll::new(&again).unwrap().step(asked, &moved),
        ask("https://api.example.com/v1/jobs/8", false)
    );
}

#[test]
fn another_origin_is_refused_and_named() {
    let plan = plan(json!({}));
    for (url, code) in [
        ("https://evil.com/v1/jobs/7", "poll_url_refused"),
        ("//evil.com/", "poll_url_refused"),
        ("https://api.example.com:8443/", "poll_url_refused"),
        ("ftp://api.example.com/", "poll_url_refused"),
        ("javascript:alert(1)", "poll_url_refused"),
        ("/\\evil.com", "poll_url_refused"),
        ("", "poll_no_place"),
    ] {
        let error = step(&plan, &answer(202, json!({ "location": url }), Value::Null)).unwrap_err();
        assert_eq!(error.code(), code, "{url}");
    }
}

#[test]
fn the_request_that_asks_has_no_body_no_key_and_no_inputs() {
    let plan: ActionPlan = serde_json::from_value(json!({
        "idempotency": { "in": "header", "name": "Idempotency-Key" },
        "inputs": [{ "name": "note", "wire": "X-Note", "place": "header" }],
    }))
    .unwrap();
    let header = |name: &str| (name.to_owned(), "x".to_owned());
    let own = RenderedRequest {
        method: Method::Post,
        url: URL.to_owned(),
        headers: ["content-type", "Accept", "idempotency-key", "x-note", "X-Version"].map(header).to_vec(),
        body: Some(b"{}".to_vec()),
    };
    let asked = Asked { url: format!("{URL}/7"), result: false };
    let again = request(&plan, &asked, own);
    assert_eq!((again.method, again.url.as_str(), again.body), (Method::Get, asked.url.as_str(), None));
    let names: Vec<&str> = again.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Accept", "X-Version"]);
}

#[test]
fn a_wait_is_read_as_seconds_only() {
    let of = |text: &str| asked_wait_s(json!({ "retry-after": text }).as_object().unwrap());
    assert_eq!(of(" 12 "), Some(12));
    for text in ["", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT", "99999999999"] {
        assert_eq!(of(text), None, "{text}");
    }
}
