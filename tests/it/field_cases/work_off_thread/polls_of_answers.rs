//! No answer of a third party makes a task compute for long.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::watch::Watched;
use super::{ID, KEY, MIB, definition, get, post};
use crate::support::upstream::whole;
use crate::support::{Script, Stage};

async fn connected(actions: Vec<(&str, Value)>) -> Watched {
    let watched = Watched::start(Stage::default()).await;
    watched.world.platform.post("/admin/connector", &definition(actions)).await.is(201);
    watched.acme.connect(ID, json!({ "api_key": KEY })).await;
    watched
}

/// Records with the secret in some of them, as an API that quotes its caller.
fn rows(bytes: usize) -> String {
    let row = r#"{"id":12345,"name":"Ada Lovelace","tags":["a","b"],"note":"some words"}"#;
    let quoting = format!("{{\"key\":{},\"again\":\"{}\"}}", json!(KEY), KEY.replace('+', "%2B"));
    let mut rows = vec![row; bytes / (row.len() + 1)];
    for at in (0..rows.len()).step_by(997) {
        rows[at] = &quoting;
    }
    format!("[{}]", rows.join(","))
}

fn gzip(body: &str) -> Script {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body.as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    Script::Kept([head.as_bytes(), &body].concat())
}

#[tokio::test]
async fn s7_no_large_answer_makes_a_task_compute_for_long() {
    let mut mapped = get("/v1/read");
    mapped["response"] = json!({ "map": { "rows": "/" } });
    let watched = connected(vec![("read", get("/v1/read")), ("fails", get("/v1/fails"))]).await;
    watched.acme.call(ID, "read", json!({})).await.is(200);
    watched.longest();
    for bytes in [MIB / 8 - 100, MIB / 8 + 100, MIB / 4, MIB, 3 * MIB, 10 * MIB - 1000, 14 * MIB] {
        let body = rows(bytes);
        for (coding, script) in [("plain", Script::Kept(whole(200, &[], &body))), ("gzip", gzip(&body))] {
            watched.upstream.script("/v1/read", script);
            let answer = watched.acme.call(ID, "read", json!({})).await;
            assert!(
                matches!(answer.status, 200 | 502),
                "{} {}",
                answer.status,
                &answer.text[..400.min(answer.text.len())]
            );
            assert!(!answer.text.contains(KEY));
            watched.assert_short(&format!("{coding} answer of {bytes} bytes: {}", answer.status));
        }
        watched.upstream.script("/v1/fails", Script::Kept(whole(400, &[], &body)));
        let answer = watched.acme.call(ID, "fails", json!({})).await;
        assert_eq!(answer.status, 502);
        watched.assert_short(&format!("error of {bytes} bytes"));
    }
}

#[tokio::test]
async fn s7_no_long_list_makes_a_task_compute_for_long() {
    let mut list = get("/v1/list");
    list["pagination"] = json!({ "type": "page", "items": "/data", "param": "page", "max_pages": 20 });
    let watched = connected(vec![("list", list)]).await;
    let made = Script::made(|request| {
        let body = format!("{{\"line\":{},\"data\":{}}}", json!(request.line()), rows(200_000));
        Script::Kept(whole(200, &[], &body))
    });
    watched.upstream.script("/v1/list", made);
    let answer = watched.acme.call(ID, "list", json!({})).await;
    assert!(matches!(answer.status, 200 | 502), "{}", answer.text);
    watched.assert_short(&format!("a list of twenty pages: {}", answer.status));
}

#[tokio::test]
async fn s1_no_rendering_makes_a_task_compute_for_long() {
    let action = json!({
        "http_method": "POST", "url_template": "https://api.salesforce.com/v1/act",
        "body_schema": [{ "name": "text" }],
        "body": { "type": "json", "template": { "all": vec!["{{input.text | upper}}"; 200] } },
    });
    let watched = connected(vec![("act", action), ("send", post("/v1/send", &[("text", "string")]))]).await;
    for bytes in [100, 10_000, 50_000] {
        let answer = watched.acme.call(ID, "act", json!({ "text": "ä".repeat(bytes / 2) })).await;
        assert!(matches!(answer.status, 200 | 413 | 422 | 504), "{}", answer.text);
        watched.assert_short(&format!("200 times {bytes} bytes: {}", answer.status));
    }
    for bytes in [MIB / 5, MIB, 2 * MIB] {
        let answer = watched.acme.call(ID, "send", json!({ "text": "x".repeat(bytes) })).await.is(200);
        watched.assert_short(&format!("an input of {bytes} bytes: {}", answer.status));
        let path = format!("/run/acme/main/connector/{ID}/send?dry_run=true");
        watched.acme.run.post(&path, &json!({ "input": { "text": "x".repeat(bytes) } })).await.is(200);
        watched.assert_short(&format!("a dry run of {bytes} bytes"));
    }
}
