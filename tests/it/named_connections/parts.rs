//! Changes of parts of a named connection, its revision, and its form.

use portcullis_core::fault::Code;
use serde_json::{Value, json};

use super::{ID, Scene, at, call, key_of};

const SALES: &str = "/workspace/acme/main/settings/connector/saas/connection/sales";

fn form_of(name: &str) -> String {
    format!("/workspace/acme/main/settings/connector/{ID}/connection/{name}/form")
}

#[tokio::test]
async fn a_patch_keeps_what_it_does_not_name_and_touches_no_other_connection() {
    let scene = Scene::new().await;
    let (acme, path) = (&scene.acme, SALES);
    let patched = acme.workspace.patch(path, &json!({ "label": "Sales, north" })).await.is(200).json;
    assert_eq!((&patched["label"], &patched["connection"]), (&json!("Sales, north"), &json!("sales")));
    assert_eq!(patched["state"], "connected", "{patched}");
    call(acme, Some("sales")).await.is(200);
    let other = json!({ "config": { "api_key": key_of("north") } });
    let patched = acme.workspace.patch(path, &other).await.is(200).json;
    assert_eq!(patched["label"], "Sales, north");
    for name in [Some("sales"), Some("support"), None] {
        call(acme, name).await.is(200);
    }
    assert_eq!(scene.came(), ["sales", "north", "support", "default"]);
    acme.workspace.patch(path, &json!({ "enabled": false })).await.is(200);
    assert_eq!(call(acme, Some("sales")).await.is(200).json["reason"], "opted_out");
    let back = json!({ "enabled": true, "label": "Sales", "config": {} });
    assert_eq!(acme.workspace.patch(path, &back).await.is(200).json["label"], "Sales");
    assert_eq!(call(acme, Some("sales")).await.is(200).json["status"], "succeeded");
    assert_eq!(scene.came().last().unwrap(), "north");
    // One that was not made has nothing to change.
    let none = at(acme, "brand");
    acme.workspace.patch(&none, &other).await.problem(Code::NotFound);
    acme.workspace.get(&none).await.problem(Code::NotFound);
    let refused = acme.workspace.patch(path, &json!({ "label": "" })).await.problem(Code::ValidationFailed);
    assert_eq!(refused.violations(), [("/label", "too_short")]);
    let refused = acme.workspace.patch(&acme.setting(ID), &json!({ "label": "x" })).await;
    assert_eq!(refused.problem(Code::ValidationFailed).violations(), [("/label", "unknown_field")]);
}

#[tokio::test]
async fn each_connection_has_a_revision_of_its_own() {
    let scene = Scene::new().await;
    let (acme, path) = (&scene.acme, SALES);
    let tag = async |path: &str| acme.workspace.get(path).await.is(200).header("etag").unwrap().to_owned();
    let send = async |method: &str, path: &str, tag: &str, body: &Value| {
        let headers = [("if-match", tag), ("content-type", "application/json")];
        acme.workspace.send(method, path, &headers, body.to_string().into_bytes()).await
    };
    let (own, default) = (tag(path).await, tag(&acme.setting(ID)).await);
    assert_ne!(own, default);
    let label = json!({ "label": "Sales, north" });
    send("PATCH", path, &default, &label).await.problem(Code::RevisionMismatch);
    let patched = send("PATCH", path, &own, &label).await.is(200);
    assert_ne!(patched.header("etag"), Some(own.as_str()));
    send("PUT", path, &own, &json!({ "enabled": false })).await.problem(Code::RevisionMismatch);
    let same = acme.workspace.patch(path, &label).await.is(200);
    assert_eq!(same.header("etag"), patched.header("etag"), "nothing changed, nothing is written");
    assert_eq!(tag(&acme.setting(ID)).await, default, "the others stay");
    // Only where there is none of that name yet.
    let credential = json!({ "config": { "api_key": key_of("brand") } });
    send("PUT", &at(acme, "brand"), "\"0\"", &credential).await.is(200);
    send("PUT", &at(acme, "brand"), "\"0\"", &credential).await.problem(Code::RevisionMismatch);
}

#[tokio::test]
async fn the_form_of_a_named_connection_is_that_of_its_connector() {
    let scene = Scene::new().await;
    let acme = &scene.acme;
    let form = acme.workspace.get(&format!("{}/form", acme.setting(ID))).await.is(200).json;
    for name in ["sales", "brand"] {
        let own = acme.workspace.get(&form_of(name)).await.is(200).json;
        assert_eq!(own, form, "{name}");
    }
    acme.workspace.get(&form_of("default")).await.problem(Code::NotFound);
}
