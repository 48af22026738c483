//! How many there may be, what a name is, and what deletes them.

use portcullis_core::fault::Code;
use portcullis_core::limits::Limits;
use portcullis_store::{ConnectorSetting, CredentialState};
use serde_json::json;

use super::{ID, Scene, at, automation, call, definition, save};

#[tokio::test]
async fn a_workspace_has_a_bounded_number_of_one_connector() {
    let limits = Limits { concurrent_calls: 32, named_connections: 2, ..Limits::default() };
    let scene = Scene::with(limits, &json!({})).await;
    let acme = &scene.acme;
    let refused = save(acme, "brand").await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/connection", "too_many")]);
    assert!(refused.text.contains("limits.named_connections"), "{}", refused.text);
    save(acme, "sales").await.is(200);
    let side = scene.world.tenant("acme", "side").await;
    save(&side, "brand").await.is(200);
    acme.workspace.delete(&at(acme, "sales")).await.is(204);
    save(acme, "brand").await.is(200);
}

#[tokio::test]
async fn a_text_that_is_no_name_is_refused_and_the_reserved_one_is() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    let before = scene.world.before().await;
    let long = "a".repeat(64);
    for (text, rule) in [
        ("default", "reserved"),
        ("Sales", "wrong_form"),
        ("-a", "wrong_form"),
        (long.as_str(), "wrong_form"),
    ] {
        let refused = save(acme, text).await.problem(Code::ValidationFailed);
        assert_eq!(refused.violations(), [("/connection", rule)], "{text}");
        acme.workspace.get(&at(acme, text)).await.problem(Code::NotFound);
        acme.workspace.delete(&at(acme, text)).await.problem(Code::NotFound);
        let refused = call(acme, Some(text)).await.problem(Code::ValidationFailed);
        assert_eq!(refused.violations(), [("/connection", rule)], "{text}");
        let refused = acme.org.post("/org/acme/automation", &automation(Some(text))).await;
        let refused = refused.problem(Code::ValidationFailed);
        assert_eq!(refused.violations(), [("/destination_config/connection", rule)], "{text}");
    }
    let wrong =
        acme.run.post(&format!("/run/acme/main/connector/{ID}/act"), &json!({ "connection": 5 })).await;
    assert_eq!(wrong.violations(), [("/connection", "wrong_type")]);
    scene.world.assert_untouched(&before).await;
    call(acme, Some("sales")).await.is(200);
}

#[tokio::test]
async fn a_label_is_for_named_ones_and_stays_until_another_is_given() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    let refused = acme.workspace.put(&acme.setting(ID), &json!({ "label": "x" })).await;
    assert_eq!(refused.problem(Code::ValidationFailed).violations(), [("/label", "unknown_field")]);
    let long = json!({ "label": "n".repeat(121) });
    let refused = acme.workspace.put(&at(acme, "sales"), &long).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/label", "too_long")]);
    acme.workspace.put(&at(acme, "sales"), &json!({ "label": "n".repeat(120) })).await.is(200);
    acme.workspace.put(&at(acme, "sales"), &json!({ "enabled": false })).await.is(200);
    assert_eq!(scene.setting("sales").await["label"], "n".repeat(120));
    // A named one needs its credential like any other.
    let refused = acme.workspace.put(&at(acme, "brand"), &json!({})).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/config/api_key", "missing_field")]);
}

#[tokio::test]
async fn deleting_the_connector_or_the_workspace_takes_named_ones_too() {
    let scene = Scene::new().await;
    let (platform, records) = (&scene.world.platform, scene.world.engine.records());
    let left = async || {
        let settings = records.filter::<ConnectorSetting>(&[], |_, _| true).await.unwrap().len();
        (settings, records.filter::<CredentialState>(&[], |_, _| true).await.unwrap().len())
    };
    assert_eq!(left().await, (3, 3));
    let side = scene.world.tenant("acme", "side").await;
    save(&side, "sales").await.is(200);
    let refused = platform.delete(&format!("/admin/connector/{ID}")).await.problem(Code::InUse);
    assert!(refused.text.contains("4 saved connections"), "{}", refused.text);
    platform.delete("/admin/org/acme/workspace/side").await.is(204);
    assert_eq!(left().await, (3, 3));
    platform.delete(&format!("/admin/connector/{ID}?force=true")).await.is(204);
    assert_eq!(left().await, (0, 0));
    platform.post("/admin/connector", &definition(&json!({}))).await.is(201);
    assert_eq!(call(&scene.acme, Some("sales")).await.is(200).json["reason"], "unconfigured");
}
