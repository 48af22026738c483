//! Calls of modules that are not to go on: dry runs, the kill switch, and as many as may run at once.

use std::time::Duration;

use portcullis_core::fault::Code;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::harness::{
    CONNECTOR, KEY, PATH, URL, act, answering, assert_others_are_served, exchange_module, hostile, installed,
    quick,
};
use crate::support::{Answer, Script, Tenant, World, until};

async fn dry_run(acme: &Tenant, action: &str, input: Value) -> Answer {
    let path = format!("/run/acme/main/connector/custom/{action}?dry_run=true");
    acme.run.post(&path, &json!({ "input": input })).await
}

#[tokio::test]
async fn a_dry_run_shows_the_first_request_and_says_that_there_may_be_more() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    let before = world.before().await;
    let send = json!({ "do": "send", "url": URL, "method": "POST", "body": r#"{"a":1}"#, "credential": "default",
        "headers": [["content-type", "application/json"]] });
    for input in [
        send,
        json!({ "do": "send_many", "url": URL, "times": 5 }),
        json!({ "do": "panic_after_send", "url": URL }),
    ] {
        let shown = dry_run(&acme, "act", input.clone()).await.is(200);
        assert_eq!(shown.json["dry_run"], true, "{input}: {}", shown.text);
        assert_eq!(shown.json["complete"], false, "{input}: {}", shown.text);
        assert_eq!(shown.json["request"]["url"], URL);
        assert!(!shown.text.contains(KEY), "{}", shown.text);
        if input["do"] == "send" {
            assert_eq!(shown.json["request"]["method"], "POST");
            assert_eq!(shown.json["request"]["body"], json!({ "a": 1 }));
        }
    }
    let plain = dry_run(&acme, "plain", json!({})).await.is(200);
    assert_eq!(plain.json["complete"], true, "{}", plain.text);
    // A request that the gate would refuse is told as in a real call.
    let elsewhere = json!({ "do": "panic_after_send", "url": "https://api.example-saas.com/v1/things/1" });
    dry_run(&acme, "act", elsewhere).await.problem(Code::HostNotInConnector);
    world.assert_nothing_left(&before).await;
}

#[tokio::test]
async fn a_module_that_sends_nothing_has_its_output_in_a_dry_run() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    let before = world.before().await;
    let run = dry_run(&acme, "act", json!({ "do": "canary" })).await.is(200);
    assert_eq!(run.json["output"], json!({ "zero": true }), "{}", run.text);
    world.assert_nothing_left(&before).await;
}

/// A call that waits for an upstream that never answers.
async fn waiting(world: &World, acme: &Tenant) -> JoinHandle<Answer> {
    world.upstream.script(PATH, Script::Silence);
    let run = acme.run.clone();
    let call = tokio::spawn(async move {
        let body = json!({ "input": { "do": "send", "url": URL, "credential": "default" } });
        run.post("/run/acme/main/connector/custom/act", &body).await
    });
    until("the call hangs at the upstream", async || world.upstream.received_on(PATH).len() == 1).await;
    call
}

/// The call ended with this code, within a second, and its ledger entry is closed.
async fn assert_ended(acme: &Tenant, call: JoinHandle<Answer>, code: Code) {
    let answer = tokio::time::timeout(Duration::from_secs(5), call).await.expect("the call goes on").unwrap();
    let answer = answer.problem(code);
    assert_eq!(answer.json["run"]["status"], "refused", "{}", answer.text);
    let closed = async || {
        let ledger = acme.ledger().await;
        ledger.iter().any(|entry| entry["phase"] == "complete" && entry["code"] == code.as_str())
    };
    until("the ledger has closed the attempt with the code", closed).await;
}

#[tokio::test]
async fn the_kill_switch_ends_a_running_call_of_a_module() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    let call = waiting(&world, &acme).await;
    world.platform.patch(CONNECTOR, &json!({ "enabled": false })).await.is(200);
    assert_ended(&acme, call, Code::ConnectorDisabled).await;
    let after = act(&acme, json!({ "do": "echo" })).await;
    assert_ne!(after.json["status"], "succeeded", "{}", after.text);
    assert_others_are_served(&world).await;
}

#[tokio::test]
async fn a_list_that_becomes_tighter_ends_a_running_call_of_a_module() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    let call = waiting(&world, &acme).await;
    acme.allow(json!(["api.hubapi.com"]), "enforce").await;
    assert_ended(&acme, call, Code::HostNotInOrg).await;
}

#[tokio::test]
async fn a_call_does_not_go_on_with_a_module_that_was_replaced() {
    let (world, acme) = installed(quick(), hostile(), &json!({})).await;
    let call = waiting(&world, &acme).await;
    exchange_module(&world.platform, &answering(r#"{"output":"the next"}"#)).await.is(200);
    let answer = tokio::time::timeout(Duration::from_secs(5), call).await.expect("the call goes on").unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text);
    assert_eq!(act(&acme, json!({ "do": "x" })).await.is(200).json["output"], "the next");
}

#[tokio::test]
async fn no_more_modules_run_at_once_than_may_and_others_have_their_places() {
    let mut stage = quick();
    stage.limits.module_calls = 1;
    let (world, acme) = installed(stage, hostile(), &json!({})).await;
    let call = waiting(&world, &acme).await;
    act(&acme, json!({ "do": "echo" })).await.problem(Code::Overloaded);
    acme.call("custom", "plain", json!({})).await.is(200);
    assert_others_are_served(&world).await;
    world.platform.patch(CONNECTOR, &json!({ "enabled": false })).await.is(200);
    assert_ended(&acme, call, Code::ConnectorDisabled).await;
    world.platform.patch(CONNECTOR, &json!({ "enabled": true })).await.is(200);
    act(&acme, json!({ "do": "echo" })).await.is(200);
}
