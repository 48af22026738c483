//! The catalog that is part of the product: every entry is valid, proven by its own examples, and can
//! be installed with one call.

use std::collections::BTreeSet;

use portcullis_connectors::CATALOG;
use portcullis_core::connector::Connector;
use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use serde_json::{Value, json};

use crate::support::{World, binary};

fn entries() -> Vec<(&'static str, Value)> {
    CATALOG.iter().map(|(id, text)| (*id, serde_json::from_str(text).unwrap())).collect()
}

/// Accepted warnings of entries: a wildcard that the service's own host names make necessary.
const ACCEPTED_WARNINGS: &[(&str, &str)] = &[
    ("aws-dynamodb", "allowed_domain_shared_hosting"),
    ("aws-s3", "allowed_domain_shared_hosting"),
    ("shopify", "allowed_domain_shared_hosting"),
];

#[test]
fn every_entry_passes_lint_its_examples_and_every_rule_is_met_by_an_answer() {
    for (id, definition) in entries() {
        let checked = Connector::parse(&definition, &Limits::default());
        assert_eq!(checked.errors, [], "{id}");
        let unwise: Vec<_> =
            checked.warnings.iter().filter(|w| !ACCEPTED_WARNINGS.contains(&(id, w.code))).collect();
        assert!(unwise.is_empty(), "{id}: {unwise:?}");
        assert_eq!(checked.connector.unwrap().id.as_str(), id, "the file is named after the connector");
    }
}

#[test]
fn every_entry_meets_the_check_list() {
    assert!(CATALOG.len() >= 40, "{} entries", CATALOG.len());
    for (id, definition) in entries() {
        let list = |pointer: &str| {
            definition.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let actions = list("/actions");
        assert!((3..=12).contains(&actions.len()), "{id} has {} actions", actions.len());
        assert!(definition["test"]["request"].is_object(), "{id} has no test");
        assert!(definition["docs_url"].is_string(), "{id} has no docs_url");
        for action in &actions {
            let name = &action["action_id"];
            assert!(action["docs_url"].is_string(), "{id} {name} has no docs_url");
            let examples = action["examples"].as_array().cloned().unwrap_or_default();
            let proven =
                examples.iter().any(|e| e["expect_request"].is_object() && !e["expect_output"].is_null());
            let empty_answer =
                examples.iter().any(|e| e["expect_request"].is_object() && e["response"].is_object());
            assert!(proven || empty_answer, "{id} {name} has no example of request and answer");
        }
        let classes: BTreeSet<String> = list("/errors")
            .iter()
            .chain(actions.iter().flat_map(|a| a["errors"].as_array().into_iter().flatten()))
            .filter_map(|rule| rule["class"].as_str().map(str::to_owned))
            .collect();
        assert!(classes.contains("auth"), "{id} has no rule of class auth");
        let limited = classes.contains("rate_limit") || classes.contains("quota");
        assert!(limited, "{id} has no rule for a limit");
        let marked = definition.to_string().contains("\"secret\":true");
        assert!(!marked, "{id}: fields of a form are secret without saying so");
    }
}

#[tokio::test]
async fn an_entry_is_listed_read_and_installed_with_one_call() {
    let world = World::start().await;
    let listed = world.platform.get("/admin/catalog?limit=100").await.is(200);
    let ids: Vec<&str> =
        listed.json["data"].as_array().unwrap().iter().map(|e| e["connector_id"].as_str().unwrap()).collect();
    assert_eq!(ids, CATALOG.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    let page = world.platform.get("/admin/catalog?limit=2&starting_after=airtable").await.is(200);
    assert_eq!(page.json["data"][0]["connector_id"], ids[1]);
    assert_eq!(page.json["has_more"], true);
    for id in &ids {
        let installed = world.platform.post(&format!("/admin/catalog/{id}"), &json!({})).await.is(201);
        assert_eq!(installed.json["connector_id"], *id);
    }
    world.platform.post("/admin/catalog/stripe", &json!({})).await.problem(Code::AlreadyExists);
    world.platform.post("/admin/catalog/nope", &json!({})).await.problem(Code::NotFound);
    let entry = world.platform.get("/admin/catalog/stripe").await.is(200);
    assert_eq!(entry.json["connector_id"], "stripe");
    let acme = world.tenant("acme", "main").await;
    acme.org.get("/admin/catalog").await.problem(Code::RoleNotAllowed);
    let forms = acme.workspace.get("/workspace/acme/main/settings/connector?limit=100").await.is(200);
    assert_eq!(forms.json["data"].as_array().unwrap().len(), ids.len());
}

/// A small description of each version; the draft is checked by the rules of an upload.
#[tokio::test]
async fn a_description_becomes_a_draft_that_only_the_platform_sees() {
    let world = World::start().await;
    let document = json!({
        "openapi": "3.0.3", "info": { "title": "Pets", "version": "1" },
        "servers": [{ "url": "https://api.example-saas.com/v1" }],
        "components": { "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } } },
        "security": [{ "key": [] }],
        "paths": { "/pets/{id}": { "get": {
            "operationId": "getPet",
            "parameters": [
                { "name": "id", "in": "path", "required": true, "schema": { "type": "string" } },
                { "name": "sid", "in": "cookie", "schema": { "type": "string" } },
            ],
            "responses": { "200": { "description": "a pet" } },
        } } },
    });
    let imported =
        world.platform.post("/admin/connector/import", &json!({ "document": document })).await.is(200);
    let definition = &imported.json["definition"];
    assert_eq!(definition["status"], "draft");
    assert_eq!(imported.json["report"]["operations"]["carried"], 1);
    assert!(!imported.json["report"]["items"].as_array().unwrap().is_empty(), "the cookie was not carried");
    world.platform.post("/admin/connector", definition).await.is(201);
    let acme = world.tenant("acme", "main").await;
    let id = definition["connector_id"].as_str().unwrap();
    acme.workspace.get(&acme.setting(id)).await.problem(Code::ConnectorNotFound);
    acme.call(id, "getPet", json!({ "id": "7" })).await.problem(Code::ConnectorNotFound);
    let list = acme.org.get("/org/acme/connector").await.is(200);
    assert_eq!(list.json["data"], json!([]));
    world.platform.write("PATCH", &format!("/admin/connector/{id}"), r#"{"status":"beta"}"#).await.is(200);
    acme.workspace.get(&acme.setting(id)).await.is(200);
    for (body, pointer) in [
        (json!({}), "/document"),
        (json!({ "document": { "openapi": "9.9" } }), "/document"),
        (json!({ "document": document, "only": "x" }), "/only"),
    ] {
        let answer =
            world.platform.post("/admin/connector/import", &body).await.problem(Code::ValidationFailed);
        assert_eq!(answer.json["pointer"], pointer, "{}", answer.text);
    }
}

#[test]
fn the_command_line_lists_prints_checks_and_imports() {
    let dir = tempfile::tempdir().unwrap();
    let listed = binary::run(dir.path(), &["catalog", "--json"]).exits(0);
    assert_eq!(listed.json_lines().len(), CATALOG.len());
    let printed = binary::run(dir.path(), &["catalog", "stripe"]).exits(0);
    std::fs::write(dir.path().join("stripe.json"), &printed.out).unwrap();
    binary::run(dir.path(), &["lint", "stripe.json"]).exits(0);
    binary::run(dir.path(), &["catalog", "nope"]).exits(1);
    // An example that differs from what the action does is an error with its pointer.
    let broken = printed.out.replace("https://api.stripe.com/v1/balance", "https://api.stripe.com/v1/other");
    std::fs::write(dir.path().join("broken.json"), broken.replacen("v1/other", "v1/balance", 1)).unwrap();
    let refused = binary::run(dir.path(), &["lint", "broken.json"]).exits(1);
    assert!(refused.out.contains("example_differs"), "{}", refused.out);
    let description = r#"
openapi: 3.1.0
info: { title: Pets, version: "1" }
servers: [{ url: "https://api.example-saas.com" }]
paths:
  /pets:
    get: { operationId: listPets, responses: { "200": { description: pets } } }
webhooks: { newPet: { post: { responses: { "200": { description: ok } } } } }
"#;
    std::fs::write(dir.path().join("pets.yaml"), description).unwrap();
    let imported =
        binary::run(dir.path(), &["import", "openapi", "pets.yaml", "--output", "pets.json"]).exits(0);
    assert!(imported.err.contains("webhooks"), "{}", imported.err);
    binary::run(dir.path(), &["lint", "pets.json"]).exits(0);
    binary::run(dir.path(), &["import", "openapi", "missing.yaml"]).exits(1);
}
