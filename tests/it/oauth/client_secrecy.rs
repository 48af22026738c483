//! A shared client's secret is at the token endpoint and nowhere else, and it ends with what it was saved for.

use portcullis_core::fault::Code;
use portcullis_store::TokenState;
use serde_json::json;

use super::clients::{PLATFORMS, connected, consent};
use super::consent::consenting;
use super::{CLIENT, Harness, ID, client};
use crate::secrecy::{captured, files, found};
use crate::support::token_server::answer_with;
use crate::support::{Script, Stage};

const CANARY: &str = "cnry-cs/R4+k7d=5b83e0fa1c62.Ww~y";

/// A client with the canary, a workspace that uses it, an API and a token endpoint that repeat it.
async fn lived() -> Harness {
    let stage = Stage { sled: true, ..Stage::default() };
    let harness = Harness::on(stage, &consenting(&json!({}))).await;
    let canary = json!({ "client_id": CLIENT, "client_secret": CANARY });
    harness.world.platform.put(PLATFORMS, &canary).await.is(200);
    harness.acme.connect(ID, json!({})).await;
    consent(&harness, &harness.acme).await;
    let echo = json!({ "says": CANARY, "ok": true });
    harness.server.change(|ways| {
        ways.rotates = true;
        ways.api = answer_with(200, &[("x-note", CANARY)], &echo.to_string());
    });
    let answer = harness.list().await.is(200);
    assert_eq!(answer.json["output"]["says"], "[redacted]", "{}", answer.text);
    for (status, error) in [(400, CANARY), (401, "invalid_client"), (500, CANARY)] {
        let body = json!({ "error": error, "error_description": CANARY });
        let instead = answer_with(status, &[("x-note", CANARY)], &body.to_string());
        harness.server.change(|ways| ways.instead = Some(instead));
        harness.expire().await;
        harness.list().await.problem(Code::CredentialNeedsAttention);
        harness.trial().await;
        harness.setting().await;
    }
    harness.server.change(|ways| ways.instead = None);
    harness.world.platform.put(PLATFORMS, &canary).await.is(200);
    harness.list().await.is(200);
    harness
}

#[tokio::test]
async fn a_clients_secret_is_in_no_answer_no_log_line_no_ledger_line_and_no_file() {
    let log = captured();
    let harness = lived().await;
    harness.world.platform.get(PLATFORMS).await.is(200);
    harness.acme.workspace.get("/workspace/acme/main/settings/connector").await.is(200);
    harness.acme.run.get("/run/acme/main").await.is(200);
    harness.acme.ledger().await;
    let asked = harness.world.upstream.received_on("/oauth/token");
    assert!(asked.iter().all(|request| request.text().contains("cnry-cs")), "it was used");
    let others = harness.world.upstream.received_on("/v1/things");
    assert!(others.iter().all(|request| found(&request.body, CANARY).is_none()));
    assert!(others.iter().all(|request| found(request.head.as_bytes(), CANARY).is_none()));
    let all = files(harness.world.data_dir());
    assert_eq!(found(&harness.acme.run.heard(), CANARY), None, "in an answer of the API");
    assert_eq!(found(&log.bytes(), CANARY), None, "in the log");
    for (path, bytes) in &all {
        assert_eq!(found(bytes, CANARY), None, "in {}", path.display());
    }
}

#[tokio::test]
async fn a_refused_call_does_not_open_the_clients_secret() {
    let harness = connected().await;
    let before = harness.world.before().await;
    harness.acme.allow(json!([]), "enforce").await;
    harness.expire().await;
    harness.list().await;
    harness.world.assert_nothing_looked_up(&before).await;
    harness.acme.allow(json!(null), "enforce").await;
    let over = |token: &mut TokenState| token.failure = None;
    harness.let_time_change(over).await;
    harness.reads().await;
}

#[tokio::test]
async fn a_restarted_product_goes_on_with_the_client() {
    let harness = connected().await;
    harness.expire().await;
    let store = std::sync::Arc::clone(harness.world.engine.records().store());
    let (_, address) = harness.world.another_life(store).await;
    let acme = harness.acme.at(address);
    acme.call(ID, "list", json!({})).await.is(200);
    assert_eq!(harness.server.asked().last().unwrap().get("grant_type"), "refresh_token");
}

#[tokio::test]
async fn an_orgs_client_ends_with_the_org_and_a_connectors_with_the_connector() {
    let harness = connected().await;
    let platform = &harness.world.platform;
    let globex = harness.world.tenant("globex", "main").await;
    globex.org.put("/org/globex/oauth-client/saas", &client()).await.is(200);
    platform.delete("/admin/org/globex/workspace/main").await.is(204);
    platform.delete("/admin/org/globex").await.is(204);
    let again = harness.world.tenant("globex", "main").await;
    again.org.get("/org/globex/oauth-client/saas").await.problem(Code::NotFound);
    again.org.put("/org/globex/oauth-client/saas", &client()).await.is(200);
    platform.get(PLATFORMS).await.is(200);
    platform.delete("/admin/connector/saas?force=true").await.is(204);
    platform.get(PLATFORMS).await.problem(Code::ConnectorNotFound);
    platform.post("/admin/connector", &consenting(&json!({}))).await.is(201);
    platform.get(PLATFORMS).await.problem(Code::NotFound);
    again.org.get("/org/globex/oauth-client/saas").await.problem(Code::NotFound);
}

#[tokio::test]
async fn a_deleted_client_ends_the_calls_that_run_with_it() {
    let harness = connected().await;
    harness.reads().await;
    let arrived = harness.world.upstream.received_on("/v1/things").len();
    harness.server.change(|ways| ways.api = Script::Silence);
    let (run, path) = (harness.acme.run.clone(), "/run/acme/main/connector/saas/list");
    let call = tokio::spawn(async move { run.post(path, &json!({ "input": {} })).await });
    let has_arrived = async || harness.world.upstream.received_on("/v1/things").len() > arrived;
    crate::support::until("the request has arrived", has_arrived).await;
    harness.world.platform.delete(PLATFORMS).await.is(204);
    call.await.unwrap().problem(Code::CallEnded);
}
