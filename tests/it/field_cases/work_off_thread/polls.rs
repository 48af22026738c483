//! No request makes a task compute for long, whatever its body is and wherever it is sent.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::watch::Watched;
use super::{ID, KEY, MIB, definition, get, post};
use crate::support::Stage;

/// Members with different names.
fn wide(bytes: usize) -> String {
    let mut text = String::from("{");
    let mut number = 0;
    while text.len() < bytes - 20 {
        write!(text, "\"m{number}\":1,").unwrap();
        number += 1;
    }
    text.push_str("\"z\":1}");
    text
}

/// Arrays within each other, as many as may be, beside each other.
fn deep(bytes: usize) -> String {
    let one = format!("{}{}", "[".repeat(90), "]".repeat(90));
    format!("[{}]", vec![one.as_str(); bytes / (one.len() + 1)].join(","))
}

fn repeated(one: &str, bytes: usize) -> String {
    format!("[{}]", vec![one; bytes / (one.len() + 1)].join(","))
}

/// The forms that cost the most for their size.
fn forms(bytes: usize) -> Vec<(&'static str, String)> {
    vec![
        ("wide", wide(bytes)),
        ("deep", deep(bytes)),
        ("texts", repeated(r#""ab""#, bytes)),
        ("escapes", format!("\"{}\"", "\\n".repeat(bytes / 2 - 2))),
        ("objects", repeated(r#"{"a":""}"#, bytes)),
        ("empty", repeated("[]", bytes)),
        ("numbers", repeated("1.5e3", bytes)),
        ("one text", format!("\"{}\"", "x".repeat(bytes - 2))),
    ]
}

async fn connected() -> Watched {
    let watched = Watched::start(Stage::default()).await;
    let actions =
        vec![("act", post("/v1/act", &[("any", "any"), ("text", "string")])), ("get", get("/v1/get"))];
    watched.world.platform.post("/admin/connector", &definition(actions)).await.is(201);
    watched.acme.connect(ID, json!({ "api_key": KEY })).await;
    watched
}

async fn automation(watched: &Watched, more: Value) -> String {
    let mut automation = json!({
        "entity_name": "contact", "event_name": "contact.created",
        "destination_config": {
            "connector_id": ID, "action_id": "act", "field_mapping": { "any": "{{source.any}}" },
        },
    });
    for (name, value) in more.as_object().unwrap() {
        automation[name] = value.clone();
    }
    let made = watched.acme.org.post("/org/acme/automation", &automation).await.is(201);
    made.json["automation_id"].as_str().unwrap().to_owned()
}

/// Sends the forms to every kind of route.
async fn to_every_route(watched: &Watched, bytes: usize) {
    let fire = format!("/run/acme/main/automation/{}", automation(watched, json!({})).await);
    let setting = watched.acme.setting(ID);
    let (platform, org) = (&watched.world.platform, &watched.acme.org);
    let (workspace, run) = (&watched.acme.workspace, &watched.acme.run);
    let call = format!("/run/acme/main/connector/{ID}/act");
    // Why once before: the checks of a route are made when it is used for the first time.
    for (name, form) in std::iter::once(("first", "1".to_owned())).chain(forms(bytes - 100)) {
        for (client, method, path, (before, after)) in [
            (platform, "POST", "/admin/connector", ("{\"actions\":", "}")),
            (platform, "POST", "/admin/connector/validate", ("{\"actions\":", "}")),
            (platform, "POST", "/admin/connector/import", ("{\"document\":{\"paths\":", "}}")),
            (platform, "PATCH", "/admin/connector/saas", ("{\"actions\":", "}")),
            (platform, "PUT", "/admin/connector/saas", ("{\"enabled\":", "}")),
            (platform, "POST", "/admin/org", ("{\"org\":", "}")),
            (platform, "POST", "/admin/token", ("{\"role\":", "}")),
            (org, "PUT", "/org/acme/settings/integrations", ("{\"domain_allowlist\":", "}")),
            (org, "POST", "/org/acme/automation", ("{\"destination_config\":", "}")),
            (workspace, "PUT", setting.as_str(), ("{\"config\":{\"api_key\":", "}}")),
            (run, "POST", call.as_str(), ("{\"input\":{\"any\":", "}}")),
            (run, "POST", call.as_str(), ("{\"input\":", "}")),
            (run, "POST", fire.as_str(), ("{\"source\":{\"any\":", "}}")),
        ] {
            let body = format!("{before}{form}{after}");
            watched.longest();
            let answer = client.write(method, path, body).await;
            assert!(answer.status < 500, "{name} {path}: {}", answer.text);
            if name != "first" {
                watched
                    .assert_short(&format!("{name} to {method} {path}, {} of {bytes} bytes", answer.status));
            }
        }
    }
}

#[tokio::test]
async fn s4_no_body_of_8_mib_makes_a_task_compute_for_long() {
    let watched = connected().await;
    to_every_route(&watched, 8 * MIB).await;
}

#[tokio::test]
async fn s4_nor_does_one_that_is_read_at_once() {
    let watched = connected().await;
    to_every_route(&watched, MIB / 8).await;
}

/// A definition of this many actions, each with some inputs.
fn large(actions: usize) -> Value {
    let inputs: Vec<(String, &str)> = (0..20).map(|n| (format!("input_{n}"), "string")).collect();
    let inputs: Vec<(&str, &str)> = inputs.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let ids: Vec<String> = (0..actions).map(|n| format!("act-{n}")).collect();
    let actions = ids.iter().map(|id| (id.as_str(), post(&format!("/v1/{id}"), &inputs)));
    definition(actions.collect())
}

#[tokio::test]
async fn s3_no_large_definition_makes_a_task_compute_for_long() {
    let watched = Watched::start(Stage::default()).await;
    let (platform, acme) = (&watched.world.platform, &watched.acme);
    let mut document = large(1500);
    platform.post("/admin/connector/validate", &document).await.is(200);
    watched.assert_short("validate");
    platform.post("/admin/connector", &document).await.is(201);
    watched.assert_short("create");
    acme.connect(ID, json!({ "api_key": KEY })).await;
    watched.assert_short("connect");
    acme.call(ID, "act-7", json!({ "input_1": "a" })).await.is(200);
    watched.assert_short("call");
    document["display_name"] = json!("Another");
    platform.put("/admin/connector/saas", &document).await.is(200);
    watched.assert_short("replace");
    platform.patch("/admin/connector/saas", &json!({ "display_name": "Third" })).await.is(200);
    watched.assert_short("patch");
    acme.call(ID, "act-8", json!({ "input_1": "a" })).await.is(200);
    watched.assert_short("call after a change");
    for path in ["/admin/connector", "/admin/connector/saas", "/admin/connector/saas/revisions/1"] {
        platform.get(path).await.is(200);
        watched.assert_short(path);
    }
    for (client, path) in [
        (&acme.org, "/org/acme/connector"),
        (&acme.workspace, "/workspace/acme/main/settings/connector"),
        (platform, "/admin/connector/saas/revisions"),
        (platform, "/admin/catalog"),
        (platform, "/openapi.json"),
    ] {
        client.get(path).await.is(200);
        watched.assert_short(path);
    }
    platform.patch("/admin/connector/saas", &json!({ "enabled": false })).await.is(200);
    watched.assert_short("kill switch");
    platform.delete("/admin/connector/saas?force=true").await.is(204);
    watched.assert_short("delete");
}

#[tokio::test]
async fn s3_no_import_makes_a_task_compute_for_long() {
    let watched = Watched::start(Stage::default()).await;
    let operation = json!({
        "operationId": "x", "parameters": [{ "name": "q", "in": "query", "schema": { "type": "string" } }],
        "responses": { "200": { "description": "ok" } },
    });
    let paths: serde_json::Map<String, Value> = (0..3000)
        .map(|n| {
            let mut operation = operation.clone();
            operation["operationId"] = json!(format!("op{n}"));
            (format!("/things/{n}/{{id}}"), json!({ "get": operation, "post": operation }))
        })
        .collect();
    let document = json!({
        "openapi": "3.0.3", "info": { "title": "T", "version": "1" },
        "servers": [{ "url": "https://api.salesforce.com" }], "paths": paths,
    });
    let answer =
        watched.world.platform.post("/admin/connector/import", &json!({ "document": document })).await;
    assert!(answer.status < 500, "{}", answer.text);
    watched.assert_short("import");
}

#[tokio::test]
async fn s3_no_condition_makes_a_task_compute_for_long() {
    let watched = connected().await;
    let condition = json!({ "path": "/l/*", "matches": "[a-z]{1,20}[0-9]{1,20}b" });
    let conditions: Vec<Value> = vec![json!({ "not": condition }); 60];
    let id = automation(&watched, json!({ "entry_conditions": conditions })).await;
    watched.assert_short("save");
    for texts in [1, 20, 60] {
        let source = json!({ "l": vec!["abc1".repeat(1000); texts], "any": 1 });
        watched.longest();
        let answer = watched.acme.fire(&id, source).await;
        // Either it is evaluated, or it would take more steps than it may.
        let costly = answer.status == 422 && answer.text.contains("limits.matching_steps");
        assert!(answer.status == 200 || costly, "{}", answer.text);
        watched.assert_short(&format!("fire with {texts} texts"));
    }
    let mapping: serde_json::Map<String, Value> =
        (0..40_000).map(|n| (format!("m{n}"), json!("{{source.a}}"))).collect();
    let id = {
        let destination = json!({
            "connector_id": ID, "action_id": "act", "field_mapping": { "any": mapping },
        });
        automation(&watched, json!({ "destination_config": destination })).await
    };
    watched.assert_short("save a large mapping");
    for _ in 0..2 {
        watched.acme.fire(&id, json!({ "a": "b" })).await.is(200);
        watched.assert_short("fire with a large mapping");
    }
}

#[tokio::test]
async fn s3_no_pattern_makes_a_task_compute_for_long() {
    // Below the size from which a body is read elsewhere, and dear to match.
    let pattern = "(?:(?:(?:([a-z]|(?s).)*)+){3,3}){0,23}";
    let watched = Watched::start(Stage::default()).await;
    let mut action = post("/v1/act", &[("text", "string")]);
    action["body_schema"][0]["pattern"] = json!(pattern);
    let mut document = definition(vec![("act", action)]);
    document["config_fields"] = json!([{ "name": "note", "type": "text", "pattern": pattern }]);
    watched.world.platform.post("/admin/connector", &document).await.is(201);
    for bytes in [1, 30_000] {
        let text = "x".repeat(bytes);
        watched.longest();
        watched.acme.connect(ID, json!({ "api_key": KEY, "note": text[..bytes.min(16_000)] })).await;
        watched.assert_short(&format!("save {bytes} bytes"));
        let setting = watched.acme.setting(ID);
        watched.acme.workspace.patch(&setting, &json!({ "config": { "api_key": KEY } })).await.is(200);
        watched.assert_short(&format!("save again beside {bytes} bytes"));
        watched.acme.call(ID, "act", json!({ "text": text })).await.is(200);
        watched.assert_short(&format!("call with {bytes} bytes"));
    }
}

#[tokio::test]
async fn s4_nothing_that_is_read_from_many_records_makes_a_task_compute_for_long() {
    let watched = connected().await;
    let (platform, acme) = (&watched.world.platform, &watched.acme);
    for n in 0..20 {
        let mut document = large(60);
        document["connector_id"] = json!(format!("c{n}"));
        platform.post("/admin/connector", &document).await.is(201);
    }
    for n in 0..300 {
        platform.post("/admin/org", &json!({ "org": format!("o{n}") })).await.is(201);
        platform
            .post("/admin/token", &json!({ "role": "run", "org": "acme", "workspace": "main" }))
            .await
            .is(201);
        acme.call(ID, "act", json!({ "text": "x" })).await.is(200);
    }
    let list: Vec<String> = (0..1000)
        .map(|n| format!("h{n}.example.com"))
        .chain(["api.salesforce.com".to_owned()])
        .skip(1)
        .collect();
    acme.allow(json!(list), "report").await;
    watched.longest();
    for (client, path) in [
        (platform, "/admin/connector?limit=100"),
        (platform, "/admin/org?limit=100"),
        (platform, "/admin/token?limit=100"),
        (&acme.org, "/org/acme/connector?limit=100"),
        (&acme.org, "/org/acme/outbound?limit=100"),
        (&acme.org, "/org/acme/outbound/verify"),
        (&acme.org, "/org/acme/settings/integrations"),
        (&acme.org, "/org/acme/settings/integrations/usage"),
        (&acme.run, "/run/acme/main?limit=100"),
        (&acme.workspace, "/workspace/acme/main/settings/connector?limit=100"),
    ] {
        client.get(path).await.is(200);
        watched.assert_short(path);
    }
    for media in ["application/x-ndjson", "text/csv"] {
        let answer =
            acme.org.send("GET", "/org/acme/outbound", &[("accept", media)], Vec::new()).await.is(200);
        assert!(answer.text.lines().count() > 500);
        watched.assert_short(media);
    }
    platform.delete("/admin/org/acme/workspace/main").await.is(204);
    watched.assert_short("delete a workspace");
    platform.delete("/admin/org/acme").await.is(204);
    watched.assert_short("delete an org");
}
