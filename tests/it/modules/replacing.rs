//! `PUT /admin/connector/{id}/module`: new bytes for a connector that has a module, in one request.

use portcullis_core::fault::Code;
use serde_json::json;

use super::guests;
use super::harness::{
    CONNECTOR, WASM, accepted, act, admitted, answering, codes, exchange_module, installed, put_module, quick,
};

#[tokio::test]
async fn another_module_is_a_new_revision_of_its_connector() {
    let (world, acme) = installed(quick(), &guests::good(), &json!({})).await;
    assert_eq!(act(&acme, json!({ "do": "x" })).await.is(200).json["output"], json!(null));
    let next = answering(r#"{"output":"the second"}"#);

    let asked = put_module(&world.platform, &next, "").await.problem(Code::CapabilityWidened);
    let difference = asked.json["difference"].as_array().unwrap();
    assert_eq!(difference.len(), 1, "{}", asked.text);
    assert!(difference[0].as_str().unwrap().starts_with("module sha256:"), "{}", asked.text);
    assert_eq!(world.platform.get(CONNECTOR).await.is(200).json["revision"], 1);
    assert_eq!(
        act(&acme, json!({ "do": "x" })).await.is(200).json["output"],
        json!(null),
        "the first one still"
    );

    let done = put_module(&world.platform, &next, &accepted("", &asked)).await.is(200);
    let digest = &done.json["module"]["digest"];
    assert_eq!(done.json["connector"]["revision"], 2, "{}", done.text);
    assert_eq!(done.json["connector"]["definition"]["runtime"]["module"], *digest);
    assert_eq!(act(&acme, json!({ "do": "x" })).await.is(200).json["output"], "the second");
    let revisions = world.platform.get("/admin/connector/custom/revisions").await.is(200);
    assert_eq!(revisions.json["data"].as_array().unwrap().len(), 2);

    // The same bytes are nothing more than before.
    put_module(&world.platform, &next, "").await.is(200);
    // And back, which a person accepts as well.
    exchange_module(&world.platform, &guests::good()).await.is(200);
    assert_eq!(act(&acme, json!({ "do": "x" })).await.is(200).json["output"], json!(null));
}

#[tokio::test]
async fn a_module_that_is_refused_leaves_its_connector_as_it_was() {
    let (world, acme) = installed(quick(), &guests::good(), &json!({})).await;
    for (bytes, code) in [
        (guests::core_module(), "not_a_component"),
        (guests::importing("wasi:sockets/tcp@0.2.6"), "import_forbidden"),
        (guests::other_version(), "world_version"),
    ] {
        let refused = put_module(&world.platform, &bytes, "").await.problem(Code::ModuleRefused);
        assert!(codes(&refused).contains(&code), "{}", refused.text);
    }
    assert_eq!(world.platform.get(CONNECTOR).await.is(200).json["revision"], 1);
    act(&acme, json!({ "do": "x" })).await.is(200);
}

#[tokio::test]
async fn a_module_needs_a_connector_that_says_what_it_may_do() {
    let (world, _acme) = installed(quick(), &guests::good(), &json!({})).await;
    let next = answering(r#"{"output":1}"#);
    let plain = "/admin/connector/salesforce/module";
    let answer =
        world.platform.send("PUT", plain, &[WASM], next.clone()).await.problem(Code::ValidationFailed);
    assert_eq!(answer.violations(), [("/runtime", "runtime_missing")]);
    let missing = "/admin/connector/nobody/module";
    world.platform.send("PUT", missing, &[WASM], next.clone()).await.problem(Code::ConnectorNotFound);
    let text = [("content-type", "text/plain")];
    let path = "/admin/connector/custom/module";
    world.platform.send("PUT", path, &text, next.clone()).await.problem(Code::UnsupportedMediaType);

    // Only the revision that the caller has read is replaced.
    let stale = [WASM, ("if-match", "\"7\"")];
    world.platform.send("PUT", path, &stale, next.clone()).await.problem(Code::RevisionMismatch);
    let current = [WASM, ("if-match", "\"1\"")];
    world.platform.send("PUT", path, &current, next).await.problem(Code::CapabilityWidened);
}

#[tokio::test]
async fn a_module_is_in_use_as_long_as_a_connector_names_it_and_no_longer() {
    let (world, _acme) = installed(quick(), &guests::good(), &json!({})).await;
    let first = admitted(&world, &guests::good()).await;
    let path = format!("/admin/module/{first}");
    world.platform.delete(&path).await.problem(Code::InUse);
    exchange_module(&world.platform, &answering(r#"{"output":1}"#)).await.is(200);
    world.platform.delete(&path).await.is(204);
}
