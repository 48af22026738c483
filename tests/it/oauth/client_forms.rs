//! Forms and changes of parts where the org or the platform saved the OAuth client.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::clients::{PLATFORMS, connected, consent, unsaved};
use super::consent::consenting;
use super::{CLIENT, Harness, ID, SECRET, client};

/// Names of the fields of the first method, in an answer that has forms.
fn asked(answer: &Value) -> Vec<String> {
    let fields = answer["methods"][0]["fields"].as_array().unwrap();
    fields.iter().map(|field| field["name"].as_str().unwrap().to_owned()).collect()
}

/// A connector whose form also has a value that no token request reads.
fn with_region() -> Value {
    let mut definition = consenting(&json!({}));
    definition["config_fields"] = json!([{ "name": "region", "default": "eu" }]);
    definition["actions"][0]["query"] = json!({ "region": "{{config.region}}" });
    definition
}

impl Harness {
    async fn form(&self) -> Value {
        self.acme.workspace.get(&format!("{}/form", self.acme.setting(ID))).await.is(200).json
    }

    async fn patch(&self, body: &Value) -> crate::support::Answer {
        self.acme.workspace.patch(&self.acme.setting(ID), body).await
    }
}

#[tokio::test]
async fn no_form_asks_for_what_the_shared_client_has() {
    let harness = unsaved().await;
    let both = ["client_id", "client_secret"];
    assert_eq!(asked(&harness.setting().await), both);
    assert_eq!(harness.form().await["schema"]["required"], json!(both));
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    let setting = harness.setting().await;
    assert_eq!((asked(&setting), &setting["methods"][0]["kind"]), (Vec::new(), &json!("consent")));
    let list = harness.acme.workspace.get("/workspace/acme/main/settings/connector").await.is(200);
    let offers = list.json["data"].as_array().unwrap();
    let offer = offers.iter().find(|offer| offer["connector_id"] == ID).unwrap();
    assert_eq!((&offer["methods"], &offer["form"]), (&setting["methods"], &json!([])));
    let form = harness.form().await;
    assert_eq!((&form["schema"]["properties"], &form["ui"]), (&json!({}), &json!([])));
    assert_eq!(form["schema"]["required"], json!([]));
    harness.world.platform.delete(PLATFORMS).await.is(204);
    assert_eq!(asked(&harness.setting().await), both);
}

#[tokio::test]
async fn a_patch_is_refused_a_field_of_the_shared_client_and_keeps_the_connection() {
    let harness = Harness::of(&with_region()).await;
    harness.server.change(|ways| ways.rotates = true);
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    harness.patch(&json!({ "enabled": true, "config": {} })).await.is(200);
    consent(&harness, &harness.acme).await;
    harness.reads().await;
    let own = json!({ "config": { "client_secret": "own", "region": "us" } });
    let refused = harness.patch(&own).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/config/client_secret", "field_of_client")]);
    let patched =
        harness.patch(&json!({ "config": { "client_secret": null, "region": "us" } })).await.is(200);
    assert_eq!(patched.json["state"], "connected", "{}", patched.text);
    harness.reads().await;
    let sent = harness.world.upstream.received_on("/v1/things");
    assert!(sent.last().unwrap().line().contains("region=us"));
    assert_eq!(harness.server.asked().len(), 1, "the same token");
}

#[tokio::test]
async fn a_patch_keeps_the_workspaces_own_client_beside_a_shared_one() {
    let harness = Harness::of(&with_region()).await;
    harness.server.change(|ways| ways.rotates = true);
    harness.acme.connect(ID, json!({ "client_id": "own-client", "client_secret": "own-secret-3Km" })).await;
    consent(&harness, &harness.acme).await;
    harness.world.platform.put(PLATFORMS, &client()).await.is(200);
    let patched = harness.patch(&json!({ "config": { "region": "us" } })).await.is(200);
    assert_eq!(patched.json["state"], "connected", "{}", patched.text);
    harness.expire().await;
    harness.reads().await;
    let asked = harness.server.asked().last().unwrap().clone();
    assert_eq!((asked.get("client_id"), asked.get("client_secret")), ("own-client", "own-secret-3Km"));
    // Removed, it is not used any more, and the next consent is asked with the shared one.
    let nulls = json!({ "config": { "client_id": null, "client_secret": null } });
    harness.patch(&nulls).await.is(200);
    assert_eq!(harness.setting().await["state"], "needs_attention");
    let begun = consent(&harness, &harness.acme).await;
    assert_eq!(begun.pairs["client_id"], CLIENT);
    assert_eq!(harness.server.asked().last().unwrap().get("client_secret"), SECRET);
    harness.reads().await;
}

#[tokio::test]
async fn opting_out_and_in_again_keeps_a_connection_with_a_shared_client() {
    let harness = connected().await;
    assert_eq!(harness.patch(&json!({ "enabled": false })).await.is(200).json["state"], "opted_out");
    assert_eq!(harness.patch(&json!({ "enabled": true })).await.is(200).json["state"], "connected");
    harness.reads().await;
}
