//! The examples of the document, sent as they are: each is accepted.

use std::collections::BTreeSet;

use portcullis_api::ROUTES;
use portcullis_store::{MasterKey, Role};
use serde_json::{Value, json};

use super::{CONSENT, body};
use crate::support::{Client, PUBLIC, World};

/// Every operation with an example, in an order in which each finds what it needs.
const ORDER: &[&str] = &[
    "createOrg",
    "createWorkspace",
    "createConnector",
    "validateConnector",
    "replaceConnector",
    "importConnector",
    "createToken",
    "setIntegrations",
    "patchIntegrations",
    "createAutomation",
    "replaceAutomation",
    "previewAutomation",
    "previewDraft",
    "saveConnection",
    "patchConnection",
    "saveNamedConnection",
    "patchNamedConnection",
    "runAction",
    "fireAutomation",
    "fireEvent",
    "rerunRun",
    "redriveRuns",
    "setOrgLimits",
    "saveOrgWebhook",
    "savePlatformWebhook",
    "createConnectSession",
    "setConnectSettings",
    "saveOrgOauthClient",
    "savePlatformOauthClient",
    "setWorkspaceValues",
    "setRetention",
    "setPlatformRetention",
    "rotateMasterKey",
    // Last: it switches the connector off.
    "patchConnector",
];

#[tokio::test]
async fn every_operation_with_a_body_has_an_example_which_is_accepted() {
    let with_body: BTreeSet<&str> =
        ROUTES.iter().filter(|route| body(route).is_some()).map(|route| route.operation).collect();
    assert_eq!(with_body, ORDER.iter().copied().collect());
    let world = World::start().await;
    world.names.tell("hooks.example.com", &[PUBLIC]);
    // The key of the example: 32 bytes of zeros.
    world.add_master_key(MasterKey::from_text(&format!("pcmk1_{}", "A".repeat(43))).unwrap()).await;
    world.platform.post("/admin/catalog/notion", &json!({})).await.is(201);
    let served = world.platform.get("/openapi.json").await.is(200);
    let mut automation = "none".to_owned();
    let mut cancelled = "none".to_owned();
    for operation in ORDER {
        let route = ROUTES.iter().find(|route| route.operation == *operation).unwrap();
        let described = &served.json["paths"][route.path][route.method.to_lowercase()];
        let example = &described["requestBody"]["content"]["application/json"]["example"];
        assert!(example.is_object(), "{operation} has no example");
        let caller = match route.roles.first().unwrap() {
            Role::Platform => world.platform.clone(),
            Role::Org => client(&world, &json!({ "role": "org", "org": "acme" })).await,
            role => {
                let spec = json!({ "role": role.as_str(), "org": "acme", "workspace": "main" });
                client(&world, &spec).await
            }
        };
        let path = route.path.replace("{org}", "acme").replace("{ws}", "main");
        let id = match &path {
            path if path.contains("/automation/") => automation.as_str(),
            path if path.contains("/oauth-client/") => CONSENT,
            _ => "salesforce",
        };
        let path = path.replace("{id}", id).replace("{action}", "create-contact");
        let path = path.replace("{run_id}", &cancelled).replace("{name}", "sales");
        let answer = caller.write(route.method, &path, example.to_string()).await;
        assert!(matches!(answer.status, 200..=202), "{operation}: {} {}", answer.status, answer.text);
        match *operation {
            "createAutomation" => {
                answer.json["automation_id"].as_str().unwrap().clone_into(&mut automation);
            }
            "validateConnector" => assert_eq!(answer.json["valid"], true, "{}", answer.text),
            "runAction" | "fireAutomation" => {
                assert_eq!(answer.json["status"], "succeeded", "{}", answer.text);
                // An ended run with its input, for those operations that need one.
                let later = [("prefer", "respond-async"), ("content-type", "application/json")];
                let answer = caller.send(route.method, &path, &later, example.to_string().into_bytes()).await;
                answer.is(202).json["run_id"].as_str().unwrap().clone_into(&mut cancelled);
                caller.write("POST", &format!("/run/acme/main/{cancelled}/cancel"), "").await.is(200);
            }
            "previewAutomation" | "previewDraft" => {
                assert_eq!(answer.json["request"]["method"], "POST", "{}", answer.text)
            }
            "fireEvent" => assert_eq!(answer.json["data"][0]["status"], "succeeded", "{}", answer.text),
            _ => {}
        }
    }
    let received = world.upstream.received();
    assert_eq!(
        received.len(),
        5,
        "the action, the automation alone and by an event, and two pings of webhooks"
    );
}

async fn client(world: &World, spec: &Value) -> Client {
    world.platform.with_token(world.token(spec).await)
}
