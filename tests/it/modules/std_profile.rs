//! Modules of the profile `std`: admitted where the platform allows it, and what they find is nothing.

use std::sync::Arc;

use portcullis_core::fault::Code;
use portcullis_engine::modules::ModuleRules;
use portcullis_store::{MemoryStore, Store};
use serde_json::{Value, json};

use super::guests;
use super::harness::{
    act, admitted, assert_others_are_served, codes, definition, hostile, hostile_std, installed, quick,
    upload,
};
use crate::support::{Stage, Tenant, World, binary, lay};

fn allowing() -> Stage {
    let mut stage = quick();
    stage.module_rules = ModuleRules { allow_std: true, ..ModuleRules::default() };
    stage
}

async fn with_std() -> (World, Tenant) {
    installed(allowing(), hostile_std(), &json!({ "runtime": { "profile": "std" } })).await
}

#[tokio::test]
async fn a_module_of_the_profile_std_is_taken_where_the_platform_allows_it() {
    let refused = upload(&World::start().await.platform, hostile_std()).await.problem(Code::ModuleRefused);
    assert!(codes(&refused).iter().all(|code| *code == "import_forbidden"), "{}", refused.text);
    assert_eq!(refused.json["report"]["profile"], "std");
    let told = refused.json["report"]["problems"][0]["message"].as_str().unwrap();
    assert!(told.contains("modules.allow_std"), "{told}");

    let world = allowing().start().await;
    let report = upload(&world.platform, hostile_std()).await.is(201);
    assert_eq!(
        (&report.json["report"]["profile"], codes(&report)),
        (&json!("std"), vec![]),
        "{}",
        report.text
    );
    for import in
        ["wasi:http/outgoing-handler@0.2.6", "wasi:cli/environment@0.3.0", "wasi:keyvalue/store@0.2.0"]
    {
        let refused = upload(&world.platform, &guests::importing(import)).await.problem(Code::ModuleRefused);
        assert_eq!(codes(&refused), ["import_forbidden"], "{import}");
    }
}

#[tokio::test]
async fn a_connector_says_that_its_module_needs_the_profile_std() {
    let world = allowing().start().await;
    let digest = admitted(&world, hostile_std()).await;
    let refused = world.platform.post("/admin/connector", &definition(&digest)).await;
    let refused = refused.problem(Code::ValidationFailed);
    assert_eq!(refused.json["errors"][0]["code"], "module_profile", "{}", refused.text);
    let mut asked = definition(&digest);
    lay(&mut asked, &json!({ "runtime": { "profile": "std" } }));
    let widened = world.platform.post("/admin/connector", &asked).await.problem(Code::CapabilityWidened);
    assert!(
        widened.json["difference"].as_array().unwrap().contains(&json!("profile std")),
        "{}",
        widened.text
    );

    // A platform that does not allow it takes no such connector, whatever its module needs.
    let world = World::start().await;
    let digest = admitted(&world, hostile()).await;
    lay(&mut asked, &json!({ "runtime": { "module": digest } }));
    let refused = world.platform.post("/admin/connector", &asked).await.problem(Code::ValidationFailed);
    assert!(refused.text.contains("modules.allow_std"), "{}", refused.text);
    lay(&mut asked, &json!({ "runtime": { "profile": "pure" } }));
    world.platform.post("/admin/connector", &asked).await.problem(Code::CapabilityWidened);
}

#[tokio::test]
async fn a_module_does_not_run_where_its_profile_is_no_longer_allowed() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let stage = Stage { store: Some(Arc::clone(&store)), ..allowing() };
    let std = json!({ "runtime": { "profile": "std" } });
    let (world, acme) = installed(stage, hostile_std(), &std).await;
    act(&acme, json!({ "do": "echo" })).await.is(200);
    let (_engine, address) = world.life_under(ModuleRules::default(), store).await;
    let before = world.before().await;
    act(&acme.at(address), json!({ "do": "echo" })).await.problem(Code::ModuleForbidden);
    world.assert_nothing_looked_up(&before).await;
}

#[tokio::test]
async fn a_module_finds_nothing_of_the_system_around_it() {
    let (world, acme) = with_std().await;
    let found = act(&acme, json!({ "do": "outside" })).await.is(200).json["output"].clone();
    assert_eq!((&found["variables"], &found["arguments"]), (&json!(0), &json!(0)), "{found}");
    assert_eq!((&found["input_bytes"], &found["files"]), (&json!(0), &json!([])), "{found}");
    let steps = found["clock_steps_ms"].as_array().unwrap();
    assert!(steps.iter().all(|step| step.as_u64().is_some_and(|ms| ms >= 10 && ms % 10 == 0)), "{found}");
    assert!(found["year"].as_u64().unwrap() >= 2026 && found["is_random"] == true, "{found}");
    for call in 0..3 {
        let clean = act(&acme, json!({ "do": "canary" })).await.is(200);
        assert_eq!(clean.json["output"], json!({ "zero": true }), "call {call}");
    }
    assert_others_are_served(&world).await;
}

#[tokio::test]
async fn a_module_that_wants_out_by_another_way_is_ended() {
    let (world, acme) = with_std().await;
    let before = world.before().await;
    for input in [
        json!({ "do": "connect", "to": "127.0.0.1:80" }),
        json!({ "do": "connect", "to": "api.salesforce.com:443" }),
        json!({ "do": "exit" }),
    ] {
        let ended = act(&acme, input.clone()).await;
        assert_eq!(ended.json["code"], Code::GuestTrapped.as_str(), "{input}: {}", ended.text);
    }
    world.assert_nothing_looked_up(&before).await;
    assert_others_are_served(&world).await;
}

#[tokio::test]
async fn a_module_that_sleeps_ends_with_the_time_of_its_call_and_computes_nothing() {
    let mut stage = allowing();
    stage.limits.call_ms = 400;
    let std = json!({ "runtime": { "profile": "std" } });
    let (world, acme) = installed(stage, hostile_std(), &std).await;
    act(&acme, json!({ "do": "sleep", "ms": 20 })).await.is(200);
    let ended = act(&acme, json!({ "do": "sleep", "ms": 600_000 })).await;
    assert_eq!(ended.status, 504, "{}", ended.text);
    assert_others_are_served(&world).await;
}

#[tokio::test]
async fn what_a_module_prints_is_in_the_log_line_by_line() {
    let (_world, acme) = with_std().await;
    let printed = act(&acme, json!({ "do": "print", "text": "one\r\ntwo\u{1b}[31m\nthree" })).await.is(200);
    let log = printed.json["log"]["lines"].clone();
    let lines = |level: &str| -> Vec<Value> {
        let of_level = log.as_array().unwrap().iter().filter(|line| line["level"] == level);
        of_level.map(|line| line["message"].clone()).collect()
    };
    let expected = ["one", "two\\u{1b}[31m", "three"];
    assert_eq!(lines("info"), expected, "{log}");
    assert_eq!(lines("error"), expected, "{log}");
    let flood = "x".repeat(1 << 20);
    let printed = act(&acme, json!({ "do": "print", "text": flood })).await.is(200);
    assert!(printed.json["usage"]["log_bytes"].as_u64().unwrap() >= 1 << 20, "{}", printed.text);
}

#[test]
fn the_command_line_reports_for_the_profile_that_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("module.wasm"), hostile_std()).unwrap();
    let check =
        |more: &[&str]| binary::run(dir.path(), &[&["module", "check", "module.wasm"], more].concat());
    check(&[]).exits(1);
    let told = check(&["--profile", "std"]).exits(0);
    assert!(told.out.contains("profile  std"), "{told:?}");
    check(&["--profile", "all"]).exits(2);
}
