//! Answers that cannot be read as the action needs them, the charsets and codings of bodies, and lists.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::calls::{ID, PATH, connected, definition};
use crate::support::{Answer, Script, Tenant, World};

/// A list by cursor.
fn list(more: &Value) -> Value {
    let mut pagination = json!({ "type": "cursor", "items": "/data", "cursor_path": "/next", "param": "c" });
    for (name, value) in more.as_object().unwrap() {
        pagination[name] = value.clone();
    }
    json!({ "pagination": pagination, "retry": { "max_attempts": 1 } })
}

/// Bytes with these headers.
fn bytes(status: u16, headers: &str, body: &[u8]) -> Script {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
    Script::Raw([head.as_bytes(), body].concat())
}

/// A text of this type.
pub(super) fn typed(content_type: &str, body: &str) -> Script {
    bytes(200, &format!("content-type: {content_type}\r\n"), body.as_bytes())
}

fn html() -> Script {
    typed("text/html", "<html>maintenance</html>")
}

/// A connector whose action has these members, and what a call of it gives when the upstream answers so.
async fn called(more: &Value, scripts: Vec<Script>) -> (World, Tenant, Answer) {
    let (world, acme) = connected(&definition(more, &json!({}))).await;
    world.upstream.script(PATH, Script::turns(scripts));
    let answer = acme.call(ID, "act", json!({})).await;
    (world, acme, answer)
}

#[track_caller]
fn unreadable(answer: Answer, says: &str) -> Value {
    let answer = answer.problem(Code::ResponseUnreadable);
    let run = answer.json["run"].clone();
    let message = run["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains(says), "{says} in {message}: {:?}", answer.json);
    run
}

#[tokio::test]
async fn a1_a_list_that_is_html_is_a_failure_that_names_it() {
    let (world, _acme, answer) = called(&list(&json!({})), vec![html()]).await;
    let run = unreadable(answer, "is text/html, beginning \"<html>maintenance</html>\"");
    assert_eq!(run["retryable"], true, "{run}");
    assert_eq!(world.upstream.received_on(PATH).len(), 1);
}

#[tokio::test]
async fn a2_a3_a_later_page_that_cannot_be_read_fails_the_call() {
    let first = Script::json(200, &json!({ "data": [1], "next": "n" }));
    let (_world, _acme, answer) = called(&list(&json!({})), vec![first, html()]).await;
    unreadable(answer, "text/html");
    let cut = typed("application/json", "{\"data\":[1,");
    let (_world, _acme, answer) = called(&list(&json!({})), vec![cut]).await;
    unreadable(answer, "application/json");
}

#[tokio::test]
async fn a4_json_under_another_label_is_read() {
    for label in ["text/html; charset=utf-8", "text/plain", "application/octet-stream"] {
        let rows = typed(label, "{\"data\":[1,2],\"next\":null}");
        let (_world, _acme, answer) = called(&list(&json!({})), vec![rows]).await;
        assert_eq!(answer.is(200).json["output"], json!([1, 2]), "{label}");
    }
}

#[tokio::test]
async fn a5_error_rules_are_tried_on_every_page() {
    let pages = || {
        vec![
            Script::json(200, &json!({ "data": [1], "next": "n" })),
            Script::json(200, &json!({ "ok": false, "error": "ratelimited" })),
        ]
    };
    let mut ruled = list(&json!({}));
    ruled["errors"] = json!([{ "when": { "predicate": { "path": "/error", "eq": "ratelimited" } },
        "class": "rate_limit", "action": "fail", "code_path": "/error" }]);
    let (_world, _acme, answer) = called(&ruled, pages()).await;
    let answer = answer.problem(Code::UpstreamStatus);
    assert_eq!(answer.json["run"]["error"]["class"], "rate_limit");
    let (_world, _acme, answer) = called(&list(&json!({})), pages()).await;
    let answer = answer.problem(Code::PaginationFailed);
    let message = answer.json["run"]["message"].as_str().unwrap();
    assert_eq!(message, "no items at /data; the answer has ok, error");
}

#[tokio::test]
async fn a6_a_pointer_with_a_typo_fails_at_the_first_page_unless_the_list_may_be_left_out() {
    let rows = || vec![Script::json(200, &json!({ "records": [1], "next": null }))];
    let (_world, _acme, answer) = called(&list(&json!({})), rows()).await;
    let answer = answer.problem(Code::PaginationFailed);
    let message = answer.json["run"]["message"].as_str().unwrap();
    assert_eq!(message, "no items at /data; the answer has records, next");
    let (_world, _acme, answer) = called(&list(&json!({ "missing_items": "empty" })), rows()).await;
    assert_eq!(answer.is(200).json["output"], json!([]));
}

#[tokio::test]
async fn a7_members_of_an_answer_that_has_none_are_no_success() {
    for response in [json!({ "root": "/id" }), json!({ "map": { "id": "/id" } })] {
        let read = json!({ "response": response, "retry": { "max_attempts": 1 } });
        let (_world, _acme, answer) = called(&read, vec![html()]).await;
        unreadable(answer, "text/html");
        let write = json!({ "http_method": "POST", "response": response });
        let (world, _acme, answer) = called(&write, vec![html()]).await;
        let run = unreadable(answer, "the request was answered with 200 and must not be repeated");
        assert_eq!(run["retryable"], false, "{run}");
        assert_eq!(world.upstream.received_on(PATH).len(), 1);
    }
    let (_world, _acme, answer) = called(
        &json!({ "response": { "map": { "id": "/id", "status": "status" } } }),
        vec![typed("text/plain", "{\"id\":7}")],
    )
    .await;
    assert_eq!(answer.is(200).json["output"], json!({ "id": 7, "status": 200 }));
}

#[tokio::test]
async fn b1_b2_b3_charsets_are_decoded_by_label_or_mark() {
    let utf16: Vec<u8> =
        "\u{feff}{\"name\":\"Jos\u{e9}\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (label, body) in [
        ("application/json; charset=ISO-8859-1", b"{\"name\":\"Jos\xe9\"}".to_vec()),
        ("application/json", utf16),
    ] {
        let script = bytes(200, &format!("content-type: {label}\r\n"), &body);
        let (_world, _acme, answer) = called(&json!({}), vec![script]).await;
        assert_eq!(answer.is(200).json["output"], json!({ "name": "Jos\u{e9}" }), "{label}");
    }
    let rows = bytes(200, "content-type: application/json; charset=latin1\r\n", b"{\"data\":[\"Jos\xe9\"]}");
    let (_world, _acme, answer) = called(&list(&json!({})), vec![rows]).await;
    assert_eq!(answer.is(200).json["output"], json!(["Jos\u{e9}"]));
    let page = bytes(200, "content-type: text/html; charset=windows-1251\r\n", b"\xcf\xf0\xe8");
    let (_world, _acme, answer) = called(&json!({}), vec![page]).await;
    assert_eq!(answer.is(200).json["output"], json!("\u{41f}\u{440}\u{438}"));
}

#[tokio::test]
async fn b4_b5_headers_and_bytes_that_are_no_text_keep_their_meaning() {
    let headers = b"HTTP/1.1 200 X\r\ncontent-type: application/octet-stream\r\nx-city: Caf\xe9\r\n\
                    content-length: 8\r\n\r\n\x89PNG\xff\xfe\x00\x80";
    let (_world, _acme, answer) = called(&json!({}), vec![Script::Raw(headers.to_vec())]).await;
    let run = answer.is(200).json;
    let expected = json!({ "media_type": "application/octet-stream", "base64": "iVBOR//+AIA=", "bytes": 8 });
    assert_eq!(run["output"], expected);
    assert_eq!(run["upstream"]["headers"]["x-city"], "Caf\u{e9}", "{run}");
}

#[tokio::test]
async fn b6_a_coding_that_is_none_loses_no_answer() {
    for coding in ["UTF-8", "none", "gzip"] {
        let script = bytes(
            201,
            &format!("content-type: application/json\r\ncontent-encoding: {coding}\r\n"),
            b"{\"id\":1}",
        );
        let (world, _acme, answer) = called(&json!({ "http_method": "POST" }), vec![script]).await;
        assert_eq!(answer.is(200).json["output"], json!({ "id": 1 }), "{coding}");
        assert_eq!(world.upstream.received_on(PATH).len(), 1);
    }
    let script = bytes(201, "content-encoding: x-own\r\n", b"\x00\xff\x01");
    let (world, _acme, answer) = called(&json!({ "http_method": "POST" }), vec![script]).await;
    unreadable(
        answer,
        "content coding \"x-own\" cannot be decoded; the request was answered with 201 and must not be repeated",
    );
    assert_eq!(world.upstream.received_on(PATH).len(), 1);
}

#[tokio::test]
async fn b7_b8_lines_are_rows_and_what_is_accepted_follows_the_action() {
    let lines = typed("application/x-ndjson", "{\"a\":1}\n{\"a\":2}\n");
    let (world, _acme, answer) = called(&json!({ "response": { "type": "ndjson" } }), vec![lines]).await;
    assert_eq!(answer.is(200).json["output"], json!([{ "a": 1 }, { "a": 2 }]));
    let accepted = world.upstream.received_on(PATH)[0].header("accept").join(",");
    assert!(accepted.starts_with("application/x-ndjson"), "{accepted}");
    for (kind, accepts) in [("binary", "*/*"), ("json", "application/json"), ("xml", "application/xml")] {
        let pdf = bytes(200, "content-type: application/pdf\r\n", b"{}");
        let (world, _acme, _answer) = called(&json!({ "response": { "type": kind } }), vec![pdf]).await;
        let accepted = world.upstream.received_on(PATH)[0].header("accept").join(",");
        assert!(accepted.starts_with(accepts), "{kind}: {accepted}");
    }
}

#[tokio::test]
async fn d1_a_list_that_repeats_its_page_is_a_failure() {
    let page = json!({ "pagination": { "type": "page", "items": "/data", "param": "p" } });
    let rows = Script::json(200, &json!({ "data": [{ "id": 1 }, { "id": 2 }] }));
    let (world, _acme, answer) = called(&page, vec![rows]).await;
    let answer = answer.problem(Code::PaginationFailed);
    let message = answer.json["run"]["message"].as_str().unwrap();
    assert!(message.starts_with("the page repeats"), "{message}");
    assert_eq!(world.upstream.received_on(PATH).len(), 2);
}

#[tokio::test]
async fn d5_a_status_or_a_word_ends_a_list_after_its_first_page() {
    let pages = |last: u16, body: Value| {
        let page = |id: u8| Script::json(200, &json!({ "data": [id] }));
        vec![page(1), page(2), Script::json(last, &body)]
    };
    let paged = |more: Value| {
        let mut action = json!({ "pagination": { "type": "page", "items": "/data", "param": "p" } });
        action["pagination"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        action
    };
    let end = paged(json!({ "end_status": [404] }));
    let (_world, _acme, answer) = called(&end, pages(404, json!({}))).await;
    assert_eq!(answer.is(200).json["output"], json!([1, 2]));
    let (_world, _acme, answer) = called(&end, vec![Script::json(404, &json!({}))]).await;
    answer.problem(Code::UpstreamStatus);
    let word = paged(json!({ "end_when": { "path": "/done", "eq": true } }));
    let (_world, _acme, answer) = called(&word, pages(200, json!({ "done": true }))).await;
    assert_eq!(answer.is(200).json["output"], json!([1, 2]));
}

#[tokio::test]
async fn d6_a_next_page_is_the_actions_own_path_or_one_that_the_definition_lists() {
    let follow = |paths: Value| {
        let mut next = json!({ "type": "next_url", "items": "/results", "cursor_path": "/next" });
        if paths != json!([]) {
            next["paths"] = paths;
        }
        json!({ "pagination": next })
    };
    let answers = |next: &str| vec![Script::json(200, &json!({ "results": [1], "next": next }))];
    for next in ["/admin/secrets", "/v1/actor", "/v1", "https://api.salesforce.com/admin"] {
        let (world, _acme, answer) = called(&follow(json!([])), answers(next)).await;
        answer.problem(Code::PathNotGranted);
        assert_eq!(world.upstream.received().len(), 1, "{next}");
    }
    for next in ["/v1/act?p=2", "http://api.salesforce.com/v1/act?p=2", "act?p=2"] {
        let pages = vec![
            Script::json(200, &json!({ "results": [1], "next": next })),
            Script::json(200, &json!({ "results": [2] })),
        ];
        let (world, _acme, answer) = called(&follow(json!([])), pages).await;
        assert_eq!(answer.is(200).json["output"], json!([1, 2]), "{next}");
        assert!(world.upstream.received()[1].line().ends_with(" /v1/act?p=2"), "{next}");
    }
    let (world, acme) = connected(&definition(&follow(json!(["/rows/*/more"])), &json!({}))).await;
    world.upstream.script(PATH, Script::json(200, &json!({ "results": [1], "next": "/rows/7/more" })));
    let further = json!({ "results": [2], "next": "/rows/7/8/more" });
    world.upstream.script("/rows/7/more", Script::json(200, &further));
    acme.call(ID, "act", json!({})).await.problem(Code::PathNotGranted);
    assert_eq!(world.upstream.received().len(), 2);
    for method in ["POST", "DELETE"] {
        let link = json!({ "http_method": method, "pagination": { "type": "link_header", "items": "" } });
        let refused = world.platform.post("/admin/connector", &definition(&link, &json!({}))).await;
        assert!(refused.violations().iter().any(|(_, code)| *code == "pagination_of_a_write"), "{refused:?}");
    }
}

#[tokio::test]
async fn d7_drafts_do_not_end_a_list_of_connectors() {
    let (world, acme) = connected(&definition(&json!({}), &json!({}))).await;
    for number in 0..7 {
        let status = if number % 2 == 0 { "draft" } else { "stable" };
        let top = json!({ "connector_id": format!("a{number}"), "status": status });
        world.platform.post("/admin/connector", &definition(&json!({}), &top)).await.is(201);
    }
    let base = "/workspace/acme/main/settings/connector?limit=3";
    let first = acme.workspace.get(base).await.is(200).json;
    let ids = |page: &Value| -> Vec<String> {
        let entries = page["data"].as_array().unwrap().iter();
        entries.map(|entry| entry["connector_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (ids(&first), first["has_more"].clone()),
        (vec!["a1".into(), "a3".into(), "a5".into()], json!(true))
    );
    let rest = acme.workspace.get(&format!("{base}&starting_after=a5")).await.is(200).json;
    assert_eq!((ids(&rest), rest["has_more"].clone()), (vec![ID.to_owned()], json!(false)));
}
