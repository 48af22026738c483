//! Input, request, answer and output that are too large for a guest: each has a code of its own, which names the
//! limit, and none is the guest's trap.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use super::{ID, KEY, MIB, definition, get, post};
use crate::support::guests::{self, Manner};
use crate::support::upstream::whole;
use crate::support::{Answer, Script, Stage, Tenant, World};

async fn connected_on(stage: Stage, actions: Vec<(&str, Value)>) -> (World, Tenant) {
    let world = stage.start().await;
    world.platform.post("/admin/connector", &definition(actions)).await.is(201);
    let acme = world.tenant("acme", "main").await;
    acme.connect(ID, json!({ "api_key": KEY })).await;
    (world, acme)
}

async fn connected(actions: Vec<(&str, Value)>) -> (World, Tenant) {
    connected_on(Stage::default(), actions).await
}

/// Asserts the code, that the limit is named, and that the run is kept as it is told.
async fn is_too_large(acme: &Tenant, answer: Answer, code: Code, limit: &str) {
    let answer = answer.problem(code);
    let detail = answer.json["detail"].as_str().unwrap();
    assert!(detail.contains(limit), "{limit}: {detail}");
    let run = answer.json["run"]["run_id"].as_str().unwrap();
    let kept = acme.run.get(&format!("/run/acme/main/{run}")).await.is(200);
    assert_eq!(kept.json["code"], code.as_str());
}

#[tokio::test]
async fn s13_an_input_too_large_for_the_guest_is_413_and_names_the_limit() {
    let (world, acme) =
        connected(vec![("act", post("/v1/act", &[("text", "string"), ("any", "any")]))]).await;
    let numbers: Vec<u8> = vec![1; 3 * MIB];
    for input in [
        json!({ "text": "x".repeat(8 * MIB - 100) }),
        json!({ "text": "\n".repeat(4 * MIB - 100) }),
        json!({ "any": numbers }),
        json!({ "any": vec![json!([]); 2 * MIB] }),
        json!({ "any": vec![json!({ "a": "b" }); MIB / 2] }),
    ] {
        let answer = acme.call(ID, "act", input).await;
        if answer.status == 200 {
            // Some of these forms fit.
            continue;
        }
        is_too_large(&acme, answer, Code::RequestTooLarge, "limits.guest_").await;
    }
    let refused = acme.call(ID, "act", json!({ "text": "x".repeat(8 * MIB - 100) })).await;
    is_too_large(&acme, refused, Code::RequestTooLarge, "limits.guest_memory_bytes").await;
    let before = world.upstream.received().len();
    let text = "x".repeat(2 * MIB);
    acme.call(ID, "act", json!({ "text": text })).await.is(200);
    let received = world.upstream.received();
    assert_eq!(received.len(), before + 1, "what was refused was not sent");
    assert_eq!(received[before].body.len(), json!({ "text": text }).to_string().len());
}

#[tokio::test]
async fn s13_a_request_that_grows_too_large_for_the_guest_is_413() {
    let action = json!({
        "http_method": "POST", "url_template": "https://api.salesforce.com/v1/act",
        "body_schema": [{ "name": "text" }],
        "body": { "type": "json", "template": {
            "all": (0..8).map(|_| "{{input.text}}{{input.text}}").collect::<Vec<_>>(),
        } },
    });
    let (world, acme) = connected(vec![("act", action)]).await;
    let answer = acme.call(ID, "act", json!({ "text": "x".repeat(MIB) })).await;
    assert!(matches!(answer.status, 413 | 422), "{}", answer.text);
    assert!(answer.json["detail"].as_str().unwrap().contains("limits."), "{}", answer.text);
    assert_eq!(world.upstream.received().len(), 0);
    acme.call(ID, "act", json!({ "text": "x".repeat(MIB / 32) })).await.is(200);
}

#[tokio::test]
async fn s13_a_mapping_whose_result_is_too_large_is_413_or_422() {
    let (world, acme) = connected(vec![("act", post("/v1/act", &[("a", "string"), ("b", "string")]))]).await;
    let many = "{{source.text}}".repeat(8);
    let automation = json!({
        "entity_name": "contact", "event_name": "contact.created",
        "destination_config": {
            "connector_id": ID, "action_id": "act", "field_mapping": { "a": many, "b": many },
        },
    });
    let made = acme.org.post("/org/acme/automation", &automation).await.is(201);
    let id = made.json["automation_id"].as_str().unwrap();
    let answer = acme.fire(id, json!({ "text": "x".repeat(MIB) })).await;
    assert!(matches!(answer.status, 413 | 422), "{}", answer.text);
    assert!(answer.text.contains("limits."), "{}", answer.text);
    assert_eq!(world.upstream.received().len(), 0);
    acme.fire(id, json!({ "text": "x".repeat(MIB / 16) })).await.is(200);
}

/// Records as an API gives them.
fn rows(bytes: usize) -> String {
    let row = r#"{"id":12345,"name":"Ada Lovelace","tags":["a","b"],"note":"some words"}"#;
    format!("[{}]", vec![row; bytes / (row.len() + 1)].join(","))
}

#[tokio::test]
async fn s13_an_answer_too_large_for_the_guest_says_so_and_that_it_came() {
    let write = post("/v1/write", &[]);
    let (world, acme) = connected(vec![("read", get("/v1/read")), ("write", write)]).await;
    for path in ["/v1/read", "/v1/write"] {
        world.upstream.script(path, Script::Kept(whole(200, &[], &rows(9 * MIB))));
    }
    for action in ["read", "write"] {
        let answer = acme.call(ID, action, json!({})).await;
        assert!(answer.text.contains("the third party answered"), "{}", answer.text);
        is_too_large(&acme, answer, Code::ResponseTooLarge, "limits.guest_").await;
    }
    assert_eq!(world.upstream.received().len(), 2, "it is not repeated");
    world.upstream.script("/v1/read", Script::Kept(whole(200, &[], &rows(2 * MIB))));
    let answer = acme.call(ID, "read", json!({})).await.is(200);
    assert!(answer.json["output"].as_array().unwrap().len() > 10_000);
}

#[tokio::test]
async fn s13_a_list_too_large_for_the_guest_says_so() {
    let mut list = get("/v1/list");
    list["pagination"] = json!({ "type": "page", "items": "/data", "param": "page", "max_pages": 20 });
    let (world, acme) = connected(vec![("list", list)]).await;
    let made = Script::made(|request| {
        let line = request.line().to_owned();
        let body = format!("{{\"page\":{},\"data\":{}}}", json!(line), rows(MIB));
        Script::Kept(whole(200, &[], &body))
    });
    world.upstream.script("/v1/list", made);
    let answer = acme.call(ID, "list", json!({})).await;
    is_too_large(&acme, answer, Code::ResponseTooLarge, "limits.guest_").await;
}

#[tokio::test]
async fn s13_an_output_over_its_limit_names_the_limit() {
    let limits = Limits { concurrent_calls: 32, guest_output_bytes: 100_000, ..Limits::default() };
    let (world, acme) =
        connected_on(Stage { limits, ..Stage::default() }, vec![("read", get("/v1/read"))]).await;
    world.upstream.script("/v1/read", Script::Kept(whole(200, &[], &rows(200_000))));
    let answer = acme.call(ID, "read", json!({})).await;
    is_too_large(&acme, answer, Code::ResponseTooLarge, "limits.guest_output_bytes").await;
    world.upstream.script("/v1/read", Script::Kept(whole(200, &[], &rows(30_000))));
    acme.call(ID, "read", json!({})).await.is(200);
}

#[tokio::test]
async fn s13_a_request_and_an_answer_over_a_limit_of_the_gate_name_it() {
    let limits =
        Limits { concurrent_calls: 32, request_bytes: 100_000, response_bytes: 100_000, ..Limits::default() };
    let actions = vec![("read", get("/v1/read")), ("act", post("/v1/act", &[("text", "string")]))];
    let (world, acme) = connected_on(Stage { limits, ..Stage::default() }, actions).await;
    let answer = acme.call(ID, "act", json!({ "text": "x".repeat(100_001) })).await;
    is_too_large(&acme, answer, Code::RequestTooLarge, "limits.request_bytes").await;
    acme.call(ID, "act", json!({ "text": "x".repeat(90_000) })).await.is(200);
    world.upstream.script("/v1/read", Script::Kept(whole(200, &[], &rows(200_000))));
    let answer = acme.call(ID, "read", json!({})).await;
    is_too_large(&acme, answer, Code::ResponseTooLarge, "response_bytes").await;
}

#[tokio::test]
async fn s13_a_large_input_that_takes_the_guest_too_long_is_413_and_a_loop_stays_the_guests() {
    let limits = Limits { concurrent_calls: 32, guest_fuel: 8_000_000, ..Limits::default() };
    let act = || vec![("act", post("/v1/act", &[("any", "any")]))];
    let (_world, acme) = connected_on(Stage { limits: limits.clone(), ..Stage::default() }, act()).await;
    let answer = acme.call(ID, "act", json!({ "any": vec![json!({ "a": [1] }); MIB / 4] })).await;
    is_too_large(&acme, answer, Code::RequestTooLarge, "limits.guest_fuel").await;
    acme.call(ID, "act", json!({ "any": [1, 2] })).await.is(200);
    let handler = Some(guests::handler(Manner::Loop));
    let (_world, acme) = connected_on(Stage { limits, handler, ..Stage::default() }, act()).await;
    let answer = acme.call(ID, "act", json!({ "any": [1, 2] })).await.problem(Code::GuestTimeout);
    assert!(answer.json["detail"].as_str().unwrap().contains("limits.guest_"), "{}", answer.text);
}

#[tokio::test]
async fn s13_a_guest_that_traps_for_another_reason_is_still_told_as_one() {
    let stage = Stage { handler: Some(guests::handler(Manner::Trap)), ..Stage::default() };
    let (_world, acme) = connected_on(stage, vec![("act", post("/v1/act", &[("text", "string")]))]).await;
    acme.call(ID, "act", json!({ "text": "x" })).await.problem(Code::GuestTrapped);
}
