//! What a connector's module may do: a definition that gives it more is refused until a person accepts exactly that.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::guests;
use super::harness::{CONNECTOR, accepted, accepting, admitted, answering, definition};
use crate::support::{SALESFORCE, Stage, World, lay, salesforce};

const UNKNOWN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A world in which the connector is saved, and its definition.
async fn saved() -> (World, Value) {
    let world = World::start().await;
    let definition = definition(&admitted(&world, &guests::good()).await);
    accepting(&world.platform, "POST", "/admin/connector", &definition).await.is(201);
    (world, definition)
}

#[tokio::test]
async fn a_definition_that_names_an_unknown_module_is_refused_at_its_place() {
    let world = World::start().await;
    let answer = world.platform.post("/admin/connector", &definition(UNKNOWN)).await;
    let answer = answer.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/runtime/module", "module_unknown")]);
    let report = world.platform.post("/admin/connector/validate", &definition(UNKNOWN)).await.is(200);
    assert_eq!(report.json["valid"], false);
    assert_eq!(report.violations(), [("/runtime/module", "module_unknown")]);
}

#[tokio::test]
async fn the_first_module_of_a_connector_is_accepted_by_a_person() {
    let world = World::start().await;
    let digest = admitted(&world, &guests::good()).await;
    let definition = definition(&digest);
    let asked = world.platform.post("/admin/connector", &definition).await.problem(Code::CapabilityWidened);
    let difference: Vec<&str> =
        asked.json["difference"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for line in [
        format!("module {digest}").as_str(),
        "profile pure",
        "host api.salesforce.com",
        "request GET https://api.salesforce.com/v1/things/{id}",
        "request POST https://api.salesforce.com/v1/things/{id}",
        "limit requests 3",
    ] {
        assert!(difference.contains(&line), "{line} is not in {difference:?}");
    }
    assert!(difference.iter().any(|line| line.starts_with("credential ")), "{difference:?}");
    assert!(asked.json["detail"].as_str().unwrap().contains("?accept=sha256:"), "{}", asked.text);
    world.platform.get(CONNECTOR).await.problem(Code::ConnectorNotFound);

    // Another digest is no consent, and asks for the same again.
    for other in [UNKNOWN, digest.as_str(), "yes", ""] {
        let path = format!("/admin/connector?accept={other}");
        let again = world.platform.post(&path, &definition).await.problem(Code::CapabilityWidened);
        assert_eq!(again.json["digest"], asked.json["digest"]);
    }
    world.platform.post(&accepted("/admin/connector", &asked), &definition).await.is(201);
    assert_eq!(world.platform.get(CONNECTOR).await.is(200).json["revision"], 1);
}

#[tokio::test]
async fn consent_to_one_difference_is_none_to_another() {
    let world = World::start().await;
    let mut definition = definition(&admitted(&world, &guests::good()).await);
    let asked = world.platform.post("/admin/connector", &definition).await.problem(Code::CapabilityWidened);
    // Meanwhile somebody adds a request.
    let more = json!({ "methods": ["DELETE"], "url": "https://api.salesforce.com/v1/things/{id}" });
    definition["runtime"]["requests"].as_array_mut().unwrap().push(more);
    let path = accepted("/admin/connector", &asked);
    world.platform.post(&path, &definition).await.problem(Code::CapabilityWidened);
}

/// Changes of the definition, and whether a person has to accept them.
fn changes(other_module: &str) -> Vec<(&'static str, Value, bool)> {
    let things = "https://api.salesforce.com/v1/things/{id}";
    let files = "https://api.salesforce.com/v1/files/{path+}";
    let requests = |list: Value| json!({ "runtime": { "requests": list } });
    vec![
        ("nothing", json!({}), false),
        ("another name", json!({ "display_name": "Another" }), false),
        ("a method fewer", requests(json!([{ "methods": ["GET"], "url": things }])), false),
        ("a pattern fewer", requests(json!([{ "methods": ["GET", "POST"], "url": things }])), false),
        (
            "the same in another order",
            requests(
                json!([{ "methods": ["GET"], "url": files }, { "methods": ["POST", "GET"], "url": things }]),
            ),
            false,
        ),
        ("a method more", requests(json!([{ "methods": ["GET", "POST", "DELETE"], "url": things }])), true),
        (
            "a pattern more",
            requests(json!([{ "methods": ["GET"], "url": "https://api.salesforce.com/v1/{rest+}" }])),
            true,
        ),
        ("a host more", json!({ "allowed_domains": ["api.salesforce.com", "api.example-saas.com"] }), true),
        ("a wider host", json!({ "allowed_domains": ["*.salesforce.com"] }), true),
        ("more requests", json!({ "runtime": { "limits": { "requests": 4 } } }), true),
        ("no limit of requests", json!({ "runtime": { "limits": { "requests": null } } }), true),
        ("another module", json!({ "runtime": { "module": other_module } }), true),
    ]
}

#[tokio::test]
async fn a_replacement_asks_only_for_what_is_more_than_before() {
    let (world, before) = saved().await;
    let other = admitted(&world, &answering(r#"{"output":1}"#)).await;
    for (what, change, widens) in changes(&other) {
        let mut after = before.clone();
        lay(&mut after, &change);
        if after["runtime"]["limits"]["requests"].is_null() {
            after["runtime"]["limits"].as_object_mut().unwrap().clear();
        }
        let answer = world.platform.put(CONNECTOR, &after).await;
        assert_eq!(answer.status, if widens { 409 } else { 200 }, "{what}: {}", answer.text);
        if widens {
            let asked = answer.problem(Code::CapabilityWidened);
            let kept = world.platform.get(CONNECTOR).await.is(200);
            assert_eq!(kept.json["definition"], before, "{what}: nothing is saved");
            world.platform.put(&accepted(CONNECTOR, &asked), &after).await.is(200);
        }
        // Back to where it was, for the next.
        accepting(&world.platform, "PUT", CONNECTOR, &before).await.is(200);
    }
}

#[tokio::test]
async fn a_lower_limit_is_less_and_needs_nobody() {
    let (world, before) = saved().await;
    for limits in [
        json!({ "requests": 2 }),
        json!({ "requests": 2, "memory_bytes": 1 << 20 }),
        json!({ "requests": 2, "memory_bytes": 1 << 20, "cpu_ms": 100 }),
    ] {
        let mut after = before.clone();
        after["runtime"]["limits"] = limits;
        world.platform.put(CONNECTOR, &after).await.is(200);
    }
}

#[tokio::test]
async fn a_patch_asks_as_a_replacement_does() {
    let (world, _) = saved().await;
    let more = json!({ "runtime": { "limits": { "requests": 9 } } });
    let asked = world.platform.patch(CONNECTOR, &more).await.problem(Code::CapabilityWidened);
    assert_eq!(asked.json["difference"], json!(["limit requests 9"]));
    world.platform.patch(&accepted(CONNECTOR, &asked), &more).await.is(200);
    // The kill switch never asks.
    world.platform.patch(CONNECTOR, &json!({ "enabled": false })).await.is(200);
    world.platform.patch(CONNECTOR, &json!({ "enabled": true })).await.is(200);
}

#[tokio::test]
async fn a_module_that_went_away_is_accepted_anew() {
    let (world, before) = saved().await;
    let mut without = before.clone();
    without.as_object_mut().unwrap().remove("runtime");
    without["actions"].as_array_mut().unwrap().remove(0);
    world.platform.put(CONNECTOR, &without).await.is(200);
    world.platform.put(CONNECTOR, &before).await.problem(Code::CapabilityWidened);
    accepting(&world.platform, "PUT", CONNECTOR, &before).await.is(200);
}

#[tokio::test]
async fn a_plain_http_connector_is_never_asked_about() {
    let world = Stage::default().start().await;
    world.platform.write("POST", "/admin/connector", SALESFORCE).await.is(201);
    let mut wider = salesforce();
    wider["allowed_domains"] = json!(["*.salesforce.com", "api.example-saas.com"]);
    world.platform.put("/admin/connector/salesforce", &wider).await.is(200);
    let more = json!({ "allowed_domains": ["*.salesforce.com", "api.hubapi.com"] });
    world.platform.patch("/admin/connector/salesforce", &more).await.is(200);
}
